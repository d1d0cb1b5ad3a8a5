//! When what is looked at: the moments of measurements, of the search for new processes, of samples in the log, and
//! of the look at builds from elsewhere.

use plimsoll_core::Millis;

/// New processes are looked for this often: what a build script starts is found within a tenth of a
/// second, and the walk over /proc stays under 1 % of a core.
const SCAN_EVERY: Millis = Millis(100);

/// The limits are read this often.
pub(crate) const LIMITS_EVERY: Millis = Millis(250);

/// A sample goes to the log this often: fine enough for a timeline, 100 KB for five minutes.
const LOG_EVERY: Millis = Millis(500);

/// Nothing is measured before this: a build with nothing to do is over by then.
const FIRST: Millis = Millis(60);

/// The moments at which things were done last.
#[derive(Debug, Default)]
pub(crate) struct Cadence {
    sampled: Millis,
    scanned: Millis,
    limits_read: Millis,
    logged: Millis,
}

impl Cadence {
    /// The moment of the next measurement, where one is made each `interval`.
    pub(crate) fn next_sample(&self, interval: Millis) -> Millis {
        (self.sampled + interval).max(FIRST)
    }

    /// Everything is measured now.
    pub(crate) fn samples(&mut self, now: Millis) {
        self.sampled = now;
    }

    pub(crate) fn scan_is_due(&self, now: Millis) -> bool {
        now - self.scanned >= SCAN_EVERY || self.scanned == Millis::ZERO
    }

    /// New processes are looked for now.
    pub(crate) fn scans(&mut self, now: Millis) {
        self.scanned = now;
    }

    pub(crate) fn limits_are_due(&self, now: Millis) -> bool {
        now - self.limits_read >= LIMITS_EVERY
    }

    /// The limits are read now.
    pub(crate) fn reads_limits(&mut self, now: Millis) {
        self.limits_read = now;
    }

    /// Whether a sample goes to the log now.
    pub(crate) fn logs(&mut self, now: Millis) -> bool {
        let due = now - self.logged >= LOG_EVERY;
        if due {
            self.logged = now;
        }
        due
    }
}
