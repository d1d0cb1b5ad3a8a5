//! What is known of a build at one moment: the sum of its records so far.
//!
//! ```text
//! Waiting --admitted--> Running --link asked--> LinkHeld --link admitted--> Running --> Finished
//!    ^                   |    ^                                                         Refused
//!    |               suspended resumed        (LinkHeld may be suspended too)           Left
//!    `----killed, lost---+----Suspended
//! ```
//! Those on the right are final, and so is Failed: a late record about such a unit changes nothing of its state.

use std::collections::BTreeMap;

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::forecast::ForecastSource;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::schedule::StopReason;
use plimsoll_core::unit::CompileConditions;
use plimsoll_core::{Bytes, Millis, UnitId};
use serde::Serialize;

use crate::cells::one_line;

/// What a unit does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Waits for its first admission, or to be run again.
    Waiting,
    /// Runs.
    Running,
    /// Its linker waits to be started.
    #[serde(rename = "waiting-to-link")]
    LinkHeld,
    /// Its processes are paused.
    #[serde(rename = "paused")]
    Suspended,
    /// Ended well.
    Finished,
    /// Ended with an error.
    Failed,
    /// Left without having run, since the build had failed.
    Left,
    /// Was not run, because it needs too much.
    Refused,
}

impl Unit {
    /// Paused near the budget, or before it began.
    #[must_use]
    pub fn was_suspended(&self) -> bool {
        self.suspensions > 0
    }

    /// Paged out while it was paused.
    #[must_use]
    pub fn was_paged_out(&self) -> bool {
        self.paged_out > 0
    }

    /// Killed to run again.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.kills > 0
    }

    /// What it needs, where that is above the budget by itself: what it did need is better than what was known before.
    #[must_use]
    pub fn oversized(&self) -> Option<Bytes> {
        let above = self.above.as_ref()?;
        let needs = above.needs.max(self.peak);
        (needs > above.budget || self.status == Status::Refused).then_some(needs)
    }
}

impl Status {
    /// Whether nothing more happens to the unit.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Left | Self::Refused)
    }
}

/// One unit of the build.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Its number.
    pub id: UnitId,
    /// How people call it, on one line.
    pub title: String,
    /// What it makes.
    pub kind: UnitKind,
    /// The peak that was expected.
    pub forecast: Bytes,
    /// Where the expectation came from.
    pub source: ForecastSource,
    /// How it is made; nothing in older logs.
    pub made: Option<Box<CompileConditions>>,
    /// The unit in whose process tree it runs.
    pub inside: Option<UnitId>,
    /// What it does.
    pub status: Status,
    /// Runs that were admitted.
    pub attempts: u32,
    /// Tree memory now, as of the last sample; less than a megabyte counts as none.
    pub memory: Bytes,
    /// The highest tree memory so far.
    pub peak: Bytes,
    /// When it registered.
    pub registered: Millis,
    /// When it was admitted first.
    pub admitted: Option<Millis>,
    /// Processor time of the last attempt; zero before the end.
    pub cpu: Millis,
    /// From its first admission to its end; zero before the end.
    pub wall: Millis,
    /// How long it waited for its first admission; zero before the end.
    pub waited: Millis,
    /// How often it was paused for memory.
    pub suspensions: u32,
    /// How often it was paged out while it was paused.
    pub paged_out: u32,
    /// How often Plimsoll killed it to run it again.
    pub kills: u32,
    /// The signal by which it was lost last: somebody else's, or SIGABRT where it found no memory.
    pub lost: Option<i32>,
    /// The budget was crossed though nothing ran beside it, or it was not run for that.
    pub above: Option<Above>,
    /// By which other settings than Cargo's it was compiled.
    pub slimmed: Option<String>,
    /// Why it was paused or killed, while it has not gone on.
    pub held_by: Option<StopReason>,
    /// The status that a pause interrupted.
    before: Status,
}

/// How a unit and the budget stood to each other when that was crossed with nothing beside the unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Above {
    /// What the unit needs by itself, as far as was known.
    pub needs: Bytes,
    /// The budget then.
    pub budget: Bytes,
    /// What belonged to no unit then.
    pub rest: Bytes,
    /// The largest parts of that, by the names of programs.
    pub programs: Vec<(String, Bytes)>,
}

