//! Measures Plimsoll on real workspaces, side by side with plain Cargo and its peers. See README.md.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's output is what it prints"
)]

mod arms;
mod artifacts;
mod bench;
mod cgroup;
mod chaos;
mod cli;
mod launch;
mod line;
mod log;
mod overhead;
mod run;
mod sampler;
mod smoke;
mod stats;
mod store;
mod switch;
mod table;
mod tree;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main().unwrap_or_else(|error| {
        eprintln!("plimsoll-bench: {error:#}");
        ExitCode::FAILURE
    })
}
