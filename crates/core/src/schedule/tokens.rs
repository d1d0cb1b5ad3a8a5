//! Threads inside the compilers: each unit has one for nothing and more by tokens. And places: what Cargo
//! and the build scripts take from Cargo's own jobserver.

use super::outlook::Outlook;
use super::unit::{RunState, Unit};
use super::{Effect, Schedule};
use crate::forecast::{MEMORY_PER_TOKEN, Source};
use crate::ids::UnitId;
use crate::measure::Bytes;

/// Below this share of the line no token is withheld for memory's sake: there is room for every
/// module that a compiler could have in flight.
const ROOMY: f64 = 0.9;

/// What code generation holds on top of the front end, with one thread: 14 % (aws-sdk-ec2) to 25 %
/// (cranelift-codegen).
const CODE_GENERATION: f64 = 0.25;

impl Unit {
    /// What a unit that has outlived its forecast may still need and nobody expects: what its threads have
    /// once taken cannot be taken back when that shows.
    fn unforeseen(&self) -> Bytes {
        let unknown = self.forecast.source != Source::History && self.overruns();
        if unknown { self.compiler().scale(CODE_GENERATION) } else { Bytes::ZERO }
    }
}

impl Schedule {
    /// Gives the threads that no unit uses to those that would use them, the most critical first, and
    /// takes unread ones back from those that would not. Near the line nobody gets more.
    pub(super) fn share_tokens(&mut self, outlook: &Outlook, effects: &mut Vec<Effect>) {
        let mut takers: Vec<UnitId> = self
            .units
            .running()
            .filter(|(_, unit)| unit.uses_processor() && !unit.unshimmed)
            .map(|(id, _)| id)
            .collect();
        let threads = self.config.cores.min(self.config.jobs);
        let mut spare = threads.saturating_sub(self.active().max(1) as u32);
        let each = threads.saturating_sub(1);
        let mut room =
            if self.is_roomy(outlook) { self.line - outlook.highest() } else { Bytes::ZERO };
        takers.sort_by_cached_key(|id| {
            let unit = self.units.get(*id);
            std::cmp::Reverse(unit.and_then(|unit| unit.forecast.tail))
        });
        for id in takers {
            let mut aim = 0;
            self.units.with(id, |unit| {
                let in_use = unit.issued.saturating_sub(unit.unread);
                // Some that nobody reads yet stand ready, so that code generation need not ask.
                aim = (2 * in_use + 1).min(each).min(spare.max(in_use));
                let more = f64::from(aim.saturating_sub(unit.issued));
                let cost = unit.unforeseen() + unit.expected().scale(MEMORY_PER_TOKEN * more);
                if aim > in_use && cost > room {
                    aim = in_use;
                } else {
                    room = room - cost;
                }
                spare = spare.saturating_sub(aim);
                if aim != unit.aimed || aim != unit.issued {
                    unit.aimed = aim;
                    effects.push(Effect::Tokens { unit: id, issue: aim });
                }
            });
        }
    }

    /// Cargo starts at most its places + 1 units, those included that wait for us: each of these is lent
    /// one, so that Cargo shows what else is ready. But the compilers that a build script starts take from
    /// the same pipe, and nobody asks us before they run: while there is a script, what Cargo's units do
    /// not hold is as many places as there are processors free, and none near the line.
    pub(super) fn share_places(&mut self, outlook: &Outlook, effects: &mut Vec<Effect>) {
        let own = self.config.jobs.saturating_sub(1);
        let count = |unit: &dyn Fn(&Unit) -> bool| {
            self.units.iter().filter(|(_, u)| u.inside.is_none() && unit(u)).count() as u32
        };
        let places = if count(&|unit| unit.unshimmed) > 0 {
            let started = count(&|_| true);
            let active = self.active();
            let free = match self.is_roomy(outlook) {
                true => self.processors.places(active, &self.config).saturating_sub(active) as u32,
                false => 0,
            };
            own.min(started - 1 + free)
        } else if !self.failed.is_empty() {
            own
        } else {
            let waiting = count(&|unit| unit.state == RunState::Waiting);
            (own + waiting.min(self.config.jobs)).min(self.cargo_places.max(own) + 1)
        };
        if places != self.cargo_places {
            self.cargo_places = places;
            effects.push(Effect::Places(places));
        }
    }

    /// There is room for what more threads would hold.
    fn is_roomy(&self, outlook: &Outlook) -> bool {
        outlook.soon() <= self.line.scale(ROOMY)
    }
}
