//! The verdict in words.

use std::fmt::Write as _;

use crate::cause::Cause;
use crate::verdict::Verdict;

/// What a person reads.
#[must_use]
pub fn text(verdict: &Verdict) -> String {
    let mut text = String::new();
    let subject = verdict.unit.as_deref().unwrap_or("the build");
    let what = match verdict.cause {
        Cause::Succeeded | Cause::Unknown => "the build",
        _ => subject,
    };
    let _ = writeln!(text, "{what} {} ({})", verdict.cause.happened(), verdict.certainty.word());
    if let Some(evidence) = &verdict.evidence {
        let _ = writeln!(text, "  line {}: {}", evidence.line, evidence.text);
    }
    if !verdict.memory && !matches!(verdict.cause, Cause::Succeeded | Cause::Unknown) {
        let _ = writeln!(text, "It is not want of memory.");
    }
    if !verdict.remedies.is_empty() {
        let _ = writeln!(text, "\nWhat would have prevented it:");
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
