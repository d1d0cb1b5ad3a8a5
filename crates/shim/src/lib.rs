//! The shim that stands before each rustc, rustdoc and linker of a build.
//!
//! It starts hundreds of times a build, so it is small: std and rustix, no thread, no allocation to speak
//! of. Who it is it learns from its own name and the environment ([`mod@env`]):
//!
//! ```text
//! plimsoll-rustc <program> args…   Cargo's RUSTC_WRAPPER: a unit, or a question that is passed on
//! plimsoll-rustdoc args…           in rustdoc's place
//! plimsoll-test <program> args…    in the place of Cargo's runner: a test
//! <link dir>/cc args…              in the linker's place, below a compiler that one of the above runs
//! cargo-plimsoll __tool <name> …   before a tool that works on what was compiled
//! ```
//!
//! A unit registers with the governor, waits to be admitted, and then stays the compiler's parent: it
//! passes diagnostics on as they come, kills and runs again when it is told to, and ends as the compiler
//! ended.
//!
//! Invariant: the user's build outranks us. Whatever is missing or broken (no governor, no socket, no
//! temporary directory) the compiler runs, as if we were not there.
//!
//! What is deliberately not here: decisions. When a unit runs, stops or is killed the governor says;
//! stopping and continuing it does by itself, by process descriptor.

pub mod env;
pub mod name;

#[cfg(target_os = "linux")]
mod admission;
#[cfg(target_os = "linux")]
mod allocator;
#[cfg(target_os = "linux")]
mod chained;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod command_line;
#[cfg(target_os = "linux")]
mod connection;
#[cfg(target_os = "linux")]
mod diagnostic;
#[cfg(target_os = "linux")]
mod ending;
#[cfg(target_os = "linux")]
mod leftovers;
#[cfg(target_os = "linux")]
mod link;
#[cfg(target_os = "linux")]
mod linker;
mod loss;
#[cfg(target_os = "linux")]
mod metadata;
#[cfg(target_os = "linux")]
mod orphan;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
pub mod rendezvous;
#[cfg(target_os = "linux")]
mod role;
#[cfg(target_os = "linux")]
mod silence;
#[cfg(target_os = "linux")]
mod stderr;
#[cfg(target_os = "linux")]
mod test_run;
#[cfg(target_os = "linux")]
pub mod tool;
#[cfg(target_os = "linux")]
mod tree;
#[cfg(target_os = "linux")]
mod unit;
#[cfg(target_os = "linux")]
mod way;

#[cfg(target_os = "linux")]
pub use leftovers::clear_doubtful;
#[cfg(target_os = "linux")]
pub use role::main;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::main;
