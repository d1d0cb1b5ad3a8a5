//! One unit's state, and the table of them.

use std::cmp::Reverse;

use super::{BTreeMap, Effect, NewUnit, RestartMode, StopReason, UnitMeasurement, UnitRole};
use crate::forecast::{Forecast, ForecastSource};
use crate::ids::{BuildNo, UnitId};
use crate::measure::{Bytes, Millis};
use crate::oversized::Shrink;

/// Whether a unit's processes run. See the diagram in [`super`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Its shim waits to be admitted.
    Waiting,
    /// Its processes run.
    Running,
    /// Its processes are stopped.
    Suspended,
}

/// Where a unit's linker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not started, or ended.
    None,
    /// Its link shim waits: nothing of it is in memory yet.
    Waiting {
        /// Since when.
        since: Millis,
        /// What it is expected to need.
        peak: Bytes,
    },
    /// It runs.
    Running {
        /// What it is expected to need.
        peak: Bytes,
    },
}

/// What the rest of the program may know of a unit.
#[derive(Clone, Copy, Debug)]
pub struct UnitView {
    /// The unit.
    pub id: UnitId,
    /// Its build.
    pub build: BuildNo,
    /// Its state.
    pub state: RunState,
    /// Its linker's state.
    pub link: LinkState,
    /// Tree memory as last measured.
    pub memory: Bytes,
    /// The expected peak, what this run has shown included.
    pub expected: Bytes,
    /// Runs so far, the present one included; 0 before the first.
    pub attempt: u32,
    /// The moment of the last change of state.
    pub since: Millis,
}

#[derive(Clone, Debug)]
pub(super) struct ScheduledUnit {
    pub(super) build: BuildNo,
    pub(super) forecast: Forecast,
    pub(super) retryable: bool,
    pub(super) links: bool,
    /// There are settings with which it would need less and write something else.
    pub(super) slims: bool,
    /// How far it goes to need less, in its present or last run.
    pub(super) shrink: Shrink,
    /// The unit in whose process tree it runs.
    pub(super) inside: Option<UnitId>,
    /// How many units run in its process tree, or wait to, those inside them not counted: it may wait for them.
    pub(super) guests: u32,
    pub(super) role: UnitRole,
    pub(super) state: RunState,
    pub(super) link: LinkState,
    pub(super) attempt: u32,
    pub(super) since: Millis,
    /// The moment of the first admission: the anchor is the unit for which this is oldest.
    pub(super) admitted: Millis,
    /// The unit runs with nothing beside it: lost to somebody else's kill, or killed twice by us.
    pub(super) alone: bool,
    /// But it does not wait for that for ever.
    pub(super) preferably: bool,
    /// The Cargo that asks; none where another program does, inside another unit.
    pub(super) cargo: Option<u32>,
    /// The stage of a staged build that it belongs to, once that is known.
    pub(super) stage: Option<u32>,
    /// What it held when it was told as one with which the budget is crossed though nothing runs beside it.
    pub(super) lone_said: Option<Bytes>,
    pub(super) announced: bool,
    /// A second run would write the metadata that was announced; else it fails after one.
    pub(super) repeats: bool,
    pub(super) overtaken: u32,
    /// Since when it is the first in the queue that does not fit.
    pub(super) head_since: Option<Millis>,
    pub(super) memory: Bytes,
    pub(super) link_memory: Bytes,
    /// The swapped part of what it holds.
    pub(super) swapped: Bytes,
    /// Since when it is paged out, while it is stopped.
    pub(super) paged_out: Option<Millis>,
    /// How often it was before: each time it is dearer.
    pub(super) paged_out_before: u32,
    /// The most that it was seen to hold, in any attempt: its need is at least this.
    pub(super) peak: Bytes,
    /// When it last went above what it had held before.
    pub(super) peaked: Millis,
    pub(super) cpu: Millis,
    /// When it was last seen to have used a processor, or was let go on.
    worked: Millis,
    pub(super) measured: Millis,
    /// It runs since a moment ago: how fast it grows was not seen yet.
    pub(super) unseen: bool,
    /// Bytes a millisecond while it runs, upwards only.
    pub(super) growth: f64,
    /// Bytes that it gained of late: the evidence for `growth`.
    pub(super) gained: f64,
    /// For how long it was suspended, before the present time.
    stood: Millis,
    /// It ran before anybody looked: what the first look sees was not gained since then.
    found: bool,
    /// What it held before it fell to nearly nothing at once, and when that was.
    fell: Option<(Bytes, Millis)>,
    pub(super) issued: u32,
    pub(super) unread: u32,
    pub(super) aimed: u32,
}

/// How long a unit that was admitted or resumed is watched closely.
const UNSEEN: Millis = Millis(300);

