//! The queue: whose turn it is first, then the longest path to the end of its build, with backfill that does
//! not delay the head of the queue.
//!
//! A unit must fit under the machine's budget, under those of the cgroup limits around it, and under its build's own. Each of
//! these has a head of its own: the first in the queue that does not fit there. Who comes after it must leave it its
//! expected start.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::builds::Turn;
use super::outlook::{Outlook, Projection, Shadow};
use super::room::{Ahead, Room, Scope, guard};
use super::tally::{Tally, Waiter};
use super::unit::{LinkState, RunState, ScheduledUnit};
use super::{Effect, Schedule, UnitRole};
use crate::ids::{BuildNo, UnitId};
use crate::measure::{Bytes, Millis};
use crate::oversized::{LEAN_SAVES, Shrink};

/// How often the head of the queue may be overtaken before nothing starts until it does. Backfill
/// already keeps its expected start; this bounds what wrong expectations can cost.
const OVERTAKEN_AT_MOST: u32 = 200;

/// How long the head of the queue lets others pass on their promise to be gone in time, as a share of its
/// own work: an oversized unit of 36 s that starts 9 s late has cost the build a quarter of itself at most.
const PATIENCE: f64 = 0.25;
const PATIENCE_AT_LEAST: Millis = Millis(1500);

/// What stands before what in the queue; see [`Schedule::rank`].
type Rank = (bool, Option<Turn>, bool, bool, Reverse<(Millis, Millis)>, UnitId);

/// The first in the queue that does not fit in its scope.
struct Head {
    scope: Scope,
    unit: UnitId,
    ahead: Projection,
    /// When it is expected to fit.
    shadow: Option<Shadow>,
    /// Those admitted after it.
    overtook: u32,
}

impl Schedule {
    pub(super) fn admit_queue(&mut self, now: Millis, room: &mut Room, effects: &mut Vec<Effect>) {
        for no in self.builds.numbers() {
            self.builds.with(no, |build| build.short = false);
        }
        let lone = self.lone();
        let mut heads: Vec<Head> = Vec::new();
        let mut closed: BTreeSet<BuildNo> = BTreeSet::new();
        let links_keep_up = self.links_keep_up();
        let mut tally = self.tally(now);
        let mut if_others_yield: Option<Outlook> = None;
        self.advance_stages(now);
        // It takes a look at all units, so it is not asked for each.
        let mut pace = self.pace();
        for id in self.queue(now) {
            let Some(unit) = self.units.get(id) else { continue };
            let waits_for_lone =
                lone.is_some_and(|lone| !self.units.ancestors(id).any(|(outer, _)| outer == lone));
            if waits_for_lone || self.awaits_stage(unit) || self.units.is_held(id) {
                continue;
            }
            let nested = self.units.is_nested(id);
            let (build, alone, retryable) = (unit.build, unit.insists(now, nested), unit.retryable);
            let role = unit.role;
            let waiter = Waiter { role, idle_ones_wait: nested || tally.guests_wait() };
            let needs_job_slot = tally.has_started_any(waiter)
                && role != UnitRole::Test
                && !(nested && self.has_ancestors_job_slot(id));
            if closed.contains(&build) || needs_job_slot && !self.has_job_slot(&tally, build) {
                continue;
            }
            if unit.links && !links_keep_up {
                self.builds.with(build, |build| build.short = true);
                continue;
            }
            let own = unit.project(pace);
            if self.builds.goes_first(build) && if_others_yield.is_none() {
                if_others_yield = Some(self.outlook_if_others_yield(now));
            }
            let fits = |ahead: &Ahead| {
                let yielding = if_others_yield
                    .as_ref()
                    .filter(|_| ahead.scope == Scope::Machine && self.builds.goes_first(build));
                ahead.outlook.fits(&own, ahead.usable)
                    || yielding.is_some_and(|outlook| outlook.fits(&own, ahead.usable))
            };
            let obstacle = room.bounds(build).find(|ahead| {
                self.has_started(&tally, ahead.scope, waiter)
                    && (alone && ahead.scope == Scope::Machine
                        || !fits(ahead)
                        || !self.lets_pass(&heads, ahead, &own, now))
            });
            let Some(obstacle) = obstacle else {
                if self.refuses_lone(id, waiter, &tally, effects) {
                    continue;
                }
                room.add(build, &own);
                if_others_yield.iter_mut().for_each(|outlook| outlook.add(&own));
                if role == UnitRole::Test {
                    tally.add_test(build);
                } else {
                    self.take_job_slot(tally.active(), now);
                    tally.add(build, self.builds.goes_first(build));
                }
                heads.iter_mut().for_each(|head| head.overtook += 1);
                // What stands between us and the compiler (doctests, a user's wrapper) would inherit the settings.
                let shrink = match retryable && self.crosses_alone(build, &own) {
                    true => self.most_shrink(id),
                    false => self.units.get(id).map(|unit| unit.shrink).unwrap_or_default(),
                };
                let work = self.units.get(id).map(|unit| unit.forecast.curve.cpu());
                self.builds.charge(build, work.unwrap_or_default());
                self.units.with(id, |unit| effects.push(unit.admit(now, id, shrink)));
                pace = self.pace();
                if alone {
                    break;
                }
                continue;
            };
            let scope = obstacle.scope;
            let is_first = !heads.iter().any(|head| head.scope == scope);
            let shadow = obstacle.outlook.first_fit(&own, obstacle.usable);
            if is_first {
                self.builds.with(build, |build| build.short = true);
                // Nothing starts before one that must be alone, or that was overtaken enough.
                if alone || self.overtaken(id) {
                    match scope {
                        Scope::Machine => break,
                        Scope::Cgroup(no) => closed.extend(self.cgroups.builds(no)),
                        Scope::Build(no) => _ = closed.insert(no),
                    }
                    continue;
                }
                heads.push(Head { scope, unit: id, ahead: own, shadow, overtook: 0 });
                self.units.with(id, |unit| _ = unit.head_since.get_or_insert(now));
            }
            if alone {
                break;
            }
        }
        for head in heads {
            self.units.with(head.unit, |unit| unit.overtaken += head.overtook);
        }
    }

