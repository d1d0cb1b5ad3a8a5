//! The memory that lies ahead: the sum of all running units' curves, at each future moment.
//!
//! Future time is cut into a few spans that get longer. For each unit and span, the expected memory is
//! the highest step of its curve that it may reach within the span; how far it gets in a second is
//! uncertain, so the window of processor time widens with distance. Errors of different units are taken
//! as independent: deviations add in quadrature, so many small units cost little margin and one unknown
//! oversized unit costs much.

use super::unit::{LinkState, RunState, ScheduledUnit};
use crate::forecast::{ForecastSource, MEMORY_PER_TOKEN};
use crate::measure::{Bytes, Millis};

/// Ends of the spans, in milliseconds from now. The last one never ends.
const SPANS: [u64; 9] = [250, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, u64::MAX / 4];

/// Standard deviations between the expected sum and what is admitted: 1.28 is the 90 % quantile of a
/// normal distribution. A kill costs more than a wait, but pressure catches what remains.
const CONFIDENCE: f64 = 1.28;

/// How much of the cold model's uncertainty is kept free. All of it would make every guess of a large unit
/// wait for nearly the whole budget; what a wrong guess costs is a suspension, seldom a kill.
const COLD_CAUTION: f64 = 0.35;

/// A unit that overran its curve is expected to keep what it has and this share of it more,
const OVERRUN: f64 = 0.1;

/// half of that after so many milliseconds without anything new,
const OVERRUN_CALMS: f64 = 2000.0;

/// and to grow as it does for this many milliseconds.
const OVERRUN_GROWS: f64 = 400.0;

/// The expected memory of one unit in each span, and its standard deviation, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Projection {
    mean: [f64; SPANS.len()],
    sd: [f64; SPANS.len()],
}

impl Projection {
    /// The expected moment of its end, as the start of the first span in which nothing is left of it.
    pub(super) fn end(&self) -> Millis {
        let left = self.mean.iter().rposition(|bytes| *bytes > 0.0);
        Millis(left.map_or(0, |span| SPANS[span]))
    }
}

/// How fast units work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Processor time a unit gets in a millisecond when it has one thread and its fair share.
    slow: f64,
    /// The same when it can use what the others leave.
    fast: f64,
}

impl Pace {
    pub(super) fn of(cores: u32, running: usize) -> Self {
        let share = f64::from(cores) / running.max(1) as f64;
        Self { slow: share.min(1.0), fast: share.max(1.0).min(f64::from(cores)) }
    }
}

impl ScheduledUnit {
    /// What lies ahead of it, if it runs from now on.
    pub(super) fn project(&self, pace: Pace) -> Projection {
        let (narrow, wide, caution) = match self.forecast.source {
            ForecastSource::History => (0.7, 1.4, 1.0),
            ForecastSource::RelatedCrate => (0.5, 2.0, 0.7),
            ForecastSource::Cold => (0.3, 3.0, COLD_CAUTION),
        };
        let curve = &self.forecast.curve;
        let tokens = 1.0 + MEMORY_PER_TOKEN * f64::from(self.issued.max(self.aimed));
        let scale = self.scale() * tokens;
        // A run that is on its way has shown part of what was unknown.
        let share_done = (self.cpu.0 as f64 / curve.cpu().0.max(1) as f64).min(1.0);
        let log_sd = self.forecast.log_sd * caution * (1.0 - 0.6 * share_done);
        let compiler = self.compiler().0 as f64;
        let overrun = self.overruns();
        let mut ahead = Projection::default();
        let mut start = 0.0;
        for (span, until) in SPANS.iter().enumerate() {
            let end = *until as f64;
            let from = self.cpu + Millis((start * pace.slow * narrow) as u64);
            let to = self.cpu + Millis((end * pace.fast * wide) as u64);
            let mut mean = highest(curve.steps(), from, to).0 as f64 * scale;
            if overrun {
                let calm = (self.measured - self.peaked).0 as f64 / OVERRUN_CALMS;
                let more = OVERRUN * 0.5_f64.powf(calm);
                mean = compiler * (1.0 + more) + self.growth * OVERRUN_GROWS;
            } else if span == 0 {
                mean = mean.max(compiler);
            }
            // What is held already is certain; what is still to come is not.
            let unsure = (mean - compiler * 0.8).max(mean * 0.1);
            ahead.mean[span] = mean;
            ahead.sd[span] = unsure * log_sd;
            start = end;
        }
        self.add_link(&mut ahead);
        ahead
    }

    /// It has worked for longer than was expected of it as a whole.
    pub(super) fn overruns(&self) -> bool {
        self.cpu > self.forecast.curve.cpu()
    }

    /// What it holds while it is stopped.
    pub(super) fn held(&self) -> Projection {
        Projection { mean: [self.resident().0 as f64; SPANS.len()], sd: [0.0; SPANS.len()] }
    }

