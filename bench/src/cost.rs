//! `cost`: what Plimsoll's own processes take: a shim's time and memory, the governor's share of a core and memory.
//! Neither judges: the limits stand beside the figures.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{Build, Interrupt};
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::{Report, commit, machine};
use serde_json::json;

use crate::budget::mib;
use crate::cost_flight::{self, Flight, Session};
use crate::cost_rustc::{HOLD, REAL};
use crate::cost_shim::{self, Figures, Run};
use crate::table;

/// A shim takes at most this much time of a unit.
const SHIM_MS: f64 = 2.0;
/// A shim holds at most this.
const SHIM_MIB: f64 = 2.0;
/// The governor takes at most this much of one core.
const GOVERNOR_PCT: f64 = 1.0;
/// The governor holds at most this.
const GOVERNOR_MIB: f64 = 20.0;
/// A budget that nothing here comes near: samples are seldom.
const FAR: u64 = 12 << 30;
/// A budget this much above what the build holds is near: samples are as frequent as they can be.
const NEAR: f64 = 1.5;
/// No smaller budget is taken.
const SMALLEST: u64 = 64 << 20;

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Rounds of compiler runs: directly, as a question, as a unit.
    pub(crate) rounds: u32,
    /// Units in flight.
    pub(crate) jobs: u32,
    /// How long the governor is watched, in seconds.
    pub(crate) seconds: u64,
}

/// Where it happens: folders below the state folder, and programs.
pub(crate) struct Scene<'a> {
    /// Below this.
    pub(crate) dir: PathBuf,
    /// Ctrl-C.
    pub(crate) interrupt: &'a Interrupt,
    plimsoll: &'a Plimsoll,
    rustc: PathBuf,
    cargo: PathBuf,
    real: PathBuf,
}

impl<'a> Scene<'a> {
    fn prepare(state: &Path, plimsoll: &'a Plimsoll, interrupt: &'a Interrupt) -> Result<Self> {
        let dir = state.join("cost");
        empty(&dir)?;
        let bin = dir.join("bin");
        empty(&bin)?;
        let me = std::env::current_exe().context("finding the benchmark's own program")?;
        let named = |name: &str| {
            let path = bin.join(name);
            symlink(&me, &path).with_context(|| format!("making {}", path.display()))?;
            anyhow::Ok(path)
        };
        let scene = Self {
            rustc: named("rustc")?,
            cargo: named("cargo")?,
            real: real_rustc()?,
            dir,
            interrupt,
            plimsoll,
        };
        cost_flight::workspace(&scene.workspace())?;
        Ok(scene)
    }

    fn workspace(&self) -> PathBuf {
        self.dir.join("src")
    }

    /// Where the compilers say that they hold memory.
    pub(crate) fn hold(&self) -> PathBuf {
        self.dir.join("hold")
    }

    /// The target folder.
    pub(crate) fn target(&self) -> PathBuf {
        self.dir.join("target")
    }

    /// A build with the benchmark's own compiler.
    pub(crate) fn build(&self, args: Vec<OsString>, more: Vec<(String, PathBuf)>) -> Build {
        let own = [
            ("CARGO_TARGET_DIR", self.target()),
            ("PLIMSOLL_HOME", self.dir.join("home")),
            ("RUSTC", self.rustc.clone()),
            (REAL, self.real.clone()),
            (HOLD, self.hold()),
            ("CARGO_TERM_PROGRESS_WHEN", "never".into()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value));
        let env = own.into_iter().chain(more).map(|(name, value)| (name, value.into())).collect();
        Build {
            program: self.plimsoll.program.clone().into(),
            args,
            env,
            dir: self.workspace(),
            one_token: false,
            small_pages: false,
        }
    }

    fn shim(&self, rounds: u32) -> Result<Figures> {
        empty(&self.hold())?;
        let path = self.dir.join("shim.json");
        let args: [OsString; 6] = [
            "plimsoll".into(),
            "--memory".into(),
            format!("{FAR}B").into(),
            "--jobs".into(),
            cost_shim::JOBS.to_string().into(),
            "build".into(),
        ];
        let mut env = cost_shim::environment(&path, &self.workspace(), rounds);
        env.push(("CARGO".to_owned(), self.cargo.clone()));
        Session::start(&self.build(args.into(), env), self)?.finish()?;
        let text =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understanding {}", path.display()))
    }
}

/// The compiler behind any proxy: a question to a proxy takes many times as long.
fn real_rustc() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("starting `rustc --print sysroot`")?;
    let path = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("bin/rustc");
    if !path.is_file() {
        bail!("`rustc --print sysroot` names no folder with a compiler: {}", path.display());
    }
    Ok(path)
}

/// A median and its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
struct Median {
    median: f64,
    low: f64,
    high: f64,
}

impl Median {
    /// The interval is that of order statistics (normal approximation of the binomial): no assumption about the shape.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "ranks of some hundred values"
    )]
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let n = values.len() as f64;
        let half = 1.96 * n.sqrt() / 2.0;
        let at = |rank: f64| {
            let last = values.len().saturating_sub(1);
            values.get((rank.max(0.0) as usize).min(last)).copied().unwrap_or(f64::NAN)
        };
        let (low, high) = (at((n / 2.0 - half).floor()), at((n / 2.0 + half).ceil()));
        Self { median: table::median(values.iter().copied()), low, high }
    }
}

