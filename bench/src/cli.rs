//! The command line, and where results go.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::arms::{Arm, Plimsoll};
use crate::bench::Bench;
use crate::launch::{self, Interrupt};
use crate::line::Line;
use crate::run::{Plan, Report};
use crate::store::Store;
use crate::workload::{self, Workload};
use crate::{artifacts, chaos, overhead, run, smoke, switch, table};

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
    /// CPU time against plain cargo with a line far above the need, and the time of no-op builds.
    Overhead(OverheadArgs),
    /// Compares every artifact with plain cargo's, with plain against plain as the control.
    Artifacts(ArtifactsArgs),
    /// Builds while a random live compiler or linker of the build is killed again and again.
    Chaos(ChaosArgs),
    /// Builds with plimsoll, with cargo, with plimsoll, and the other way round: nothing may be rebuilt.
    Switch(AtArgs),
    /// The whole way through on a tiny workload, in about a minute.
    Smoke(SmokeArgs),
    /// Enters cgroups and becomes the command (used by the benchmark itself).
    #[command(hide = true)]
    Enter {
        #[arg(long)]
        procs: Vec<PathBuf>,
        #[arg(long)]
        one_token: bool,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

#[derive(Args, Debug)]
struct Common {
    /// What to build: a folder of the workloads.
    #[arg(long, default_value = "engine")]
    workload: String,
    /// Where the workloads are.
    #[arg(long, value_name = "DIR")]
    workloads: Option<PathBuf>,
    /// Where builds happen and finished arms are kept.
    #[arg(long, value_name = "DIR", default_value = "/tmp/plimsoll-bench")]
    state: PathBuf,
    /// The program `cargo-plimsoll` to measure [default: the one beside this program].
    #[arg(long, value_name = "PATH")]
    plimsoll: Option<PathBuf>,
    /// Units at once, for plimsoll, the peer, and the plain build that lines relate to.
    #[arg(long, default_value_t = 8)]
    jobs: u32,
    /// Builds in the history of a warm build.
    #[arg(long, default_value_t = 1, value_name = "N")]
    warm_builds: u32,
    /// Forget what is kept of this workload.
    #[arg(long)]
    fresh: bool,
    /// Stop a build without a wall after this many seconds.
    #[arg(long, default_value_t = 4 * 3600, value_name = "SECONDS")]
    timeout: u64,
    /// Let a walled build swap.
    #[arg(long)]
    swap: bool,
    /// Measure by the process tree where no cgroup can be made.
    #[arg(long)]
    without_cgroup: bool,
    /// Only print; leave RESULTS.md and the JSON beside it alone.
    #[arg(long)]
    no_results: bool,
    /// Where RESULTS.md and its JSON go [default: the folder of the workloads' parent].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// More arguments of the build, for instance `-- --release`.
    #[arg(last = true)]
    extra: Vec<String>,
}

#[derive(Args, Debug)]
struct RunArgs {
    /// plain-jN, formula, floor, mbx, mbx-warm, cold, warm, cold-unwalled, warm-unwalled.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "plain-j2,plain-j1,plain-j8,formula,mbx,cold,warm"
    )]
    arms: Vec<Arm>,
    /// 1600MiB, 1.05x-j1, floor, floor+400MiB+25%, far, …
    #[arg(long, value_delimiter = ',')]
    line: Vec<Line>,
    /// A memory cgroup as wall around each arm, named like a line. Plimsoll then gets a line only if one is named.
    #[arg(long, value_delimiter = ',')]
    wall: Vec<Line>,
    /// How often each arm runs.
    #[arg(long, default_value_t = 1)]
    repeat: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
struct AtArgs {
    /// The line.
    #[arg(long, default_value = "1.05x-j1")]
    line: Line,
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
    /// The line, far above the need.
    #[arg(long, default_value = "far")]
    line: Line,
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
        Command::Enter { procs, one_token, command } => {
            launch::enter(&procs, one_token, &command)?;
            Ok(ExitCode::FAILURE)
        }
        Command::Run(args) => {
            let plan =
                Plan { arms: args.arms, lines: args.line, walls: args.wall, repeat: args.repeat };
            let needs = plan.arms.iter().any(|arm| matches!(arm, Arm::Plimsoll { .. }));
            let bench = bench(&args.common, needs)?;
            publish(&args.common, &run::run(&bench, &plan)?)
        }
        Command::Overhead(args) => {
            let bench = bench(&args.common, true)?;
            publish(
                &args.common,
                &[overhead::overhead(&bench, &args.line, args.pairs, args.no_ops)?],
            )
        }
        Command::Artifacts(args) => {
            let bench = bench(&args.at.common, true)?;
            publish(
                &args.at.common,
                &[artifacts::artifacts(&bench, &args.at.line, args.kill_every)?],
            )
        }
        Command::Chaos(args) => {
            let bench = bench(&args.at.common, true)?;
            publish(&args.at.common, &[chaos::chaos(&bench, &args.at.line, args.every, args.seed)?])
        }
        Command::Switch(args) => {
            let bench = bench(&args.common, true)?;
            publish(&args.common, &[switch::switch(&bench, &args.line)?])
        }
        Command::Smoke(mut args) => {
            "tiny".clone_into(&mut args.common.workload);
            args.common.no_results = true;
            args.common.without_cgroup = true;
            args.common.fresh = true;
            args.common.state = args.common.state.join("smoke");
            let bench = bench(&args.common, !args.plain_only)?;
            publish(&args.common, &smoke::smoke(&bench, args.plain_only)?)
        }
    }
}

fn bench(common: &Common, needs_plimsoll: bool) -> Result<Bench> {
    let interrupt = Interrupt::listen()?;
    fs::create_dir_all(&common.state)
        .with_context(|| format!("making {}", common.state.display()))?;
    let state = fs::canonicalize(&common.state)
        .with_context(|| format!("resolving {}", common.state.display()))?;
    let plimsoll = needs_plimsoll.then(|| Plimsoll::find(common.plimsoll.clone())).transpose()?;
    let sources = workload::sources(common.workloads.clone())?;
    let store = Store::open(&state)?;
    if common.fresh {
        store.forget_all(&common.workload)?;
    }
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
        without_cgroup: common.without_cgroup,
        interrupt,
    })
}

/// Prints reports, and puts them into RESULTS.md and JSON files. Fails (by exit code) if one is not as promised.
fn publish(common: &Common, reports: &[Report]) -> Result<ExitCode> {
    let results = match &common.results {
        Some(dir) => dir.clone(),
        None => workload::sources(common.workloads.clone())?
            .parent()
            .map(Path::to_owned)
            .unwrap_or_default(),
    };
    for report in reports {
        println!("\n## {}\n\n{}", report.title, report.body);
        if common.no_results {
            continue;
        }
        table::publish(&results.join("RESULTS.md"), &report.title, &report.body)?;
        let dir = results.join("results");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        let file = dir.join(report.slug() + ".json");
        let json = serde_json::to_string_pretty(&report.json)? + "\n";
        fs::write(&file, json).with_context(|| format!("writing {}", file.display()))?;
    }
    let ok = reports.iter().all(|report| report.ok);
    if !ok {
        println!("NOT as promised; see the rows above");
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
