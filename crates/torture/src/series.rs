//! All builds of a plan, one after another.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use plimsoll_rig::launch::Interrupt;
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::Report;

use crate::campaign::Campaign;
use crate::drawn::Drawn;
use crate::plan::Plan;
use crate::report::{self, Record};
use crate::surroundings::Means;

/// All builds of a plan, or as many as there is time for.
pub(crate) fn run(
    state: &Path,
    sources: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: &Plan,
) -> Result<Report> {
    let means = Means::find(state);
    if let Some(missing) = means.missing() {
        println!("left out, because this user may not have them here: {missing}");
    }
    let references = HashMap::new();
    let mut campaign =
        Campaign { state, sources, plimsoll, interrupt, means, seed: plan.seed, references };
    let start = Instant::now();
    let numbers = match plan.only {
        Some(number) => number..number + 1,
        None => 0..plan.builds,
    };
    let mut records: Vec<Record> = Vec::new();
    for number in numbers {
        if plan.at_most.is_some_and(|most| start.elapsed() > most) {
            println!("the time is over before build {number}");
            break;
        }
        let drawn = Drawn::draw(plan.seed, number, plan.extent);
        let done = campaign.one(number, drawn);
        if done.is_err() && interrupt.check().is_err() {
            println!("interrupted in build {number}");
            break;
        }
        let record =
            done.with_context(|| format!("build {number}; alone again: {}", plan.again(number)))?;
        println!("  {}", record.one_line());
        for finding in &record.findings {
            println!("    {finding}");
        }
        if !record.findings.is_empty() {
            println!("    alone again: {}", plan.again(number));
            println!("    its logs: {}", campaign.folder(number).display());
        }
        records.push(record);
    }
    Ok(report::report(plan, means, &records, start.elapsed()))
}
