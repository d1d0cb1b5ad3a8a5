//! The verdict in words.

use std::fmt::Write as _;

use crate::cause::Cause;
use crate::verdict::{Certainty, Verdict};

/// What a person reads of a log.
#[must_use]
pub fn text(verdict: &Verdict) -> String {
    said(verdict, false)
}

/// What a person reads of a recorded build, whose lines nobody looks at.
#[must_use]
pub fn recorded_text(verdict: &Verdict) -> String {
    said(verdict, true)
}

fn said(verdict: &Verdict, is_record: bool) -> String {
    let mut text = String::new();
    let subject = verdict.unit.as_deref().unwrap_or("the build");
    let what = match verdict.cause {
        Cause::Succeeded | Cause::Unknown => "the build",
        _ => subject,
    };
    let happened = match verdict.cause {
        Cause::Failed if is_record => {
            "failed by itself: its code does not compile, or it ended with an error"
        }
        cause => cause.happened(),
    };
    let _ = match verdict.cause {
        Cause::Succeeded | Cause::Unknown => writeln!(text, "{what} {happened}"),
        _ => writeln!(text, "{what} {happened} ({})", verdict.certainty.word()),
    };
    if let Some(evidence) = &verdict.evidence {
        let _ = match is_record {
            true => writeln!(text, "  {}", evidence.text),
            false => writeln!(text, "  line {}: {}", evidence.line, evidence.text),
        };
    }
    let known = !matches!(verdict.cause, Cause::Succeeded | Cause::Unknown)
        && (is_record || verdict.cause != Cause::Failed);
    if !verdict.memory && known {
        let not = match verdict.certainty {
            Certainty::Possible => "It is probably not want of memory.",
            Certainty::Likely | Certainty::Certain => "It is not want of memory.",
        };
        let _ = writeln!(text, "{not}");
    }
    if !verdict.remedies.is_empty() {
        let helps = match (verdict.memory, verdict.cause) {
            (true, _) => "What would have prevented it:",
            (false, Cause::Failed) => "To know more:",
            (false, _) => "What helps:",
        };
        let _ = writeln!(text, "\n{helps}");
    }
    for remedy in &verdict.remedies {
        match &remedy.command {
            Some(command) => {
                let _ = writeln!(text, "  {command}\n      {}", remedy.why);
            }
            None => {
                let _ = writeln!(text, "  {}", remedy.why);
            }
        }
    }
    text
}
