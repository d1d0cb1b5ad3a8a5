//! What a finding is. Reads nothing.

use serde::Serialize;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
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
pub struct Fix {
    /// Who can.
    pub(crate) by: By,
    /// The command, or what to do in words where there is none.
    pub(crate) command: String,
    /// The setting of `init`'s that it is, where it is one.
    #[serde(skip)]
    pub setting: Option<String>,
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
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// A stable word for scripts.
    pub(crate) topic: &'static str,
    /// What was found, with its number.
    pub what: String,
    /// Why that matters here; empty where it is fine.
    pub(crate) why: String,
    /// What recorded builds of this workspace know of it.
    pub(crate) figure: Option<String>,
    /// What mends it.
    pub fix: Option<Fix>,
}

impl Finding {
    /// It is as it should be.
    pub(crate) fn fine(topic: &'static str, what: impl Into<String>) -> Self {
        Self::new(Severity::Fine, topic, what, "", None)
    }

    /// It costs something.
    pub fn note(
        topic: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: Option<Fix>,
    ) -> Self {
        Self::new(Severity::Note, topic, what, why, fix)
    }

    /// Builds suffer.
    pub fn problem(
        topic: &'static str,
        what: impl Into<String>,
        why: impl Into<String>,
        fix: Option<Fix>,
    ) -> Self {
        Self::new(Severity::Problem, topic, what, why, fix)
    }

    /// With what recorded builds know of it.
    pub fn with(self, figure: Option<String>) -> Self {
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
