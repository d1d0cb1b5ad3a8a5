//! What more threads in the compiler's front end cost.
//!
//! Each keeps arenas and caches of its own, from the start of the run to its end, whether it finds work or not.
//! Measured with rustc 1.97 (anonymous memory, MiB) with 1, 2, 4 and 8 threads: libc 109, 160, 166, 169; regex-syntax
//! 165, 223, 249, 278; with 1 and 4: syn 259, 353; winnow 125, 173; rustix 48, 86.

use super::{Curve, Forecast, Observation};
use crate::measure::Bytes;

/// What the second thread brings by itself.
const SECOND: Bytes = Bytes::mib(32);

/// What each doubling of the threads adds, as a share of what one thread holds.
const DOUBLING: f64 = 0.12;

impl Observation {
    /// What a front end with `to` threads would have shown, where this one had `from`.
    #[must_use]
    pub fn with_threads(mut self, from: u32, to: u32) -> Self {
        self.curve = self.curve.with_threads(from, to);
        self
    }
}

impl Forecast {
    /// The forecast for a front end with so many threads, where this one is for one.
    pub(super) fn with_threads(mut self, threads: u32) -> Self {
        self.curve = self.curve.with_threads(1, threads);
        self
    }
}

impl Curve {
    fn with_threads(&self, from: u32, to: u32) -> Self {
        let share = |threads: u32| 1.0 + DOUBLING * f64::from(threads.max(1)).log2();
        let fixed = |threads: u32| if threads > 1 { SECOND } else { Bytes::ZERO };
        if from.max(1) == to.max(1) {
            return self.clone();
        }
        let steps = self.steps().iter().map(|(until, bytes)| {
            let one = (*bytes - fixed(from)).scale(1.0 / share(from));
            (*until, one.scale(share(to)) + fixed(to))
        });
        Self::from_steps(steps.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Millis;

    #[test]
    fn what_was_measured_is_expected() {
        for (one, threads, measured) in [
            (259, 4, 353.0),
            (48, 4, 86.0),
            (109, 4, 166.0),
            (165, 2, 223.0),
            (165, 4, 249.0),
            (129, 4, 192.0),
        ] {
            let curve = Curve::ramp(Bytes::mib(one), Millis(1000));
            let more = curve.with_threads(1, threads);
            let error = more.peak().as_mib() / measured;
            assert!((0.85..1.15).contains(&error), "{one} with {threads}: {error}");
            let back = more.with_threads(threads, 1).peak().as_mib();
            assert!((back - one as f64).abs() < 0.1, "{back}");
            assert_eq!(curve.with_threads(0, 1), curve);
        }
    }
}
