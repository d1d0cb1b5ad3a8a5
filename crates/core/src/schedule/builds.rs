//! The builds that share the machine: what each asked for, and whose turn it is.
//!
//! Each build has a queue of its own; these are merged by three rules. Builds that a person waits for go before
//! those that nobody watches. Among equals goes first whoever has the shortest path, where that is known: so a
//! small build among large ones ends nearly as soon as alone, and those lose no more than its length. (The whole path,
//! not what is left of it: two alike would overtake each other in turns, and both end late.) But nobody is
//! given more than [`AHEAD`] before the others: whoever was given least so far goes first then, measured by weight,
//! each admission being charged with the processor time that is expected of it (start-time fair queueing, Goyal, Vin
//! and Cheng 1996). And a build in which nothing has run for a while goes before everybody, so that each moves.
//!
//! The small build whose turn it is does not wait for processors that the others have ([`Builds::runs_ahead`]).
//!
//! What it deliberately does not do: say what fits. That is the same for all, whoever asks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::stages;
use super::unit::{RunState, UnitTable};
use crate::ids::{BuildNo, UnitId};
use crate::measure::{Bytes, Millis};
use crate::oversized::Oversized;

/// A build that waits for so long without a single unit that runs goes before everybody else: longer than a small
/// build takes as a whole, so that five large ones do not share its processors with it.
const STARVED: Millis = Millis(30_000);

/// How much processor time a build is given before others of its rank because it is shorter: more than a small build
/// needs as a whole, and less than anybody waits for without a thought.
const AHEAD: Millis = Millis(60_000);

/// How much of the machine a build is given beside others that want as much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A quarter of what a build gets to which nobody has given a priority.
    Low,
    /// What a build has to which nobody has given one.
    #[default]
    Normal,
    /// Four times as much.
    High,
}

impl Priority {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// What a millisecond of processor time is charged with.
    fn price(self) -> u64 {
        match self {
            Self::Low => 16,
            Self::Normal => 4,
            Self::High => 1,
        }
    }
}

impl FromStr for Priority {
    type Err = BadPriority;

    fn from_str(text: &str) -> Result<Self, BadPriority> {
        let all = [Self::Low, Self::Normal, Self::High];
        let word = text.trim();
        let found = all.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(word));
        found.ok_or_else(|| BadPriority(text.to_owned()))
    }
}

/// What was written is no priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPriority(String);

impl fmt::Display for BadPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a priority; write `low`, `normal` or `high`", self.0)
    }
}

impl std::error::Error for BadPriority {}

/// What a build asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuildTerms {
    /// Units at once, and threads at once, at most: what Cargo calls jobs.
    pub jobs: u32,
    /// What may be done with a unit that is above the budget by itself.
    pub oversized: Oversized,
    /// The build goes on after a failure (`--keep-going`).
    pub keep_going: bool,
    /// A line of its own, inside the machine's.
    pub budget: Option<Bytes>,
    /// How many places were on Cargo's pipe at first, where that is ours, so that it can be said how many there are to
    /// be.
    pub job_slots: Option<u32>,
    /// Its share.
    pub priority: Priority,
    /// A person waits for it.
    pub interactive: bool,
    /// Its units are admitted stage by stage: each waits until its stage is known ([`super::Input::Stage`]).
    pub staged: bool,
}

impl Default for BuildTerms {
    fn default() -> Self {
        Self {
            jobs: u32::MAX,
            oversized: Oversized::default(),
            keep_going: false,
            budget: None,
            job_slots: None,
            priority: Priority::Normal,
            interactive: false,
            staged: false,
        }
    }
}

/// How a build stands among the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BuildStanding {
    /// Its share.
    pub priority: Priority,
    /// A person waits for it, or for somebody who waits for it.
    pub awaited: bool,
    /// Somebody has asked that nothing of it run.
    pub paused: bool,
    /// Its terminal has stopped it (Ctrl-Z), or somebody by a signal.
    pub stands: bool,
}

