//! The command line, and where results go.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use plimsoll_rig::launch::{self, Interrupt};
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::{Folders, publish, state};
use plimsoll_rig::workload::{self, Workload};

use crate::arms::Arm;
use crate::bench::Bench;
use crate::budget::Budget;
use crate::read_ahead::ReadAhead;
use crate::run::Plan;
use crate::store::Store;
use crate::{
    artifacts, chaos, cost, crates, editor, overhead, oversized, run, smoke, switch, together,
    worker,
};

/// Measures Plimsoll on real workspaces beside plain Cargo and its peers.
#[derive(Parser, Debug)]
#[command(name = "plimsoll-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Builds a workload clean with plain Cargo, its peers and Plimsoll, and tabulates time, memory and kills.
    Run(RunArgs),
    /// Measures what Plimsoll costs when memory is plenty: CPU time against plain Cargo, and the time of no-op builds.
    Overhead(OverheadArgs),
    /// Compares every artifact with plain Cargo's; two plain builds are the control.
    Artifacts(ArtifactsArgs),
    /// Builds while a random compiler or linker of the build is killed again and again.
    Chaos(ChaosArgs),
    /// Switches between Plimsoll and plain Cargo, both ways: nothing may be rebuilt.
    Switch(AtArgs),
    /// Measures Plimsoll's own processes: a shim's time and memory, the governor's share of a core and its memory.
    Cost(CostArgs),
    /// Builds a generated workspace of thousands of small crates and compares what Plimsoll counts with what the kernel counts.
    Crates(CratesArgs),
    /// Runs builds of different workloads at once inside one cgroup limit, and one after another with plain Cargo.
    Together(TogetherArgs),
    /// Runs rust-analyzer beside a build inside one cgroup limit: how soon does the check of a saved file begin?
    Editor(EditorArgs),
    /// Compiles one oversized unit alone, with each step of shrinking, and inside cgroup limits below its need.
    Oversized(OversizedArgs),
    /// Builds a Cloudflare Worker with worker-build alone and with Plimsoll: memory and time of each step, and the same bytes.
    Worker(WorkerArgs),
    /// Runs everything once on a tiny workload, in about a minute.
    Smoke(SmokeArgs),
    /// Enters cgroups and becomes the command (used by the benchmark itself).
    #[command(hide = true)]
    Enter(launch::Enter),
}