/// Something that was decided about the build, to be told with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// When.
    pub t: Millis,
    /// The unit, where it is about one.
    pub unit: Option<UnitId>,
    /// What.
    pub event: Event,
}

/// How many units do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Units that run.
    #[serde(rename = "running_units")]
    pub running: usize,
    /// Units that wait for admission.
    #[serde(rename = "waiting_units")]
    pub waiting: usize,
    /// Units that are paused or whose linkers wait.
    #[serde(rename = "paused_units")]
    pub paused: usize,
    /// Units of which nothing more comes.
    #[serde(rename = "ended_units")]
    pub ended: usize,
}

/// How far the units of a build have come, without what runs inside others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Units that were admitted at least once.
    pub ran: usize,
    /// Units that ended well.
    pub finished: usize,
    /// Units that ended with an error.
    pub failed: usize,
    /// Units that were not run to their end, since they are too large.
    pub refused: usize,
    /// Units that left without having run.
    pub left: usize,
    /// Units of which more comes, or would have come.
    pub under_way: usize,
    /// What ran inside others: a build script's questions to the compiler, a documentation test.
    pub inside: usize,
}

/// A stage of a staged build, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageEnded {
    /// Its number, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
    /// Its folders, or packages.
    pub name: String,
    /// The most that the build held in it.
    pub peak: Bytes,
    /// Wall time.
    pub wall: Millis,
}

/// How the build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The exit code.
    pub exit: i32,
    /// Wall time.
    pub wall: Millis,
    /// Processor time of the governor.
    pub governor_cpu: Millis,
}

impl Done {
    /// The signal that ended it, as a shell's exit code says it.
    #[must_use]
    pub fn signal(self) -> Option<i32> {
        self.exit.checked_sub(128).filter(|signal| (1..=64).contains(signal))
    }
}

/// What is known of a build at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildState {
    units: BTreeMap<UnitId, Unit>,
    counts: Counts,
    /// Whose memory the last sample set.
    holding: Vec<UnitId>,
    now: Millis,
    used: Bytes,
    budget: Bytes,
    admitted: Bytes,
    peak: Bytes,
    budget_at_peak: Bytes,
    decisions: Vec<Decision>,
    notices: Vec<String>,
    is_unlogged: bool,
    stages: Vec<StageEnded>,
    lost_cpu: Millis,
    links_waited: Millis,
    waits: Waits,
    /// Somebody has paused the build.
    paused: bool,
    done: Option<Done>,
}

/// The time that went by while units waited.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Waits {
    /// The last sample: when, and (admitted, used) as shares of the budget where units waited then.
    last: Option<(Millis, Option<(f64, f64)>)>,
    /// How long units waited.
    time: Millis,
    /// Admitted / budget, summed over that time in milliseconds.
    admitted: f64,
    /// Used / budget, likewise.
    used: f64,
}

