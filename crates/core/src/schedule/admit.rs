//! Who may start: links first, then what was stopped, then the queue ([`super::queue`]).

use super::outlook::{Outlook, Pace};
use super::room::{Ahead, Room, Scope};
use super::unit::{LinkState, RunState, ScheduledUnit};
use super::{Effect, Schedule};
use crate::ids::{BuildNo, UnitId};
use crate::measure::{Bytes, Millis};

/// A stopped unit stays so for at least this long: stopping and starting more often than the sampler
/// looks would only follow its noise.
const SUSPENDED_AT_LEAST: Millis = Millis(250);

/// A unit stands still for what a person waits for, for so long in all: then it goes on like any other, so that a
/// oversized unit in the background is late by this at most.
const YIELDS_AT_MOST: Millis = Millis(10_000);

/// An anchor that uses no processor for this long while others are stopped may be waiting for one of
/// them (a lock in the build directory, a pipe).
const ANCHOR_STUCK: Millis = Millis(3000);

impl Schedule {
    /// What the schedule counts on for one build at the highest future moment, margins included.
    #[must_use]
    pub fn admitted(&self, build: BuildNo) -> Bytes {
        self.outlook_in(Scope::Build(build)).highest()
    }

    /// What lies ahead in `scope`.
    pub(super) fn outlook_in(&self, scope: Scope) -> Outlook {
        self.outlook_of(scope, |_| true)
    }

    /// As if only these of its units were there.
    pub(super) fn outlook_of(
        &self,
        scope: Scope,
        which: impl Fn(&ScheduledUnit) -> bool,
    ) -> Outlook {
        let units = self.units.iter().map(|(_, unit)| unit);
        let units = units.filter(|unit| self.covers(scope, unit) && which(unit));
        Outlook::of(units, self.rest_in(scope), self.pace())
    }

    /// The machine's, if all that may stand still for what a person waits for did so from now on.
    pub(super) fn outlook_if_others_yield(&self, now: Millis) -> Outlook {
        let yields =
            |id: UnitId, unit: &ScheduledUnit| unit.is_running() && self.may_yield(id, unit, now);
        let (yielding, others): (Vec<_>, Vec<_>) =
            self.units.iter().partition(|(id, unit)| yields(*id, unit));
        let others = others.into_iter().map(|(_, unit)| unit);
        let mut outlook = Outlook::of(others, self.rest, self.pace());
        yielding.iter().for_each(|(_, unit)| outlook.add(&unit.held()));
        outlook
    }

    /// Nobody waits for it, it can be stopped, and it was not stopped for long.
    fn may_yield(&self, id: UnitId, unit: &ScheduledUnit, now: Millis) -> bool {
        !self.builds.goes_first(unit.build)
            && self.units.may_stand(id, unit)
            && unit.stood_still(now) < YIELDS_AT_MOST
    }

    /// The anchor, too, stands still while something runs that a person waits for: for a while.
    pub(super) fn gives_way(&self, id: UnitId, now: Millis) -> bool {
        let awaited = |unit: &ScheduledUnit| {
            unit.is_running() && !unit.hosts() && self.builds.goes_first(unit.build)
        };
        self.units.get(id).is_some_and(|unit| self.may_yield(id, unit, now))
            && self.units.iter().any(|(other, unit)| other != id && awaited(unit))
    }

    pub(super) fn covers(&self, scope: Scope, unit: &ScheduledUnit) -> bool {
        self.bounds(scope, unit.build)
    }

    /// The budget there bounds this build.
    fn bounds(&self, scope: Scope, build: BuildNo) -> bool {
        match scope {
            Scope::Machine => true,
            Scope::Cgroup(no) => self.cgroups.holds(no, build),
            Scope::Build(no) => no == build,
        }
    }

    /// What belongs to no unit there.
    pub(super) fn rest_in(&self, scope: Scope) -> Bytes {
        let of = |no| self.builds.get(no).map(|build| build.rest).unwrap_or_default();
        match scope {
            Scope::Machine => self.rest,
            Scope::Cgroup(no) => self.cgroups.builds(no).map(of).sum(),
            Scope::Build(no) => of(no),
        }
    }

