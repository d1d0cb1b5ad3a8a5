//! What to do when the memory that is really used comes close to the budget.
//!
//! In order: what grows is suspended (which frees nothing, but stops the growth), then something is
//! killed and run again later (which frees all that it holds, and loses its work), or paged out where that is
//! cheaper ([`super::paging`]). Admission, tokens
//! and links are held back before either, by the outlook.

use std::cmp::Reverse;

use super::room::{Scope, guard};
use super::unit::{LinkState, RunState, ScheduledUnit};
use super::{Effect, Schedule, StopReason};
use crate::forecast::ForecastSource;
use crate::ids::UnitId;
use crate::measure::{Bytes, Millis};
use crate::oversized::{LEAN_SAVES, Shrink};

/// How far ahead growth is followed before a unit is suspended: a stop takes effect within a
/// millisecond or two, the next measurement within 10 to 250.
const SUSPEND_AHEAD: f64 = 120.0;

/// How far ahead before one is killed: the time in which the kernel takes a gigabyte of pages back
/// and the next measurement sees it.
const KILL_AHEAD: f64 = 40.0;

/// The time to the next measurement when it is most urgent, and to what is then done about it.
const NEXT_MEASUREMENT: f64 = 15.0;

/// How much of what a unit gained of late it may gain once more before it is seen to.
const AGAIN: f64 = 2.0;

/// More than a shim holds that waits.
const SHIM: Bytes = Bytes::mib(6);

impl Schedule {
    /// Keeps what is used under the lines: the machine's, those of cgroup limits, and those of builds that have one.
    pub(super) fn relieve(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for scope in self.scopes() {
            let bound = Bound { scope, budget: self.budget_in(scope) };
            self.suspend_new_scripts(now, bound, effects);
            self.suspend_unkillable(now, bound, effects);
            self.suspend_growth(now, bound, effects);
            self.kill_for_room(now, bound, effects);
            self.judge_the_lone(now, bound, effects);
        }
    }

    /// Used memory in `scope`, `ahead` milliseconds from now, if everything goes on growing as it does.
    pub(super) fn used_in(&self, scope: Scope, ahead: f64) -> Bytes {
        self.used_by_all(scope) + self.running_trees(scope).map(|unit| unit.grows_in(ahead)).sum()
    }

    pub(super) fn used_by_all(&self, scope: Scope) -> Bytes {
        match scope {
            Scope::Machine => self.used(),
            Scope::Cgroup(no) => self.cgroups.builds(no).map(|build| self.used_by(build)).sum(),
            Scope::Build(no) => self.used_by(no),
        }
    }

    /// Everything that can grow, nested units included.
    fn running_trees(&self, scope: Scope) -> impl Iterator<Item = &ScheduledUnit> {
        self.units
            .iter()
            .map(|(_, unit)| unit)
            .filter(move |unit| unit.state == RunState::Running && self.covers(scope, unit))
    }

    /// What this budget never suspends or kills: the anchor of all, and that of those whose line it is.
    pub(super) fn is_spared(&self, scope: Scope, id: UnitId) -> bool {
        Some(id) == self.anchor || Some(id) == self.anchor_in(scope)
    }

    /// Cargo starts build scripts without asking: one for which there is no room waits now, before it
    /// has done anything.
    fn suspend_new_scripts(&mut self, now: Millis, bound: Bound, effects: &mut Vec<Effect>) {
        const YOUNG: Millis = Millis(200);
        let young: Vec<UnitId> = self
            .units
            .running()
            .filter(|(id, u)| {
                u.is_unshimmed()
                    && self.units.may_stand(*id, u)
                    && u.cpu < YOUNG
                    && !self.is_spared(bound.scope, *id)
            })
            .filter(|(_, u)| self.covers(bound.scope, u))
            .filter(|(_, u)| u.attempt == 1 && u.since == u.admitted && now - u.since < YOUNG)
            .map(|(id, _)| id)
            .collect();
        for id in young {
            let awaited = self.units.get(id).is_some_and(|it| self.builds.goes_first(it.build));
            let outlook = match bound.scope {
                Scope::Machine if awaited => self.outlook_if_others_yield(now),
                scope => self.outlook_in(scope),
            };
            if outlook.highest() > bound.budget {
                self.units.with(id, |unit| effects.push(unit.suspend(now, id, StopReason::NoRoom)));
            }
        }
    }

