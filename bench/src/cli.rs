//! The command line, and where results go.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use plimsoll_rig::launch::{self, Interrupt};
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::{JobSlots, publish, state};
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
    /// Builds a workload clean under several arms, side by side, and tabulates time, memory and kills.
    Run(RunArgs),
    /// CPU time against plain cargo with a budget far above the need, and the time of no-op builds.
    Overhead(OverheadArgs),
    /// Compares every artifact with plain cargo's, with plain against plain as the control.
    Artifacts(ArtifactsArgs),
    /// Builds while a random live compiler or linker of the build is killed again and again.
    Chaos(ChaosArgs),
    /// Builds with plimsoll, with cargo, with plimsoll, and the other way round: nothing may be rebuilt.
    Switch(AtArgs),
    /// What Plimsoll's own processes take: a shim's time and memory, the governor's share of a core and memory.
    Cost(CostArgs),
    /// A generated workspace of very many small crates: what Plimsoll counts beside what the kernel counts, and the governor's share.
    Crates(CratesArgs),
    /// Several builds of different workloads at once inside one cgroup limit, and one after another with plain cargo.
    Together(TogetherArgs),
    /// rust-analyzer on a workload beside a build, in one cgroup limit: how soon does the check of a saved file begin?
    Editor(EditorArgs),
    /// The heaviest unit of a workload by itself, with each step of shrinking, and inside cgroup limits below its need.
    Oversized(OversizedArgs),
    /// A Cloudflare Worker by worker-build alone and under Plimsoll: memory and time of each step, and the same bytes.
    Worker(WorkerArgs),
    /// The whole way through on a tiny workload, in about a minute.
    Smoke(SmokeArgs),
    /// Enters cgroups and becomes the command (used by the benchmark itself).
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        procs: Vec<PathBuf>,
        #[arg(long)]
        one_token: bool,
        #[arg(long)]
        small_pages: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct Common {
    /// What to build: a folder of the workloads.
    #[arg(long, default_value = "engine")]
    workload: String,
    /// Units at once, for plimsoll, the peer, and the plain build that lines relate to.
    #[arg(long, default_value_t = 8)]
    jobs: u32,
    /// Processors that Plimsoll is to plan for: more than there are press the memory as a larger machine would.
    #[arg(long, value_name = "N")]
    processors: Option<u32>,
    /// Builds in the history of a warm build.
    #[arg(long, default_value_t = 1, value_name = "N")]
    warm_builds: u32,
    /// Forget what is kept of this workload.
    #[arg(long)]
    fresh: bool,
    /// Stop a build without a cgroup limit after this many seconds.
    #[arg(long, default_value_t = 4 * 3600, value_name = "SECONDS")]
    timeout: u64,
    /// Let a walled build swap.
    #[arg(long)]
    swap: bool,
    /// Have the disk of the state folder read so far ahead meanwhile, in KiB; needs root [the kernel's default: 128].
    #[arg(long, value_name = "KIB")]
    read_ahead: Option<u32>,
    /// Measure by the process tree where no cgroup can be made.
    #[arg(long)]
    without_cgroup: bool,
    #[command(flatten)]
    places: JobSlots,
    /// More arguments of the build, for instance `-- --release`.
    #[arg(last = true)]
    extra: Vec<String>,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// plain-jN, formula, floor, mbx, mbx-warm, cold, warm, cold-outside, warm-outside.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "plain-j2,plain-j1,plain-j8,formula,mbx,cold,warm"
    )]
    arms: Vec<Arm>,
    /// 1600MiB, 1.05x-j1, floor, floor+400MiB+25%, far, …
    #[arg(long, value_delimiter = ',')]
    budget: Vec<Budget>,
    /// A memory cgroup as cgroup limit around each arm, named like a budget. Plimsoll then gets a budget only if one is named.
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
    /// The budget.
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
    /// The budget, far above the need.
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
    /// Kill this often at most
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
    /// How long the governor is watched, at each of two lines.
    #[arg(long, default_value_t = 20, value_name = "SECONDS")]
    seconds: u64,
    #[command(flatten)]
    places: JobSlots,
}

