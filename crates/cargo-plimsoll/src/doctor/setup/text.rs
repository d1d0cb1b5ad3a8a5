//! Findings as a person and as a program reads them. Reads nothing.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::findings::{By, Finding, Severity};

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

/// Columns before the text of a finding.
const MARGIN: usize = 9;

/// Characters in a line of a finding's text, its margin not included.
const WIDTH: usize = 100;

/// As text, for a terminal.
pub(crate) fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let mut last = None;
    for finding in findings {
        // What is fine stands close together.
        if last.is_some_and(|last| last != Severity::Fine || finding.severity != last) {
            text.push('\n');
        }
        last = Some(finding.severity);
        said(&mut text, finding);
    }
    let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let problems = match count(Severity::Problem) {
        0 => "no problem".to_owned(),
        1 => "1 problem".to_owned(),
        n => format!("{n} problems"),
    };
    let (notes, fine) = (count(Severity::Note), count(Severity::Fine));
    let _ = write!(text, "\n{problems}, {notes} worth knowing, {fine} looked at and fine");
    let safe = findings.iter().filter(|it| is_safe(it)).count();
    if safe > 0 {
        let _ = write!(
            text,
            "; `cargo plimsoll doctor --fix` applies {safe} of them, asking before each"
        );
    }
    text.push('\n');
    text
}

/// `--fix` applies it.
pub(crate) fn is_safe(finding: &Finding) -> bool {
    finding.fix.as_ref().is_some_and(|fix| fix.by == By::Doctor)
}

fn said(text: &mut String, finding: &Finding) {
    let word = match finding.severity {
        Severity::Problem => "problem",
        Severity::Note => "note",
        Severity::Fine => "fine",
    };
    let mut first = format!("{word:<MARGIN$}");
    let mut paragraph = |said: &str| {
        for line in wrapped(said) {
            let _ = writeln!(text, "{}{line}", std::mem::replace(&mut first, " ".repeat(MARGIN)));
        }
    };
    paragraph(&finding.what);
    if !finding.why.is_empty() {
        paragraph(&finding.why);
    }
    if let Some(figure) = &finding.figure {
        paragraph(&format!("({figure})"));
    }
    let Some(fix) = &finding.fix else { return };
    let by = match fix.by {
        By::Doctor => " (safe)",
        By::You => "",
        By::Root => " (root)",
    };
    // A command stays in one piece, to be copied.
    let _ = writeln!(text, "{}->{by} {}", " ".repeat(MARGIN), fix.command);
}

/// Words in lines of at most [`WIDTH`] characters; a longer word has a line of its own.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.chars().count() > WIDTH {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// As one line of JSON.
pub(crate) fn as_json(findings: &[Finding], applied: &[String]) -> Value {
    let problems = findings.iter().filter(|it| it.severity == Severity::Problem).count();
    json!({
        "plimsoll_doctor": FORMAT,
        "question": "setup",
        "problems": problems,
        "findings": findings,
        "applied": applied,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::setup::findings::Fix;

    #[test]
    fn each_says_what_why_and_what_next_and_what_is_fine_one_line() {
        let findings = [
            Finding::problem("a", "it is so", "it hurts ".repeat(20), Fix::root("sudo mend")),
            Finding::note("b", "and so", "it costs", Fix::you("mend"))
                .with(Some("recorded: 2".to_owned())),
            Finding::fine("c", "well"),
            Finding::fine("d", "well, too"),
        ];
        let text = text(&findings);
        assert!(text.starts_with("problem  it is so\n         it hurts it hurts"), "{text}");
        assert!(text.contains("\n         -> (root) sudo mend\n\nnote     and so\n"), "{text}");
        assert!(
            text.contains(
                "         (recorded: 2)\n         -> mend\n\nfine     well\nfine     well, too\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("\n1 problem, 1 worth knowing, 2 looked at and fine\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= MARGIN + WIDTH), "{text}");
        let json = as_json(&findings, &[]);
        assert_eq!(json["findings"][0]["severity"], "problem");
        assert_eq!(json["findings"][0]["fix"]["by"], "root");
        assert_eq!(json["problems"], 1);
    }
}