    /// What cannot be killed gives nothing back before its end, so what such units hold and will need must
    /// fit together: those for which it no longer does are stopped while they hold little.
    fn suspend_unkillable(&mut self, now: Millis, bound: Bound, effects: &mut Vec<Effect>) {
        while self.outlook_of(bound.scope, |unit| !unit.retryable).highest() > bound.budget {
            let least = self
                .units
                .running()
                .filter(|(id, unit)| !unit.retryable && !self.is_spared(bound.scope, *id))
                .filter(|(id, unit)| {
                    self.covers(bound.scope, unit) && self.units.may_stand(*id, unit)
                })
                .min_by_key(|(id, unit)| (unit.memory, Reverse(*id)))
                .map(|(id, _)| id);
            let Some(id) = least else { return };
            self.units.with(id, |unit| effects.push(unit.suspend(now, id, StopReason::NoRoom)));
        }
    }

    fn suspend_growth(&mut self, now: Millis, bound: Bound, effects: &mut Vec<Effect>) {
        let limit = bound.budget - guard(bound.budget);
        while self.used_in(bound.scope, SUSPEND_AHEAD) > limit {
            // The one whose end matters least: nobody waits for it, it has the shortest path to the end of
            // its build, it is the youngest.
            let is_spared = |id| self.is_spared(bound.scope, id) && !self.gives_way(id, now);
            let victim = self
                .units
                .running()
                .filter(|(id, unit)| !is_spared(*id) && unit.uses_processor())
                .filter(|(id, unit)| {
                    self.covers(bound.scope, unit) && self.units.may_stand(*id, unit)
                })
                .filter(|(_, unit)| unit.growth > 0.0 || unit.cpu < Millis(100))
                .min_by_key(|(id, unit)| {
                    let awaited = self.builds.goes_first(unit.build);
                    (awaited, self.units.critical_path(*id), Reverse(unit.admitted), Reverse(*id))
                })
                .map(|(id, _)| id);
            let Some(id) = victim else { break };
            self.units.with(id, |unit| effects.push(unit.suspend(now, id, StopReason::Pressure)));
        }
        self.page_out_ahead(now, bound.scope, limit, effects);
    }

    fn kill_for_room(&mut self, now: Millis, bound: Bound, effects: &mut Vec<Effect>) {
        let limit = bound.budget - Bytes(guard(bound.budget).0 / 2);
        // What is on its way to the swap is waited for as long as that holds the budget until it is measured again.
        let in_time = self.used_in(bound.scope, NEXT_MEASUREMENT) <= bound.budget;
        // What was killed is still counted as used until a measurement shows that it is gone.
        let mut going: Bytes = self
            .units
            .iter()
            .filter(|(_, unit)| self.covers(bound.scope, unit))
            .filter(|(_, unit)| unit.is_going() || in_time && unit.is_leaving(now))
            .map(|(_, unit)| unit.resident())
            .sum();
        loop {
            let expected = self.used_in(bound.scope, KILL_AHEAD) - going;
            if expected <= limit {
                return;
            }
            let missing = expected - limit + guard(bound.budget);
            let victim = self
                .units
                .iter()
                .filter(|(id, unit)| {
                    self.may_be_killed(bound.scope, *id, unit) && !(in_time && unit.is_leaving(now))
                })
                .map(|(id, unit)| (id, unit, self.price(unit, missing)))
                .min_by(|a, b| a.2.total_cmp(&b.2))
                .map(|(id, unit, price)| (id, link_is_cheaper(unit, missing), price));
            let offer = self.cheapest_to_page_out(bound.scope, missing);
            if let Some(offer) = offer.filter(|it| victim.is_none_or(|(.., kill)| it.price < kill))
            {
                let id = offer.unit;
                self.units.with(id, |unit| {
                    going += unit.resident();
                    if unit.state == RunState::Running {
                        effects.push(unit.suspend(now, id, StopReason::Pressure));
                    }
                    effects.push(unit.page_out(now, id));
                });
                continue;
            }
            let Some((id, link_only, _)) = victim else { return };
            self.units.with(id, |unit| {
                going += if link_only { unit.link_memory } else { unit.resident() };
                effects.push(if link_only {
                    unit.kill_link(now, id, StopReason::Pressure)
                } else {
                    unit.kill(now, id, StopReason::Pressure)
                });
            });
        }
    }

