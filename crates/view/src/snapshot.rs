//! A running build as its governor tells it ([`crate::top_json`]), for those who ask.
//!
//! It is read leniently, because the governor may be older or newer: what it does not say is empty, what is not
//! known here is skipped.

use plimsoll_core::Bytes;
use serde::Deserialize;

use crate::cells::one_line;
use crate::state::Counts;
use crate::wording::{amounts, count};

/// One build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Snapshot {
    /// Its id: `<start in Unix milliseconds>-<process id of the driver>`.
    pub build: String,
    /// Cargo's subcommand.
    pub command: String,
    /// The directory of its workspace, or where the command runs.
    pub workspace: String,
    /// Since its start, in milliseconds.
    pub elapsed_ms: u64,
    /// Its share: `low`, `normal`, `high`.
    pub priority: String,
    /// A person waits for it, or for somebody who waits for it.
    pub awaited: bool,
    /// Somebody has asked that nothing of it run.
    pub paused: bool,
    /// Its terminal has stopped it (Ctrl-Z), or somebody by a signal.
    pub stopped_by_signal: bool,
    /// The budget of all builds of its governor together, in bytes; 0 where that is not said.
    pub machine_budget_bytes: u64,
    /// The budget, in bytes.
    pub budget_bytes: u64,
    /// Memory inside the budget, in bytes.
    pub used_bytes: u64,
    /// Jobs at once, at most.
    pub jobs: u32,
    /// Units that run.
    #[serde(rename = "running_units")]
    pub running: usize,
    /// Units that wait.
    #[serde(rename = "waiting_units")]
    pub waiting: usize,
    /// Units that are paused or whose linkers wait.
    #[serde(rename = "paused_units")]
    pub paused_units: usize,
    /// The units that have not ended.
    pub units: Vec<UnitSnapshot>,
}

/// A governor that has not answered: of one build, where that hosts its own, else of all of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Its process.
    pub pid: u32,
    /// The directory in which that runs, where it is one build's.
    pub directory: Option<String>,
    /// The process is stopped, and so cannot answer.
    pub stopped: bool,
}

impl Silent {
    /// What a person should know of it.
    #[must_use]
    pub fn text(&self) -> String {
        let pid = self.pid;
        match (&self.directory, self.stopped) {
            (Some(directory), stopped) => {
                let what = match stopped {
                    true => "is stopped: `fg` in its terminal continues it",
                    false => "does not answer",
                };
                format!("the build in {} (process {pid}) {what}", last_of(directory))
            }
            (None, stopped) => {
                let why = match stopped {
                    true => format!(": it is stopped, and `kill -CONT {pid}` continues it"),
                    false => String::new(),
                };
                format!(
                    "the account's governor (process {pid}) does not answer{why}. Its builds go on without a memory budget"
                )
            }
        }
    }
}

/// The last part of a path.
fn last_of(path: &str) -> String {
    one_line(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
}

impl Snapshot {
    /// The name of its workspace: the last part of the path.
    #[must_use]
    pub fn workspace_name(&self) -> String {
        last_of(&self.workspace)
    }

    /// What it holds of its budget: `1.21 of 1.56 GiB`.
    #[must_use]
    pub fn memory(&self) -> String {
        amounts(Bytes(self.used_bytes), Bytes(self.budget_bytes))
    }

    /// `1 job`, `8 jobs`.
    #[must_use]
    pub fn allowed_jobs(&self) -> String {
        count(self.jobs as usize, "job")
    }

    /// What its units do, and what is to be known of it as a whole.
    #[must_use]
    pub fn doing(&self) -> String {
        let counts = Counts {
            running: self.running,
            waiting: self.waiting,
            paused: self.paused_units,
            ..Counts::default()
        };
        let all = crate::status::counts(counts);
        match (self.stopped_by_signal, self.paused, self.priority.as_str(), self.awaited) {
            // Nothing of it runs, whatever its governor counts.
            (true, ..) => "stopped (Ctrl-Z)".to_owned(),
            (_, true, ..) => "paused (p continues)".to_owned(),
            (_, _, "high", _) => all + "; high priority",
            (_, _, "low", _) => all + "; low priority",
            (_, _, _, true) => all + "; goes first",
            _ => all,
        }
    }
}

/// One unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UnitSnapshot {
    /// How people call it.
    pub title: String,
    /// What it does: `running`, `waiting`, `waiting-to-link`, `paused`.
    pub status: String,
    /// Why it does not run, in a few words; empty where it does.
    pub why: String,
    /// Tree memory now, in bytes.
    pub memory_bytes: u64,
    /// The peak that is expected, in bytes.
    pub forecast_bytes: u64,
    /// Where the forecast came from: `history`, `related`, `cold`.
    pub forecast_from: String,
    /// Since its first admission, in milliseconds; since its registration where it waits for that.
    pub elapsed_ms: u64,
}

impl UnitSnapshot {
    /// What it does, and why where that is said.
    #[must_use]
    pub fn state(&self) -> String {
        let status = match self.status.as_str() {
            "waiting-to-link" => "waiting to link",
            other => other,
        };
        match self.why.as_str() {
            "" => status.to_owned(),
            why => format!("{status}: {why}"),
        }
    }
}
