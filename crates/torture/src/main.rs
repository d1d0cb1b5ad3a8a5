//! The fault campaign: many small builds, each with faults drawn from one seed, and a hard look after each.
//!
//! ```text
//! draw -> surround (cgroup limit, swap, small disk, account) -> build under faults -> wait until all of it has gone
//!      -> what is left, and does anything explain the exit status?
//!      -> build again undisturbed: it ends well, with plain cargo's artifacts, and plain cargo finds all of it fresh
//! ```
//!
//! Each build can be had alone again by the seed and its number; the logs of one with findings are kept. What it does
//! not do: judge times or memory. Those are other commands'.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a campaign's output is what it prints"
)]

mod campaign;
mod drawn;
mod faults;
mod one;
mod plan;
mod reference;
mod report;
mod series;
mod stranger;
mod surroundings;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use drawn::Extent;
use plan::Plan;
use plimsoll_rig::launch::{self, Interrupt};
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::Folders;
use plimsoll_rig::workload::sources;

/// Runs many small builds under faults drawn from a seed: nothing is lost or left behind, and every exit status is explained.
#[derive(Parser, Debug)]
#[command(name = "plimsoll-torture", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand, Debug)]
enum Part {
    /// Enters cgroups and becomes the command (used by the campaign itself).
    #[command(hide = true)]
    Enter(launch::Enter),
}

#[derive(Args, Debug)]
struct Options {
    /// The number of builds.
    #[arg(long, default_value_t = 200)]
    builds: u32,
    /// The seed from which every build and fault is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Start no further build after this time.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<u64>,
    /// Run only this build of the campaign, and publish nothing.
    #[arg(long, value_name = "NUMBER")]
    only: Option<u32>,
    /// Leave out the workload that takes half a minute.
    #[arg(long)]
    small: bool,
    /// Run a few small builds, for CI, and publish nothing.
    #[arg(long)]
    smoke: bool,
    #[command(flatten)]
    folders: Folders,
}

/// Enough that each way of starting a build is among them.
const SMOKE_BUILDS: u32 = 6;

/// A machine that looks at every change has two minutes for it.
const SMOKE_AT_MOST: Duration = Duration::from_secs(75);

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("plimsoll-torture: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(Cli { part, options }: Cli) -> Result<ExitCode> {
    match part {
        Some(Part::Enter(enter)) => {
            enter.become_build()?;
            Ok(ExitCode::FAILURE)
        }
        None => torture(options),
    }
}

fn torture(mut options: Options) -> Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    options.folders.no_results |= options.smoke || options.only.is_some();
    let state = plimsoll_rig::report::state(&options.folders)?;
    let sources = sources(options.folders.workloads.clone())?;
    let plimsoll = Plimsoll::find(options.folders.plimsoll.clone(), None)?;
    let minutes = options.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let plan = Plan {
        builds: if options.smoke { options.builds.min(SMOKE_BUILDS) } else { options.builds },
        seed: options.seed,
        at_most: if options.smoke { Some(SMOKE_AT_MOST) } else { minutes },
        only: options.only,
        extent: match (options.smoke, options.small) {
            (true, _) => Extent::Smoke,
            (false, true) => Extent::Small,
            (false, false) => Extent::All,
        },
    };
    let report = series::run(&state, &sources, &plimsoll, &interrupt, &plan)?;
    plimsoll_rig::report::publish(&options.folders, &[report])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
