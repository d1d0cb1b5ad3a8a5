//! What Plimsoll decides, apart from everything that it touches.
//!
//! This crate is pure: it opens no file, reads no clock, no environment and starts no thread. What a
//! compiler invocation is ([`invocation`]), how much memory it will need ([`forecast`]), who runs when
//! ([`schedule`]) and what is said about it ([`event`]) are functions of their arguments, so that the
//! live governor, the property tests and the replay of a recorded build run the same code.
//!
//! Architecture invariant: nothing here depends on another crate of the workspace.

pub mod event;
pub mod forecast;
pub mod ids;
pub mod invocation;
pub mod line;
pub mod measure;
pub mod oversized;
pub mod schedule;
pub mod settings;
pub mod unit;
pub mod wall;

/// The process name (`comm`, proc(5): 15 bytes at most) of the account's governor's keeper, by which shims and other
/// governors tell it from what belongs to a build: it hangs below whatever process started it.
pub const KEEPER: &str = "plimsoll-keeper";

pub use ids::{BuildId, BuildNo, UnitId, WallNo};
pub use measure::{Bytes, Millis};