/// A process that ends gives its memory back before its parent can know how it ended. For so long nobody
/// takes its room: it may be the failure after which nothing more is to start.
const ENDING: Millis = Millis(100);

/// For so long a unit waits to be alone where memory was not short. So does a nested one always: what goes on
/// beside it may wait for its ancestor, which waits for it (two build scripts that run Cargo in one build
/// directory).
const ALONE_WITHIN: Millis = Millis(20_000);

/// A build script that has used no processor for so long may wait for somebody.
const IDLE: Millis = Millis(3_000);

/// The share of its memory below which a compiler has hardly fallen by compiling.
const NEARLY_NOTHING: f64 = 0.1;

impl ScheduledUnit {
    pub(super) fn new(now: Millis, new: NewUnit) -> Self {
        Self {
            build: new.build,
            forecast: new.forecast,
            retryable: new.retryable,
            links: new.links,
            slims: new.slims,
            shrink: Shrink::No,
            inside: new.inside,
            guests: 0,
            role: new.role,
            state: if new.running { RunState::Running } else { RunState::Waiting },
            link: LinkState::None,
            attempt: u32::from(new.running),
            since: now,
            admitted: now,
            alone: false,
            preferably: false,
            cargo: new.cargo,
            stage: None,
            lone_said: None,
            announced: false,
            repeats: true,
            overtaken: 0,
            head_since: None,
            memory: Bytes::ZERO,
            link_memory: Bytes::ZERO,
            swapped: Bytes::ZERO,
            paged_out: None,
            paged_out_before: 0,
            peak: Bytes::ZERO,
            peaked: now,
            cpu: Millis::ZERO,
            worked: now,
            measured: now,
            unseen: true,
            growth: 0.0,
            gained: 0.0,
            stood: Millis::ZERO,
            found: new.running,
            fell: None,
            issued: 0,
            unread: 0,
            aimed: 0,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    /// A compiler that waits for its linker uses no processor, what has guests waits for them, and a test is its
    /// runner's to count.
    pub(super) fn uses_processor(&self) -> bool {
        let waits = matches!(self.link, LinkState::Waiting { .. });
        self.is_running() && !waits && self.guests == 0 && self.role != UnitRole::Test
    }

    /// Its end may hang on others': on its guests', or, where it is a test or a command, on those of units that it has
    /// yet to start.
    pub(super) fn hosts(&self) -> bool {
        self.guests > 0 || self.role.hosts()
    }

    /// A build script that runs and has not worked for a while: it may wait for a lock that some Cargo holds.
    pub(super) fn is_idle(&self, now: Millis) -> bool {
        self.role == UnitRole::Script && self.is_running() && now - self.worked >= IDLE
    }

    /// What waits for it may wait for itself.
    pub(super) fn may_wait(&self, now: Millis) -> bool {
        self.hosts() || self.is_idle(now)
    }

    /// No shim stands before it, which could give it tokens or tell of its end.
    pub(super) fn is_unshimmed(&self) -> bool {
        self.role != UnitRole::Compiler
    }

    pub(super) fn admit(&mut self, now: Millis, id: UnitId, shrink: Shrink) -> Effect {
        self.state = RunState::Running;
        self.since = now;
        if self.attempt == 0 {
            self.admitted = now;
        }
        self.attempt += 1;
        self.head_since = None;
        self.shrink = shrink;
        self.start_over(now);
        Effect::Admit { unit: id, attempt: self.attempt, shrink }
    }

    fn start_over(&mut self, now: Millis) {
        self.cpu = Millis::ZERO;
        (self.growth, self.gained) = (0.0, 0.0);
        (self.unseen, self.fell) = (true, None);
        self.measured = now;
        self.link = LinkState::None;
        (self.issued, self.unread, self.aimed) = (0, 0, 0);
    }

    pub(super) fn suspend(&mut self, now: Millis, id: UnitId, cause: StopReason) -> Effect {
        self.state = RunState::Suspended;
        self.since = now;
        Effect::Suspend(id, cause)
    }

    pub(super) fn page_out(&mut self, now: Millis, id: UnitId) -> Effect {
        self.paged_out = Some(now);
        self.paged_out_before += 1;
        // What was out when it was measured last may have come back since: nothing of it has left until that is seen.
        self.swapped = Bytes::ZERO;
        Effect::PageOut(id)
    }

    pub(super) fn resume(&mut self, now: Millis, id: UnitId) -> Option<Effect> {
        (self.state == RunState::Suspended).then(|| {
            self.state = RunState::Running;
            self.paged_out = None;
            self.stood += now - self.since;
            (self.since, self.worked) = (now, now);
            self.unseen = true;
            Effect::Resume(id)
        })
    }

    /// For how long it was suspended in all.
    pub(super) fn stood_still(&self, now: Millis) -> Millis {
        let at_present =
            if self.state == RunState::Suspended { now - self.since } else { Millis::ZERO };
        self.stood + at_present
    }

    /// Killed by us: its shim waits again. What it held is given back when a measurement shows so.
    pub(super) fn kill(&mut self, now: Millis, id: UnitId, cause: StopReason) -> Effect {
        self.state = RunState::Waiting;
        self.paged_out = None;
        self.since = now;
        self.alone |= self.attempt >= 2;
        self.start_over(now);
        Effect::Kill(id, cause)
    }

    pub(super) fn kill_link(&mut self, now: Millis, id: UnitId, cause: StopReason) -> Effect {
        let seen = self.link_memory.scale(1.25);
        let peak = match self.link {
            LinkState::Waiting { peak, .. } | LinkState::Running { peak } => peak.max(seen),
            LinkState::None => seen,
        };
        self.link = LinkState::Waiting { since: now, peak };
        self.link_memory = Bytes::ZERO;
        Effect::KillLink(id, cause)
    }

    /// Killed by somebody else: once more.
    pub(super) fn lost(&mut self, now: Millis, link: bool, again: RestartMode) {
        self.alone = again != RestartMode::Plainly;
        self.preferably = again == RestartMode::Preferably;
        if link {
            let peak = self.forecast.link_peak.max(self.link_memory);
            self.link = LinkState::Waiting { since: now, peak };
        } else {
            self.state = RunState::Waiting;
            self.paged_out = None;
            self.since = now;
            self.start_over(now);
        }
    }

    /// It runs with nothing beside it, and has not waited too long for that.
    pub(super) fn insists(&self, now: Millis, nested: bool) -> bool {
        let waits = self.state == RunState::Waiting;
        let bound = self.preferably || nested;
        self.alone && !(waits && bound && now - self.since >= ALONE_WITHIN)
    }

    pub(super) fn measure(&mut self, now: Millis, seen: &UnitMeasurement) {
        let elapsed = (now - self.measured).0.max(1) as f64;
        let gained = if self.found { 0.0 } else { (seen.memory - self.memory).0 as f64 };
        self.found = false;
        // Fast up, slow down: a compiler's memory rises in bursts between quiet stretches. A stopped
        // one keeps its growth, because it goes on where it was stopped; but not for ever, so that
        // beside one that runs for a minute it is tried again.
        let fading = if self.state == RunState::Running { 150.0 } else { 3000.0 };
        let left = 0.5_f64.powf(elapsed / fading);
        self.growth = (gained / elapsed).max(self.growth * left);
        self.gained = gained + self.gained * left;
        self.unseen &= now - self.since < UNSEEN;
        let held = self.memory - self.link_memory;
        let holds = seen.memory - seen.link_memory;
        if self.state == RunState::Running && holds < held.scale(NEARLY_NOTHING) {
            self.fell = Some((held, now));
        }
        self.fell = self.fell.filter(|(_, at)| now - *at < ENDING);
        self.measured = now;
        self.memory = seen.memory;
        self.link_memory = seen.link_memory;
        self.swapped = seen.swapped;
        if self.state != RunState::Waiting {
            if holds > self.peak {
                (self.peak, self.peaked) = (holds, now);
            }
            // While it has guests, it waits for those.
            if seen.cpu > self.cpu || self.guests > 0 {
                (self.cpu, self.worked) = (self.cpu.max(seen.cpu), now);
            }
            (self.issued, self.unread) = (seen.issued, seen.unread);
        }
    }

    /// What counts as the compiler's while others ask for room: what it holds, or has held a moment ago.
    pub(super) fn compiler(&self) -> Bytes {
        let fell = self.fell.map_or(Bytes::ZERO, |(held, _)| held);
        (self.memory - self.link_memory).max(fell)
    }

    /// The least that it is known to need: seen in an earlier attempt, or in a recorded run.
    pub(super) fn known_need(&self) -> Bytes {
        let recorded = match self.forecast.source {
            ForecastSource::History => self.forecast.curve.peak(),
            ForecastSource::RelatedCrate | ForecastSource::Cold => Bytes::ZERO,
        };
        self.peak.max(recorded)
    }

    /// The expected peak, what its runs have shown included.
    pub(super) fn expected(&self) -> Bytes {
        self.forecast.curve.peak().max(self.peak)
    }

    pub(super) fn view(&self, id: UnitId) -> UnitView {
        UnitView {
            id,
            build: self.build,
            state: self.state,
            link: self.link,
            memory: self.memory,
            expected: self.expected(),
            attempt: self.attempt,
            since: self.since,
        }
    }
}

/// The units that are not gone.
#[derive(Debug, Default)]
pub(super) struct UnitTable {
    units: BTreeMap<UnitId, ScheduledUnit>,
    /// How often a unit was looked at: the work of decisions, which a test bounds.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<u64>,
}

impl UnitTable {
    fn look(&self) {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
    }

    pub(super) fn insert(&mut self, id: UnitId, mut unit: ScheduledUnit) {
        unit.inside = unit.inside.filter(|outer| self.units.contains_key(outer));
        self.count_guest(unit.inside, 1);
        self.units.insert(id, unit);
    }

    pub(super) fn remove(&mut self, id: UnitId) {
        let Some(gone) = self.units.remove(&id) else { return };
        self.count_guest(gone.inside, -1);
        // What ran inside it is where it was from here.
        for unit in self.units.values_mut().filter(|unit| unit.inside == Some(id)) {
            unit.inside = gone.inside;
        }
        self.count_guest(gone.inside, gone.guests.cast_signed());
    }

    fn count_guest(&mut self, outer: Option<UnitId>, more: i32) {
        if let Some(outer) = outer.and_then(|outer| self.units.get_mut(&outer)) {
            outer.guests = outer.guests.saturating_add_signed(more);
        }
    }

    pub(super) fn get(&self, id: UnitId) -> Option<&ScheduledUnit> {
        self.look();
        self.units.get(&id)
    }

    /// Changes a unit where it is still there: its end may have been read before older news of it.
    pub(super) fn with(&mut self, id: UnitId, change: impl FnOnce(&mut ScheduledUnit)) {
        self.units.get_mut(&id).map(change).unwrap_or_default();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (UnitId, &ScheduledUnit)> {
        self.units.iter().inspect(|_| self.look()).map(|(id, unit)| (*id, unit))
    }

    pub(super) fn running(&self) -> impl Iterator<Item = (UnitId, &ScheduledUnit)> {
        self.iter().filter(|(_, unit)| unit.is_running())
    }

    /// The units that `id` runs inside, from the nearest outwards.
    pub(super) fn ancestors(&self, id: UnitId) -> impl Iterator<Item = (UnitId, &ScheduledUnit)> {
        let outer = |id| {
            let outer = self.get(id)?.inside?;
            self.get(outer).map(|unit| (outer, unit))
        };
        std::iter::successors(outer(id), move |(id, _)| outer(*id))
    }

    /// It is part of what a build script or a compiler does: that waits for its end, and nobody else can know when it is
    /// needed.
    pub(super) fn is_nested(&self, id: UnitId) -> bool {
        self.ancestors(id).any(|(_, outer)| !outer.role.hosts())
    }

    /// What stops one of those that it runs inside would stop it, and one of them is stopped.
    pub(super) fn is_held(&self, id: UnitId) -> bool {
        self.ancestors(id).any(|(_, outer)| outer.state == RunState::Suspended)
    }

    /// The longest path from it to the end of the build; of what is inside another one that of the outermost.
    pub(super) fn critical_path(&self, id: UnitId) -> Option<Millis> {
        let outermost = self.ancestors(id).last().map(|(_, unit)| unit);
        outermost.or_else(|| self.get(id)).and_then(|unit| unit.forecast.critical_path)
    }

    /// May be stopped for the sake of others: what runs inside would be stopped with it.
    pub(super) fn may_stand(&self, id: UnitId, unit: &ScheduledUnit) -> bool {
        match unit.role {
            UnitRole::Compiler | UnitRole::Script => {
                unit.guests == 0 || !self.has_running_guest(id)
            }
            UnitRole::Test => false,
            UnitRole::Command => unit.guests == 0,
        }
    }

    /// Something inside it, or inside what is, runs.
    pub(super) fn has_running_guest(&self, id: UnitId) -> bool {
        let is_inside = |it| self.ancestors(it).any(|(outer, _)| outer == id);
        self.running().any(|(it, _)| is_inside(it))
    }

    /// The unit that is never suspended or killed while another runs. What may wait for others goes last. One that cannot be killed goes before those that can, because nothing else
    /// could ever give back what it holds: of several the one that holds most, and the `present` anchor until another
    /// holds twice as much. Of those that can, the oldest that was admitted.
    pub(super) fn anchor(
        &self,
        now: Millis,
        present: Option<UnitId>,
        which: impl Fn(&ScheduledUnit) -> bool,
    ) -> Option<UnitId> {
        let holds = |id, unit: &ScheduledUnit| match unit.retryable {
            true => Bytes::ZERO,
            false if Some(id) == present => unit.memory.scale(2.0),
            false => unit.memory,
        };
        self.iter()
            .filter(|(_, unit)| unit.state != RunState::Waiting && which(unit))
            .min_by_key(|(id, unit)| {
                let holds = Reverse(holds(*id, unit));
                (unit.may_wait(now), unit.retryable, holds, unit.admitted, *id)
            })
            .map(|(id, _)| id)
    }
}
