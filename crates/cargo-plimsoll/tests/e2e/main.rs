//! End to end: real Cargo, real compilers, the real programs of this package, and what can go wrong.
//!
//! Each test has a [`scene::Scene`] of its own: a small workspace, a target directory, a temporary
//! directory and Plimsoll's home. When it ends, the scene looks at what is left: no process, nothing
//! stopped, no temporary file, no half of an artifact. Memory is used on command by a stand-in for rustc
//! ([`fake_rustc`]), which afterwards runs the real one. Nothing here asserts a time; what must be reached
//! is waited for with a deadline that only a broken program meets. What a test needs and this machine lacks (a memory
//! cgroup, another user, a tool) is found by the helper that would use it, and the test is ignored, with the reason.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "what a failed test has to say")]

#[macro_use]
extern crate plimsoll_testing;

mod fake_rustc;
mod oversized;
mod process;
mod scene;
mod settings_files;
mod shells;

mod account;
mod account_governor;
mod bench;
mod budget;
mod bystanders;
mod clean;
mod clocks;
mod commands;
mod deaths;
mod disks;
mod doctor;
mod documents;
mod earlyoom;
mod environment;
mod failures;
mod hard_limit;
mod init;
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

fn main() -> std::process::ExitCode {
    // Not the tests, but what one of them has started.
    if let Some(role) = std::env::var_os(strangers::ROLE) {
        strangers::act(&role);
    }
    plimsoll_testing::run()
}
