//! Threads inside the compilers: each unit has one for nothing and more by tokens. And places: what Cargo
//! and the build scripts take from Cargo's own jobserver.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::builds::BuildTerms;
use super::room::Room;
use super::unit::{RunState, ScheduledUnit};
use super::{Effect, Schedule, UnitRole};
use crate::forecast::{ForecastSource, MEMORY_PER_TOKEN};
use crate::ids::{BuildNo, UnitId};
use crate::measure::Bytes;

/// What code generation holds on top of the front end, with one thread: 14 % (aws-sdk-ec2) to 25 %
/// (cranelift-codegen).
const CODE_GENERATION: f64 = 0.25;

impl ScheduledUnit {
    /// What a unit that has outlived its forecast may still need and nobody expects: what its threads have
    /// once taken cannot be taken back when that shows.
    fn unforeseen(&self) -> Bytes {
        let unknown = self.forecast.source != ForecastSource::History && self.overruns();
        if unknown { self.compiler().scale(CODE_GENERATION) } else { Bytes::ZERO }
    }
}

impl Schedule {
    /// Gives the threads that no unit uses to those that would use them, the most critical first, and
    /// takes unread ones back from those that would not. Near the budget nobody gets more.
    pub(super) fn share_tokens(&mut self, room: &Room, effects: &mut Vec<Effect>) {
        let mut takers: Vec<UnitId> = self
            .units
            .running()
            .filter(|(_, unit)| unit.uses_processor() && !unit.is_unshimmed())
            .map(|(id, _)| id)
            .collect();
        let mut spare = self.cores.saturating_sub(self.active().max(1) as u32);
        let mut spare_of: BTreeMap<BuildNo, u32> = BTreeMap::new();
        for no in self.builds.numbers() {
            let threads = self.threads(&self.builds.terms(no));
            let active = self.active_where(|unit| unit.build == no).max(1) as u32;
            spare_of.insert(no, threads.saturating_sub(active));
        }
        let mut left = room.left();
        takers.sort_by_cached_key(|id| {
            let unit = self.units.get(*id);
            let background = !unit.is_some_and(|unit| self.builds.goes_first(unit.build));
            (background, Reverse(self.units.critical_path(*id)))
        });
        for id in takers {
            let Some(build) = self.units.get(id).map(|unit| unit.build) else { continue };
            let each = self.threads(&self.builds.terms(build)).saturating_sub(1);
            let own = spare_of.get(&build).copied().unwrap_or_default().min(spare);
            let bounds = left.iter().filter(|(ahead, _)| ahead.covers(build));
            let room = bounds.map(|(_, left)| *left).min().unwrap_or_default();
            let (mut aim, mut taken) = (0, Bytes::ZERO);
            self.units.with(id, |unit| {
                let in_use = unit.issued.saturating_sub(unit.unread);
                // Some that nobody reads yet stand ready, so that code generation need not ask.
                aim = (2 * in_use + 1).min(each).min(own.max(in_use));
                let more = f64::from(aim.saturating_sub(unit.issued));
                let cost = unit.unforeseen() + unit.expected().scale(MEMORY_PER_TOKEN * more);
                if aim > in_use && cost > room {
                    aim = in_use;
                } else {
                    taken = cost;
                }
                if aim != unit.aimed || aim != unit.issued {
                    unit.aimed = aim;
                    effects.push(Effect::Tokens { unit: id, issue: aim });
                }
            });
            for (_, left) in left.iter_mut().filter(|(ahead, _)| ahead.covers(build)) {
                *left = *left - taken;
            }
            spare = spare.saturating_sub(aim);
            spare_of.insert(build, own.saturating_sub(aim));
        }
    }

    /// Threads at once of a build with these terms.
    fn threads(&self, terms: &BuildTerms) -> u32 {
        self.cores.min(terms.jobs)
    }

    /// Cargo starts at most its places + 1 units, those included that wait for us: each of these is lent
    /// one, so that Cargo shows what else is ready. But the compilers that a build script starts take from
    /// the same pipe, and nobody asks us before they run: while there is a script, what Cargo's units do
    /// not hold is as many places as there are processors free, and none near the budget.
    pub(super) fn share_job_slots(&mut self, room: &Room, effects: &mut Vec<Effect>) {
        for no in self.builds.numbers() {
            let terms = self.builds.terms(no);
            let present = self.builds.get(no).map_or(0, |build| build.job_slots);
            if terms.job_slots.is_none() {
                continue;
            }
            let job_slots = self.job_slots_of(no, &terms, present, room.is_roomy(no));
            if job_slots != present {
                self.builds.with(no, |build| build.job_slots = job_slots);
                effects.push(Effect::JobSlots(no, job_slots));
            }
        }
    }

    fn job_slots_of(&self, no: BuildNo, terms: &BuildTerms, present: u32, roomy: bool) -> u32 {
        let units = || self.units.iter().map(|(_, unit)| unit).filter(|unit| unit.build == no);
        let count =
            |which: fn(&ScheduledUnit) -> bool| units().filter(|unit| which(unit)).count() as u32;
        // What waits for its stage is lent one as long as it does.
        let awaits = |unit: &ScheduledUnit| unit.build == no && self.awaits_stage(unit);
        let of_later_stages = self.units.iter().filter(|(_, unit)| awaits(unit)).count() as u32;
        let own = terms.jobs.saturating_sub(1).saturating_add(of_later_stages);
        let takes_job_slots =
            |unit: &ScheduledUnit| matches!(unit.role, UnitRole::Script | UnitRole::Command);
        if units().next().is_none() {
            // Nobody is there to take one.
            present
        } else if count(takes_job_slots) > 0 {
            let free = if roomy { self.free_job_slots(no, terms) } else { 0 };
            own.min(self.held_job_slots(no) + free)
        } else if units().any(|unit| unit.cargo.is_some_and(|it| self.failed.contains(&it))) {
            own
        } else {
            let waiting = count(|unit| unit.state == RunState::Waiting) - of_later_stages;
            (own + waiting.min(terms.jobs)).min(present.max(own) + 1)
        }
    }

    /// The places that Cargo's units hold: one each, but for the first of all, which has Cargo's own. A Cargo inside a
    /// build script has that one's for its first, and a probe, too.
    fn held_job_slots(&self, no: BuildNo) -> u32 {
        let own = || self.units.iter().filter(|(_, unit)| unit.build == no);
        let nested = own().filter(|(id, _)| self.units.is_nested(*id));
        let (cargos, probes): (Vec<_>, Vec<_>) =
            nested.map(|(_, unit)| unit.cargo).partition(Option::is_some);
        let firsts = cargos.into_iter().collect::<BTreeSet<_>>().len() + probes.len();
        (own().count() as u32).saturating_sub(1 + firsts as u32)
    }

    /// Processors that are free for one more unit of the build.
    fn free_job_slots(&self, no: BuildNo, terms: &BuildTerms) -> u32 {
        let active = self.active();
        let own = self.active_where(|unit| unit.build == no) as u32;
        let free = self.processors.job_slots(active, self.cores).saturating_sub(active) as u32;
        free.min(terms.jobs.saturating_sub(own))
    }
}
