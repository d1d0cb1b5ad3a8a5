//! A recorded build in a few figures: the head of a report, a row of the list of builds, and both as JSON.

use plimsoll_core::event::{Header, Record};
use plimsoll_core::{Bytes, Millis};
use serde_json::{Value, json};

use crate::cells::one_line;
use crate::date::{ago, utc};
use crate::entry::{Entry, Tone};
use crate::labels::{Named, labels};
use crate::state::{BuildState, Status, Unit};
use crate::table::{Align, table};
use crate::wording::{count, names, peak_share, source};

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

/// Units in the JSON's list of the heaviest.
const HEAVIEST: usize = 15;

/// Names of the units that were running when a log breaks off.
const RUNNING_SHOWN: usize = 5;

/// One recorded build, complete or not.
#[derive(Clone, Debug)]
pub struct Outline {
    header: Header,
    state: BuildState,
    /// Its process is still there.
    runs: bool,
}

/// How a build ended, or that it did not.
enum Ending {
    Finished,
    Failed(i32),
    Canceled,
    Killed(i32),
    Running,
    Incomplete,
}

impl Outline {
    /// The sum of a log. `runs`: the build's process is still there.
    #[must_use]
    pub fn new(header: &Header, records: &[Record], runs: bool) -> Self {
        let mut state = BuildState::new(header);
        records.iter().for_each(|record| state.apply(record));
        Self { header: header.clone(), state, runs }
    }

    /// All that is known of it.
    pub(crate) fn state(&self) -> &BuildState {
        &self.state
    }

    /// Which build it is, by workspace, command and time. `now` is in milliseconds since the Unix epoch.
    #[must_use]
    pub fn which(&self, now: u64) -> String {
        let header = &self.header;
        format!(
            "cargo {} in {}, {} ({}), build {}",
            one_line(&header.command),
            self.workspace().unwrap_or_else(|| "an unknown workspace".to_owned()),
            ago(now, header.started_unix_ms),
            utc(header.started_unix_ms),
            one_line(&header.build.0),
        )
    }

    /// The same as a line with a status word.
    #[must_use]
    pub fn heading(&self, now: u64) -> Entry {
        Entry::new(Tone::Info, "Build", self.which(now))
    }

    /// How it ended and what it needed, as a line with a status word.
    #[must_use]
    pub fn result(&self) -> Entry {
        let state = &self.state;
        let share = peak_share(state)
            .map_or_else(String::new, |(_, share)| format!(" ({share} of the memory budget)"));
        let tally = state.tally();
        let needed = format!("peak memory {}{share}, {}", state.peak(), count(tally.ran, "unit"));
        let (tone, word, text) = match self.ending() {
            Ending::Finished => (Tone::Good, "Finished", format!("in {}", state.wall())),
            Ending::Failed(exit) => {
                (Tone::Bad, "Failed", format!("after {} with exit code {exit}", state.wall()))
            }
            Ending::Canceled => (Tone::Caution, "Canceled", format!("after {}", state.wall())),
            Ending::Killed(signal) => {
                (Tone::Bad, "Killed", format!("after {} by signal {signal}", state.wall()))
            }
            Ending::Running => (Tone::Info, "Running", format!("for {}", state.now())),
            Ending::Incomplete => (
                Tone::Caution,
                "Incomplete",
                format!(
                    "the log breaks off after {}: Plimsoll was killed, or the disk was full",
                    state.now()
                ),
            ),
        };
        let live: Vec<&Unit> = state
            .units()
            .filter(|unit| matches!(unit.status, Status::Running | Status::Suspended))
            .collect();
        let then = match self.ending() {
            Ending::Running if !live.is_empty() => "; now: ",
            Ending::Incomplete if !live.is_empty() => "; it was running ",
            _ => return Entry::new(tone, word, format!("{text}; {needed}")),
        };
        let live = names(&labelled(&live), RUNNING_SHOWN);
        Entry::new(tone, word, format!("{text}; {needed}{then}{live}"))
    }

    /// The memory budget at the start, the jobs and the version.
    pub(crate) fn budget(&self) -> Entry {
        let header = &self.header;
        let amount = match header.budget {
            Bytes::MAX => "none".to_owned(),
            budget => budget.to_string(),
        };
        let text = format!(
            "{amount} at the start (--memory {}), {}, plimsoll {}",
            one_line(&header.memory),
            count(header.jobs as usize, "job"),
            one_line(&header.version),
        );
        Entry::new(Tone::Info, "Budget", text)
    }

    fn workspace(&self) -> Option<String> {
        Some(one_line(&self.header.workspace)).filter(|it| !it.is_empty())
    }

    fn ending(&self) -> Ending {
        match self.state.done() {
            Some(done) => match (done.exit, done.signal()) {
                (0, _) => Ending::Finished,
                (_, Some(1 | 2 | 3 | 15)) => Ending::Canceled,
                (_, Some(signal)) => Ending::Killed(signal),
                (exit, None) => Ending::Failed(exit),
            },
            None if self.runs => Ending::Running,
            None => Ending::Incomplete,
        }
    }