#[derive(Args, Debug)]
struct CratesArgs {
    /// How many.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=99_999))]
    crates: u32,
    /// The budget, in MiB or as 1.5GiB.
    #[arg(long, default_value = "420MiB", value_name = "SIZE")]
    memory: Budget,
    /// Units at once.
    #[arg(long, default_value_t = 8)]
    jobs: u32,
    /// Threads that only compute beside the build.
    #[arg(long, default_value_t = 8)]
    busy: u32,
    #[command(flatten)]
    places: JobSlots,
}

#[derive(Args, Debug)]
struct TogetherArgs {
    /// The cgroup limit around all of them, in MiB or as 1.5GiB.
    #[arg(long, value_name = "SIZE")]
    cgroup_limit: Budget,
    /// plain, mbx, plimsoll.
    #[arg(long, value_delimiter = ',', default_value = "plain,mbx,plimsoll")]
    arms: Vec<together::Arm>,
    /// How often each.
    #[arg(long, default_value_t = 3)]
    repeat: u32,
    /// How many of the builds, the smallest first.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=6))]
    builds: u32,
    #[command(flatten)]
    places: JobSlots,
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
    /// Before it, the same with plain cargo.
    #[arg(long)]
    plain: bool,
    /// rust-analyzer's program.
    #[arg(long, value_name = "FILE", default_value = "rust-analyzer")]
    rust_analyzer: PathBuf,
    #[command(flatten)]
    places: JobSlots,
}

#[derive(Args, Debug)]
struct OversizedArgs {
    /// The unit, by its crate's name: aws_sdk_ec2, cranelift_codegen, …
    #[arg(long, value_name = "CRATE")]
    unit: String,
    /// Cgroup limits, as shares of what the unit needs with everything that keeps its output.
    #[arg(long, value_name = "SHARE,…", value_delimiter = ',', default_values_t = [1.1, 0.9, 0.75, 0.6])]
    cgroup_limits: Vec<f64>,
    /// How often each step without a cgroup limit.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct WorkerArgs {
    /// What `crates/cargo-plimsoll/tests/worker/provision.sh` has made.
    #[arg(long, value_name = "DIR")]
    tools: PathBuf,
    /// Units at once.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    jobs: u32,
    #[command(flatten)]
    places: JobSlots,
}

#[derive(Args, Debug)]
struct SmokeArgs {
    /// Only the arms of plain cargo: where Plimsoll is not built yet.
    #[arg(long)]
    plain_only: bool,
    #[command(flatten)]
    common: Common,
}

