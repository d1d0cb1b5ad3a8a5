//! What may be done with an oversized unit, one that exceeds the memory budget by itself, and how far it shrinks.
//!
//! The first steps change nothing of what it writes: it runs alone, with one thread, its allocator gives back early
//! what is free, and the kernel gives it no huge pages. The last one does, and is taken only where a person has
//! agreed: more codegen units, no debug information, thin LTO in place of fat, for this unit alone.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invocation::{Emit, Invocation};

/// What may be done with an oversized unit: one that exceeds the memory budget by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oversized {
    /// It shrinks without changing its output, and is refused where it still does not fit.
    Refuse,
    /// It runs alone, as it is.
    Run,
    /// It shrinks without changing its output, and runs alone even where it still does not fit.
    #[default]
    Shrink,
    /// It shrinks, also by settings that change its output, and runs alone even where it still does not fit.
    ShrinkOutput,
}

impl Oversized {
    /// All of them, in the order in which people read them.
    pub const ALL: [Self; 4] = [Self::Refuse, Self::Run, Self::Shrink, Self::ShrinkOutput];

    /// The word on the command line, in the environment, in files and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Run => "run",
            Self::Shrink => "shrink",
            Self::ShrinkOutput => "shrink-output",
        }
    }

    /// What that means, for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Refuse => {
                "shrink it without changing its output; refuse it if it still does not fit"
            }
            Self::Run => "run it alone, as it is",
            Self::Shrink => "shrink it without changing its output, and run it alone",
            Self::ShrinkOutput => {
                "also use more codegen units, no debug info and thin LTO for it, and run it alone"
            }
        }
    }

    /// How far a unit may shrink.
    #[must_use]
    pub const fn shrink(self) -> Shrink {
        match self {
            Self::Run => Shrink::No,
            Self::Refuse | Self::Shrink => Shrink::SameOutput,
            Self::ShrinkOutput => Shrink::OtherOutput,
        }
    }

    /// What does not fit by itself is refused.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::Refuse)
    }
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that does not say what may be done with an oversized unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOversized(pub String);

impl fmt::Display for BadOversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a way to treat an oversized unit; write `refuse`, `run`, `shrink` or `shrink-output`",
            self.0
        )
    }
}

impl std::error::Error for BadOversized {}

impl FromStr for Oversized {
    type Err = BadOversized;

    fn from_str(text: &str) -> Result<Self, BadOversized> {
        let word = Self::ALL.into_iter().find(|it| it.as_str() == text);
        word.ok_or_else(|| BadOversized(text.to_owned()))
    }
}

/// How far one unit shrinks, or may.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shrink {
    /// Not at all.
    #[default]
    #[serde(alias = "none")]
    No,
    /// As far as its output stays the same, to the byte.
    #[serde(alias = "preserving")]
    SameOutput,
    /// Also by settings that change its output.
    #[serde(alias = "output")]
    OtherOutput,
}

impl Shrink {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::SameOutput => "same-output",
            Self::OtherOutput => "other-output",
        }
    }
}

impl fmt::Display for Shrink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is not on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadShrink;

impl FromStr for Shrink {
    type Err = BadShrink;

    fn from_str(text: &str) -> Result<Self, BadShrink> {
        let all = [Self::No, Self::SameOutput, Self::OtherOutput];
        all.into_iter().find(|it| it.as_str() == text).ok_or(BadShrink)
    }
}

/// How much less a lean compiler needs, as a share: measured, 2.4 % of cranelift-codegen's peak.
pub(crate) const LEAN_SAVES: f64 = 0.03;

/// How many codegen units a compiler with fewer is given: enough that each is small beside the front end
/// (cranelift-codegen: 2,151 MiB with 1, 1,336 with 16, 1,340 with 256; aws-sdk-ec2: 17,470 with 1, 7,366
/// with 16).
const CODEGEN_UNITS: u32 = 16;

/// The settings that let one compiler need less and change its output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slimmer {
    /// What stands behind its own arguments; of two that say the same thing rustc takes the last.
    pub arguments: Vec<OsString>,
    /// The same for people: `codegen units 1 to 16, no debug info`.
    pub words: String,
}

impl Slimmer {
    /// Those that would change something; empty where none would.
    #[must_use]
    pub fn of(invocation: &Invocation) -> Self {
        let mut slimmer = Self::default();
        if invocation.emit != Emit::Build {
            return slimmer;
        }
        if invocation.fat_lto {
            slimmer.add("-Clto=thin".to_owned(), "thin LTO in place of fat".to_owned());
        }
        if let Some(units) = invocation.codegen_units.filter(|units| *units < CODEGEN_UNITS) {
            slimmer.add(
                format!("-Ccodegen-units={CODEGEN_UNITS}"),
                format!("codegen units {units} to {CODEGEN_UNITS}"),
            );
        }
        if invocation.debuginfo > 0 {
            slimmer.add("-Cdebuginfo=0".to_owned(), "no debug info".to_owned());
        }
        slimmer
    }

    fn add(&mut self, argument: String, words: String) {
        self.arguments.push(argument.into());
        if !self.words.is_empty() {
            self.words.push_str(", ");
        }
        self.words.push_str(&words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::{Request, parse};

    fn slimmer(line: &str) -> Slimmer {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match parse(&args, false) {
            Request::Compile(invocation) => Slimmer::of(&invocation),
            Request::Probe => panic!("{line}"),
        }
    }

    #[test]
    fn only_what_makes_a_compiler_large_is_changed() {
        let heavy = slimmer("a.rs --emit=link -C lto=fat -C codegen-units=1 -C debuginfo=2");
        assert_eq!(heavy.arguments, ["-Clto=thin", "-Ccodegen-units=16", "-Cdebuginfo=0"]);
        assert_eq!(heavy.words, "thin LTO in place of fat, codegen units 1 to 16, no debug info");
        assert_eq!(slimmer("a.rs --emit=link -C lto").words, "thin LTO in place of fat");
        for light in [
            "a.rs --emit=link -C lto=thin -C codegen-units=16",
            "a.rs --emit=link -C lto=off",
            "a.rs --emit=metadata -C debuginfo=2 -C codegen-units=1",
        ] {
            assert_eq!(slimmer(light), Slimmer::default(), "{light}");
        }
    }

    #[test]
    fn words_are_read_back() {
        for oversized in Oversized::ALL {
            assert_eq!(oversized.as_str().parse(), Ok(oversized));
        }
        for shrink in [Shrink::No, Shrink::SameOutput, Shrink::OtherOutput] {
            assert_eq!(shrink.as_str().parse(), Ok(shrink));
        }
        assert!("some".parse::<Oversized>().is_err());
        assert!(Shrink::No < Shrink::SameOutput && Shrink::SameOutput < Shrink::OtherOutput);
    }
}