    /// What waits and may run, first come those whose turn it is.
    fn queue(&self, now: Millis) -> Vec<UnitId> {
        let may_run =
            |id: &UnitId| self.units.get(*id).is_some_and(|it| !self.builds.is_paused(it.build));
        let mut queue: Vec<UnitId> = self.waiting().filter(may_run).collect();
        let turns = self.builds.turns(now, &self.units);
        queue.sort_by_cached_key(|id| self.rank(*id, &turns));
        queue
    }

    /// Smallest first: a unit that must be alone or was overtaken too often, then the build whose turn it is,
    /// then what is inside a build script or a compiler (whatever that holds is given back after it), then the longest
    /// path to the end of the build (its own work where the graph is not known), then Cargo's order.
    fn rank(&self, id: UnitId, turns: &BTreeMap<BuildNo, Turn>) -> Rank {
        let unit = self.units.get(id);
        let own = unit.map_or(Millis::ZERO, |unit| {
            unit.forecast.critical_path.unwrap_or_else(|| unit.forecast.curve.cpu())
        });
        let length = self.units.critical_path(id).unwrap_or(own);
        let urgent = self.overtaken(id) || unit.is_some_and(|unit| unit.alone);
        let turn = unit.and_then(|unit| turns.get(&unit.build).copied());
        // Its runner waits for it, and for nothing else.
        let compiles = unit.is_none_or(|unit| unit.role != UnitRole::Test);
        let outermost = !self.units.is_nested(id);
        (!urgent, turn, outermost, compiles, Reverse((length, own)), id)
    }

    /// The head of the scope, if there is one, can still start when it is expected to.
    fn lets_pass(&self, heads: &[Head], ahead: &Ahead, own: &Projection, now: Millis) -> bool {
        let Some(head) = heads.iter().find(|head| head.scope == ahead.scope) else { return true };
        match (self.is_patient(head.unit, now), head.shadow) {
            (patient, Some(shadow)) => {
                ahead.outlook.keeps(own, &head.ahead, shadow, ahead.usable, patient)
            }
            // When the head can start is unknown: what runs has outlived its forecast.
            (patient, None) => patient,
        }
    }

