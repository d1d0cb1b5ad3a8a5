//! What one line of a log says about the end of a build.

use crate::cause::Cause;
use crate::circumstances::Doing;
use crate::verdict::{Certainty, Evidence};

/// What a finding is about, which says where its unit is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// A compiler: Cargo names the unit behind it.
    Compiler,
    /// A linker below a compiler.
    Linker,
    /// A program that was run: the line names it.
    Program,
    /// The whole job or machine.
    Job,
}

/// How much a finding explains: of two, the one with the higher weight is the cause, and the earlier of two alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// That something else than the build was killed, which may have been why.
    Beside,
    /// That something failed, without how or why.
    Unexplained,
    /// That a job was shut down or ended by SIGTERM.
    Shutdown,
    /// How a step ended, by a status that only a killed process has.
    Status,
    /// Cargo's own words for a failure of any kind.
    General,
    /// What sounds like want of memory.
    Phrase,
    /// What a tool says of the program that it was given.
    Specific,
    /// A resource that ran out, or a signal without an explanation.
    Resource,
    /// A signal that means memory, or a failed allocation.
    Death,
    /// Somebody says that he did it, and why.
    Confession,
}

/// What one line says.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    pub(crate) certainty: Certainty,
    pub(crate) weight: Weight,
    pub(crate) about: About,
    pub(crate) unit: Option<String>,
    pub(crate) evidence: Evidence,
    /// What was being done.
    pub(crate) during: Doing,
    /// What ran had written nothing.
    pub(crate) silent: bool,
    /// How often free memory had been shown.
    pub(crate) shown: u32,
}

impl Finding {
    pub(crate) fn new(cause: Cause, certainty: Certainty, weight: Weight, about: About) -> Self {
        let evidence = Evidence { line: 0, text: String::new() };
        let during = Doing::default();
        Self {
            cause,
            certainty,
            weight,
            about,
            unit: None,
            evidence,
            during,
            silent: false,
            shown: 0,
        }
    }

    pub(crate) fn of(mut self, unit: Option<String>) -> Self {
        self.unit = unit;
        self
    }
}

/// What is shown of a long line on either side of what is left out.
const SHOWN: usize = 150;

/// A line as evidence: its beginning and its end.
pub(crate) fn evidence(line: u64, text: &str) -> Evidence {
    let count = text.chars().count();
    let text = if count <= 2 * SHOWN {
        text.to_owned()
    } else {
        let head: String = text.chars().take(SHOWN).collect();
        let tail: String = text.chars().skip(count - SHOWN).collect();
        format!("{head} … {tail}")
    };
    Evidence { line, text }
}