    /// By how much its runs contradict its curve: above 1 where it was seen to need more.
    fn scale(&self) -> f64 {
        let curve = &self.forecast.curve;
        let seen = (self.memory - self.link_memory).0 as f64;
        let near = highest(curve.steps(), self.cpu.scale(0.8), self.cpu.scale(1.2) + Millis(100));
        let now = if self.state == RunState::Waiting || near == Bytes::ZERO {
            1.0
        } else {
            seen / near.0 as f64
        };
        let known = if self.attempt > 0 && self.state == RunState::Waiting {
            // Killed on its way up: a lower bound, so expect a quarter more.
            self.peak.scale(1.25).share_of(curve.peak())
        } else {
            self.peak.share_of(curve.peak())
        };
        // What the cold model guessed too high is corrected while it runs; history is believed.
        let least = match self.forecast.source {
            ForecastSource::Cold if self.cpu.0 * 2 > curve.cpu().0 => 0.6,
            ForecastSource::Cold | ForecastSource::RelatedCrate | ForecastSource::History => 1.0,
        };
        now.max(known).max(least)
    }

    /// The linker comes after the code generator has given its memory back, beside what the compiler
    /// keeps: its expected peak counts from the moment at which it asks.
    fn add_link(&self, ahead: &mut Projection) {
        if let LinkState::Running { peak } = self.link {
            let link = peak.max(self.link_memory).0 as f64;
            let compiler = (self.memory - self.link_memory).0 as f64;
            for (mean, sd) in ahead.mean.iter_mut().zip(&mut ahead.sd) {
                *mean = compiler + link;
                *sd = (link - self.link_memory.0 as f64).max(0.0) * 0.15;
            }
        }
    }
}

/// The highest step that covers any moment of `from..=to`.
fn highest(steps: &[(Millis, Bytes)], from: Millis, to: Millis) -> Bytes {
    let mut start = Millis::ZERO;
    let mut top = Bytes::ZERO;
    for (until, bytes) in steps {
        if *until >= from && start <= to {
            top = top.max(*bytes);
        }
        start = *until;
    }
    top
}

/// The sum over everything that is below the budget.
#[derive(Clone, Debug)]
pub(super) struct Outlook {
    mean: [f64; SPANS.len()],
    variance: [f64; SPANS.len()],
}

impl Outlook {
    /// The outlook for `units`, if nothing is admitted, resumed or stopped.
    pub(super) fn of<'a>(
        units: impl Iterator<Item = &'a ScheduledUnit>,
        rest: Bytes,
        pace: Pace,
    ) -> Self {
        let mut outlook = Self { mean: [rest.0 as f64; SPANS.len()], variance: [0.0; SPANS.len()] };
        for unit in units {
            match unit.state {
                RunState::Running => outlook.add(&unit.project(pace)),
                // A killed unit's memory counts until it is seen to be gone.
                RunState::Suspended | RunState::Waiting => outlook.add(&unit.held()),
            }
        }
        outlook
    }

    pub(super) fn add(&mut self, unit: &Projection) {
        for span in 0..SPANS.len() {
            self.mean[span] += unit.mean[span];
            self.variance[span] += unit.sd[span] * unit.sd[span];
        }
    }

    pub(super) fn remove(&mut self, unit: &Projection) {
        for span in 0..SPANS.len() {
            self.mean[span] -= unit.mean[span];
            self.variance[span] = (self.variance[span] - unit.sd[span] * unit.sd[span]).max(0.0);
        }
    }

    /// With `unit` added it stays under `line`, at every future moment, with confidence.
    pub(super) fn fits(&self, unit: &Projection, budget: Bytes) -> bool {
        self.fits_from(unit, budget, 0)
    }

    fn fits_from(&self, unit: &Projection, budget: Bytes, first: usize) -> bool {
        (first..SPANS.len()).all(|span| {
            // A unit that starts later meets the others' later memory with its own first steps.
            let own = if first == 0 { unit.mean[span] } else { unit.peak() };
            let sd = if first == 0 { unit.sd[span] } else { unit.widest() };
            let variance = self.variance[span] + sd * sd;
            self.mean[span] + own + CONFIDENCE * variance.sqrt() <= budget.0 as f64
        })
    }

    /// The first span at whose start `unit` would fit for good, if any.
    pub(super) fn first_fit(&self, unit: &Projection, budget: Bytes) -> Option<Shadow> {
        (1..SPANS.len())
            .find(|span| self.fits_from(unit, budget, *span))
            .map(|span| Shadow { span, start: Millis(SPANS[span - 1]) })
    }

    /// With `small` admitted now, `head` can still start at its `shadow`: because `small` is expected to
    /// have ended by then (which only a `patient` head relies on), or because both fit.
    pub(super) fn keeps(
        &self,
        small: &Projection,
        head: &Projection,
        shadow: Shadow,
        budget: Bytes,
        patient: bool,
    ) -> bool {
        if patient && small.end() <= shadow.start {
            return true;
        }
        let mut with = self.clone();
        with.add(small);
        with.fits_from(head, budget, shadow.span)
    }

    /// The highest expected sum, with its margin.
    pub(super) fn highest(&self) -> Bytes {
        let tops = self.mean.iter().zip(&self.variance).map(|(m, v)| m + CONFIDENCE * v.sqrt());
        Bytes(tops.fold(0.0, f64::max) as u64)
    }

    /// The expected sum of the next half second, without margin.
    pub(super) fn soon(&self) -> Bytes {
        Bytes(self.mean[0].max(self.mean[1]) as u64)
    }
}

impl Projection {
    pub(super) fn peak(&self) -> f64 {
        self.mean.iter().copied().fold(0.0, f64::max)
    }

    fn widest(&self) -> f64 {
        self.sd.iter().copied().fold(0.0, f64::max)
    }
}

/// When the first unit in the queue that does not fit now is expected to start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadow {
    span: usize,
    start: Millis,
}
