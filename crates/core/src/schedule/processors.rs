//! Whether the processors have time left for one more unit.
//!
//! Compilers compute: of more than there are processors, each only takes caches and memory from the
//! others. (Eight at a time on two processors took 1.24 times the processor time of two at a time, and
//! 1.2 times as long, see bench/RESULTS.md.) So a unit beyond the processors starts only where those were
//! seen to idle, as they do beside a build script that waits for a disk (but not where they wait for pages that
//! were dropped for want of memory); and after each look only half as many
//! again as there are, because only the next look shows what they take.

use crate::measure::Millis;

/// How long the processors are watched before it is said that they idle. Because processor time is read five
/// times a second and counted in hundredths, a shorter look would mostly see that.
const LOOK: Millis = Millis(1000);

/// The share of all processors' time above which they are busy.
const BUSY: f64 = 0.8;

/// The build's use of the processors.
#[derive(Debug, Default)]
pub(super) struct Processors {
    /// The build's processor time as last measured.
    used: Millis,
    /// When the present look began, and the processor time then.
    look: (Millis, Millis),
    /// How many more may start beyond the processors.
    beyond: usize,
    /// They idle because pages of files are read again and again.
    thrashing: bool,
}

impl Processors {
    /// The build has used so much processor time until `now`, what has ended included, and `active` units
    /// use the processors.
    pub(super) fn measure(&mut self, now: Millis, used: Millis, active: usize, cores: u32) {
        self.used = used;
        if active < cores as usize {
            // Processors that no unit asked for say nothing of what more units would do.
            (self.look, self.beyond) = ((now, used), 0);
            return;
        }
        let (since, before) = self.look;
        let span = now - since;
        if span >= LOOK {
            let share = (used - before).0 as f64 / (span.0 * u64::from(cores.max(1))) as f64;
            let idle = share < BUSY && !self.thrashing;
            self.beyond = if idle { (active / 2).max(1) } else { 0 };
            self.look = (now, used);
        }
    }

    /// Whether the processors wait for memory: that is no reason to start more.
    pub(super) fn thrashes(&mut self, now: bool) {
        self.thrashing = now;
        if now {
            self.beyond = 0;
        }
    }

    /// Whether they wait for pages that were dropped.
    pub(super) fn are_thrashing(&self) -> bool {
        self.thrashing
    }

    /// How many units may use the processors, where `active` do.
    pub(super) fn job_slots(&self, active: usize, cores: u32) -> usize {
        let beyond = if self.beyond > 0 { active + self.beyond } else { 0 };
        beyond.max(cores as usize)
    }

    /// One more than there are processors was started: what that leaves is to be seen.
    pub(super) fn started_beyond(&mut self, now: Millis) {
        self.beyond = self.beyond.saturating_sub(1);
        self.look = (now, self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_processors_take_no_more_units_than_they_are() {
        let mut processors = Processors::default();
        assert_eq!(processors.job_slots(0, 2), 2);
        for at in 1..50 {
            processors.measure(Millis(100 * at), Millis(190 * at), 2, 2);
            assert_eq!(processors.job_slots(2, 2), 2);
        }
    }

    #[test]
    fn idle_ones_take_half_as_many_again_at_each_look() {
        let mut processors = Processors::default();
        let mut active = 2;
        let mut seen = vec![active];
        for at in 1..100 {
            processors.measure(Millis(100 * at), Millis(20 * at), active, 2);
            while active < processors.job_slots(active, 2) {
                active += 1;
                processors.started_beyond(Millis(100 * at));
            }
            if seen.last() != Some(&active) {
                seen.push(active);
            }
        }
        assert_eq!(seen, [2, 3, 4, 6, 9, 13, 19, 28, 42, 63]);
    }

    #[test]
    fn processors_that_wait_for_pages_take_no_more_units() {
        let mut processors = Processors::default();
        for at in 1..50 {
            processors.measure(Millis(100 * at), Millis(20 * at), 2, 2);
            processors.thrashes(at > 5);
            assert_eq!(processors.job_slots(2, 2), 2);
        }
        processors.thrashes(false);
        processors.measure(Millis(9000), Millis(1000), 2, 2);
        assert_eq!(processors.job_slots(2, 2), 3);
    }

    #[test]
    fn processors_that_nobody_asked_for_are_not_idle() {
        let mut processors = Processors::default();
        for at in 1..50 {
            processors.measure(Millis(100 * at), Millis(100 * at), 1, 2);
        }
        processors.measure(Millis(5000), Millis(5000), 2, 2);
        assert_eq!(processors.job_slots(2, 2), 2);
    }
}
