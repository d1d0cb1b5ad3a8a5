//! What is stopped and would have to be killed may be paged out instead, where there is swap: that frees its memory,
//! too, and its work is not lost.
//!
//! A budget that a person has named counts what is swapped out, so there it would free nothing; the machine's and a
//! container's limits are limits of memory, and there it does. Whether it is cheaper is a matter of time: pages are
//! written and read back at the speed of a disk, work is done again at that of a processor.

use super::room::Scope;
use super::unit::{RunState, ScheduledUnit};
use super::{Effect, Schedule};
use crate::ids::UnitId;
use crate::measure::{Bytes, Millis};
use crate::oversized::Shrink;

/// What it costs to write a MiB to the swap and to read it back, in milliseconds: 100 MiB/s each way, as a cloud's disk
/// gives; zram and a local SSD are faster.
const MILLIS_PER_MIB: f64 = 20.0;

/// What holds less is not worth it.
const SMALLEST: Bytes = Bytes::mib(32);

/// For so long, and for as long as its size takes, what is being paged out is expected to give its memory back.
const AT_LEAST: Millis = Millis(1_000);

/// How far ahead growth is followed before what stands still anyway is paged out: writing takes time, and what has not
/// left when the budget is reached is killed after all.
const AHEAD: f64 = 1_000.0;

/// What stopping and paging out a unit would cost, in milliseconds.
pub(super) struct Offer {
    pub(super) unit: UnitId,
    pub(super) price: f64,
}

impl Schedule {
    /// The cheapest unit to page out so that `missing` becomes free in `scope`.
    pub(super) fn cheapest_to_page_out(&self, scope: Scope, missing: Bytes) -> Option<Offer> {
        let left = self.swap_in(scope);
        let price = |unit: &ScheduledUnit| {
            let frees = unit.resident();
            let mib = frees.0 as f64 / f64::from(1 << 20);
            let shares = (missing.0 as f64 / frees.0.max(1) as f64).max(1.0);
            mib * MILLIS_PER_MIB * shares * f64::from(1 + unit.paged_out_before)
        };
        self.units
            .iter()
            .filter(|(id, unit)| {
                unit.state != RunState::Waiting
                    && unit.paged_out.is_none()
                    && unit.resident() >= SMALLEST
                    && unit.resident() <= left
                    && self.covers(scope, unit)
                    && self.units.may_stand(*id, unit)
                    && !self.is_spared(scope, *id)
                    && self.builds.terms(unit.build).oversized.shrink() >= Shrink::SameOutput
            })
            .map(|(unit, state)| Offer { unit, price: price(state) })
            .min_by(|a, b| a.price.total_cmp(&b.price))
    }

    /// Pages out what is stopped already and would have to be killed soon.
    pub(super) fn page_out_ahead(
        &mut self,
        now: Millis,
        scope: Scope,
        limit: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        if self.swap_in(scope) == Bytes::ZERO {
            return;
        }
        let leaving =
            |unit: &ScheduledUnit| unit.paged_out.map_or(Bytes::ZERO, |_| unit.resident());
        let leaving: Bytes = self.units.iter().map(|(_, unit)| leaving(unit)).sum();
        let ahead = self.used_in(scope, AHEAD) - leaving;
        if ahead <= limit {
            return;
        }
        let missing = ahead - limit;
        let Some(offer) = self.cheapest_to_page_out(scope, missing) else { return };
        let cheaper = self.units.get(offer.unit).is_some_and(|unit| {
            let kill = if unit.retryable { self.price(unit, missing) } else { f64::INFINITY };
            unit.state == RunState::Suspended && offer.price < kill
        });
        if cheaper {
            let id = offer.unit;
            self.units.with(id, |unit| effects.push(unit.page_out(now, id)));
        }
    }

    /// Swap that may still be filled for the sake of this budget, less what is on its way there.
    fn swap_in(&self, scope: Scope) -> Bytes {
        let free = match scope {
            Scope::Machine => self.swap,
            Scope::Cgroup(no) => self.cgroups.get(no).map_or(Bytes::ZERO, |cgroup| cgroup.swap),
            Scope::Build(_) => Bytes::ZERO,
        };
        let on_its_way =
            |unit: &ScheduledUnit| unit.paged_out.map_or(Bytes::ZERO, |_| unit.resident());
        free - self.units.iter().map(|(_, unit)| on_its_way(unit)).sum()
    }
}

impl ScheduledUnit {
    /// What it holds of the machine's memory: what was paged out of a stopped unit does not come back by itself.
    pub(super) fn resident(&self) -> Bytes {
        match self.paged_out {
            Some(_) => self.memory - self.swapped,
            None => self.memory,
        }
    }

    /// It is being paged out, and that can still be waited for.
    pub(super) fn is_leaving(&self, now: Millis) -> bool {
        let takes =
            AT_LEAST + Millis((self.memory.0 as f64 / f64::from(1 << 20) * MILLIS_PER_MIB) as u64);
        self.paged_out.is_some_and(|since| now - since < takes)
    }
}
