//! The builds of a campaign, one after another.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plimsoll_rig::launch::Interrupt;
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::Report;

use crate::drawn::{Drawn, Extent};
use crate::reference::Reference;
use crate::report::Record;
use crate::surroundings::Means;
use crate::{report, verdict};

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
pub(crate) struct Campaign<'a> {
    pub(crate) state: &'a Path,
    pub(crate) sources: &'a Path,
    pub(crate) plimsoll: &'a Plimsoll,
    pub(crate) interrupt: &'a Interrupt,
    pub(crate) means: Means,
    pub(crate) seed: u64,
    /// What plain cargo makes of each workload by each command.
    pub(crate) references: HashMap<String, Reference>,
}

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

impl Plan {
    /// The command that does one build of this campaign again.
    pub(crate) fn again(&self, number: u32) -> String {
        format!("cargo torture{} --only {number}", self.words())
    }

    /// What else than the number of builds says which they are.
    pub(crate) fn words(&self) -> String {
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
    pub(crate) fn folder(&self, number: u32) -> PathBuf {
        self.state.join("torture").join(format!("{}-{number}", self.seed))
    }
}

/// The bytes of everything below a folder.
pub(crate) fn size(dir: &Path) -> u64 {
    let files = verdict::below(dir).into_iter();
    files.filter_map(|path| fs::symlink_metadata(path).ok()).map(|it| it.len()).sum()
}
