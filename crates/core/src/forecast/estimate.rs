//! From what was recorded of a unit, or of its relatives, to what is expected of it.

use super::{Curve, Forecast, ForecastSource, Observation};
use crate::measure::Bytes;

/// What one more token adds to a compiler's peak, as a share of its peak with one: cranelift-codegen at
/// opt-level 0 needs 1,340, 1,395 and 1,564 MiB with 1, 2 and 8 tokens (docs/architecture.md).
pub const MEMORY_PER_TOKEN: f64 = 0.024;

/// The deviation of the next run's logarithmic peak after one recorded run: two runs of one unit differ
/// by 2 to 5 % (allocator, thread timing).
const ONCE_SEEN: f64 = 0.05;

/// However steady the record, the next run may differ by this.
const STEADIEST: f64 = 0.025;

/// The deviation where only relatives were seen: versions of one crate differ by 10 to 30 %.
const RELATIVE: f64 = 0.25;

impl Forecast {
    /// The forecast for a unit of which these runs were recorded, newest first; `exact` where they are
    /// runs of this very unit. `None` where there are none.
    ///
    /// The newest run gives the shape, the highest of all gives the height: a forecast that is too low
    /// costs a kill, one that is too high only a wait.
    #[must_use]
    pub fn recorded(observations: &[Observation], exact: bool) -> Option<Self> {
        let newest = observations.first()?;
        let peaks: Vec<Bytes> = observations.iter().map(peak_with_one_token).collect();
        let highest = peaks.iter().copied().max().unwrap_or_default();
        let shape = &newest.curve;
        let height = if shape.peak() == Bytes::ZERO { 1.0 } else { highest.share_of(shape.peak()) };
        let link = observations.iter().map(|o| o.link_peak).max().unwrap_or_default();
        Some(Self {
            curve: shape.scaled(height),
            log_sd: if exact { spread(&peaks) } else { RELATIVE },
            link_peak: link,
            critical_path: newest.critical_path,
            source: if exact { ForecastSource::History } else { ForecastSource::RelatedCrate },
        })
    }

    /// Raises the forecast to at least `bound`: a run that was killed had reached that much.
    #[must_use]
    pub fn at_least(mut self, bound: Bytes) -> Self {
        if self.curve.peak() < bound {
            let factor = bound.share_of(self.curve.peak());
            self.curve = if factor > 0.0 {
                self.curve.scaled(factor)
            } else {
                Curve::ramp(bound, self.curve.cpu())
            };
        }
        self
    }
}

fn peak_with_one_token(observation: &Observation) -> Bytes {
    let more = f64::from(observation.tokens.max(1) - 1);
    observation.curve.peak().scale(1.0 / (1.0 + MEMORY_PER_TOKEN * more))
}

/// The deviation of the logarithms of `peaks`, with [`ONCE_SEEN`] as what was believed before any.
fn spread(peaks: &[Bytes]) -> f64 {
    let logs: Vec<f64> = peaks.iter().map(|peak| (peak.0.max(1) as f64).ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    let squares = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>();
    ((squares + ONCE_SEEN * ONCE_SEEN) / logs.len().max(1) as f64).sqrt().max(STEADIEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Millis;

    fn seen(mib: u64, tokens: u32) -> Observation {
        Observation {
            curve: Curve::ramp(Bytes::mib(mib), Millis(1000)),
            cpu: Millis(1000),
            wall: Millis(1000),
            link_peak: Bytes::mib(mib / 10),
            tokens,
            critical_path: Some(Millis(7000)),
        }
    }

    #[test]
    fn the_newest_gives_the_shape_and_the_highest_the_height() {
        let forecast = Forecast::recorded(&[seen(500, 1), seen(550, 1)], true).unwrap();
        assert_eq!(forecast.curve.peak(), Bytes::mib(550));
        assert_eq!(forecast.link_peak, Bytes::mib(55));
        assert_eq!(
            (forecast.source, forecast.critical_path),
            (ForecastSource::History, Some(Millis(7000)))
        );
        assert!(Forecast::recorded(&[], true).is_none());
    }

    #[test]
    fn a_run_with_many_tokens_needs_less_with_one() {
        let forecast = Forecast::recorded(&[seen(1564, 8)], true).unwrap();
        let mib = forecast.curve.peak().as_mib();
        assert!((1330.0..1350.0).contains(&mib), "{mib}");
    }

    #[test]
    fn a_relative_is_less_certain_and_a_bound_lifts() {
        let related = Forecast::recorded(&[seen(100, 1)], false).unwrap();
        assert!(related.log_sd > 0.2 && related.source == ForecastSource::RelatedCrate);
        assert_eq!(related.at_least(Bytes::mib(300)).curve.peak(), Bytes::mib(300));
    }
}
