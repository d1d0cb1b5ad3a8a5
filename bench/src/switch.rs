//! `switch`: Plimsoll leaves nothing in cargo's fingerprints. Builds with one, then the other, then the first again.

use anyhow::{Result, bail};
use plimsoll_rig::folders::empty;
use plimsoll_rig::freshness::{Freshness, count_fresh};
use plimsoll_rig::launch::{Build, quick, stderr_of};
use plimsoll_rig::programs;
use plimsoll_rig::report::{Report, commit, machine};
use serde_json::json;

use crate::bench::Bench;
use crate::budget::Budget;

/// Both orders; each build after the first must find every unit fresh.
pub(crate) fn switch(bench: &Bench, budget: &Budget) -> Result<Report> {
    let (floor, one, all) = budget.needs();
    let bytes = budget.resolve(bench.peaks(floor, one, all)?)?;
    let home = bench.state.join("homes").join("switch");
    empty(&home)?;
    let plain = programs::plain(&bench.workload, bench.jobs);
    let plimsoll = bench.plimsoll()?.build(&bench.workload, &home, Some(bytes), bench.jobs);
    let mut rows = Vec::new();
    for order in
        [[("plimsoll", &plimsoll), ("cargo", &plain)], [("cargo", &plain), ("plimsoll", &plimsoll)]]
    {
        bench.workload.clean()?;
        let [(first, build), (second, other)] = order;
        let (measured, log) = bench.once(build, "switch", None)?;
        if measured.exit != Some(0) {
            bail!("`{}` failed; its output is in {}", build.display(), stderr_of(&log).display());
        }
        for (who, after, build) in [(second, first, other), (first, second, build)] {
            let fresh = freshness(bench, build)?;
            rows.push((format!("{who} after {after}"), fresh));
        }
    }
    let ok = rows.iter().all(|(_, it)| it.is_fresh());
    let table: String = rows
        .iter()
        .map(|(what, it)| {
            format!("| {what} | {} | {} | {} |\n", it.fresh, it.rebuilt, it.reasons.join("; "))
        })
        .collect();
    let command =
        format!("switch --workload {} {} --budget {budget}", bench.workload.name, bench.sizes());
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {}\n\n| build | fresh | rebuilt | why |\n|---|---|---|---|\n{table}",
        commit(),
        machine(),
    );
    let json =
        json!({ "command": command, "commit": commit(), "machine": machine(), "builds": rows });
    Ok(Report { title: format!("Switching on {}", bench.workload.name), body, json, ok })
}

/// Builds verbosely and counts what cargo says.
pub(crate) fn freshness(bench: &Bench, build: &Build) -> Result<Freshness> {
    let mut build = build.clone();
    build.args.push("-v".into());
    let (_, stderr) = quick(&build, &bench.interrupt)?;
    Ok(count_fresh(&stderr))
}
