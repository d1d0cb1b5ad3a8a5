//! The shim that stands before each rustc, rustdoc and linker of a build.
//!
//! It starts hundreds of times a build, so it is small: std and rustix, no thread, no allocation to speak
//! of. Who it is it learns from its own name and the environment ([`plimsoll_proto::env`]):
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

mod admission;
mod allocator;
mod chained;
mod child;
mod command_line;
mod connection;
mod diagnostic;
pub mod discovery;
mod ending;
mod link;
mod linker;
mod loss;
mod metadata;
pub mod name;
mod orphan;
mod partial_outputs;
mod probe;
mod program;
mod role;
mod silence;
mod stderr;
mod test_run;
mod tokens;
pub mod tool;
mod transport;
mod tree;
mod unit;

pub use partial_outputs::clear_doubtful;
pub use plimsoll_proto::env;
pub use role::main;
