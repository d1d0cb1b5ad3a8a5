//! `switch`: Plimsoll leaves nothing in cargo's fingerprints. Builds with one, then the other, then the first again.

use anyhow::{Result, bail};
use serde_json::json;

use crate::arms;
use crate::bench::{Bench, commit, count, empty};
use crate::budget::Budget;
use crate::launch::{Build, quick, stderr_of};
use crate::run::Report;
use crate::table;

/// Both orders; each build after the first must find every unit fresh.
pub(crate) fn switch(bench: &Bench, budget: &Budget) -> Result<Report> {
    let (floor, one, all) = budget.needs();
    let bytes = budget.resolve(bench.peaks(floor, one, all)?)?;
    let home = bench.state.join("homes").join("switch");
    empty(&home)?;
    let plain = arms::plain(&bench.workload, bench.jobs);
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
        table::machine(),
    );
    let json = json!({ "command": command, "commit": commit(), "machine": table::machine(), "builds": rows });
    Ok(Report { title: format!("Switching on {}", bench.workload.name), body, json, ok })
}

/// What a verbose build found.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Freshness {
    /// Packages that were found fresh.
    pub(crate) fresh: u64,
    /// Packages that were not.
    pub(crate) rebuilt: u64,
    /// Cargo's reasons.
    pub(crate) reasons: Vec<String>,
}

impl Freshness {
    /// Everything was fresh, and there was something.
    pub(crate) fn is_fresh(&self) -> bool {
        self.rebuilt == 0 && self.fresh > 0
    }
}

/// Builds verbosely and counts what cargo says.
pub(crate) fn freshness(bench: &Bench, build: &Build) -> Result<Freshness> {
    let mut build = build.clone();
    build.args.push("-v".into());
    let (_, stderr) = quick(&build, &bench.interrupt)?;
    Ok(count_fresh(&stderr))
}

/// What cargo's verbose words say.
pub(crate) fn count_fresh(stderr: &str) -> Freshness {
    let reasons = stderr
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("Dirty "))
        .map(str::to_owned);
    Freshness {
        fresh: count(stderr, "Fresh"),
        rebuilt: count(stderr, "Compiling") + count(stderr, "Running"),
        reasons: reasons.take(3).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebuild_is_seen_with_its_reason() {
        let stderr = "       Fresh serde v1.0.0\n       Dirty app v0.1.0: stale\n   Compiling app v0.1.0\n     Running `rustc`\n";
        let got = count_fresh(stderr);
        assert_eq!((got.fresh, got.rebuilt, got.reasons.len()), (1, 2, 1));
        assert!(!got.is_fresh());
    }
}
