//! What a person may ask for: the memory budget and how it is written.

use std::fmt;
use std::str::FromStr;

use crate::measure::Bytes;

/// How the budget is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Memory {
    /// What the machine and every cgroup above leave, followed all the time.
    #[default]
    Auto,
    /// A fixed amount.
    Size(Bytes),
    /// A share of the machine's (or the tightest cgroup's) memory, in per cent: 1 to 100.
    Percent(u8),
}

/// A memory setting that cannot be used, with what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadMemory {
    /// It is not an amount of memory at all.
    NotAnAmount(String),
    /// A budget below [`SMALLEST_BUDGET`].
    TooSmall(String),
    /// The same, where no unit was written: bytes were perhaps not meant.
    TooSmallInBytes(String),
    /// A share that is not a whole number from 1 to 100.
    BadShare(String),
}

impl fmt::Display for BadMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAmount(text) => write!(
                f,
                "`{text}` is not an amount of memory; write a size (`1600MiB`, `1.5G`), a share \
                 (`50%`) or `auto`"
            ),
            Self::TooSmall(text) => write!(
                f,
                "`{text}` is less than any build needs ({SMALLEST_BUDGET}); write a larger size \
                 (`1600MiB`, `1.5G`), a share (`50%`) or `auto`"
            ),
            Self::TooSmallInBytes(text) => write!(
                f,
                "`{text}` is less than any build needs ({SMALLEST_BUDGET}), because a number without a \
                 unit is a number of bytes; write a size with its unit (`1600MiB`, `1.5G`), a share \
                 (`50%`) or `auto`"
            ),
            Self::BadShare(text) => write!(
                f,
                "`{text}` is not a share of the memory; write a whole number from `1%` to `100%`"
            ),
        }
    }
}

impl std::error::Error for BadMemory {}

/// The smallest budget that makes sense: cargo, a shim and the smallest rustc need about 100 MiB.
pub const SMALLEST_BUDGET: Bytes = Bytes::mib(64);

impl FromStr for Memory {
    type Err = BadMemory;

    /// Reads `512M`, `1.5GiB`, `2G`, `1600 MiB`, `50%`, `auto`. `K`, `M`, `G`, `T` are binary whether
    /// or not `iB` or `B` follows, as in cgroups, systemd and the JVM.
    fn from_str(text: &str) -> Result<Self, BadMemory> {
        let bad = || BadMemory::NotAnAmount(text.to_owned());
        let trimmed = text.trim();
        if trimmed.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        let digits =
            trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let number = &trimmed[..digits];
        let unit = trimmed[digits..].trim().to_ascii_lowercase();
        if unit == "%" {
            return match number.parse() {
                Ok(share) if (1..=100).contains(&share) => Ok(Self::Percent(share)),
                _ => Err(BadMemory::BadShare(text.to_owned())),
            };
        }
        let number: f64 = number.parse().map_err(|_| bad())?;
        let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            "t" => 40,
            _ => return Err(bad()),
        };
        let bytes = number * f64::from(1u32 << 10).powi(shift / 10);
        if !bytes.is_finite() || bytes >= u64::MAX as f64 {
            return Err(bad());
        }
        if bytes < SMALLEST_BUDGET.0 as f64 {
            let text = text.to_owned();
            let without_unit = unit.is_empty() && number > 0.0;
            let kind = if without_unit { BadMemory::TooSmallInBytes } else { BadMemory::TooSmall };
            return Err(kind(text));
        }
        Ok(Self::Size(Bytes(bytes as u64)))
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Size(bytes) => bytes.fmt(f),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_shares_and_auto_are_read() {
        let read = |text: &str| text.parse::<Memory>();
        assert_eq!(read("512M"), Ok(Memory::Size(Bytes::mib(512))));
        assert_eq!(read("1.5GiB"), Ok(Memory::Size(Bytes::mib(1536))));
        assert_eq!(read("2g"), Ok(Memory::Size(Bytes::gib(2))));
        assert_eq!(read("1600 MiB"), Ok(Memory::Size(Bytes::mib(1600))));
        assert_eq!(read("104857600"), Ok(Memory::Size(Bytes::mib(100))));
        assert_eq!(read("50%"), Ok(Memory::Percent(50)));
        assert_eq!(read("AUTO"), Ok(Memory::Auto));
        for bad in ["", "G", "-1G", "1.2.3G", "10X", "1e9G", "nan", "1G5"] {
            assert_eq!(read(bad), Err(BadMemory::NotAnAmount(bad.to_owned())));
        }
        for small in ["0", "12M", "10MiB", "1600B"] {
            assert_eq!(read(small), Err(BadMemory::TooSmall(small.to_owned())));
        }
        assert_eq!(read("1600"), Err(BadMemory::TooSmallInBytes("1600".to_owned())));
        assert!(!read("10MiB").unwrap_err().to_string().contains("without"));
        for share in ["0%", "101%", "1.5%", "%"] {
            assert_eq!(read(share), Err(BadMemory::BadShare(share.to_owned())));
        }
    }
}
