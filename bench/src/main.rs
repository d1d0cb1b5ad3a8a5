//! Measures Plimsoll on real workspaces, side by side with plain Cargo and its peers. See README.md.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark's output is what it prints"
)]

mod arms;
mod artifacts;
mod bench;
mod budget;
mod chaos;
mod cli;
mod cost;
mod cost_flight;
mod cost_rustc;
mod cost_scene;
mod cost_shim;
mod crates;
mod editor;
mod log;
mod lsp;
mod overhead;
mod oversized;
mod read_ahead;
mod run;
mod running;
mod smoke;
mod stats;
mod store;
mod switch;
mod table;
mod together;
mod worker;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Under a name of Cargo's or the compiler's it stands in for them; `cost` makes such names.
    let name = std::env::args_os().next().unwrap_or_default();
    let run = match Path::new(&name).file_name().and_then(|name| name.to_str()) {
        Some("rustc") => cost_rustc::main,
        Some("cargo") => cost_shim::main,
        _ => cli::main,
    };
    run().unwrap_or_else(|error| {
        eprintln!("plimsoll-bench: {error:#}");
        ExitCode::FAILURE
    })
}