/// One build.
#[derive(Debug)]
pub(super) struct ScheduledBuild {
    pub(super) terms: BuildTerms,
    /// Somebody that a person waits for waits for a lock that this build holds.
    pub(super) lifted: bool,
    /// Somebody has asked that nothing of it run.
    pub(super) paused: bool,
    /// Its first process is stopped, as by a terminal's Ctrl-Z: nobody here has stopped its units, and most stand still.
    pub(super) stands: bool,
    /// Memory of it that belongs to no unit.
    pub(super) rest: Bytes,
    /// Places on its Cargo's pipe, free and taken.
    pub(super) job_slots: u32,
    /// The one unit of it that its own budget never suspends or kills; see [`UnitTable::anchor`].
    pub(super) anchor: Option<UnitId>,
    /// A unit of it waits for memory while a processor is free for it.
    pub(super) short: bool,
    /// What its admissions were charged with so far.
    charged: u64,
    /// The processor time that is expected of all its admissions.
    given: Millis,
    /// The longest path to its end that a unit of it has had.
    pub(super) path: Option<Millis>,
    /// Where it stands, if it is staged.
    pub(super) stage: stages::StageStanding,
    /// Since when it has waited without anything that runs.
    waits_since: Option<Millis>,
}

impl ScheduledBuild {
    pub(super) fn new(terms: BuildTerms) -> Self {
        Self {
            terms,
            lifted: false,
            paused: false,
            stands: false,
            rest: Bytes::ZERO,
            job_slots: terms.job_slots.unwrap_or_default(),
            anchor: None,
            short: false,
            charged: 0,
            given: Millis::ZERO,
            path: None,
            stage: stages::StageStanding::default(),
            waits_since: None,
        }
    }

    /// A person waits for it, or for somebody who waits for it.
    pub(super) fn goes_first(&self) -> bool {
        self.lifted || (self.terms.interactive && self.terms.priority != Priority::Low)
    }

    pub(super) fn standing(&self) -> BuildStanding {
        let (priority, awaited) = (self.terms.priority, self.goes_first());
        BuildStanding { priority, awaited, paused: self.paused, stands: self.stands }
    }

    fn starves(&self, now: Millis) -> bool {
        self.waits_since.is_some_and(|since| now - since >= STARVED)
    }
}

/// Its place among the builds; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// False sorts first.
    waits_its_turn: bool,
    in_the_background: bool,
    /// By how much it was given more than the others, in whole [`AHEAD`]s.
    ahead: u64,
    /// Its longest path; the largest where that is not known.
    path: Millis,
    /// What it was given, where no path is known.
    charged: u64,
    /// Who came first.
    no: BuildNo,
}

/// All builds.
#[derive(Debug, Default)]
pub(super) struct Builds {
    builds: BTreeMap<BuildNo, ScheduledBuild>,
}

impl Builds {
    /// A build came, or asks for something else than before.
    pub(super) fn open(&mut self, no: BuildNo, terms: BuildTerms) {
        match self.builds.get_mut(&no) {
            Some(build) => build.terms = terms,
            None => _ = self.builds.insert(no, ScheduledBuild::new(terms)),
        }
    }

    pub(super) fn close(&mut self, no: BuildNo) {
        self.builds.remove(&no);
    }

    pub(super) fn get(&self, no: BuildNo) -> Option<&ScheduledBuild> {
        self.builds.get(&no)
    }

    pub(super) fn with(&mut self, no: BuildNo, change: impl FnOnce(&mut ScheduledBuild)) {
        self.builds.get_mut(&no).map(change).unwrap_or_default();
    }

    pub(super) fn numbers(&self) -> Vec<BuildNo> {
        self.builds.keys().copied().collect()
    }

    /// What a build asked for; what nobody has asked for where it is not known.
    pub(super) fn terms(&self, no: BuildNo) -> BuildTerms {
        self.get(no).map(|build| build.terms).unwrap_or_default()
    }

    /// Nobody can wait for what it has: it was paused, or stands still by itself.
    pub(super) fn is_paused(&self, no: BuildNo) -> bool {
        self.get(no).is_some_and(|build| build.paused || build.stands)
    }