/// Parses, measures, prints, publishes.
pub(crate) fn main() -> Result<ExitCode> {
    match Cli::parse().command {
        Command::Enter { procs, one_token, small_pages, command } => {
            launch::enter(&procs, one_token, small_pages, &command)?;
            Ok(ExitCode::FAILURE)
        }
        Command::Run(args) => {
            let plan = Plan {
                arms: args.arms,
                lines: args.budget,
                cgroup_limits: args.cgroup_limit,
                repeat: args.repeat,
            };
            let needs = plan.arms.iter().any(|arm| matches!(arm, Arm::Plimsoll { .. }));
            let bench = bench(&args.common, needs)?;
            publish(&args.common.places, &run::run(&bench, &plan)?)
        }
        Command::Overhead(args) => {
            let bench = bench(&args.common, true)?;
            publish(
                &args.common.places,
                &[overhead::overhead(&bench, &args.budget, args.pairs, args.no_ops)?],
            )
        }
        Command::Artifacts(args) => {
            let bench = bench(&args.at.common, true)?;
            publish(
                &args.at.common.places,
                &[artifacts::artifacts(&bench, &args.at.budget, args.kill_every)?],
            )
        }
        Command::Chaos(args) => {
            let bench = bench(&args.at.common, true)?;
            publish(
                &args.at.common.places,
                &[chaos::chaos(&bench, &args.at.budget, args.every, args.seed, args.kills)?],
            )
        }
        Command::Switch(args) => {
            let bench = bench(&args.common, true)?;
            publish(&args.common.places, &[switch::switch(&bench, &args.budget)?])
        }
        Command::Cost(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.places)?;
            let plimsoll = Plimsoll::find(args.places.plimsoll.clone(), None)?;
            let plan = cost::Plan { rounds: args.rounds, jobs: args.jobs, seconds: args.seconds };
            publish(&args.places, &[cost::cost(&state, &plimsoll, &interrupt, plan)?])
        }
        Command::Crates(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.places)?;
            let plimsoll = Plimsoll::find(args.places.plimsoll.clone(), None)?;
            let budget = args.memory.resolve(Default::default())?;
            let plan =
                crates::Plan { crates: args.crates, budget, jobs: args.jobs, busy: args.busy };
            publish(&args.places, &[crates::crates(&state, &plimsoll, &interrupt, plan)?])
        }
        Command::Together(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.places)?;
            let sources = workload::sources(args.places.workloads.clone())?;
            let plimsoll = Plimsoll::find(args.places.plimsoll.clone(), None)?;
            let plan = together::Plan {
                arms: args.arms,
                cgroup_limit: args.cgroup_limit.resolve(Default::default())?,
                repeat: args.repeat,
                builds: args.builds as usize,
            };
            let report = together::together(&state, &sources, &plimsoll, &interrupt, &plan)?;
            publish(&args.places, &[report])
        }
        Command::Editor(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.places)?;
            let sources = workload::sources(args.places.workloads.clone())?;
            let plimsoll = Plimsoll::find(args.places.plimsoll.clone(), None)?;
            let plan = editor::Plan {
                server: args.rust_analyzer,
                workload: args.workload,
                build: args.build,
                cgroup_limit: args.cgroup_limit.resolve(Default::default())?,
                saves: args.saves,
                plain: args.plain,
            };
            let report = editor::editor(&state, &sources, &plimsoll, &interrupt, &plan)?;
            publish(&args.places, &[report])
        }
        Command::Oversized(args) => {
            let bench = bench(&args.common, false)?;
            publish(
                &args.common.places,
                &[oversized::oversized(&bench, &args.unit, args.repeat, &args.cgroup_limits)?],
            )
        }
        Command::Worker(args) => {
            let interrupt = Interrupt::listen()?;
            let state = state(&args.places)?;
            let sources = workload::sources(args.places.workloads.clone())?;
            let plimsoll = Plimsoll::find(args.places.plimsoll.clone(), None)?;
            let fixture = sources.join("../../crates/cargo-plimsoll/tests/worker/site");
            let tools = std::path::absolute(&args.tools)?;
            let plan = worker::Plan { tools, fixture, jobs: args.jobs };
            let report = worker::worker(&state, &plimsoll, &interrupt, &plan)?;
            publish(&args.places, &[report])
        }
        Command::Smoke(mut args) => {
            "tiny".clone_into(&mut args.common.workload);
            args.common.places.no_results = true;
            args.common.without_cgroup = true;
            args.common.fresh = true;
            // Nothing here takes a minute: what hangs is a finding, and is told as one.
            args.common.timeout = args.common.timeout.min(600);
            args.common.places.state = args.common.places.state.join("smoke");
            let bench = bench(&args.common, !args.plain_only)?;
            publish(&args.common.places, &smoke::smoke(&bench, args.plain_only)?)
        }
    }
}

fn bench(common: &Common, needs_plimsoll: bool) -> Result<Bench> {
    let interrupt = Interrupt::listen()?;
    let state = state(&common.places)?;
    let named = &common.places.plimsoll;
    let plimsoll =
        needs_plimsoll.then(|| Plimsoll::find(named.clone(), common.processors)).transpose()?;
    let sources = workload::sources(common.places.workloads.clone())?;
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
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
