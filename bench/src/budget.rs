//! How a budget or a cgroup limit is named: a size, or relative to what plain Cargo needs on the workload at hand.
//!
//! `1600MiB` · `1.05x-j1` (times the peak of plain `-j1`) · `floor` · `1.1x-floor` · `floor+400MiB` · `floor+25%` (of the
//! way from the floor to the peak of plain `-jN`) · `floor+400MiB+50%` · `far` (four times the peak of plain `-jN`).

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

const MIB: u64 = 1 << 20;

/// "Far above the need": no build ever comes near it.
const FAR: f64 = 4.0;

/// A name for an amount of memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Budget {
    text: String,
    amount: Amount,
}

#[derive(Clone, Debug, PartialEq)]
enum Amount {
    Bytes(u64),
    Times(f64, Peak),
    Floor { more: u64, part: f64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peak {
    Floor,
    OneJob,
    AllJobs,
}

/// What relative names relate to: peaks measured in the same state folder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Peaks {
    /// Heaviest unit's tree with one token, cargo and the governor.
    pub(crate) floor: Option<u64>,
    /// Plain `-j1`.
    pub(crate) one_job: Option<u64>,
    /// Plain `-jN` of this run.
    pub(crate) all_jobs: Option<u64>,
}

impl Budget {
    /// Which peaks it takes: floor, `-j1`, `-jN`.
    pub(crate) fn needs(&self) -> (bool, bool, bool) {
        match self.amount {
            Amount::Bytes(_) => (false, false, false),
            Amount::Times(_, peak) => {
                (peak == Peak::Floor, peak == Peak::OneJob, peak == Peak::AllJobs)
            }
            Amount::Floor { part, .. } => (true, false, part > 0.0),
        }
    }

    /// The amount, in bytes, rounded to a MiB (up, so that a floor is never rounded below itself).
    pub(crate) fn resolve(&self, peaks: Peaks) -> Result<u64> {
        let get = |peak: Option<u64>, what: &str| {
            peak.with_context(|| {
                format!("`{self}` needs the peak of {what}, which was not measured")
            })
        };
        let floor = || get(peaks.floor, "the floor");
        let bytes = match self.amount {
            Amount::Bytes(bytes) => return Ok(bytes),
            Amount::Times(factor, Peak::Floor) => scale(floor()?, factor),
            Amount::Times(factor, Peak::OneJob) => scale(get(peaks.one_job, "plain -j1")?, factor),
            Amount::Times(factor, Peak::AllJobs) => {
                scale(get(peaks.all_jobs, "plain -jN")?, factor)
            }
            Amount::Floor { more, part } if part > 0.0 => {
                let floor = floor()?;
                floor + more + scale(get(peaks.all_jobs, "plain -jN")?.saturating_sub(floor), part)
            }
            Amount::Floor { more, .. } => floor()? + more,
        };
        Ok(bytes.div_ceil(MIB) * MIB)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "peaks of builds are far below 2^52 bytes"
)]
fn scale(bytes: u64, factor: f64) -> u64 {
    (bytes as f64 * factor) as u64
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Budget {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let amount = if text == "far" {
            Amount::Times(FAR, Peak::AllJobs)
        } else if let Some((factor, of)) = text.split_once("x-") {
            let peak = match of {
                "floor" => Peak::Floor,
                "j1" => Peak::OneJob,
                of if of.starts_with('j') => Peak::AllJobs,
                _ => bail!("`{text}`: after the `x-` comes `j1`, `jN` or `floor`"),
            };
            Amount::Times(
                factor.parse::<f64>().with_context(|| format!("`{text}`: the factor"))?,
                peak,
            )
        } else if let Some(rest) = text.strip_prefix("floor") {
            let (mut more, mut part) = (0, 0.0);
            for term in rest.split('+').skip(1) {
                match term.strip_suffix('%') {
                    Some(percent) => {
                        part = percent.parse::<f64>().with_context(|| format!("`{text}`"))? / 100.0
                    }
                    None => more = bytes(term)?,
                }
            }
            if !rest.is_empty() && !rest.starts_with('+') {
                bail!("`{text}`: after `floor` comes `+SIZE` or `+PERCENT%`");
            }
            Amount::Floor { more, part }
        } else {
            Amount::Bytes(bytes(text)?)
        };
        Ok(Self { text: text.to_owned(), amount })
    }
}

fn bytes(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => MIB,
        "g" | "gib" => 1 << 30,
        _ => bail!("`{text}` is not a size; write one like 1600MiB or 2GiB"),
    };
    let number = digits
        .parse::<f64>()
        .with_context(|| format!("`{text}` is not a size; write one like 1600MiB"))?;
    Ok(scale(unit, number))
}

/// In MiB, for people.
#[expect(clippy::cast_precision_loss, reason = "for display")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: u64) {
        let peaks = Peaks {
            floor: Some(1000 * MIB),
            one_job: Some(1100 * MIB),
            all_jobs: Some(2000 * MIB),
        };
        let budget = text.parse::<Budget>().unwrap();
        assert_eq!(budget.resolve(peaks).unwrap(), expect * MIB, "{text}");
    }

    #[test]
    fn lines_are_sizes_or_relative_to_plain_cargo() {
        check("1600MiB", 1600);
        check("1.5G", 1536);
        check("1.05x-j1", 1155);
        check("2x-j8", 4000);
        check("far", 8000);
        check("floor", 1000);
        check("1.1x-floor", 1100);
        check("floor+400MiB", 1400);
        check("floor+25%", 1250);
        check("floor+400MiB+50%", 1900);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "floors", "1.05x-k1", "12 potatoes", "floor+"] {
            assert!(text.parse::<Budget>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_missing_peak_is_named() {
        let error = "floor".parse::<Budget>().unwrap().resolve(Peaks::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`floor` needs the peak of the floor, which was not measured"
        );
    }
}
