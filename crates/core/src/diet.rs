//! What a compiler that would cross the line by itself is asked to do so that it needs less, step by step.
//!
//! The first steps change nothing of what it writes: it runs alone, with one thread, its allocator gives back early
//! what is free, and the kernel gives it no huge pages. The last one does, and is taken only where a person has
//! agreed: more codegen units, no debug information, thin LTO in place of fat, for this unit alone.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::invocation::{Emit, Invocation};

/// How much less a lean compiler needs, as a share: measured, 2.4 % of cranelift-codegen's peak.
pub(crate) const LEAN_SAVES: f64 = 0.03;

/// How far a unit goes, or may go, to need less.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Diet {
    /// Not at all.
    #[default]
    None,
    /// As far as its output stays the same, to the byte.
    Preserving,
    /// Also by settings that change its output.
    Output,
}

impl Diet {
    /// The word on the command line, in files and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Preserving => "preserving",
            Self::Output => "output",
        }
    }
}

impl fmt::Display for Diet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is no diet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadDiet(pub String);

impl fmt::Display for BadDiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no diet; write `none`, `preserving` (a unit that would cross the line alone needs less, and its \
             output stays the same) or `output` (also by settings that change its output)",
            self.0
        )
    }
}

impl std::error::Error for BadDiet {}

impl FromStr for Diet {
    type Err = BadDiet;

    fn from_str(text: &str) -> Result<Self, BadDiet> {
        [Self::None, Self::Preserving, Self::Output]
            .into_iter()
            .find(|diet| diet.as_str() == text)
            .ok_or_else(|| BadDiet(text.to_owned()))
    }
}

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
        for diet in [Diet::None, Diet::Preserving, Diet::Output] {
            assert_eq!(diet.as_str().parse(), Ok(diet));
        }
        assert!("some".parse::<Diet>().is_err());
        assert!(Diet::None < Diet::Preserving && Diet::Preserving < Diet::Output);
    }
}