    fn result_word(&self) -> &'static str {
        match self.ending() {
            Ending::Finished => "finished",
            Ending::Failed(_) => "failed",
            Ending::Canceled => "canceled",
            Ending::Killed(_) => "killed",
            Ending::Running => "running",
            Ending::Incomplete => "incomplete",
        }
    }

    /// So far, where it has not ended.
    fn wall(&self) -> Millis {
        self.state.done().map_or(self.state.now(), |_| self.state.wall())
    }

    /// What a program reads of a build in a list.
    fn as_row(&self) -> Value {
        json!({
            "build": self.header.build,
            "workspace": self.workspace(),
            "command": self.header.command,
            "started_unix_ms": self.header.started_unix_ms,
            "result": self.result_word(),
            "exit": self.state.done().map(|done| done.exit),
            "wall_ms": self.wall(),
            "peak_bytes": self.state.peak(),
        })
    }

    /// What a program reads of one build.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let (header, state) = (&self.header, &self.state);
        let tally = state.tally();
        let of = |is: fn(&Unit) -> bool| state.which(is).len();
        let heaviest: Vec<&Unit> = state.heaviest().into_iter().take(HEAVIEST).collect();
        let heaviest: Vec<Value> = labelled(&heaviest)
            .into_iter()
            .zip(&heaviest)
            .map(|(name, unit)| {
                json!({
                    "name": name,
                    "title": unit.title,
                    "status": unit.status,
                    "peak_bytes": unit.peak,
                    "forecast_bytes": unit.forecast,
                    "forecast_from": source(unit.source),
                    "cpu_ms": unit.cpu,
                    "wall_ms": unit.wall,
                    "waited_ms": unit.waited,
                    "runs": unit.attempts,
                })
            })
            .collect();
        let budget = |budget: Bytes| (budget < Bytes::MAX).then_some(budget);
        let mut value = json!({
            "plimsoll_report": FORMAT,
            "version": header.version,
            "memory": header.memory,
            "budget_bytes": budget(header.budget),
            "budget_at_peak_bytes": budget(state.budget_at_peak()),
            "jobs": header.jobs,
            "units": {
                "ran": tally.ran,
                "finished": tally.finished,
                "failed": tally.failed,
                "refused": tally.refused,
                "not_started": tally.left,
                "under_way": tally.under_way,
                "nested": tally.inside,
            },
            "paused": of(Unit::was_suspended),
            "paged_out": of(Unit::was_paged_out),
            "killed_and_restarted": of(Unit::was_killed),
            "killed_by_others": of(|unit| unit.lost.is_some()),
            "cpu_ms": state.cpu(),
            "lost_cpu_ms": state.lost_cpu(),
            "governor_cpu_ms": state.done().map(|done| done.governor_cpu),
            "notices": state.notices(),
            "heaviest": heaviest,
        });
        if let (Some(all), Value::Object(row)) = (value.as_object_mut(), self.as_row()) {
            all.extend(row);
        }
        value
    }
}

/// The names of units that stand in one list.
pub(crate) fn labelled(units: &[&Unit]) -> Vec<String> {
    let named =
        |unit: &&Unit| -> (String, _, _) { (unit.title.clone(), unit.kind, unit.made.clone()) };
    let known: Vec<_> = units.iter().map(named).collect();
    let named: Vec<Named<'_>> = known
        .iter()
        .map(|(title, kind, made)| Named { title, kind: *kind, made: made.as_deref() })
        .collect();
    labels(&named)
}

/// Builds as a table, the newest first as they come. `now` is in milliseconds since the Unix epoch.
#[must_use]
pub fn list(builds: &[Outline], now: u64) -> String {
    let rows: Vec<[String; 7]> = builds
        .iter()
        .map(|build| {
            let header = &build.header;
            [
                one_line(&header.build.0),
                ago(now, header.started_unix_ms),
                one_line(&header.command),
                build.result_word().to_owned(),
                build.wall().to_string(),
                build.state.peak().to_string(),
                build.workspace().unwrap_or_else(|| "unknown".to_owned()),
            ]
        })
        .collect();
    let columns = [
        ("build", Align::Left),
        ("started", Align::Left),
        ("command", Align::Left),
        ("result", Align::Left),
        ("time", Align::Right),
        ("peak", Align::Right),
        ("workspace", Align::Left),
    ];
    table(columns, &rows)
}

/// Builds as one JSON object, in the order in which they come.
#[must_use]
pub fn list_json(builds: &[Outline]) -> Value {
    let builds: Vec<Value> = builds.iter().map(Outline::as_row).collect();
    json!({ "plimsoll_builds": FORMAT, "builds": builds })
}
