//! A recorded build, reduced to what its time was spent on. Reads nothing.
//!
//! Time is counted between events: at each moment some units run, some wait, some are stopped. Units inside others
//! (probes, nested Cargo) are their parents'.

use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::event::{Event, Header, Record};
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::unit::{CompileConditions, UnitKey};
use plimsoll_core::{Bytes, Millis, UnitId};

/// Samples further apart than this do not tell what was between them: the machine slept.
const GAP: Millis = Millis(5_000);

/// One unit, and what became of its time.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// How people call it.
    pub(crate) title: String,
    /// What it makes.
    pub(crate) kind: UnitKind,
    /// Its name in the history.
    pub(crate) key: UnitKey,
    /// How it was made; nothing in older logs.
    pub made: Option<CompileConditions>,
    /// It runs in another unit's process tree.
    pub(crate) is_inside: bool,
    /// The peak that was expected.
    pub(crate) forecast: Bytes,
    /// The peak that it had.
    pub(crate) peak: Bytes,
    /// Processor time of its last run.
    pub(crate) cpu: Millis,
    /// From its first admission to its end.
    pub(crate) wall: Millis,
    /// In which nothing else ran.
    pub(crate) alone: Millis,
    /// From the start of its linker to its end.
    pub(crate) link: Millis,
    /// In which its processes were stopped.
    pub(crate) stopped: Millis,
    /// It had to be alone: it exceeds the whole budget.
    pub(crate) is_lone: bool,
    /// It ended well.
    pub(crate) has_finished: bool,
}

/// One build.
#[derive(Clone, Debug)]
pub struct Past {
    /// The first line of its log.
    pub header: Header,
    /// Its exit code, where it has ended.
    pub exit: Option<i32>,
    /// Wall time.
    pub(crate) wall: Millis,
    /// The highest tree memory.
    pub(crate) peak: Bytes,
    /// Its units, in the order in which they registered.
    pub(crate) units: Vec<Unit>,
    /// How long so many units ran at once.
    pub(crate) at_once: BTreeMap<usize, Millis>,
    /// A unit waited for memory while a processor was free.
    pub(crate) short: Millis,
    /// The budget with which, by the forecasts, nothing would have waited; zero where nothing did.
    pub(crate) wanted: Bytes,
    /// Everything stood still for lack of memory; nothing where the log does not say.
    pub(crate) stalled: Millis,
    /// What the samples cover.
    pub(crate) sampled: Millis,
    /// Processor time of runs that were killed, by Plimsoll.
    pub(crate) lost: Millis,
    /// Units that Plimsoll killed and ran again.
    pub(crate) kills: u32,
}

impl Past {
    /// The sum of the records.
    pub fn new(header: Header, records: &[Record]) -> Self {
        let mut reader = Reader::new(header);
        for record in records {
            reader.pass(record.t);
            reader.take(record);
        }
        reader.end()
    }

    /// Processor time of all units, what was thrown away included.
    pub(crate) fn cpu(&self) -> Millis {
        // A nested unit's time is in its parent's, too.
        self.own().map(|unit| unit.cpu).sum::<Millis>() + self.lost
    }

    /// The units that are in no other's process tree.
    pub(crate) fn own(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|unit| !unit.is_inside)
    }

    /// A part of the wall time.
    pub(crate) fn share(&self, time: Millis) -> f64 {
        time.0 as f64 / self.wall.0.max(1) as f64
    }

    /// The processors that were planned for; as many as jobs where the log is older than that.
    pub(crate) fn processors(&self) -> u32 {
        if self.header.processors == 0 { self.header.jobs.max(1) } else { self.header.processors }
    }

    /// The part of all processors' time that was used.
    pub(crate) fn utilisation(&self) -> f64 {
        self.cpu().0 as f64 / (self.wall.0.max(1) as f64 * f64::from(self.processors()))
    }

    /// Time in which that many units ran, or more.
    pub(crate) fn with_at_least(&self, units: usize) -> Millis {
        self.at_once.range(units..).map(|(_, time)| *time).sum()
    }

    /// Whether both are of one workspace. Older logs do not name it: there they have an own source file in common.
    pub(crate) fn is_of_workspace(&self, other: &Self) -> bool {
        let (own, others) = (&self.header.workspace, &other.header.workspace);
        if !own.is_empty() && !others.is_empty() {
            return own == others;
        }
        let sources = |past: &Self| -> BTreeSet<String> {
            let made = past.units.iter().filter_map(|unit| unit.made.as_ref());
            made.filter(|made| made.local).map(|made| made.source.clone()).collect()
        };
        !sources(self).is_disjoint(&sources(other))
    }
}

struct Reader {
    past: Past,
    /// Where each unit is in the list.
    places: BTreeMap<UnitId, usize>,
    now: Millis,
    waiting: Vec<UnitId>,
    running: BTreeSet<UnitId>,
    stopped: BTreeSet<UnitId>,
    linking: BTreeMap<UnitId, Millis>,
    sample: Option<Millis>,
}

impl Reader {
    fn new(header: Header) -> Self {
        let past = Past {
            header,
            exit: None,
            wall: Millis::ZERO,
            peak: Bytes::ZERO,
            units: Vec::new(),
            at_once: BTreeMap::new(),
            short: Millis::ZERO,
            wanted: Bytes::ZERO,
            stalled: Millis::ZERO,
            sampled: Millis::ZERO,
            lost: Millis::ZERO,
            kills: 0,
        };
        Self {
            past,
            places: BTreeMap::new(),
            now: Millis::ZERO,
            waiting: Vec::new(),
            running: BTreeSet::new(),
            stopped: BTreeSet::new(),
            linking: BTreeMap::new(),
            sample: None,
        }
    }

