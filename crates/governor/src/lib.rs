//! The governor: the socket, the clock and the loop around the schedule.
//!
//! One turn of the loop waits for a message, a sample's moment or one of the host's own descriptors;
//! stamps the moment; asks [`plimsoll_core::schedule::Schedule`] what to do; says it as events; and does
//! it. What that leads to comes back as inputs. The host (the driver of `cargo plimsoll`) owns the
//! terminal, Cargo and the signals; the governor owns everything between the shims and the schedule.
//!
//! What it deliberately does not do: decide (the schedule's work), print, or start Cargo.

mod account;
mod builds;
mod connection;
mod effects;
mod error;
mod governor;
mod graph;
mod ledger;
mod messages;
mod places;
mod sampling;
mod sizes;
mod stages;
mod walls;
mod workspace;

pub use builds::{BuildOptions, Ending};
pub use error::GovernorError;
pub use governor::{Governor, Observer, Options, Wake};
pub use graph::GraphCommand;
pub use stages::{Stage, Stages};
