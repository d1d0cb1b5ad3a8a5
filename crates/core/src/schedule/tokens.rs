//! Threads inside the compilers: each unit has one for nothing and more by tokens.

use super::outlook::Outlook;
use super::{Effect, Schedule};
use crate::forecast::MEMORY_PER_TOKEN;
use crate::ids::UnitId;
use crate::measure::Bytes;

/// Below this share of the line no token is withheld for memory's sake: there is room for every
/// module that a compiler could have in flight.
const ROOMY: f64 = 0.9;

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
        let mut room = if outlook.soon() > self.line.scale(ROOMY) {
            Bytes::ZERO
        } else {
            self.line - outlook.highest()
        };
        takers.sort_by_cached_key(|id| {
            let unit = self.units.get(*id);
            std::cmp::Reverse(unit.and_then(|unit| unit.forecast.tail))
        });
        for id in takers {
            let mut aim = 0;
            self.units.with(id, |unit| {
                let in_use = unit.issued.saturating_sub(unit.unread);
                let cost = unit.expected().scale(MEMORY_PER_TOKEN);
                // Some that nobody reads yet stand ready, so that code generation need not ask.
                aim = (2 * in_use + 1).min(each).min(spare.max(in_use));
                if aim > unit.issued && cost > room {
                    aim = in_use.min(unit.issued);
                }
                if aim > unit.issued {
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
}
