//! The messages between shims and the governor, and how they look on the wire.
//!
//! A connection carries one message a budget in each direction. A budget is a verb and fields
//! (`key=value`), separated by tabs; bytes that are not printable ASCII, tabs and `%` are written as
//! `%XX`, so paths need not be UTF-8. The first line from a client is a hello that names
//! [`VERSION`]. Readers skip verbs' fields that they do not know, and refuse verbs that they do not
//! know: an unknown verb from a newer peer closes the connection, and a shim without a governor still
//! builds.
//!
//! ```text
//! shim -> governor   hello … | link … | started | announced | lost | finished | ping | withdraw
//! governor -> shim   admit (+ two file descriptors: the token pipe) | retry | leave | refuse | abort | ungoverned | pong
//! driver -> governor join (+ two file descriptors: Cargo's pipe) | interrupt | leave
//! governor -> driver header | record | differs | shim-lost | script-lost
//! anybody            status -> one line of JSON a build, and an empty one; pause, priority: of one build
//! a newer governor   drain: take no more builds, and leave after the last
//! ```
//!
//! Beside the messages stands what all of Plimsoll's programs must find alike: their environment ([`mod@env`]), its home ([`StateHome`]) and
//! what is written there of an account on which plain Cargo is governed ([`Enabled`]) and of the governor that
//! does it ([`Governing`]).

mod codec;
mod enabled;
pub mod env;
mod governing;
mod home;
mod message;

pub use codec::{DecodeError, LineBuffer, MAX_LINE};
pub use enabled::Enabled;
pub use governing::Governing;
pub use home::{HOME_VARIABLE, StateHome};
pub use message::{Join, Rerun, ToDriver, ToGovernor, ToShim, exact};

/// The protocol's version, in every hello.
pub const VERSION: u32 = 5;