    /// The budget there; the machine's, where there is none.
    pub(super) fn budget_in(&self, scope: Scope) -> Bytes {
        let own = match scope {
            Scope::Machine => None,
            Scope::Cgroup(no) => self.cgroups.get(no).map(|cgroup| cgroup.budget),
            Scope::Build(no) => self.builds.terms(no).budget,
        };
        own.unwrap_or(self.budget)
    }

    /// What those there could hold at the very most.
    pub(super) fn capacity_in(&self, scope: Scope) -> Bytes {
        match scope {
            Scope::Cgroup(no) => self
                .cgroups
                .get(no)
                .map_or(self.machine, |cgroup| cgroup.capacity.min(self.machine)),
            Scope::Machine | Scope::Build(_) => self.machine,
        }
    }

    /// The one unit that the budget there never suspends or kills.
    pub(super) fn anchor_in(&self, scope: Scope) -> Option<UnitId> {
        match scope {
            Scope::Machine => self.anchor,
            Scope::Cgroup(no) => self.cgroups.anchor(no),
            Scope::Build(no) => self.builds.get(no).and_then(|build| build.anchor),
        }
    }

    /// Everything that has a budget: the machine, then the cgroup limits, then the builds with lines of their own.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let cgroups = self.cgroups.numbers().into_iter().map(Scope::Cgroup);
        let builds = self.builds.numbers().into_iter();
        let own = builds.filter(|no| self.builds.terms(*no).budget.is_some()).map(Scope::Build);
        [Scope::Machine].into_iter().chain(cgroups).chain(own).collect()
    }

    /// Those of them that bound this build.
    pub(super) fn scopes_of(&self, build: BuildNo) -> impl Iterator<Item = Scope> {
        self.scopes().into_iter().filter(move |scope| self.bounds(*scope, build))
    }

    fn room(&self) -> Room {
        let ahead = |scope| {
            let builds = match scope {
                Scope::Machine => None,
                Scope::Cgroup(no) => Some(self.cgroups.builds(no).collect()),
                Scope::Build(no) => Some([no].into()),
            };
            Ahead::new(scope, self.outlook_in(scope), self.budget_in(scope), builds)
        };
        Room::new(self.scopes().into_iter().map(ahead).collect())
    }

    pub(super) fn pace(&self) -> Pace {
        let goes_on = self.units.running().filter(|(_, unit)| unit.guests == 0);
        Pace::of(self.cores, goes_on.count())
    }

    /// Gives what lies ahead with all that was admitted.
    pub(super) fn admit(&mut self, now: Millis, effects: &mut Vec<Effect>) -> Room {
        let mut room = self.room();
        self.admit_links(now, &mut room, effects);
        self.resume(now, &mut room, effects);
        // What goes on may be one whose linker waits.
        self.admit_links(now, &mut room, effects);
        self.admit_queue(now, &mut room, effects);
        room
    }

    /// Links go first: they end units, and a compiler that waits for its linker holds memory for nothing.
    /// Where what is read from files does not fit, they go one by one: of two, each would drop what the other
    /// has yet to read. (Relinking six programs of 1.1 GiB of inputs in 1.3 GiB, plain Cargo: 15 s by `-j1`,
    /// 18 s by `-j2`, 192 s by `-j3`.)
    fn admit_links(&mut self, now: Millis, room: &mut Room, effects: &mut Vec<Effect>) {
        let mut asking: Vec<(Millis, UnitId, Bytes)> = self
            .units
            .iter()
            .filter_map(|(id, unit)| match (unit.link, unit.state) {
                (LinkState::Waiting { since, peak }, RunState::Running) => Some((since, id, peak)),
                _ => None,
            })
            .collect();
        asking.sort_unstable_by_key(|(since, id, _)| (*since, *id));
        let links = |unit: &ScheduledUnit| {
            matches!(unit.link, LinkState::Running { .. }) && unit.is_running()
        };
        let guests_wait = self.guests_wait();
        let mut another = self.units.iter().any(|(_, unit)| links(unit));
        for (_, id, peak) in asking {
            let Some(unit) = self.units.get(id) else { continue };
            let before = unit.project(self.pace());
            let mut linking = unit.clone();
            linking.link = LinkState::Running { peak };
            let after = linking.project(self.pace());
            let build = unit.build;
            room.remove(build, &before);
            // What may wait for it, or for what waits behind it, is nothing to wait for.
            let idle_ones_wait = guests_wait || self.units.is_nested(id);
            let works = |unit: &ScheduledUnit| {
                let waits = unit.hosts() || idle_ones_wait && unit.is_idle(now);
                unit.uses_processor() && !waits && !self.builds.is_paused(unit.build)
            };
            let alone = self.units.iter().all(|(other, unit)| other == id || !works(unit));
            let fits = room.fits(build, &after);
            let one_by_one = another && self.processors.are_thrashing();
            if alone || fits && !unit.alone && !one_by_one {
                another = true;
                room.add(build, &after);
                self.units.with(id, |unit| unit.link = LinkState::Running { peak });
                effects.push(Effect::AdmitLink(id));
            } else {
                room.add(build, &before);
            }
        }
    }

    fn resume(&mut self, now: Millis, room: &mut Room, effects: &mut Vec<Effect>) {
        let stuck = now - self.anchor_progress.1 >= ANCHOR_STUCK;
        let mut stopped: Vec<(Millis, UnitId)> = self
            .units
            .iter()
            .filter(|(_, unit)| unit.state == RunState::Suspended)
            .filter(|(_, unit)| !self.builds.is_paused(unit.build))
            .map(|(id, unit)| (unit.admitted, id))
            .collect();
        stopped.sort_unstable();
        for (_, id) in stopped {
            let Some(unit) = self.units.get(id).filter(|_| !self.units.is_held(id)) else {
                continue;
            };
            let (held, projected) = (unit.held(), unit.project(self.pace()));
            let rested = now - unit.since >= SUSPENDED_AT_LEAST;
            let build = unit.build;
            room.remove(build, &held);
            let nothing_runs = !self.something_goes_on(|_| true);
            // What a cgroup limit's or a build's own budget has stopped it continues where nothing else runs there.
            let fits = room.bounds(build).all(|ahead| {
                ahead.outlook.fits(&projected, ahead.usable)
                    || ahead.scope != Scope::Machine
                        && !self.something_goes_on(|unit| ahead.covers(unit.build))
            });
            if nothing_runs
                || (rested && (stuck || (fits && self.has_job_slot(&self.tally(now), build))))
            {
                self.take_job_slot(self.active(), now);
                room.add(build, &projected);
                self.units.with(id, |unit| effects.extend(unit.resume(now, id)));
                if stuck {
                    self.anchor_progress.1 = now;
                    return;
                }
            } else {
                room.add(build, &held);
            }
        }
    }

    /// Something of these runs, and not only for others inside it to be let in.
    fn something_goes_on(&self, which: impl Fn(&ScheduledUnit) -> bool) -> bool {
        let goes_on = |id, unit: &ScheduledUnit| {
            unit.is_running()
                && unit.guests == 0
                && which(unit)
                && !self.units.is_held(id)
                && !self.builds.is_paused(unit.build)
        };
        self.units.iter().any(|(id, unit)| goes_on(id, unit))
    }

    /// Units that use a processor.
    pub(super) fn active(&self) -> usize {
        self.active_where(|_| true)
    }

    /// Those of them for which this holds.
    pub(super) fn active_where(&self, which: impl Fn(&ScheduledUnit) -> bool) -> usize {
        let active = |unit: &ScheduledUnit| {
            unit.uses_processor() && which(unit) && !self.builds.is_paused(unit.build)
        };
        self.units.iter().filter(|(_, unit)| active(unit)).count()
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = UnitId> {
        self.units.iter().filter(|(_, unit)| unit.state == RunState::Waiting).map(|(id, _)| id)
    }
}