#[derive(Args, Debug)]
struct Common {
    /// What to build: a folder of the workloads.
    #[arg(long, default_value = "engine")]
    workload: String,
    /// Jobs of Plimsoll, of mbx, and of the plain build that budgets relate to.
    #[arg(long, default_value_t = 8)]
    jobs: u32,
    /// Have Plimsoll plan for this many processors; with more than there are, memory is as short as on a larger machine.
    #[arg(long, value_name = "N")]
    processors: Option<u32>,
    /// Builds that come before a warm build and fill its history.
    #[arg(long, default_value_t = 1, value_name = "N")]
    warm_builds: u32,
    /// Measure everything again: forget what is kept of this workload.
    #[arg(long)]
    fresh: bool,
    /// Stop a build without a cgroup limit after this many seconds.
    #[arg(long, default_value_t = 4 * 3600, value_name = "SECONDS")]
    timeout: u64,
    /// Let a build inside a cgroup limit swap.
    #[arg(long)]
    swap: bool,
    /// Set the read-ahead of the state folder's disk for the time of the run, in KiB (the kernel's default is 128); needs root.
    #[arg(long, value_name = "KIB")]
    read_ahead: Option<u32>,
    /// Measure the process tree instead of a cgroup.
    #[arg(long)]
    without_cgroup: bool,
    #[command(flatten)]
    folders: Folders,
    /// More arguments for the build, for example `-- --release`.
    #[arg(last = true)]
    extra: Vec<String>,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// What to build with: plain-jN, formula, floor, mbx, mbx-warm, cold, warm, cold-outside, warm-outside.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "plain-j2,plain-j1,plain-j8,formula,mbx,cold,warm"
    )]
    arms: Vec<Arm>,
    /// Memory budgets: 1600MiB, 1.05x-j1, floor, floor+400MiB+25%, far, …
    #[arg(long, value_delimiter = ',')]
    budget: Vec<Budget>,
    /// Limits of a memory cgroup around each arm, named like budgets; Plimsoll then gets a budget only with --budget.
    #[arg(long, value_delimiter = ',')]
    cgroup_limit: Vec<Budget>,
    /// How often each arm runs.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct AtArgs {
    /// The memory budget: 1600MiB, 1.05x-j1, floor, far, …
    #[arg(long, default_value = "1.05x-j1")]
    budget: Budget,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct OverheadArgs {
    /// Pairs of clean builds.
    #[arg(long, default_value_t = 5)]
    pairs: u32,
    /// Pairs of no-op builds, of each kind.
    #[arg(long, default_value_t = 20)]
    no_ops: u32,
    /// The memory budget, far above the need.
    #[arg(long, default_value = "far")]
    budget: Budget,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct ArtifactsArgs {
    /// Kill a random compiler or linker of the plimsoll build every so many seconds.
    #[arg(long, value_name = "SECONDS")]
    kill_every: Option<f64>,
    #[command(flatten)]
    at: AtArgs,
}

#[derive(Args, Debug)]
struct ChaosArgs {
    /// Seconds between two kills.
    #[arg(long, default_value_t = 3.0, value_name = "SECONDS")]
    every: f64,
    /// Seed of the random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    at: AtArgs,
    /// Kill at most this often.
    #[arg(long, value_name = "N")]
    kills: Option<usize>,
}

#[derive(Args, Debug)]
struct CostArgs {
    /// Rounds of compiler runs: directly, as a question through the shim, as a governed unit.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Units in flight.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=80))]
    jobs: u32,
    /// How long to watch the governor, at each of two budgets.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    seconds: u64,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Args, Debug)]
struct CratesArgs {
    /// How many crates.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    crates: u32,
    /// The budget, in MiB or as 1.5GiB.
    #[arg(long, default_value = "420MiB", value_name = "SIZE")]
    memory: Budget,
    /// Jobs of the build.
    #[arg(long, default_value_t = 8)]
    jobs: u32,
    /// Threads that compute beside the build, so that the machine is busy.
    #[arg(long, default_value_t = 8)]
    busy: u32,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Args, Debug)]
struct TogetherArgs {
    /// The cgroup limit around all of them, in MiB or as 1.5GiB.
    #[arg(long, value_name = "SIZE")]
    cgroup_limit: Budget,
    /// What to build with: plain, mbx, plimsoll.
    #[arg(long, value_delimiter = ',', default_value = "plain,mbx,plimsoll")]
    arms: Vec<together::Arm>,
    /// How often each arm runs.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// How many of the six builds to run, the smallest first.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=6))]
    builds: u32,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Args, Debug)]
struct EditorArgs {
    /// The cgroup limit around both, in MiB or as 1.5GiB.
    #[arg(long, value_name = "SIZE")]
    cgroup_limit: Budget,
    /// The workspace that rust-analyzer is opened on.
    #[arg(long, default_value = "service")]
    workload: String,
    /// The workspace that is built beside it.
    #[arg(long, default_value = "engine")]
    build: String,
    /// How often a file is saved.
    #[arg(long, default_value_t = 5)]
    saves: u32,
    /// Measure plain Cargo first.
    #[arg(long)]
    plain: bool,
    /// rust-analyzer's program.
    #[arg(long, value_name = "FILE", default_value = "rust-analyzer")]
    rust_analyzer: PathBuf,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Args, Debug)]
