//! The event vocabulary: everything that is ever said about a build, in the order in which it happened.
//!
//! The driver writes one [`Record`] a line into the build's event log (JSON), after one [`Header`]
//! line; the status line, the summary, `top`, `report` and the history are all views of this stream.
//!
//! Compatibility: [`FORMAT`] changes only when an old reader would misread a new log. A reader skips
//! events and fields that it does not know; fields that are added later carry `#[serde(default)]`.

use serde::{Deserialize, Serialize};

use crate::forecast::{ForecastSource, SourceSizes};
use crate::ids::{BuildId, UnitId};
use crate::invocation::UnitKind;
use crate::measure::{Bytes, Millis};
use crate::oversized::Shrink;
use crate::schedule::{BuildStanding, StopReason};
use crate::unit::{CompileConditions, UnitKey};

/// The version of the log format that this crate writes.
pub const FORMAT: u32 = 1;

/// The first line of an event log. No command lines and no environment: logs hold no secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format's version, see [`FORMAT`].
    pub plimsoll_log: u32,
    /// The version of Plimsoll that wrote it.
    pub version: String,
    /// Which build this is.
    pub build: BuildId,
    /// The start, in milliseconds since the Unix epoch.
    pub started_unix_ms: u64,
    /// Cargo's subcommand, without its arguments.
    pub command: String,
    /// The budget at the start.
    #[serde(alias = "line")]
    pub budget: Bytes,
    /// How the budget was named: `1600MiB`, `50%`, `auto`.
    pub memory: String,
    /// Units at once.
    pub jobs: u32,
    /// The processors that were planned for; 0 in logs of before they were noted.
    #[serde(default, skip_serializing_if = "is_none")]
    pub processors: u32,
    /// Whether the target directory was missing or empty when the build began, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_was_empty: Option<bool>,
    /// The directory of the workspace, or where the command runs that is none's; empty in logs of before it was noted.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workspace: String,
}

fn is_none(number: &u32) -> bool {
    *number == 0
}

fn is_no_time(time: &Millis) -> bool {
    *time == Millis::ZERO
}

/// One line of an event log after the header.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, counted from the start of the build.
    pub t: Millis,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What of a build no event says: how it is now, as only its governor knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildLiveState {
    /// Since the start of the build.
    pub elapsed: Millis,
    /// How it stands among the builds of its governor.
    pub standing: BuildStanding,
    /// The budget of all of these together.
    pub machine_budget: Bytes,
}

/// The features of the cold model, recorded so that it can be fitted to real builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColdFacts {
    /// Sizes of sources and dependencies.
    #[serde(flatten)]
    pub sizes: SourceSizes,
    /// Metadata only.
    pub check: bool,
    /// `-C opt-level` is not 0.
    pub optimised: bool,
    /// `-C debuginfo` is not 0.
    pub debuginfo: bool,
}