    pub(super) fn goes_first(&self, no: BuildNo) -> bool {
        self.get(no).is_some_and(ScheduledBuild::goes_first)
    }

    /// Whose turn it is among the builds.
    pub(super) fn turns(&self, now: Millis, units: &UnitTable) -> BTreeMap<BuildNo, Turn> {
        let paths = paths(units);
        let charged = |no: &BuildNo| self.get(*no).map_or(0, |build| build.charged);
        let least = paths.keys().map(charged).min().unwrap_or_default();
        paths.iter().map(|(no, path)| (*no, self.turn(*no, now, least, *path))).collect()
    }

    /// The build that does not wait for a processor which another build's unit has: the one whose turn it is, while
    /// it is small. Its way to the end is then nearly as long as alone; where it had to wait for each processor anew,
    /// and its Cargo to wait with it, it would be several times that.
    pub(super) fn runs_ahead(&self, now: Millis, units: &UnitTable) -> Option<BuildNo> {
        let may_run = |no: &BuildNo| !self.is_paused(*no);
        let turns = self.turns(now, units).into_iter().filter(|(no, _)| may_run(no));
        let (no, turn) = turns.min_by_key(|(_, turn)| *turn)?;
        let is_small = self.get(no).is_some_and(|build| build.given < AHEAD);
        (is_small && turn.path < Millis(u64::MAX)).then_some(no)
    }

    fn turn(&self, no: BuildNo, now: Millis, least: u64, path: Option<Millis>) -> Turn {
        let build = self.get(no);
        let charged = build.map_or(0, |build| build.charged);
        let path = path.max(build.and_then(|build| build.path));
        Turn {
            waits_its_turn: !build.is_some_and(|build| build.starves(now)),
            in_the_background: !build.is_some_and(ScheduledBuild::goes_first),
            ahead: charged.saturating_sub(least) / (AHEAD.0 * Priority::Normal.price()),
            path: path.unwrap_or(Millis(u64::MAX)),
            charged: if path.is_some() { 0 } else { charged },
            no,
        }
    }

    /// A unit of it was admitted of which so much work is expected.
    pub(super) fn charge(&mut self, no: BuildNo, work: Millis) {
        self.with(no, |build| {
            build.charged += work.0.max(1) * build.terms.priority.price();
            build.given += work;
            build.waits_since = None;
        });
    }

    /// One that had nothing to do has saved nothing up: it begins where the others are.
    pub(super) fn wakes(&mut self, no: BuildNo, units: &UnitTable) {
        let busy = |no: BuildNo| units.iter().any(|(_, unit)| unit.build == no);
        if busy(no) {
            return;
        }
        let others =
            self.builds.iter().filter(|(other, it)| busy(**other) && !it.paused && !it.stands);
        let least = others.map(|(_, build)| build.charged).min().unwrap_or_default();
        self.with(no, |build| build.charged = build.charged.max(least));
    }

    /// Notes who waits without anything that runs, and how long everybody's path is.
    pub(super) fn look(&mut self, now: Millis, units: &UnitTable) {
        for (no, path) in paths(units) {
            self.with(no, |build| build.path = build.path.max(path));
        }
        for (no, build) in &mut self.builds {
            let mut own = units.iter().filter(|(_, unit)| unit.build == *no).peekable();
            let none = own.peek().is_none();
            let waits =
                !none && own.all(|(_, unit)| unit.state == RunState::Waiting || unit.guests > 0);
            build.waits_since = match waits {
                true => Some(build.waits_since.unwrap_or(now)),
                false => None,
            };
        }
    }
}

/// The longest path from a unit of it that is there to its end, of each build that has units.
fn paths(units: &UnitTable) -> BTreeMap<BuildNo, Option<Millis>> {
    let mut paths: BTreeMap<BuildNo, Option<Millis>> = BTreeMap::new();
    for (id, unit) in units.iter() {
        let path = paths.entry(unit.build).or_default();
        *path = (*path).max(units.critical_path(id));
    }
    paths
}