    fn unit(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.past.units.get_mut(*self.places.get(&id)?)
    }

    /// Time goes by until `t`, in which everything is as it is.
    fn pass(&mut self, t: Millis) {
        let span = t - self.now;
        self.now = self.now.max(t);
        if span == Millis::ZERO {
            return;
        }
        *self.past.at_once.entry(self.running.len()).or_default() += span;
        let stopped: Vec<UnitId> = self.stopped.iter().copied().collect();
        for id in stopped {
            if let Some(unit) = self.unit(id) {
                unit.stopped += span;
            }
        }
        let mut running = self.running.iter();
        if let (Some(only), None) = (running.next().copied(), running.next())
            && let Some(unit) = self.unit(only)
        {
            unit.alone += span;
        }
    }

    fn leave(&mut self, id: UnitId) {
        self.running.remove(&id);
        self.stopped.remove(&id);
        self.waiting.retain(|waiting| *waiting != id);
    }

    fn take(&mut self, record: &Record) {
        match &record.event {
            Event::Registered { unit, title, kind, key, forecast, inside, made, .. } => {
                self.places.insert(*unit, self.past.units.len());
                self.past.units.push(Unit {
                    title: title.chars().filter(|c| !c.is_control()).collect(),
                    kind: *kind,
                    key: key.clone(),
                    made: made.as_deref().cloned(),
                    is_inside: inside.is_some(),
                    forecast: *forecast,
                    peak: Bytes::ZERO,
                    cpu: Millis::ZERO,
                    wall: Millis::ZERO,
                    alone: Millis::ZERO,
                    link: Millis::ZERO,
                    stopped: Millis::ZERO,
                    is_lone: false,
                    has_finished: false,
                });
                if inside.is_none() {
                    self.waiting.push(*unit);
                }
            }
            Event::Admitted { unit, .. } => {
                let is_own = self.unit(*unit).is_some_and(|unit| !unit.is_inside);
                self.leave(*unit);
                if is_own {
                    self.running.insert(*unit);
                }
            }
            Event::LinkAdmitted { unit, .. } => {
                self.linking.insert(*unit, record.t);
            }
            Event::Suspended { unit, .. } => go(*unit, &mut self.running, &mut self.stopped),
            Event::Resumed { unit } => go(*unit, &mut self.stopped, &mut self.running),
            Event::Killed { unit, lost_cpu, link_only, .. } => {
                self.past.lost += *lost_cpu;
                self.past.kills += 1;
                self.again(*unit, *link_only);
            }
            Event::Lost { unit, link_only, .. } => self.again(*unit, *link_only),
            // What is above the budget only with what belongs to no unit does not run alone for its own sake.
            Event::Lone { unit, needs, budget, .. } if needs > budget => {
                if let Some(unit) = self.unit(*unit) {
                    unit.is_lone = true;
                }
            }
            Event::Finished { unit, ok, peak, cpu, wall, .. } => {
                self.leave(*unit);
                let link = self.linking.remove(unit).map(|since| record.t - since);
                if let Some(unit) = self.unit(*unit) {
                    (unit.peak, unit.cpu, unit.wall) = (*peak, *cpu, *wall);
                    unit.link = link.unwrap_or_default();
                    unit.has_finished = *ok;
                }
            }
            Event::Left { unit } | Event::Refused { unit, .. } => self.leave(*unit),
            Event::Sample { used, admitted, short, stalled, .. } => {
                self.past.peak = self.past.peak.max(*used);
                self.look(record.t, *admitted, *short, *stalled);
            }
            Event::Done { exit, wall, peak, .. } => {
                self.past.exit = Some(*exit);
                self.past.wall = *wall;
                self.past.peak = self.past.peak.max(*peak);
            }
            _ => {}
        }
    }

    /// A unit or its linker is to run again.
    fn again(&mut self, id: UnitId, link_only: bool) {
        self.linking.remove(&id);
        if !link_only {
            self.leave(id);
            self.waiting.push(id);
        }
    }

    fn look(&mut self, t: Millis, admitted: Bytes, short: bool, stalled: Millis) {
        let span = t - self.sample.replace(t).unwrap_or(t);
        if span > GAP {
            return;
        }
        self.past.sampled += span;
        self.past.stalled += stalled.min(span);
        if !short {
            return;
        }
        self.past.short += span;
        // What would run on the processors that were free.
        let free = (self.past.processors() as usize).saturating_sub(self.running.len()).max(1);
        let next = self.waiting.iter().take(free).filter_map(|id| self.places.get(id));
        let more: Bytes = next.map(|at| self.past.units[*at].forecast).sum();
        self.past.wanted = self.past.wanted.max(admitted + more);
    }

    fn end(mut self) -> Past {
        if self.past.exit.is_none() {
            self.past.wall = self.now;
        }
        self.past
    }
}

/// Moves a unit that is in `from`.
fn go(unit: UnitId, from: &mut BTreeSet<UnitId>, to: &mut BTreeSet<UnitId>) {
    if from.remove(&unit) {
        to.insert(unit);
    }
}
