//! Who uses the processors, and whether one is free for one more.

use std::collections::BTreeMap;

use super::room::Scope;
use super::unit::{LinkState, RunState, ScheduledUnit};
use super::{Schedule, UnitRole};
use crate::ids::BuildNo;
use crate::measure::Millis;

/// The units of one build, or of all.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Those that use a processor.
    active: usize,
    /// Those that have started, and go on.
    started: usize,
    /// ScheduledBuild scripts among them that may wait for what is inside another one.
    idle: usize,
    /// Tests and commands that have started: what runs below them does not wait for their end.
    hosts: usize,
}

/// How many units of whom, counted once for a whole queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    all: Count,
    /// Of builds that somebody waits for.
    awaited: usize,
    builds: BTreeMap<BuildNo, Count>,
    /// The build that does not wait for the others' processors.
    ahead: Option<BuildNo>,
    /// Something inside a build script or a compiler waits.
    guests_wait: bool,
}

impl Tally {
    /// One more unit of the build runs.
    pub(super) fn add(&mut self, build: BuildNo, awaited: bool) {
        for count in [&mut self.all, self.builds.entry(build).or_default()] {
            count.active += 1;
            count.started += 1;
        }
        self.awaited += usize::from(awaited);
    }

    /// Units that use a processor.
    pub(super) fn active(&self) -> usize {
        self.all.active
    }

    /// Something inside a build script or a compiler waits, and whatever waits for that.
    pub(super) fn guests_wait(&self) -> bool {
        self.guests_wait
    }

    /// A test runs.
    pub(super) fn add_test(&mut self, build: BuildNo) {
        self.all.hosts += 1;
        self.builds.entry(build).or_default().hosts += 1;
    }

    /// Something was started that this unit can wait for.
    pub(super) fn has_started_any(&self, waiter: Waiter) -> bool {
        self.all.has_started(waiter)
    }
}

impl Count {
    fn has_started(self, waiter: Waiter) -> bool {
        let goes_on = self.started - if waiter.idle_ones_wait { self.idle } else { 0 };
        goes_on > 0 || waiter.role == UnitRole::Test && self.hosts > 0
    }
}

/// Who waits for what was started before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter {
    pub(super) role: UnitRole,
    /// A build script that does nothing may wait for it: it is inside another one, or it stands before what is.
    pub(super) idle_ones_wait: bool,
}

impl Schedule {
    /// Something inside a build script or a compiler waits: for memory, or to link.
    pub(super) fn guests_wait(&self) -> bool {
        let waits = |unit: &ScheduledUnit| {
            unit.state == RunState::Waiting || matches!(unit.link, LinkState::Waiting { .. })
        };
        self.units.iter().any(|(id, unit)| waits(unit) && self.units.is_nested(id))
    }

    /// How many units of whom there are now.
    pub(super) fn tally(&self, now: Millis) -> Tally {
        let ahead = self.builds.runs_ahead(now, &self.units);
        let mut tally = Tally { ahead, guests_wait: self.guests_wait(), ..Tally::default() };
        for (_, unit) in self.units.iter().filter(|(_, unit)| unit.state != RunState::Waiting) {
            let paused = self.builds.is_paused(unit.build);
            let active = usize::from(unit.uses_processor() && !paused);
            // What stands still until a person continues it is nothing that others could wait for; nor is what
            // may wait for them.
            let goes_on = !paused && !unit.hosts();
            let started = usize::from(goes_on);
            let idle = usize::from(goes_on && unit.is_idle(now));
            for count in [&mut tally.all, tally.builds.entry(unit.build).or_default()] {
                count.active += active;
                count.started += started;
                count.idle += idle;
                count.hosts += usize::from(unit.role.hosts());
            }
            tally.awaited += if self.builds.goes_first(unit.build) { active } else { 0 };
        }
        tally
    }

    /// Something in this scope was started that this unit can wait for: the scope is not there for it alone.
    pub(super) fn has_started(&self, tally: &Tally, scope: Scope, waiter: Waiter) -> bool {
        let of = |no: BuildNo| tally.builds.get(&no).is_some_and(|count| count.has_started(waiter));
        match scope {
            Scope::Machine => tally.has_started_any(waiter),
            Scope::Cgroup(no) => self.cgroups.builds(no).any(of),
            Scope::Build(no) => of(no),
        }
    }

    /// A processor is free for one more unit of the build. What nobody waits for leaves its processor to
    /// what somebody waits for, and what comes later to the small build whose turn it is: the kernel shares it out
    /// between them until the former has ended.
    pub(super) fn has_job_slot(&self, tally: &Tally, build: BuildNo) -> bool {
        let own = tally.builds.get(&build).map_or(0, |count| count.active);
        let active = if tally.ahead == Some(build) {
            own
        } else if self.builds.goes_first(build) {
            tally.awaited
        } else {
            tally.all.active
        };
        own < self.builds.terms(build).jobs as usize
            && active < self.processors.job_slots(active, self.cores)
    }

    /// One more unit is about to run beside `active` ones.
    pub(super) fn take_job_slot(&mut self, active: usize, now: Millis) {
        if active >= self.cores as usize {
            self.processors.started_beyond(now);
        }
    }
}
