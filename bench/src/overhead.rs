//! `overhead`: what Plimsoll costs when the budget does not bind, in CPU time of clean builds and in milliseconds of no-op
//! builds, steady and right after a switch. Paired: the two take turns, so that what the machine does hits both.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{Build, quick};
use plimsoll_rig::programs;
use plimsoll_rig::report::{Report, commit, machine};
use serde_json::json;

use crate::bench::Bench;
use crate::budget::Budget;
use crate::stats::{Estimate, mean, ratio};

/// Promised: CPU time at most this much of plain cargo's.
const CPU_RATIO: f64 = 1.01;
/// Promised: a no-op build takes at most this much longer.
const NO_OP_MS: f64 = 30.0;

/// Measures both.
pub(crate) fn overhead(bench: &Bench, budget: &Budget, pairs: u32, no_ops: u32) -> Result<Report> {
    let (_, one, all) = budget.needs();
    let bytes = budget.resolve(bench.peaks(budget.needs().0, one, all)?)?;
    let home = bench.state.join("homes").join("overhead");
    empty(&home)?;
    let plain = programs::plain(&bench.workload, bench.jobs);
    let plimsoll = bench.plimsoll()?.build(&bench.workload, &home, Some(bytes), bench.jobs);
    let mut cpu = Vec::new();
    let mut wall = Vec::new();
    for pair in 0..pairs {
        // Who goes first alternates too.
        let order = if pair % 2 == 0 { [&plain, &plimsoll] } else { [&plimsoll, &plain] };
        let first = clean(bench, order[0])?;
        let second = clean(bench, order[1])?;
        let (a, b) = if pair % 2 == 0 { (first, second) } else { (second, first) };
        println!("  pair {}: plain {:.1} s CPU, plimsoll {:.1} s CPU", pair + 1, a.0, b.0);
        cpu.push((a.0, b.0));
        wall.push((a.1, b.1));
    }
    if pairs == 0 {
        clean(bench, &plain)?;
    }
    let idle = no_op(bench, &plain, &plimsoll, no_ops)?;
    let rows = [
        row("CPU time of a clean build, plimsoll / plain", &ratio(&cpu), "", pairs > 0),
        row("wall time of a clean build, plimsoll / plain", &ratio(&wall), "", pairs > 0),
        row("no-op build, plimsoll - plain", &idle.steady, " ms", true),
        row("no-op build right after a switch, plimsoll - plain", &idle.switched, " ms", true),
        row("plain no-op build right after a switch - steady", &idle.left_behind, " ms", true),
    ];
    let command = format!(
        "overhead --workload {} --pairs {pairs} --no-ops {no_ops} {} --budget {budget}",
        bench.workload.name,
        bench.sizes()
    );
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {} · {pairs} pairs of clean builds, {no_ops} of no-op builds\n\n\
         | | mean | 95% interval |\n|---|---|---|\n{}",
        commit(),
        machine(),
        rows.concat(),
    );
    let cpu_ratio = (pairs > 0).then(|| ratio(&cpu));
    let ok = cpu_ratio.is_none_or(|it| it.low <= CPU_RATIO)
        && idle.steady.low <= NO_OP_MS
        && idle.switched.low <= NO_OP_MS;
    let json = json!({
        "command": command, "commit": commit(), "machine": machine(), "cpu_pairs_s": cpu, "wall_pairs_s": wall,
        "cpu_ratio": cpu_ratio, "no_op_ms": { "steady": idle.steady, "switched": idle.switched, "plain_after_switch": idle.left_behind },
    });
    Ok(Report { title: format!("Overhead on {}", bench.workload.name), body, json, ok })
}

fn row(what: &str, it: &Estimate, unit: &str, measured: bool) -> String {
    if !measured {
        return String::new();
    }
    let digits = if unit.is_empty() { 3 } else { 1 };
    format!(
        "| {what} | {:.digits$}{unit} | {:.digits$} to {:.digits$}{unit} |\n",
        it.mean, it.low, it.high
    )
}

/// CPU and cgroup limit seconds of a clean build.
fn clean(bench: &Bench, build: &Build) -> Result<(f64, f64)> {
    bench.workload.clean()?;
    let (measured, log) = bench.once(build, "overhead", None)?;
    if measured.exit != Some(0) {
        bail!(
            "`{}` failed; its output is in {}",
            build.display(),
            plimsoll_rig::launch::stderr_of(&log).display()
        );
    }
    let cpu = measured.totals.cpu.context("the processor time of the build could not be read")?;
    Ok((cpu.as_secs_f64(), measured.wall.as_secs_f64()))
}

struct Idle {
    steady: Estimate,
    switched: Estimate,
    left_behind: Estimate,
}

/// Plain, plain, plimsoll, plimsoll, again and again: the first of each two comes right after a switch.
fn no_op(bench: &Bench, plain: &Build, plimsoll: &Build, rounds: u32) -> Result<Idle> {
    let time = |build: &Build| -> Result<f64> {
        let (took, stderr) = quick(build, &bench.interrupt)?;
        if plimsoll_rig::freshness::count(&stderr, "Compiling") > 0 {
            bail!(
                "`{}` recompiled something after the other one had built it:\n{stderr}",
                build.display()
            );
        }
        Ok(ms(took))
    };
    // The first of each kind fills caches (of the file system, of cargo) and does not count.
    for build in [plain, plimsoll] {
        time(build)?;
    }
    let (mut steady, mut switched, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (a1, a2) = (time(plain)?, time(plain)?);
        let (b1, b2) = (time(plimsoll)?, time(plimsoll)?);
        steady.push(b2 - a2);
        switched.push(b1 - a2);
        left.push(a1 - a2);
    }
    Ok(Idle { steady: mean(&steady), switched: mean(&switched), left_behind: mean(&left) })
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}
