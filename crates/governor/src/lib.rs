//! The governor: the socket, the clock and the loop around the schedule.
//!
//! One turn of the loop waits for a message, a sample's moment or one of the host's own descriptors;
//! stamps the moment; asks [`plimsoll_core::schedule::Schedule`] what to do; says it as events; and does
//! it. What that leads to comes back as inputs. The host (the driver of `cargo plimsoll`) owns the
//! terminal, Cargo and the signals; the governor owns everything between the shims and the schedule.
//!
//! What it deliberately does not do: decide (the schedule's work), print, or start Cargo.

mod account_duties;
mod build;
mod build_log;
mod builds;
mod cadence;
mod connection;
mod connections;
mod critical_path;
mod error;
mod external;
mod governor;
mod graph;
mod graph_node;
mod job_slots;
mod memory_limits;
mod options;
mod processes;
mod sizes;
mod stages;
mod unit_record;
mod unit_records;
mod workspace;

pub use error::GovernorError;
pub use governor::Governor;
pub use graph::GraphCommand;
pub use options::{BuildOptions, Ending, Observer, Options, Wake};
pub use stages::{Stage, Stages};
