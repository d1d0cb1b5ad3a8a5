//! `cost`: what Plimsoll's own processes take: a shim's time and memory, the governor's share of a core and memory.
//! Neither judges: the limits stand beside the figures.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::Interrupt;
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::{Report, commit, machine};
use serde_json::json;

use crate::budget::mib;
use crate::cost_flight::{self, Flight, Session};
use crate::cost_scene::CostScene;
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

/// A shim's time and memory, as one build of `rounds` rounds has them.
fn shim(scene: &CostScene<'_>, rounds: u32) -> Result<Figures> {
    empty(&scene.hold())?;
    let path = scene.dir.join("shim.json");
    let args: [OsString; 6] = [
        "plimsoll".into(),
        "--memory".into(),
        format!("{FAR}B").into(),
        "--jobs".into(),
        cost_shim::JOBS.to_string().into(),
        "build".into(),
    ];
    let mut env = cost_shim::environment(&path, &scene.workspace(), rounds);
    env.push(("CARGO".to_owned(), scene.cargo.clone()));
    Session::start(&scene.build(args.into(), env), scene)?.finish()?;
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("understanding {}", path.display()))
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
    let scene = CostScene::prepare(state, plimsoll, interrupt)?;
    cost_flight::workspace(&scene.workspace())?;
    println!("  {} rounds of compiler runs", plan.rounds);
    let figures = shim(&scene, plan.rounds)?;
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
