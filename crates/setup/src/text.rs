//! Findings as a person and as a program reads them. Reads nothing.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use plimsoll_view::wrapped;
use serde_json::{Value, json};

use super::findings::{By, Finding, Severity};

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

/// Columns before the text of a finding.
const MARGIN: usize = 9;

/// Characters in a line of a finding's text, without its margin, if no terminal says how wide it is.
const WIDTH: usize = 100;

/// A narrower column of text is harder to read than lines that the terminal breaks.
const LEAST: usize = 30;

const PROBLEM: Style = AnsiColor::BrightRed.on_default().bold();
const NOTE: Style = AnsiColor::BrightYellow.on_default().bold();
const GOOD: Style = AnsiColor::BrightGreen.on_default().bold();
const FIX: Style = AnsiColor::BrightCyan.on_default().bold();

/// As text, for a terminal of so many columns (0 if unknown). What is fine is counted, and listed where that is
/// asked for.
pub fn text(findings: &[Finding], verbose: bool, columns: usize) -> String {
    let width = match columns {
        0 => WIDTH,
        columns => columns.saturating_sub(MARGIN + 1).clamp(LEAST, WIDTH),
    };
    let mut text = String::new();
    let (fine, found): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|it| it.severity == Severity::Fine);
    for finding in found {
        said(&mut text, finding, width);
        text.push('\n');
    }
    if verbose {
        fine.iter().for_each(|finding| said(&mut text, finding, width));
        text.push('\n');
    }
    let count = |severity| findings.iter().filter(|it| it.severity == severity).count();
    let of = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let (problems, notes) = (count(Severity::Problem), count(Severity::Note));
    let style = if problems > 0 { PROBLEM } else { GOOD };
    let _ = writeln!(
        text,
        "{style}{}{style:#}, {}, {} passed{}",
        of(problems, "problem"),
        of(notes, "note"),
        of(fine.len(), "check"),
        if verbose { "" } else { " (-v lists them)" }
    );
    let safe = findings.iter().filter(|it| is_safe(it)).count();
    if safe > 0 {
        let (fixes, applies) = match safe {
            1 => ("1 fix is safe".to_owned(), "it, but asks before"),
            safe => (format!("{safe} fixes are safe"), "them, but asks before each"),
        };
        let _ = writeln!(text, "{fixes}: `cargo plimsoll doctor --fix` applies {applies}");
    }
    text
}

/// `--fix` applies it.
pub(crate) fn is_safe(finding: &Finding) -> bool {
    finding.fix.as_ref().is_some_and(|fix| fix.by == By::Doctor)
}

fn said(text: &mut String, finding: &Finding, width: usize) {
    let (word, style) = match finding.severity {
        Severity::Problem => ("problem", PROBLEM),
        Severity::Note => ("note", NOTE),
        Severity::Fine => ("ok", GOOD),
    };
    let mut first = format!("{style}{word:<MARGIN$}{style:#}");
    let mut paragraph = |said: &str| {
        for line in wrapped(said, width) {
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
        By::Root => " (as root)",
    };
    // A command stays in one piece, to be copied.
    let _ = writeln!(text, "{}{FIX}fix{by}:{FIX:#} {}", " ".repeat(MARGIN), fix.command);
}

/// As one line of JSON.
pub fn as_json(findings: &[Finding], applied: &[String]) -> Value {
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
    use crate::findings::Fix;

    #[test]
    fn findings_say_what_why_and_what_next_and_checks_that_passed_are_counted() {
        let findings = [
            Finding::problem("a", "it is broken", "it hurts ".repeat(20), Fix::root("sudo mend")),
            Finding::note("b", "and this", "it costs", Fix::you("mend"))
                .with(Some("recorded: 2".to_owned())),
            Finding::fine("c", "well"),
            Finding::fine("d", "well, too"),
        ];
        let plain = |verbose, columns| {
            anstream::adapter::strip_str(&text(&findings, verbose, columns)).to_string()
        };
        let short = plain(false, 0);
        assert!(short.starts_with("problem  it is broken\n         it hurts it hurts"), "{short}");
        assert!(
            short.contains("\n         fix (as root): sudo mend\n\nnote     and this\n"),
            "{short}"
        );
        assert!(short.contains("         (recorded: 2)\n         fix: mend\n\n"), "{short}");
        assert!(
            short.ends_with("\n1 problem, 1 note, 2 checks passed (-v lists them)\n"),
            "{short}"
        );
        assert!(!short.contains("well"), "{short}");
        let long = plain(true, 0);
        assert!(long.contains("ok       well\nok       well, too\n"), "{long}");
        assert!(long.ends_with("\n1 problem, 1 note, 2 checks passed\n"), "{long}");
        for columns in [60, 80, 200] {
            let narrow = plain(true, columns);
            let fits = |line: &str| line.chars().count() <= columns.min(MARGIN + WIDTH);
            assert!(narrow.lines().all(fits), "{narrow}");
        }
        assert!(text(&findings, false, 0).starts_with(&format!("{PROBLEM}problem")));
        let json = as_json(&findings, &[]);
        assert_eq!(json["findings"][0]["severity"], "problem");
        assert_eq!(json["findings"][0]["fix"]["by"], "root");
        assert_eq!(json["problems"], 1);
    }
}
