//! What a finding is, and all of them for some facts. Reads nothing.

use serde::Serialize;

use super::facts::Facts;
use super::{building, machine};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Severity {
    /// Builds die, crawl, or do not do what was asked.
    Problem,
    /// It costs something here, or will in some case that is named.
    Note,
    /// It was looked at and is as it should be.
    Fine,
}

/// Who can apply a fix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum By {
    /// `doctor --fix`, by what `init` writes: no program changes, and `init --undo` takes it back.
    Doctor,
    /// The user: it changes programs, the account or what somebody has chosen.
    You,
    /// The administrator.
    Root,
}

/// What mends a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fix {
    /// Who can.
    pub(crate) by: By,
    /// The command, or what to do in words where there is none.
    pub(crate) command: String,
    /// The setting of `init`'s that it is, where it is one.
    #[serde(skip)]
    pub(crate) setting: Option<String>,
}

impl Fix {
    /// Of the user's.
    pub(crate) fn you(command: impl Into<String>) -> Option<Self> {
        Some(Self { by: By::You, command: command.into(), setting: None })
    }

    /// Of the administrator's.
    pub(crate) fn root(command: impl Into<String>) -> Option<Self> {
        Some(Self { by: By::Root, command: command.into(), setting: None })
    }
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// How much it matters.
    pub(crate) severity: Severity,
    /// A stable word for scripts.
    pub(crate) topic: &'static str,
    /// What is so, with its number.
    pub(crate) what: String,
    /// Why that matters here; empty where it is fine.
    pub(crate) why: String,
    /// What recorded builds of this workspace know of it.
    pub(crate) figure: Option<String>,
    /// What mends it.
    pub(crate) fix: Option<Fix>,
}

impl Finding {
    /// It is as it should be.
    pub(crate) fn fine(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Fine, topic, what, "", None)
    }

    /// It costs something.
    pub(crate) fn note(
        topic: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: Option<Fix>,
    ) -> Self {
        Self::new(Severity::Note, topic, what, why, fix)
    }

    /// Builds suffer.
    pub(crate) fn problem(
        topic: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: Option<Fix>,
    ) -> Self {
        Self::new(Severity::Problem, topic, what, why, fix)
    }

    /// With what recorded builds know of it.
    pub(crate) fn with(self, figure: Option<String>) -> Self {
        Self { figure, ..self }
    }

    fn new(
        severity: Severity,
        topic: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: Option<Fix>,
    ) -> Self {
        let (what, why) = (what.into(), why.into());
        Self { severity, topic, what, why, figure: None, fix }
    }
}

/// What hurts most, first: what stops every build, then what kills them, then what slows them down.
const WORST: [&str; 10] = [
    "plimsoll.toml",
    "wrapper",
    "linker",
    "container",
    "memory",
    "overcommit",
    "ulimit",
    "swap",
    "account",
    "killers",
];

/// Everything that these facts say: problems first, and what is fine last; in each the worst first.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let bad = |what: &String| {
        Finding::problem(
            "plimsoll.toml",
            what.clone(),
            "`cargo plimsoll build` stops with this error; other commands ignore the file",
            Fix::you("edit that line, or remove the file"),
        )
    };
    let mut findings: Vec<Finding> = facts.bad_files.iter().map(bad).collect();
    findings.extend(machine::judge(facts));
    findings.extend(building::judge(facts));
    let rank = |topic| WORST.iter().position(|it| *it == topic).unwrap_or(WORST.len());
    findings.sort_by_key(|finding| (finding.severity, rank(finding.topic)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_comes_first() {
        let mut facts =
            Facts { bad_files: vec!["/ws/plimsoll.toml:1: x".to_owned()], ..Facts::default() };
        facts.bounds.dumps_core = true;
        let found = judge(&facts);
        assert_eq!((found[0].topic, found[0].severity), ("plimsoll.toml", Severity::Problem));
        assert!(found[0].why.contains("stops with this error"), "{:?}", found[0]);
    }
}
