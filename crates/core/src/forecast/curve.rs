//! A unit's tree memory over its processor time, in a few steps.

use serde::{Deserialize, Serialize};

use crate::measure::{Bytes, Millis};

/// At most this many steps are kept: front end, analysis, code generation and link of the units that
/// we measured are told apart by 12; a row of the history stays under 200 bytes.
const MAX_STEPS: usize = 12;

/// An upper envelope of a unit's memory: a step function over its processor time.
///
/// Each step `(until, bytes)` says that memory is at most `bytes` up to the processor time `until`.
/// Steps are sorted by `until`, strictly rising; past the last one the curve is zero (the unit has
/// ended) unless asked by [`Curve::ahead`], which never promises less than what is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Curve {
    steps: Vec<(Millis, Bytes)>,
}

impl Curve {
    /// A curve of the given steps; sorted here, so any order will do.
    #[must_use]
    pub fn from_steps(mut steps: Vec<(Millis, Bytes)>) -> Self {
        steps.sort_by_key(|(until, _)| *until);
        steps.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = kept.1.max(later.1);
            }
            same
        });
        Self { steps }
    }

    /// The curve of a unit of which only the peak and the processor time are known: memory rises in
    /// the first half (reading dependencies, expanding, checking) and stays up to the end.
    #[must_use]
    pub fn ramp(peak: Bytes, cpu: Millis) -> Self {
        let step = |at: f64, share: f64| (cpu.scale(at), peak.scale(share));
        Self::from_steps(vec![step(0.15, 0.45), step(0.35, 0.75), (cpu.max(Millis(1)), peak)])
    }

    /// The steps: up to this processor time, at most that much memory.
    #[must_use]
    pub fn steps(&self) -> &[(Millis, Bytes)] {
        &self.steps
    }

    /// The highest step.
    #[must_use]
    pub fn peak(&self) -> Bytes {
        self.steps.iter().map(|(_, bytes)| *bytes).max().unwrap_or_default()
    }

    /// The processor time at which the curve ends.
    #[must_use]
    pub fn cpu(&self) -> Millis {
        self.steps.last().map(|(until, _)| *until).unwrap_or_default()
    }

    /// The memory at the processor time `cpu`; zero past the end.
    #[must_use]
    pub fn at(&self, cpu: Millis) -> Bytes {
        self.steps.iter().find(|(until, _)| cpu <= *until).map(|(_, b)| *b).unwrap_or_default()
    }

    /// The highest memory at or after the processor time `cpu`; zero past the end.
    #[must_use]
    pub fn ahead(&self, cpu: Millis) -> Bytes {
        self.steps
            .iter()
            .filter(|(until, _)| cpu <= *until)
            .map(|(_, bytes)| *bytes)
            .max()
            .unwrap_or_default()
    }

    /// The same shape at `factor` times the memory.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { steps: self.steps.iter().map(|(t, b)| (*t, b.scale(factor))).collect() }
    }
}

/// Collects samples of one run into a [`Curve`].
#[derive(Clone, Debug, Default)]
pub struct CurveBuilder {
    samples: Vec<(Millis, Bytes)>,
}

impl CurveBuilder {
    /// Samples kept before neighbours are merged.
    const KEEP: usize = 256;

    /// Adds a sample: at the processor time `cpu` the tree held `bytes`.
    pub fn push(&mut self, cpu: Millis, bytes: Bytes) {
        match self.samples.last_mut() {
            Some((last, held)) if cpu <= *last => *held = (*held).max(bytes),
            _ => self.samples.push((cpu, bytes)),
        }
        if self.samples.len() > Self::KEEP {
            let merged = self.samples.chunks(2).map(|pair| {
                let (until, _) = pair[pair.len() - 1];
                (until, pair.iter().map(|(_, b)| *b).max().unwrap_or_default())
            });
            self.samples = merged.collect();
        }
    }

    /// The envelope of all samples, in a few steps: neighbours whose merging adds the least area
    /// under the curve are merged first, so plateaus and cliffs survive.
    #[must_use]
    pub fn finish(&self) -> Curve {
        let mut steps = self.samples.clone();
        while steps.len() > MAX_STEPS {
            let start = |i: usize| if i == 0 { 0 } else { steps[i - 1].0.0 };
            let cost = |i: usize| {
                let (left, right) = (steps[i], steps[i + 1]);
                let top = left.1.max(right.1).0;
                u128::from(top - left.1.0) * u128::from(left.0.0.saturating_sub(start(i)))
                    + u128::from(top - right.1.0) * u128::from(right.0.0 - left.0.0)
            };
            let Some(i) = (0..steps.len() - 1).min_by_key(|i| cost(*i)) else {
                break;
            };
            let (_, bytes) = steps.remove(i);
            steps[i].1 = steps[i].1.max(bytes);
        }
        Curve::from_steps(steps)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_curve_tells_what_is_still_ahead() {
        let curve = Curve::from_steps(vec![
            (Millis(100), Bytes::mib(50)),
            (Millis(400), Bytes::mib(300)),
            (Millis(900), Bytes::mib(120)),
        ]);
        assert_eq!(curve.at(Millis(250)), Bytes::mib(300));
        assert_eq!(curve.ahead(Millis(0)), Bytes::mib(300));
        assert_eq!(curve.ahead(Millis(500)), Bytes::mib(120));
        assert_eq!(curve.ahead(Millis(901)), Bytes::ZERO);
    }

    proptest! {
        #[test]
        fn the_envelope_lies_on_or_above_every_sample(
            samples in proptest::collection::vec((1u64..50, 0u64..1000), 1..600)
        ) {
            let mut builder = CurveBuilder::default();
            let mut cpu = 0;
            let mut seen = Vec::new();
            for (step, mib) in samples {
                cpu += step;
                builder.push(Millis(cpu), Bytes::mib(mib));
                seen.push((Millis(cpu), Bytes::mib(mib)));
            }
            let curve = builder.finish();
            prop_assert!(curve.steps().len() <= MAX_STEPS);
            prop_assert_eq!(curve.peak(), seen.iter().map(|(_, b)| *b).max().unwrap());
            for (at, bytes) in seen {
                prop_assert!(curve.at(at) >= bytes);
            }
        }
    }
}