struct OversizedArgs {
    /// The unit, by its crate's name: aws_sdk_ec2, cranelift_codegen, …
    #[arg(long, value_name = "CRATE")]
    unit: String,
    /// Cgroup limits, as shares of what the unit needs after all shrinking that keeps its output.
    #[arg(long = "cgroup-limit", value_name = "SHARE,…", value_delimiter = ',', default_values_t = [1.1, 0.9, 0.75, 0.6])]
    cgroup_limits: Vec<f64>,
    /// How often each step without a cgroup limit runs.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct WorkerArgs {
    /// The folder that `crates/cargo-plimsoll/tests/worker/provision.sh` made.
    #[arg(long, value_name = "DIR")]
    tools: PathBuf,
    /// Jobs of the build.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    #[command(flatten)]
    folders: Folders,
}

#[derive(Args, Debug)]
struct SmokeArgs {
    /// Run only plain Cargo, for a machine on which Plimsoll is not built yet.
    #[arg(long)]
    plain_only: bool,
    #[command(flatten)]
    common: Common,
}

/// Parses, measures, prints, publishes.
pub(crate) fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Enter(enter) => {
            enter.become_build()?;
            Ok(ExitCode::FAILURE)
        }
        Command::Run(args) => {
            let plan = Plan {
                arms: args.arms,
                budgets: args.budget,
                cgroup_limits: args.cgroup_limit,
                repeat: args.repeat,
            };
            let needs = plan.arms.iter().any(|arm| matches!(arm, Arm::Plimsoll { .. }));
            let bench = bench(&args.common, needs)?;
            publish(&args.common.folders, &run::run(&bench, &plan)?)
        }
        Command::Overhead(args) => {
            let bench = bench(&args.common, true)?;
            publish(
                &args.common.folders,
                &[overhead::overhead(&bench, &args.budget, args.pairs, args.no_ops)?],
            )
        }
        Command::Artifacts(args) => {
            let bench = bench(&args.at.common, true)?;
            publish(
                &args.at.common.folders,
                &[artifacts::artifacts(&bench, &args.at.budget, args.kill_every)?],
            )
        }
        Command::Chaos(args) => {
            let bench = bench(&args.at.common, true)?;
            publish(
                &args.at.common.folders,
                &[chaos::chaos(&bench, &args.at.budget, args.every, args.seed, args.kills)?],
            )
        }
        Command::Switch(args) => {
            let bench = bench(&args.common, true)?;
            publish(&args.common.folders, &[switch::switch(&bench, &args.budget)?])
        }
        Command::Cost(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.folders)?;
            let plimsoll = Plimsoll::find(args.folders.plimsoll.clone(), None)?;
            let plan = cost::Plan { rounds: args.rounds, jobs: args.jobs, seconds: args.seconds };
            publish(&args.folders, &[cost::cost(&state, &plimsoll, &interrupt, plan)?])
        }
        Command::Crates(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.folders)?;
            let plimsoll = Plimsoll::find(args.folders.plimsoll.clone(), None)?;
            let budget = args.memory.resolve(Default::default())?;
            let plan =
                crates::Plan { crates: args.crates, budget, jobs: args.jobs, busy: args.busy };
            publish(&args.folders, &[crates::crates(&state, &plimsoll, &interrupt, plan)?])
        }
        Command::Together(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.folders)?;
            let sources = workload::sources(args.folders.workloads.clone())?;
            let plimsoll = Plimsoll::find(args.folders.plimsoll.clone(), None)?;
            let plan = together::Plan {
                arms: args.arms,
                cgroup_limit: args.cgroup_limit.resolve(Default::default())?,
                repeat: args.repeat,
                builds: args.builds as usize,
            };
            let report = together::together(&state, &sources, &plimsoll, &interrupt, &plan)?;
            publish(&args.folders, &[report])
        }
        Command::Editor(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.folders)?;
            let sources = workload::sources(args.folders.workloads.clone())?;
            let plimsoll = Plimsoll::find(args.folders.plimsoll.clone(), None)?;
            let plan = editor::Plan {
                server: args.rust_analyzer,
                workload: args.workload,
                build: args.build,
                cgroup_limit: args.cgroup_limit.resolve(Default::default())?,
                saves: args.saves,
                plain: args.plain,
            };
            let report = editor::editor(&state, &sources, &plimsoll, &interrupt, &plan)?;
            publish(&args.folders, &[report])
        }
        Command::Oversized(args) => {
            let bench = bench(&args.common, false)?;
            publish(
                &args.common.folders,
                &[oversized::oversized(&bench, &args.unit, args.repeat, &args.cgroup_limits)?],
            )
        }
        Command::Worker(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.folders)?;
            let sources = workload::sources(args.folders.workloads.clone())?;
            let plimsoll = Plimsoll::find(args.folders.plimsoll.clone(), None)?;
            let fixture = sources.join("../../crates/cargo-plimsoll/tests/worker/site");
            let tools = std::path::absolute(&args.tools)?;
            let plan = worker::Plan { tools, fixture, jobs: args.jobs };
            let report = worker::worker(&state, &plimsoll, &interrupt, &plan)?;
            publish(&args.folders, &[report])
        }
        Command::Smoke(mut args) => {
            "tiny".clone_into(&mut args.common.workload);
            args.common.folders.no_results = true;
            args.common.without_cgroup = true;
            args.common.fresh = true;
            // Nothing here takes a minute: what hangs is a finding, and is told as one.
            args.common.timeout = args.common.timeout.min(600);
            args.common.folders.state = args.common.folders.state.join("smoke");
            let bench = bench(&args.common, !args.plain_only)?;
            publish(&args.common.folders, &smoke::smoke(&bench, args.plain_only)?)
        }
    }
}

