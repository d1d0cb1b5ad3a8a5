//! End to end: real Cargo, real compilers, the real programs of this package, and what can go wrong.
//!
//! Each test has a [`scene::Scene`] of its own: a small workspace, a target directory, a temporary
//! directory and Plimsoll's home. When it ends, the scene looks at what is left: no process, nothing
//! stopped, no temporary file, no half of an artifact. Memory is used on command by a stand-in for rustc
//! ([`fake_rustc`]), which afterwards runs the real one. Nothing here asserts a time; what must be reached
//! is waited for with a deadline that only a broken program meets.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "what a skipped or failed test has to say")]

mod fake_rustc;
mod giants;
mod process;
mod scene;
mod settings_files;
mod shells;
mod wall;

mod account;
mod account_governor;
mod bench;
mod bystanders;
mod clean;
mod clocks;
mod commands;
mod deaths;
mod disks;
mod doctor;
mod earlyoom;
mod environment;
mod failures;
mod guides;
mod hard;
mod init;
mod line;
mod nested;
mod retries;
mod same;
mod silent_governor;
mod staged;
mod strangers;
mod terminal;
mod test_runs;
mod tools;
mod verdicts;
mod worker;
