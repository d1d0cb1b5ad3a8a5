//! Units of measure: amounts of memory and of time that carry their unit in the type.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// An amount of memory in bytes. Subtraction saturates at zero: a negative amount of memory is
/// always a race between two readings, never an answer.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// No memory.
    pub const ZERO: Self = Self(0);
    /// More than any machine has: "no limit".
    pub const MAX: Self = Self(u64::MAX);

    /// `n` binary kilobytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    /// `n` binary megabytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// `n` binary gigabytes.
    #[must_use]
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// The amount in binary megabytes, for arithmetic that is not exact anyway.
    #[must_use]
    pub fn as_mib(self) -> f64 {
        self.0 as f64 / f64::from(1 << 20)
    }

    /// This amount times `factor`, at least zero; a non-finite or huge product saturates.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        let product = self.0 as f64 * factor;
        if product >= u64::MAX as f64 { Self::MAX } else { Self(product.max(0.0) as u64) }
    }

    /// The share `self / whole`, 0 where `whole` is nothing.
    #[must_use]
    pub fn share_of(self, whole: Self) -> f64 {
        if whole.0 == 0 { 0.0 } else { self.0 as f64 / whole.0 as f64 }
    }
}

impl Add for Bytes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Bytes {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Bytes {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Prints with the unit a person would choose: `812 KiB`, `340 MiB`, `1.58 GiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.as_mib();
        let text = if *self == Self::MAX {
            "unlimited".to_owned()
        } else if mib < 1.0 {
            format!("{} KiB", self.0 >> 10)
        } else if mib < 1024.0 {
            format!("{mib:.0} MiB")
        } else {
            format!("{:.2} GiB", mib / 1024.0)
        };
        f.pad(&text)
    }
}

/// A span of time, or a moment counted from the start of the build, in milliseconds.
///
/// Where it stands for processor time the field or argument says so (`cpu`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time, or the start of the build.
    pub const ZERO: Self = Self(0);

    /// `n` seconds.
    #[must_use]
    pub const fn seconds(n: u64) -> Self {
        Self(n * 1000)
    }

    /// The span in seconds.
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// This span times `factor`, at least zero.
    #[must_use]
    pub fn scale(self, factor: f64) -> Self {
        Self((self.0 as f64 * factor).max(0.0) as u64)
    }
}

impl Add for Millis {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Millis {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Millis {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sum for Millis {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Prints as Cargo does (`util::elapsed`): `0.34s`, `12.40s`, `4m 37s`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let text = if seconds < 60 {
            format!("{seconds}.{:02}s", self.0 % 1000 / 10)
        } else {
            format!("{}m {:02}s", seconds / 60, seconds % 60)
        };
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_with_a_unit_that_fits() {
        let shown: Vec<String> =
            [Bytes(900), Bytes::kib(812), Bytes::mib(340), Bytes::mib(1618), Bytes::MAX]
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(shown, ["0 KiB", "812 KiB", "340 MiB", "1.58 GiB", "unlimited"]);
        let times: Vec<String> =
            [4, 340, 12_409, 59_999, 64_000, 277_000].map(|ms| Millis(ms).to_string()).to_vec();
        assert_eq!(times, ["0.00s", "0.34s", "12.40s", "59.99s", "1m 04s", "4m 37s"]);
    }

    #[test]
    fn a_negative_amount_is_nothing() {
        assert_eq!(Bytes::mib(1) - Bytes::mib(2), Bytes::ZERO);
        assert_eq!(Bytes::mib(100).scale(-1.0), Bytes::ZERO);
        assert_eq!(Bytes::MAX.scale(2.0), Bytes::MAX);
    }
}
