//! `torture`: many small builds, each with faults drawn from one seed, and a hard look after each.
//!
//! ```text
//! draw -> surround (cgroup limit, swap, small disk, account) -> build under blows -> wait until all of it has gone
//!      -> what is left, and does anything explain the exit status?
//!      -> build again undisturbed: it ends well, with plain cargo's artifacts, and plain cargo finds all of it fresh
//! ```
//!
//! Each build can be had alone again by the seed and its number; the logs of one with findings are kept. What it does
//! not do: judge times or memory. Those are other commands'.

mod drawn;
mod faults;
mod one;
mod reference;
mod report;
mod stranger;
mod surroundings;
mod verdict;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::arms::Plimsoll;
use crate::launch::Interrupt;
use crate::run::Report;
use drawn::Drawn;
pub(crate) use drawn::Extent;
use reference::Reference;
use report::Record;
use surroundings::Means;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Builds at most.
    pub(crate) builds: u32,
    /// What everything is drawn from.
    pub(crate) seed: u64,
    /// No build begins after so long.
    pub(crate) at_most: Option<Duration>,
    /// Only this one of them.
    pub(crate) only: Option<u32>,
    /// Of what it is drawn.
    pub(crate) extent: Extent,
}

/// A campaign on its way.
struct Campaign<'a> {
    state: &'a Path,
    sources: &'a Path,
    plimsoll: &'a Plimsoll,
    interrupt: &'a Interrupt,
    means: Means,
    seed: u64,
    /// What plain cargo makes of each workload by each command.
    references: HashMap<String, Reference>,
}

/// All builds of a plan, or as many as there is time for.
pub(crate) fn torture(
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

impl Plan {
    /// The command that does one build of this campaign again.
    fn again(&self, number: u32) -> String {
        format!("cargo xtask torture{} --only {number}", self.words())
    }

    /// What else than the number of builds says which they are.
    fn words(&self) -> String {
        let extent = match self.extent {
            Extent::All => "",
            Extent::Small => " --small",
            Extent::Smoke => " --smoke",
        };
        format!(" --seed {}{extent}", self.seed)
    }
}

impl Campaign<'_> {
    /// Where a build's own files are.
    fn folder(&self, number: u32) -> PathBuf {
        self.state.join("torture").join(format!("{}-{number}", self.seed))
    }
}

/// The bytes of everything below a folder.
fn size(dir: &Path) -> u64 {
    let files = verdict::below(dir).into_iter();
    files.filter_map(|path| fs::symlink_metadata(path).ok()).map(|it| it.len()).sum()
}
