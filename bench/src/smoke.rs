//! `smoke`: every part of the benchmark on a tiny workload. What it proves is that the way through works, not a figure.

use anyhow::{Context, Result, bail};
use plimsoll_rig::cgroup::Group;
use plimsoll_rig::report::Report;

use crate::arms::Arm;
use crate::bench::Bench;
use crate::budget::Budget;
use crate::chaos;
use crate::overhead;
use crate::run::{self, Plan};
use crate::store::{Outcome, Record};
use crate::{artifacts, switch};

/// A budget that the tiny workload fits under.
const BUDGET: &str = "1GiB";

/// A cgroup limit that it fits in, with room for what is file-backed.
const CGROUP_LIMIT: &str = "floor+400MiB";

/// Runs all commands. Each must hold what it promises; times are printed and not judged.
pub(crate) fn smoke(bench: &Bench, plain_only: bool) -> Result<Vec<Report>> {
    let mut arms = vec![Arm::Plain(bench.jobs), Arm::Floor];
    if !plain_only {
        arms.extend([false, true].map(|warm| Arm::Plimsoll { warm, outside: false }));
    }
    let budget = BUDGET.parse::<Budget>().context("the smoke test's budget")?;
    let plan = Plan { arms, budgets: vec![budget.clone()], cgroup_limits: Vec::new(), repeat: 1 };
    let mut reports = run::run(bench, &plan)?;
    for report in &reports {
        let records = serde_json::from_value::<Vec<Record>>(report.json["arms"].clone())
            .context("reading back the results")?;
        for record in &records {
            check(record)?;
        }
    }
    if !plain_only {
        if Group::make(None).is_ok() {
            reports.extend(limited(bench)?);
        } else {
            println!(
                "no cgroup can be made here: measured by the process tree, and without the cgroup limit"
            );
        }
        reports.push(switch::switch(bench, &budget)?);
        reports.push(artifacts::artifacts(bench, &budget, None)?);
        // A unit that is alone and takes longer than the time between two kills would never end.
        reports.push(chaos::chaos(bench, &budget, 0.5, 1, Some(4))?);
        let mut costs = overhead::overhead(bench, &budget, 0, 3)?;
        costs.ok = true;
        reports.push(costs);
    }
    Ok(reports)
}

/// Plimsoll with no option at all, inside a cgroup limit that the tiny workload fits in.
fn limited(bench: &Bench) -> Result<Vec<Report>> {
    let arms = vec![Arm::Plimsoll { warm: false, outside: false }];
    let cgroup_limits =
        vec![CGROUP_LIMIT.parse::<Budget>().context("the smoke test's cgroup limit")?];
    let plan = Plan { arms, budgets: Vec::new(), cgroup_limits, repeat: 1 };
    run::run(bench, &plan)
}

fn check(record: &Record) -> Result<()> {
    if record.outcome != Outcome::Ok {
        bail!("the arm {} did not end well; what it printed last stands above", record.arm);
    }
    if record.samples == 0 || record.peak_bytes == 0 || record.compiled == 0 {
        bail!(
            "the arm {} was not measured: {} samples, {} units",
            record.arm,
            record.samples,
            record.compiled
        );
    }
    if let Some(budget) = record.budget_bytes.filter(|budget| record.peak_bytes > *budget) {
        bail!(
            "the arm {} held {} bytes, above its budget of {budget}",
            record.arm,
            record.peak_bytes
        );
    }
    if record.arm == "cold" && record.plimsoll.is_none() {
        bail!("the arm cold left no event log below PLIMSOLL_HOME");
    }
    Ok(())
}
