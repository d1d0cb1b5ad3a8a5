//! The answer.

use serde::Serialize;

use crate::cause::Cause;

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Certainty {
    /// Other causes leave the same trace.
    Possible,
    /// Seldom anything else.
    Likely,
    /// Whoever did it says so.
    Certain,
}

impl Certainty {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

/// The line that shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Its number in the log, from 1.
    pub line: u64,
    /// What it says, without colors and the CI's prefixes, shortened where it is long.
    pub text: String,
}

/// Something to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to run, where there is one command for it.
    pub command: Option<String>,
    /// Why it helps here.
    pub why: String,
}

/// What ended a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether memory ran out.
    pub memory: bool,
    /// What it was.
    pub cause: Cause,
    /// How sure that is.
    pub certainty: Certainty,
    /// What died or failed: `serde`, `aws-lc-sys (build script)`, `link of bin-07`.
    pub unit: Option<String>,
    /// The line that shows it.
    pub evidence: Option<Evidence>,
    /// What to do, the best first.
    pub remedies: Vec<Remedy>,
}
