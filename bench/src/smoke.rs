//! `smoke`: every part of the benchmark on a tiny workload. What it proves is that the way through works, not a figure.

use anyhow::{Context, Result, bail};
use plimsoll_rig::cgroup::Group;
use plimsoll_rig::report::Report;

use crate::arms::Arm;
use crate::bench::Bench;
use crate::chaos;
use crate::line::Line;
use crate::overhead;
use crate::run::{self, Plan};
use crate::store::{Outcome, Record};
use crate::{artifacts, switch};

/// A line that the tiny workload fits under.
const LINE: &str = "1GiB";

/// A wall that it fits in, with room for what is file-backed.
const WALL: &str = "floor+400MiB";

/// Runs all commands. Each must hold what it promises; times are printed and not judged.
pub(crate) fn smoke(bench: &Bench, plain_only: bool) -> Result<Vec<Report>> {
    let mut arms = vec![Arm::Plain(bench.jobs), Arm::Floor];
    if !plain_only {
        arms.extend([false, true].map(|warm| Arm::Plimsoll { warm, unwalled: false }));
    }
    let line = LINE.parse::<Line>().context("the smoke test's line")?;
    let plan = Plan { arms, lines: vec![line.clone()], walls: Vec::new(), repeat: 1 };
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
            reports.extend(walled(bench)?);
        } else {
            println!(
                "no cgroup can be made here: measured by the process tree, and without the wall"
            );
        }
        reports.push(switch::switch(bench, &line)?);
        reports.push(artifacts::artifacts(bench, &line, None)?);
        // A unit that is alone and takes longer than the time between two kills would never end.
        reports.push(chaos::chaos(bench, &line, 0.5, 1, Some(4))?);
        let mut costs = overhead::overhead(bench, &line, 0, 3)?;
        costs.ok = true;
        reports.push(costs);
    }
    Ok(reports)
}

/// Plimsoll with no option at all, inside a wall that the tiny workload fits in.
fn walled(bench: &Bench) -> Result<Vec<Report>> {
    let arms = vec![Arm::Plimsoll { warm: false, unwalled: false }];
    let walls = vec![WALL.parse::<Line>().context("the smoke test's wall")?];
    let plan = Plan { arms, lines: Vec::new(), walls, repeat: 1 };
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
    if let Some(line) = record.line_bytes.filter(|line| record.peak_bytes > *line) {
        bail!("the arm {} held {} bytes, above its line of {line}", record.arm, record.peak_bytes);
    }
    if record.arm == "cold" && record.plimsoll.is_none() {
        bail!("the arm cold left no event log below PLIMSOLL_HOME");
    }
    Ok(())
}