    /// What killing this unit costs; dearer where somebody waits for its build.
    pub(super) fn price(&self, unit: &ScheduledUnit, missing: Bytes) -> f64 {
        /// Work that somebody waits for counts so many times.
        const AWAITED: f64 = 4.0;
        let awaited = self.builds.goes_first(unit.build);
        price(unit, missing) * if awaited { AWAITED } else { 1.0 }
    }

    fn may_be_killed(&self, scope: Scope, id: UnitId, unit: &ScheduledUnit) -> bool {
        unit.retryable
            && self.covers(scope, unit)
            && unit.guests == 0
            && unit.state != RunState::Waiting
            && !self.is_spared(scope, id)
            && unit.resident() > Bytes::ZERO
    }

    /// The budget is crossed with one unit alone: said, and again where the unit crosses it by itself, too; it is refused with `--oversized refuse` where it is
    /// above the budget by itself; and stopped where even the machine has no more. What belongs to no unit is not the unit's need.
    fn judge_the_lone(&mut self, now: Millis, bound: Bound, effects: &mut Vec<Effect>) {
        let Bound { scope, budget } = bound;
        let Some(id) = self.anchor_in(scope) else { return };
        // What may wait for it would be there as long.
        let beside = |unit: &ScheduledUnit| {
            self.covers(scope, unit)
                && !self.builds.is_paused(unit.build)
                && (unit.state != RunState::Waiting || unit.is_going())
                && !(unit.guests > 0 || unit.is_idle(now))
        };
        let others = self.units.iter().any(|(other, unit)| other != id && beside(unit));
        let Some(unit) = self.units.get(id) else { return };
        let (needs, used) = (unit.resident(), self.used_by_all(scope));
        // Where another output is agreed to, the budget need not be crossed.
        let fullest = self.most_shrink(id);
        let slims = fullest == Shrink::OtherOutput && unit.shrink < fullest;
        let bound = if slims { budget - guard(budget) } else { budget };
        if others || used <= bound {
            return;
        }
        let too_large = used > self.capacity_in(scope);
        let refuses = self.builds.terms(unit.build).oversized.refuses() && needs > budget;
        // What is left to try comes before it is given up, where that can be enough; and before the budget is crossed,
        // where a person has agreed to another output for that.
        let limit = if refuses { budget } else { self.capacity_in(scope) };
        let most = limit.scale(1.0 + LEAN_SAVES);
        let nearly = unit.known_need() <= most && unit.is_nearly_at_its_peak();
        let may_try = slims || unit.shrink < fullest && (too_large || refuses) && nearly;
        if may_try {
            self.units.with(id, |unit| {
                effects.push(unit.kill(now, id, StopReason::TooLarge));
                (unit.shrink, unit.alone) = (fullest, true);
            });
        } else if (refuses || too_large) && unit.retryable {
            let cause = StopReason::TooLarge;
            let expected = unit.expected().max(needs);
            self.units.with(id, |unit| effects.push(unit.kill(now, id, cause)));
            effects.push(Effect::Refuse { unit: id, needs, expected, budget });
            self.fail(id);
            self.units.remove(id);
        } else if unit.lone_said.is_none_or(|said| said <= budget && needs > budget) {
            self.units.with(id, |unit| unit.lone_said = Some(needs));
            effects.push(Effect::Lone { unit: id, needs, budget });
        }
    }
}

