//! A number of jobs as people write it for Cargo.
//!
//! Cargo 1.95 (`core/compiler/build_config.rs`): a positive number is that many, a negative one that
//! many fewer than the machine has processors, `default` is as many as it has; zero is an error.

use std::fmt;
use std::num::NonZeroI32;
use std::str::FromStr;

/// How many units may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jobs {
    /// As many as the machine has processors.
    Default,
    /// A number; a negative one counts down from the number of processors.
    Number(NonZeroI32),
}

/// A number of jobs that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a number of jobs; write a number other than 0, or `default`")]
pub struct BadJobs(String);

impl Jobs {
    /// The number of jobs on a machine with `processors`, at least one.
    #[must_use]
    pub fn resolve(self, processors: u32) -> u32 {
        match self {
            Self::Default => processors,
            Self::Number(number) if number.is_positive() => number.get().unsigned_abs(),
            Self::Number(number) => processors.saturating_sub(number.get().unsigned_abs()).max(1),
        }
    }

    /// The number, where `number` is one that Cargo takes.
    #[must_use]
    pub fn from_integer(number: i64) -> Option<Self> {
        i32::try_from(number).ok().and_then(NonZeroI32::new).map(Self::Number)
    }
}

/// As Cargo's `-j` takes it.
impl fmt::Display for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl FromStr for Jobs {
    type Err = BadJobs;

    fn from_str(text: &str) -> Result<Self, BadJobs> {
        match text {
            "default" => Ok(Self::Default),
            _ => text.parse().map(Self::Number).map_err(|_| BadJobs(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_read_as_cargo_reads_them() {
        let on_eight = |text: &str| text.parse::<Jobs>().ok().map(|jobs| jobs.resolve(8));
        assert_eq!(on_eight("3"), Some(3));
        assert_eq!(on_eight("+3"), Some(3));
        assert_eq!(on_eight("default"), Some(8));
        assert_eq!(on_eight("-2"), Some(6));
        assert_eq!(on_eight("-9"), Some(1));
        for bad in ["0", "", "two", "1.5", "99999999999"] {
            assert_eq!(on_eight(bad), None, "{bad}");
        }
    }
}
