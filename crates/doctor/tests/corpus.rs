//! Every text of the corpus is judged as `corpus/INDEX.md` says: memory is found, and nothing else is taken for it.
#![expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
#![expect(clippy::print_stdout, reason = "the figures and what was misjudged")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use plimsoll_doctor::{Cause, LogReader, Verdict};

/// One row of the index.
struct Case {
    text: String,
    number: u32,
    causes: Vec<String>,
    unit: Option<String>,
    memory: bool,
    blind: bool,
}

fn cases() -> Vec<Case> {
    let index = std::fs::read_to_string(corpus().join("INDEX.md")).unwrap();
    let rows = index.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let text = cells[0].trim_matches('`').to_owned();
        let number = text.split(['/', '-']).nth(1).unwrap().parse().unwrap();
        Case {
            memory: text.starts_with("memory/"),
            blind: cells[3] == "blind",
            number,
            causes: cells[1].split(" or ").map(str::to_owned).collect(),
            unit: (cells[2] != "-").then(|| cells[2].to_owned()),
            text,
        }
    })
    .collect()
}

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn judge(bytes: &[u8]) -> Verdict {
    let mut reader = LogReader::default();
    // Cut as a pipe may cut it.
    for chunk in bytes.chunks(777) {
        reader.feed(chunk);
    }
    reader.verdict()
}

fn name(cause: Cause) -> String {
    serde_json::to_value(cause).unwrap().as_str().unwrap().to_owned()
}

/// Recall, false alarms and wrong details of some of the cases, and what was misjudged.
#[derive(Default)]
struct Score {
    memory: u32,
    found: u32,
    other: u32,
    alarms: u32,
    right_cause: u32,
    right_unit: u32,
    units: u32,
    misjudged: Vec<String>,
}

fn score(cases: &[Case], wanted: impl Fn(&Case) -> bool) -> Score {
    let mut score = Score::default();
    for case in cases.iter().filter(|case| wanted(case)) {
        let verdict = judge(&std::fs::read(corpus().join(&case.text)).unwrap());
        let cause = name(verdict.cause);
        let right_cause = case.causes.contains(&cause);
        let right_unit = case.unit.is_none() || case.unit == verdict.unit;
        if case.memory {
            score.memory += 1;
            score.found += u32::from(verdict.memory);
        } else {
            score.other += 1;
            score.alarms += u32::from(verdict.memory);
        }
        score.right_cause += u32::from(right_cause);
        if case.unit.is_some() {
            score.units += 1;
            score.right_unit += u32::from(right_unit);
        }
        if !right_cause || !right_unit || verdict.memory != case.memory {
            score.misjudged.push(format!(
                "{}: {cause} of {:?} by {:?}; it is {:?} of {:?}",
                case.text, verdict.unit, verdict.evidence, case.causes, case.unit
            ));
        }
    }
    score
}

fn say(what: &str, score: &Score) {
    println!(
        "{what}: recall {} of {}, false alarms {} of {}, cause right {} of {}, unit right {} of {}",
        score.found,
        score.memory,
        score.alarms,
        score.other,
        score.right_cause,
        score.memory + score.other,
        score.right_unit,
        score.units
    );
}

#[test]
fn memory_is_found_and_nothing_else_is_taken_for_it() {
    let cases = cases();
    let all = score(&cases, |_| true);
    say("odd numbers", &score(&cases, |case| !case.blind && case.number % 2 == 1));
    say("even numbers", &score(&cases, |case| !case.blind && case.number % 2 == 0));
    say("blind", &score(&cases, |case| case.blind));
    say("all", &all);
    for line in &all.misjudged {
        println!("misjudged {line}");
    }
    assert!(all.memory >= 40 && all.other >= 40, "the corpus is too small");
    assert!(f64::from(all.found) >= 0.95 * f64::from(all.memory), "recall");
    assert!(f64::from(all.alarms) <= 0.02 * f64::from(all.other), "false alarms");
    let details = f64::from(all.memory + all.other);
    assert!(f64::from(all.right_cause) >= 0.95 * details, "causes");
    assert!(f64::from(all.right_unit) >= 0.95 * f64::from(all.units), "units");
}

#[test]
fn a_windows_terminal_s_ends_of_lines_change_nothing() {
    for case in cases() {
        let bytes = std::fs::read(corpus().join(&case.text)).unwrap();
        let text = String::from_utf8_lossy(&bytes).replace('\n', "\r\n");
        let (one, other) = (judge(&bytes), judge(text.as_bytes()));
        assert_eq!(one, other, "{}", case.text);
    }
}

#[test]
fn what_a_ci_writes_before_each_line_changes_nothing() {
    for case in cases() {
        let bytes = std::fs::read(corpus().join(&case.text)).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let one = judge(&bytes);
        for prefix in [
            "2026-01-01T00:00:00.1234567Z ",
            "build\tRun cargo build\t2026-01-01T00:00:00.1234567Z ",
            "2026-01-01T00:00:00.123456Z 01O ",
            "[ci/build]   | ",
            "#12 34.56 ",
        ] {
            let prefixed: String = text.lines().map(|line| format!("{prefix}{line}\n")).collect();
            let other = judge(prefixed.as_bytes());
            assert_eq!((one.cause, &one.unit), (other.cause, &other.unit), "{prefix}{}", case.text);
        }
    }
}