/// A budget, and what it bounds.
#[derive(Clone, Copy, Debug)]
struct Bound {
    scope: Scope,
    budget: Bytes,
}

impl ScheduledUnit {
    /// More than [`LEAN_SAVES`] is not known to lie ahead of it. Of a unit that was seen to its end its record says so;
    /// of another one that its front end is over: a check ends with that, and a library has code generation ahead of
    /// it, which takes a tenth more at least. What links never announces, so nothing is known of that.
    fn is_nearly_at_its_peak(&self) -> bool {
        self.forecast.source == ForecastSource::History || self.announced || self.links
    }

    /// It waits, and still holds what a kill gives back; more than the shim that waits for it.
    fn is_going(&self) -> bool {
        self.state == RunState::Waiting && self.memory > SHIM
    }

    /// What it is expected to gain in `ahead` milliseconds: at the rate at which it grows, but no more than
    /// [`AGAIN`] of what it was seen to gain (a process that has just loaded its libraries grew fast, and
    /// not for long), and a unit that is known does not grow past what it was known to reach.
    fn grows_in(&self, ahead: f64) -> Bytes {
        let gain = Bytes((self.growth * ahead).min(self.gained * AGAIN) as u64);
        let known = match self.forecast.source {
            ForecastSource::History => 1.05,
            ForecastSource::RelatedCrate | ForecastSource::Cold => return gain,
        };
        let link = match self.link {
            LinkState::Running { peak } => peak,
            LinkState::None | LinkState::Waiting { .. } => Bytes::ZERO,
        };
        let most = (self.forecast.curve.peak() + link).scale(known);
        // Past what was known, growth is news and is believed as it is; and what was known may be
        // wrong from this moment to the next measurement.
        let at_once = gain.min(Bytes((self.growth * NEXT_MEASUREMENT) as u64));
        if self.memory > most { gain } else { gain.min(most - self.memory).max(at_once) }
    }
}

/// What killing this unit costs: the work that is thrown away, dearer where dependents already read
/// its metadata, more than anything else where a second run would fail for that, and dearer where it does not free
/// enough, because then another must go as well.
fn price(unit: &ScheduledUnit, missing: Bytes) -> f64 {
    /// A kill that is not enough by itself is priced as if it took several.
    const NOT_ENOUGH: f64 = 4.0;
    /// After its metadata was announced a retry must reproduce it to the byte.
    const ANNOUNCED: f64 = 3.0;
    /// One that cannot fails, and with it the build: such a unit goes only where nothing else can.
    const FAILS: f64 = 1e12;
    /// Even a unit that has just begun costs a start: milliseconds of processor time.
    const START: f64 = 50.0;
    let frees = if link_is_cheaper(unit, missing) { unit.link_memory } else { unit.resident() };
    let work = if link_is_cheaper(unit, missing) { 0.0 } else { unit.cpu.0 as f64 };
    let shares = missing.0 as f64 / frees.0.max(1) as f64;
    let announced = match unit.announced && work > 0.0 {
        true if unit.repeats => ANNOUNCED,
        true => FAILS,
        false => 1.0,
    };
    (START + work) * announced * if shares > 1.0 { shares * NOT_ENOUGH } else { 1.0 }
}

/// Killing only the linker frees enough, and a link is cheap to repeat.
fn link_is_cheaper(unit: &ScheduledUnit, missing: Bytes) -> bool {
    matches!(unit.link, LinkState::Running { .. }) && unit.link_memory >= missing
}
