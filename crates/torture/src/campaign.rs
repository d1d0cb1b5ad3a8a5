//! A campaign on its way: where it happens, with what, and what is known of its workloads so far.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plimsoll_rig::artifacts::Manifest;
use plimsoll_rig::launch::Interrupt;
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::workload::Workload;

use crate::surroundings::Means;

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

/// What plain cargo makes of a workload, and what it takes.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    /// Copied and fetched, with the command's words.
    pub(crate) workload: Workload,
    /// Its artifacts.
    pub(crate) artifacts: Manifest,
    /// Those that differ between two builds of plain cargo.
    pub(crate) unstable: Vec<String>,
    /// Plain cargo's time.
    pub(crate) wall: Duration,
    /// Plain cargo's peak.
    pub(crate) peak: u64,
    /// The finished target folder.
    pub(crate) bytes: u64,
    /// Plimsoll's home after an undisturbed build.
    pub(crate) home: PathBuf,
}

impl Campaign<'_> {
    /// Where a build's own files are.
    pub(crate) fn folder(&self, number: u32) -> PathBuf {
        self.state.join("torture").join(format!("{}-{number}", self.seed))
    }
}
