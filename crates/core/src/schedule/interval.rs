//! When to measure next.

use super::Schedule;
use super::room::Scope;
use super::unit::ScheduledUnit;
use crate::measure::Millis;

/// A unit of a second should still leave a curve behind.
const SLOWEST: f64 = 250.0;

/// One of a tenth of a second should still be measured: else it would be remembered as one that needs nothing.
const AT_FIRST: Millis = Millis(40);

impl Schedule {
    /// When the next measurement is due: the time in which the fastest growth seen would use up half
    /// of the headroom, between 10 ms (or 0.4 ms for each unit that runs, because a
    /// measurement must stay cheap) and 250 ms (a unit of a second should still leave a curve behind), or 40 ms while
    /// something has run for less than 300 ms.
    #[must_use]
    pub fn sampling_interval(&self) -> Millis {
        let due = self.scopes().into_iter().map(|scope| self.due_in(scope)).min();
        let due = due.unwrap_or(Millis(SLOWEST as u64));
        match self.units.running().any(|(_, unit)| unit.unseen) {
            true => due.min(AT_FIRST),
            false => due,
        }
    }

    /// The same for one line.
    fn due_in(&self, scope: Scope) -> Millis {
        const FASTEST: f64 = 10.0;
        const FASTEST_PER_UNIT: f64 = 0.4;
        /// What a compiler gains in a millisecond when it leaves a quiet stretch.
        const BURST: f64 = 0.25 * (1 << 20) as f64;
        let running = || self.units.running().filter(|(_, unit)| self.covers(scope, unit));
        let growth = running().map(|(_, unit)| unit.growth).sum::<f64>();
        let headroom = (self.budget_in(scope) - self.used_by_all(scope)).0 as f64;
        // A unit that starts may grow at 1 MiB/ms before its growth has been seen; but only as many at
        // once as there are processors for.
        let is_young = |unit: &ScheduledUnit| unit.unseen || unit.cpu < Millis(300);
        let young = running().filter(|(_, unit)| is_young(unit)).count() as f64;
        let unseen = (young * 0.5).min(f64::from(self.cores)) * f64::from(1 << 20);
        // One that was quiet may burst; of those, too, only as many at once as there are processors for.
        let running = running().count() as f64;
        let bursts = running.min(f64::from(self.cores)) * BURST;
        let expected = (growth + unseen).max(bursts);
        let fastest = (FASTEST_PER_UNIT * running).clamp(FASTEST, SLOWEST);
        Millis((headroom / 2.0 / expected.max(1.0)).clamp(fastest, SLOWEST) as u64)
    }
}