/// Measures everything.
pub(crate) fn cost(
    state: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: Plan,
) -> Result<Report> {
    let scene = Scene::prepare(state, plimsoll, interrupt)?;
    println!("  {} rounds of compiler runs", plan.rounds);
    let figures = scene.shim(plan.rounds)?;
    println!("  {} units in flight, the budget far away", plan.jobs);
    let far = cost_flight::measure(&scene, FAR, plan.jobs, plan.seconds)?;
    println!("  {} units in flight, the budget near", plan.jobs);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a memory amount"
    )]
    let budget = ((far.build as f64 * NEAR) as u64 >> 20 << 20).max(SMALLEST);
    let near = cost_flight::measure(&scene, budget, plan.jobs, plan.seconds)?;
    Ok(report(plan, &figures, far, near))
}

fn report(plan: Plan, figures: &Figures, far: Flight, near: Flight) -> Report {
    let difference = |way: usize, of: fn(&Run) -> f64| {
        let pairs = figures.rounds.iter();
        Median::of(pairs.map(|runs| (of(&runs[way]) - of(&runs[0])) / 1e3).collect())
    };
    let by_itself = Median::of(figures.rounds.iter().map(|runs| runs[0].wall / 1e3).collect());
    let (probe, probe_cpu) = (difference(1, |run| run.wall), difference(1, |run| run.cpu));
    let unit = difference(2, |run| run.wall);
    let unit_cpu = Median::of(figures.rounds.iter().map(|runs| runs[2].cpu / 1e3).collect());
    let mut waiting = figures.waiting;
    let mut running = figures.running;
    for flight in [far, near] {
        waiting.take(flight.waiting);
        running.take(flight.running);
    }
    let mut rows = vec![
        time("a compiler that exits at once, by itself", by_itself, None),
        time("shim, a question passed on: added wall time", probe, Some(SHIM_MS)),
        time("shim, a question passed on: added CPU time", probe_cpu, Some(SHIM_MS)),
        time("shim, a governed unit: added wall time", unit, Some(SHIM_MS)),
        time("shim, a governed unit: its own CPU time", unit_cpu, Some(SHIM_MS)),
        memory(
            "shim that waits, anonymous + shared",
            waiting.anonymous,
            waiting.resident,
            SHIM_MIB,
        ),
        memory(
            "shim with a compiler, anonymous + shared",
            running.anonymous,
            running.resident,
            SHIM_MIB,
        ),
    ];
    for (how, it) in [("far", far), ("near", near)] {
        let name = format!(
            "governor, {} units in flight, budget {how} ({:.0} MiB)",
            it.compilers,
            mib(it.budget)
        );
        rows.push(format!(
            "| {name}: share of a core | {:.2}% | {:.0} s | {GOVERNOR_PCT}% | {} |\n",
            it.cpu_pct,
            it.took,
            held(it.cpu_pct <= GOVERNOR_PCT)
        ));
        let what = format!("{name}: anonymous + shared");
        rows.push(memory(&what, it.driver.anonymous, it.driver.resident, GOVERNOR_MIB));
    }
    let command =
        format!("cost --rounds {} --jobs {} --seconds {}", plan.rounds, plan.jobs, plan.seconds);
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {}\n\nTimes are medians of {} paired rounds with their 95% interval, \
         memory the largest of all processes of the kind.\n\n| | figure | | limit | held |\n|---|---|---|---|---|\n{}",
        commit(),
        machine(),
        figures.rounds.len(),
        rows.concat(),
    );
    let json = json!({
        "command": command, "commit": commit(), "machine": machine(),
        "limits": { "shim_ms": SHIM_MS, "shim_mib": SHIM_MIB, "governor_pct": GOVERNOR_PCT, "governor_mib": GOVERNOR_MIB },
        "compiler_ms": by_itself,
        "probe_ms": { "wall": probe, "cpu": probe_cpu },
        "unit_ms": { "wall": unit, "own_cpu": unit_cpu },
        "shim_bytes": { "waiting": waiting, "running": running },
        "governor": { "far": far, "near": near },
    });
    Report { title: "Cost".to_owned(), body, json, ok: true }
}

fn time(what: &str, it: Median, limit: Option<f64>) -> String {
    let limits = limit
        .map_or(" | ".to_owned(), |limit| format!("{limit} ms | {}", held(it.median <= limit)));
    format!("| {what} | {:.2} ms | {:.2} to {:.2} ms | {limits} |\n", it.median, it.low, it.high)
}

fn memory(what: &str, bytes: u64, resident: u64, limit: f64) -> String {
    format!(
        "| {what} | {:.2} MiB | {:.2} MiB resident | {limit} MiB | {} |\n",
        mib(bytes),
        mib(resident),
        held(mib(bytes) <= limit)
    )
}

fn held(is: bool) -> &'static str {
    if is { "yes" } else { "**no**" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_median_is_by_ranks() {
        let got = Median::of((0..=100).rev().map(f64::from).collect());
        assert_eq!(got, Median { median: 50.0, low: 40.0, high: 61.0 });
        assert!(Median::of(Vec::new()).median.is_nan());
    }
}
