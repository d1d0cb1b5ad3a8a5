//! A running build as its governor tells it ([`crate::top_json`]), for those who ask.
//!
//! It is read leniently, because the governor may be older or newer: what it does not say is empty, what is not
//! known here is skipped.

use serde::Deserialize;

/// One build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Its id: `<start in Unix milliseconds>-<process id of the driver>`.
    pub build: String,
    /// Cargo's subcommand.
    pub command: String,
    /// Since its start, in milliseconds.
    pub elapsed_ms: u64,
    /// Its share: `low`, `normal`, `high`.
    pub priority: String,
    /// A person waits for it, or for somebody who waits for it.
    pub awaited: bool,
    /// Somebody has asked that nothing of it run.
    pub paused: bool,
    /// The budget of all builds of its governor together, in bytes; 0 where that is not said.
    pub machine_budget_bytes: u64,
    /// The budget, in bytes.
    pub budget_bytes: u64,
    /// Memory below the budget, in bytes.
    pub used_bytes: u64,
    /// Units at once, at most.
    pub jobs: u32,
    /// Units that run.
    pub running: usize,
    /// Units that wait.
    pub waiting: usize,
    /// Units that are stopped.
    pub stopped: usize,
    /// The units that have not ended.
    pub units: Vec<UnitSnapshot>,
}

/// One unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnitSnapshot {
    /// How people call it.
    pub title: String,
    /// What it does: `running`, `waiting`, `link-held`, `suspended`.
    pub status: String,
    /// Why it does not run, in a few words; empty where it does.
    pub why: String,
    /// Tree memory now, in bytes.
    pub memory_bytes: u64,
    /// The peak that is expected, in bytes.
    pub forecast_bytes: u64,
    /// Where the expectation came from: `history`, `related crate`, `cold`.
    pub forecast_from: String,
    /// Since its first admission, in milliseconds; since its registration where it waits for that.
    pub elapsed_ms: u64,
}

impl UnitSnapshot {
    /// What it does, and why where that is said.
    #[must_use]
    pub fn state(&self) -> String {
        match self.why.as_str() {
            "" => self.status.clone(),
            why => format!("{}: {why}", self.status),
        }
    }
}