/// Something that happened in a build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A unit registered and waits.
    Registered {
        /// The unit.
        unit: UnitId,
        /// How people call it.
        title: String,
        /// What it makes.
        kind: UnitKind,
        /// Its name in the history.
        key: UnitKey,
        /// The expected peak of its tree memory.
        forecast: Bytes,
        /// Where the expectation came from.
        source: ForecastSource,
        /// The unit whose process tree it runs in (nested cargo, compiler probes), if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        inside: Option<UnitId>,
        /// What the cold model was given, where it was asked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cold: Option<ColdFacts>,
        /// How it is made, by which one build is compared with another. Boxed: most events are small.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<Box<CompileConditions>>,
    },
    /// A unit may run. `attempt` counts from 1.
    Admitted {
        /// The unit.
        unit: UnitId,
        /// 1 for the first run, 2 for the first retry.
        attempt: u32,
        /// How far it goes to need less: it is expected to cross the budget alone.
        #[serde(default, alias = "diet")]
        shrink: Shrink,
    },
    /// It is compiled by other settings than Cargo's, because a person has agreed to that.
    Slimmed {
        /// The unit.
        unit: UnitId,
        /// What is different, in words.
        changes: String,
    },
    /// Its metadata is written: dependents may start.
    Announced {
        /// The unit.
        unit: UnitId,
    },
    /// Its linker asks to start.
    LinkAsked {
        /// The unit.
        unit: UnitId,
        /// The expected tree memory of the linker.
        forecast: Bytes,
    },
    /// Its linker may start.
    LinkAdmitted {
        /// The unit.
        unit: UnitId,
        /// How long it waited.
        waited: Millis,
    },
    /// Its processes are stopped.
    Suspended {
        /// The unit.
        unit: UnitId,
        /// Why.
        cause: StopReason,
        /// Its tree memory then.
        holds: Bytes,
    },
    /// What it holds is written to the swap while it is stopped.
    PagedOut {
        /// The unit.
        unit: UnitId,
        /// Its tree memory then.
        holds: Bytes,
    },
    /// Its processes run again.
    Resumed {
        /// The unit.
        unit: UnitId,
    },
    /// Plimsoll killed its compiler (or only its linker) to run it again later.
    Killed {
        /// The unit.
        unit: UnitId,
        /// Why.
        cause: StopReason,
        /// Its tree memory then.
        freed: Bytes,
        /// Processor time thrown away.
        lost_cpu: Millis,
        /// Only the linker was killed.
        link_only: bool,
    },
    /// Somebody else ended its compiler or linker (the kernel, earlyoom), or that found no memory: it is run once more, alone.
    Lost {
        /// The unit.
        unit: UnitId,
        /// The signal.
        signal: i32,
        /// Only the linker was lost.
        link_only: bool,
    },
    /// It runs with nothing beside it, and what there is is above the budget: the unit by itself, or with what belongs to
    /// no unit.
    Lone {
        /// The unit.
        unit: UnitId,
        /// What it needs by itself, as far as is known.
        needs: Bytes,
        /// The budget then; 0 in logs of before it was noted, where `needs` is above it.
        #[serde(default)]
        #[serde(alias = "line")]
        budget: Bytes,
        /// What belonged to no unit then: Cargo, Plimsoll, what units and build scripts have left.
        #[serde(default)]
        rest: Bytes,
        /// The largest parts of that, by the names of programs.
        #[serde(default)]
        programs: Vec<(String, Bytes)>,
    },
    /// It will not be run: above the budget with `--oversized refuse`, or above what the machine has.
    Refused {
        /// The unit.
        unit: UnitId,
        /// What it needs, as far as is known.
        needs: Bytes,
        /// The budget.
        #[serde(alias = "line")]
        budget: Bytes,
        /// The user's settings refuse what exceeds the budget by itself; in older logs this is not told.
        #[serde(default)]
        asked: bool,
    },
    /// It ended.
    Finished {
        /// The unit.
        unit: UnitId,
        /// Cargo sees success.
        ok: bool,
        /// The peak of its tree memory over all attempts.
        peak: Bytes,
        /// Processor time of the last attempt.
        cpu: Millis,
        /// From its first admission to its end.
        wall: Millis,
        /// How long it waited for its first admission.
        waited: Millis,
    },
    /// It was told to leave without having run: the build had already failed.
    Left {
        /// The unit.
        unit: UnitId,
    },
    /// The memory of the whole build, and of each unit that runs or is stopped.
    Sample {
        /// Tree memory of everything below the budget.
        used: Bytes,
        /// The budget now.
        #[serde(alias = "line")]
        budget: Bytes,
        /// What the schedule counts on: reservations of all running units and the rest.
        admitted: Bytes,
        /// Units that run.
        running: u32,
        /// Units that wait for admission.
        waiting: u32,
        /// Units that are stopped.
        stopped: u32,
        /// A unit waits for memory while a processor is free for it.
        #[serde(default)]
        short: bool,
        /// How long since the last sample everything stood still for want of memory (PSI `full`).
        #[serde(default, skip_serializing_if = "is_no_time")]
        stalled: Millis,
        /// Tree memory of units that hold a megabyte or more.
        units: Vec<(UnitId, Bytes)>,
    },
    /// Somebody has paused the build in `cargo plimsoll top`, or lets it go on.
    BuildPaused {
        /// Nothing of it runs.
        paused: bool,
    },
    /// The budget moved (`auto`).
    #[serde(alias = "line")]
    Budget {
        /// The budget from now on.
        #[serde(alias = "line")]
        budget: Bytes,
    },
    /// Something that a person should know, in words.
    Notice {
        /// The text, one sentence or two.
        text: String,
    },
    /// The event log cannot be written (any more): what is said from now on is nowhere to be read later.
    Unlogged {
        /// What a person should know of it.
        text: String,
    },
    /// A stage of a staged build is over.
    StageEnded {
        /// Its number, from 1.
        stage: u32,
        /// How many there are.
        of: u32,
        /// Its folders, or packages.
        name: String,
        /// The most that the build held in it.
        peak: Bytes,
        /// Wall time.
        wall: Millis,
    },
    /// The build ended. The last event of a complete log.
    Done {
        /// The exit code (128 + n for a signal).
        exit: i32,
        /// Wall time.
        wall: Millis,
        /// The highest tree memory of everything below the budget.
        peak: Bytes,
        /// Processor time of the governor itself.
        #[serde(default)]
        governor_cpu: Millis,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_of_before_a_field_was_there_are_read() {
        let header = r#"{"plimsoll_log":1,"version":"0.1.0","build":"1-2","started_unix_ms":1,"command":"build","line":1,"memory":"auto","jobs":2}"#;
        let read: Header = serde_json::from_str(header).unwrap();
        assert_eq!((read.processors, read.target_was_empty), (0, None));
        assert_eq!(read.workspace, "");
        assert_eq!(serde_json::to_string(&read).unwrap(), header.replace("line", "budget"));
        let sample = r#"{"t":1,"event":"sample","used":1,"line":1,"admitted":1,"running":1,"waiting":0,"stopped":0,"units":[]}"#;
        let read: Record = serde_json::from_str(sample).unwrap();
        assert!(matches!(read.event, Event::Sample { stalled: Millis::ZERO, short: false, .. }));
        let moved = r#"{"t":1,"event":"line","line":7}"#;
        let read: Record = serde_json::from_str(moved).unwrap();
        assert_eq!(read.event, Event::Budget { budget: Bytes(7) });
        let lone = r#"{"t":1,"event":"lone","unit":1,"needs":9}"#;
        let read: Record = serde_json::from_str(lone).unwrap();
        assert!(matches!(read.event, Event::Lone { budget: Bytes::ZERO, .. }));
        let registered = r#"{"t":1,"event":"registered","unit":1,"title":"a","kind":"lib","key":"0","forecast":1,"source":"cold"}"#;
        let read: Record = serde_json::from_str(registered).unwrap();
        assert!(matches!(read.event, Event::Registered { made: None, .. }));
    }

    #[test]
    fn a_record_is_one_flat_object() {
        let record = Record {
            t: Millis(12),
            event: Event::Admitted { unit: UnitId(3), attempt: 1, shrink: Shrink::SameOutput },
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(
            text,
            r#"{"t":12,"event":"admitted","unit":3,"attempt":1,"shrink":"same-output"}"#
        );
        let former = text.replace("shrink", "diet").replace("same-output", "preserving");
        assert_eq!(serde_json::from_str::<Record>(&former).unwrap(), record);
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