    /// With nothing beside it but what belongs to no unit, `own` is still expected to cross a budget that bounds it.
    /// What is remembered may be of a lean run, which holds less.
    fn crosses_alone(&self, build: BuildNo, own: &Projection) -> bool {
        let needs = Bytes(own.peak() as u64).scale(1.0 + LEAN_SAVES);
        self.scopes_of(build).any(|scope| {
            let budget = self.budget_in(scope);
            needs + self.rest_in(scope) > budget - guard(budget)
        })
    }

    /// How far the unit may go to need less. With other settings its metadata would be another, so that is too late
    /// once dependents have read it.
    pub(super) fn most_shrink(&self, id: UnitId) -> Shrink {
        let Some(unit) = self.units.get(id).filter(|unit| unit.retryable) else {
            return Shrink::No;
        };
        let slims = unit.slims && !unit.announced;
        let most = if slims { Shrink::OtherOutput } else { Shrink::SameOutput };
        self.builds.terms(unit.build).oversized.shrink().min(most)
    }

    /// A compiler that waits for its linker frees its processor, but not its memory: another one like it
    /// would only come to wait beside it, and fill what the linkers read their inputs into. What somebody has paused
    /// does not wait for memory.
    fn links_keep_up(&self) -> bool {
        let waits = |unit: &ScheduledUnit| {
            matches!(unit.link, LinkState::Waiting { .. }) && !self.builds.is_paused(unit.build)
        };
        let waiting = self.units.iter().filter(|(_, unit)| waits(unit)).count();
        waiting < self.cores as usize
    }

    /// The head of the queue lets others pass that should be gone before it can start. Expectations of
    /// time are often wrong, so it does for a while only: then only what fits beside it may pass.
    fn is_patient(&self, head: UnitId, now: Millis) -> bool {
        self.units.get(head).is_none_or(|unit| {
            let patience = unit.forecast.curve.cpu().scale(PATIENCE).max(PATIENCE_AT_LEAST);
            unit.head_since.is_none_or(|since| now - since < patience)
        })
    }

    fn overtaken(&self, id: UnitId) -> bool {
        self.units.get(id).is_some_and(|unit| unit.overtaken >= OVERTAKEN_AT_MOST)
    }

    /// The unit that runs alone: nothing starts but what it starts itself. What somebody has paused does not run.
    fn lone(&self) -> Option<UnitId> {
        let is_lone = |unit: &ScheduledUnit| {
            unit.alone && unit.state != RunState::Waiting && !self.builds.is_paused(unit.build)
        };
        self.units.iter().find(|(_, unit)| is_lone(unit)).map(|(id, _)| id)
    }

    /// Nothing else inside its ancestor uses the processor that this has, and waits with: nobody gains by its waiting.
    fn has_ancestors_job_slot(&self, id: UnitId) -> bool {
        let Some(outer) = self.units.get(id).and_then(|unit| unit.inside) else { return false };
        !self.units.has_running_guest(outer)
    }

    /// With `--oversized refuse` a unit that is known to be above a budget that bounds it, by itself, is refused before it runs.
    fn refuses_lone(
        &mut self,
        id: UnitId,
        waiter: Waiter,
        tally: &Tally,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let refuses = |unit: &&ScheduledUnit| self.builds.terms(unit.build).oversized.refuses();
        let Some(unit) = self.units.get(id).filter(refuses) else {
            return false;
        };
        let needs = unit.known_need();
        // Where that may be enough, it shrinks first.
        let saves = if unit.retryable { 1.0 + LEAN_SAVES } else { 1.0 };
        let above = |scope: &Scope| {
            !self.has_started(tally, *scope, waiter) && needs > self.budget_in(*scope).scale(saves)
        };
        let Some(scope) = self.scopes_of(unit.build).find(above) else { return false };
        let budget = self.budget_in(scope);
        effects.push(Effect::Refuse { unit: id, needs, expected: needs, budget });
        self.fail(id);
        self.units.remove(id);
        true
    }
}
