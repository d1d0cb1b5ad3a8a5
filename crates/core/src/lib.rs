//! What Plimsoll decides, apart from everything that it touches.
//!
//! This crate is pure: it opens no file, reads no clock, no environment and starts no thread. What a
//! compiler invocation is ([`invocation`]), how much memory it will need ([`forecast`]), who runs when
//! ([`schedule`]) and what is said about it ([`event`]) are functions of their arguments, so that the
//! live governor, the property tests and the replay of a recorded build run the same code.
//!
//! Architecture invariant: nothing here depends on another crate of the workspace.

pub mod budget;
pub mod event;
pub mod forecast;
pub mod hard_limit;
pub mod ids;
pub mod invocation;
pub mod measure;
pub mod oversized;
pub mod schedule;
pub mod settings;
pub mod unit;

/// The process name (`comm`, proc(5): 15 bytes at most) of the account's governor's watchdog, by which shims and other
/// governors tell it from what belongs to a build: it hangs below whatever process started it.
pub const WATCHDOG: &str = "plimsoll-watch";
// The kernel keeps 15 bytes of a name (TASK_COMM_LEN).
const _: () = assert!(WATCHDOG.len() <= 15);

pub use ids::{BuildId, BuildNo, CgroupNo, UnitId};
pub use measure::{Bytes, Millis};