fn bench(common: &Common, needs_plimsoll: bool) -> Result<Bench> {
    let interrupt = Interrupt::listen()?;
    let state = state(&common.folders)?;
    let named = &common.folders.plimsoll;
    let plimsoll =
        needs_plimsoll.then(|| Plimsoll::find(named.clone(), common.processors)).transpose()?;
    let sources = workload::sources(common.folders.workloads.clone())?;
    let store = Store::open(&state)?;
    if common.fresh {
        store.forget_all(&common.workload)?;
    }
    let read_ahead = common.read_ahead.map(|kib| ReadAhead::set(&state, kib)).transpose()?;
    let workload = Workload::prepare(&sources, &state, &common.workload, &common.extra)?;
    Ok(Bench {
        workload,
        extra: common.extra.clone(),
        store,
        state,
        jobs: common.jobs,
        plimsoll,
        warm_builds: common.warm_builds,
        timeout: Duration::from_secs(common.timeout),
        swap: common.swap,
        read_ahead,
        without_cgroup: common.without_cgroup,
        interrupt,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// The arguments in `text` of what stands in backticks behind one of these names of the program.
    fn commands(text: &str, programs: &[&str]) -> Vec<String> {
        let quoted = text.split('`').skip(1).step_by(2);
        let lines = text.lines().map(|line| line.split(" #").next().unwrap_or(line));
        let after = |said: &str| {
            programs.iter().find_map(|program| said.strip_prefix(program)).map(str::to_owned)
        };
        quoted.chain(lines).filter_map(after).collect()
    }

    #[test]
    fn every_command_in_the_documents_parses() {
        let documents = [
            (include_str!("../README.md"), 15),
            (include_str!("../RESULTS.md"), 20),
            (include_str!("../NOTES.md"), 0),
            (include_str!("../../docs/src/comparison.md"), 1),
        ];
        for (text, least) in documents {
            let programs = ["B ", "plimsoll-bench ", "cargo run --release -p plimsoll-bench -- "];
            let all = commands(text, &programs);
            assert!(all.len() >= least, "{all:?}");
            for command in all {
                // Named alone, where it is spoken of.
                if Cli::command().find_subcommand(command.trim()).is_some() {
                    continue;
                }
                let words = std::iter::once("plimsoll-bench").chain(command.split_whitespace());
                if let Err(error) = Cli::try_parse_from(words) {
                    panic!("`plimsoll-bench {command}`: {error}");
                }
            }
        }
    }
}