impl BuildState {
    /// A build that has just started.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        Self {
            units: BTreeMap::new(),
            counts: Counts::default(),
            holding: Vec::new(),
            now: Millis::ZERO,
            used: Bytes::ZERO,
            budget: header.budget,
            admitted: Bytes::ZERO,
            peak: Bytes::ZERO,
            budget_at_peak: header.budget,
            decisions: Vec::new(),
            notices: Vec::new(),
            is_unlogged: false,
            stages: Vec::new(),
            lost_cpu: Millis::ZERO,
            links_waited: Millis::ZERO,
            waits: Waits::default(),
            paused: false,
            done: None,
        }
    }

    /// Takes the next record.
    pub fn apply(&mut self, record: &Record) {
        self.now = self.now.max(record.t);
        match &record.event {
            Event::Registered { unit, title, kind, forecast, source, inside, made, .. } => {
                self.units.entry(*unit).or_insert_with(|| {
                    self.counts.waiting += 1;
                    Unit {
                        id: *unit,
                        title: one_line(title),
                        kind: *kind,
                        forecast: *forecast,
                        source: *source,
                        made: made.clone(),
                        inside: *inside,
                        status: Status::Waiting,
                        attempts: 0,
                        memory: Bytes::ZERO,
                        peak: Bytes::ZERO,
                        registered: record.t,
                        admitted: None,
                        cpu: Millis::ZERO,
                        wall: Millis::ZERO,
                        waited: Millis::ZERO,
                        suspensions: 0,
                        paged_out: 0,
                        kills: 0,
                        lost: None,
                        above: None,
                        slimmed: None,
                        held_by: None,
                        before: Status::Running,
                    }
                });
            }
            Event::Admitted { unit, attempt, .. } => self.with(*unit, Status::Running, |unit| {
                unit.attempts = unit.attempts.saturating_add(1).max(*attempt);
                unit.admitted.get_or_insert(record.t);
                unit.held_by = None;
            }),
            Event::Slimmed { unit, changes } => {
                if let Some(unit) = self.units.get_mut(unit) {
                    unit.slimmed = Some(one_line(changes));
                }
                self.decide(record, Some(*unit));
            }
            Event::LinkAsked { unit, .. } => self.with(*unit, Status::LinkHeld, |_| {}),
            Event::LinkAdmitted { unit, waited } => {
                self.links_waited += *waited;
                self.with(*unit, Status::Running, |unit| unit.held_by = None);
                self.decide(record, Some(*unit));
            }
            Event::Suspended { unit, cause, .. } => {
                self.with(*unit, Status::Suspended, |unit| {
                    unit.held_by = Some(*cause);
                    if unit.status != Status::Suspended {
                        unit.before = unit.status;
                    }
                    unit.suspensions += u32::from(*cause != StopReason::Paused);
                });
                self.decide(record, Some(*unit));
            }
            Event::PagedOut { unit, .. } => {
                if let Some(unit) = self.units.get_mut(unit) {
                    unit.paged_out += 1;
                }
                self.decide(record, Some(*unit));
            }
            Event::Resumed { unit } => {
                let before = self.units.get(unit).map(|unit| match unit.status {
                    Status::Suspended => unit.before,
                    other => other,
                });
                if let Some(before) = before {
                    self.with(*unit, before, |unit| unit.held_by = None);
                }
                self.decide(record, Some(*unit));
            }
            Event::Killed { unit, cause, lost_cpu, link_only, .. } => {
                self.lost_cpu += *lost_cpu;
                let next = if *link_only { Status::LinkHeld } else { Status::Waiting };
                self.with(*unit, next, |unit| {
                    unit.held_by = Some(*cause);
                    unit.kills += u32::from(*cause != StopReason::Ending);
                    unit.memory = Bytes::ZERO;
                });
                self.decide(record, Some(*unit));
            }
            Event::Lost { unit, signal, link_only } => {
                let next = if *link_only { Status::LinkHeld } else { Status::Waiting };
                self.with(*unit, next, |unit| {
                    unit.lost = Some(*signal);
                    unit.memory = Bytes::ZERO;
                });
                self.decide(record, Some(*unit));
            }
            Event::Lone { unit, needs, budget, rest, programs } => {
                // Older logs do not say which budget that was.
                let budget = if *budget == Bytes::ZERO { self.budget } else { *budget };
                if let Some(unit) = self.units.get_mut(unit) {
                    let before = unit.above.as_ref().map_or(Bytes::ZERO, |above| above.needs);
                    let programs = programs.iter().map(|(name, held)| (one_line(name), *held));
                    unit.above = Some(Above {
                        needs: before.max(*needs),
                        budget,
                        rest: *rest,
                        programs: programs.collect(),
                    });
                }
                self.decide(record, Some(*unit));
            }
            Event::Refused { unit, needs, budget, .. } => {
                self.with(*unit, Status::Refused, |unit| {
                    let (rest, programs) = (Bytes::ZERO, Vec::new());
                    unit.above = Some(Above { needs: *needs, budget: *budget, rest, programs });
                });
                self.decide(record, Some(*unit));
            }
            Event::Finished { unit, ok, peak, cpu, wall, waited } => {
                // A build script's probe may fail by design: its build script judges that.
                let nested = self.unit(*unit).is_some_and(|unit| unit.inside.is_some());
                let ok = *ok || nested;
                let end = if ok { Status::Finished } else { Status::Failed };
                self.with(*unit, end, |unit| {
                    unit.peak = unit.peak.max(*peak);
                    (unit.cpu, unit.wall, unit.waited) = (*cpu, *wall, *waited);
                });
                if !ok {
                    self.decide(record, Some(*unit));
                }
            }
            Event::Left { unit } => {
                self.with(*unit, Status::Left, |_| {});
                self.decide(record, Some(*unit));
            }
            Event::Sample { used, budget, admitted, units, .. } => {
                self.sample(record.t, *used, *budget, *admitted, units);
            }
            Event::Budget { budget } => {
                self.budget = *budget;
                self.decide(record, None);
            }
            Event::Notice { text } | Event::Unlogged { text } => {
                self.is_unlogged |= matches!(record.event, Event::Unlogged { .. });
                self.notices.push(one_line(text));
                self.decide(record, None);
            }
            Event::StageEnded { stage, of, name, peak, wall } => {
                let (number, of, name) = (*stage, *of, one_line(name));
                self.stages.push(StageEnded { number, of, name, peak: *peak, wall: *wall });
                self.decide(record, None);
            }
            Event::BuildPaused { paused } => self.paused = *paused,
            Event::Done { exit, wall, peak, governor_cpu } => {
                self.peak = self.peak.max(*peak);
                self.done = Some(Done { exit: *exit, wall: *wall, governor_cpu: *governor_cpu });
            }
            // An announcement is nothing to look at; the rest is of a newer version.
            _ => {}
        }
    }

    /// All units, in the order of their registration.
    pub fn units(&self) -> impl Iterator<Item = &Unit> {
        self.units.values()
    }

    /// The unit of this number.
    #[must_use]
    pub fn unit(&self, id: UnitId) -> Option<&Unit> {
        self.units.get(&id)
    }

    /// How many units do what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The moment of the last record.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.now
    }

    /// Tree memory of everything inside the budget, as of the last sample.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.used
    }

    /// The budget.
    #[must_use]
    pub fn budget(&self) -> Bytes {
        self.budget
    }

    /// What the schedule counts on, as of the last sample.
    #[must_use]
    pub fn admitted(&self) -> Bytes {
        self.admitted
    }

    /// The highest tree memory so far.
    #[must_use]
    pub fn peak(&self) -> Bytes {
        self.peak
    }

    /// The budget at the moment of the peak: `auto` moves it.
    #[must_use]
    pub fn budget_at_peak(&self) -> Bytes {
        self.budget_at_peak
    }

    /// What was decided, in order.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// What a person should know, each on one line.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// No log keeps all of this build.
    #[must_use]
    pub fn is_unlogged(&self) -> bool {
        self.is_unlogged
    }

    /// Somebody has paused the build: nothing of it runs.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// How the build ended, once it has.
    #[must_use]
    pub fn done(&self) -> Option<Done> {
        self.done
    }

    /// Wall time of the build so far.
    #[must_use]
    pub fn wall(&self) -> Millis {
        self.done.map_or(self.now, |done| done.wall)
    }

    /// Processor time that was thrown away by killing units.
    #[must_use]
    pub fn lost_cpu(&self) -> Millis {
        self.lost_cpu
    }

    /// Processor time of all attempts of all units that have ended, thrown away or not.
    #[must_use]
    pub fn cpu(&self) -> Millis {
        self.units().map(|unit| unit.cpu).sum::<Millis>() + self.lost_cpu
    }

    /// The part of that which was thrown away.
    #[must_use]
    pub fn lost_share(&self) -> f64 {
        self.lost_cpu.0 as f64 / self.cpu().0.max(1) as f64
    }

    /// How far the build's units have come. What runs inside another one is a part of that.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for unit in self.units() {
            if unit.inside.is_some() {
                tally.inside += 1;
                continue;
            }
            tally.ran += usize::from(unit.attempts > 0);
            match unit.status {
                Status::Finished => tally.finished += 1,
                Status::Failed => tally.failed += 1,
                Status::Refused => tally.refused += 1,
                Status::Left => tally.left += 1,
                Status::Waiting | Status::Running | Status::LinkHeld | Status::Suspended => {
                    tally.under_way += 1;
                }
            }
        }
        tally
    }

    /// Those of the units for which this holds, the most important first.
    #[must_use]
    pub fn which(&self, is: impl Fn(&Unit) -> bool) -> Vec<&Unit> {
        let mut units: Vec<&Unit> = self.units().filter(|unit| is(unit)).collect();
        units.sort_by_key(|unit| (std::cmp::Reverse(unit.peak.max(unit.forecast)), unit.id));
        units
    }

    /// How long linkers waited to be started, summed over all.
    #[must_use]
    pub fn links_waited(&self) -> Millis {
        self.links_waited
    }

    /// How long units waited (so far as samples show), and the mean shares of the budget that were admitted
    /// and used in that time; `None` where nothing ever waited.
    #[must_use]
    pub fn mean_while_waiting(&self) -> Option<(Millis, f64, f64)> {
        let Waits { time, admitted, used, .. } = self.waits;
        let span = time.0 as f64;
        (time > Millis::ZERO).then_some((time, admitted / span, used / span))
    }

    /// The stages that are over, in the order in which they ended.
    #[must_use]
    pub fn stages(&self) -> &[StageEnded] {
        &self.stages
    }

    /// The heaviest units first; those that hardly needed any memory are left out.
    #[must_use]
    pub fn heaviest(&self) -> Vec<&Unit> {
        let mut units: Vec<&Unit> =
            self.units().filter(|unit| unit.peak >= Bytes::mib(1)).collect();
        units.sort_by_key(|unit| (std::cmp::Reverse(unit.peak), unit.id));
        units
    }

    /// The title of a unit, its number where it never registered.
    #[must_use]
    pub fn title(&self, id: UnitId) -> String {
        self.units.get(&id).map_or_else(|| id.to_string(), |unit| unit.title.clone())
    }

    /// Changes a unit that has not ended and puts it into `status`.
    fn with(&mut self, id: UnitId, status: Status, change: impl FnOnce(&mut Unit)) {
        let Some(unit) = self.units.get_mut(&id).filter(|unit| !unit.status.ended()) else {
            return;
        };
        *self.counts.of(unit.status) -= 1;
        change(unit);
        unit.status = status;
        if status.ended() {
            unit.memory = Bytes::ZERO;
        }
        *self.counts.of(status) += 1;
    }

    fn decide(&mut self, record: &Record, unit: Option<UnitId>) {
        self.decisions.push(Decision { t: record.t, unit, event: record.event.clone() });
    }

    fn sample(
        &mut self,
        t: Millis,
        used: Bytes,
        budget: Bytes,
        admitted: Bytes,
        units: &[(UnitId, Bytes)],
    ) {
        for id in self.holding.drain(..) {
            if let Some(unit) = self.units.get_mut(&id) {
                unit.memory = Bytes::ZERO;
            }
        }
        for (id, bytes) in units {
            if let Some(unit) = self.units.get_mut(id).filter(|unit| !unit.status.ended()) {
                unit.memory = *bytes;
                unit.peak = unit.peak.max(*bytes);
                self.holding.push(*id);
            }
        }
        (self.used, self.budget, self.admitted) = (used, budget, admitted);
        if used > self.peak {
            (self.peak, self.budget_at_peak) = (used, budget);
        }
        if let Some((since, Some((admitted, used)))) = self.waits.last {
            let span = t - since;
            self.waits.time += span;
            self.waits.admitted += admitted * span.0 as f64;
            self.waits.used += used * span.0 as f64;
        }
        let shares =
            (self.counts.waiting > 0).then(|| (admitted.share_of(budget), used.share_of(budget)));
        self.waits.last = Some((t, shares));
    }
}

impl Counts {
    fn of(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Waiting => &mut self.waiting,
            Status::Running => &mut self.running,
            Status::LinkHeld | Status::Suspended => &mut self.paused,
            Status::Finished | Status::Failed | Status::Left | Status::Refused => &mut self.ended,
        }
    }
}
