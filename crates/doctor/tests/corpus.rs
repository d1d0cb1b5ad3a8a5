//! Every text of the corpus is judged as `corpus/INDEX.md` says: memory is found, and nothing else is taken for it.
#![expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
#![expect(clippy::print_stdout, reason = "the figures and what was misjudged")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;

use plimsoll_doctor::{Cause, LogReader, Verdict};

/// What is misjudged, and in what; `memory` is want of memory that is missed, or seen where there is none. A text that
/// would join this list is a fault of the rules, and one that is judged rightly leaves it.
const MISJUDGED: &[(&str, &str)] = &[
    ("memory/79-lld-exhausted.log", "memory"),
    ("other/307-e2e-chaos-mesh.log", "memory, cause"),
    ("other/330-systemd-unit-test-vm.log", "memory, cause"),
    ("other/479-linux-os-error-14.log", "cause"),
];

/// One row of the index.
struct Case {
    text: String,
    causes: Vec<String>,
    unit: Option<String>,
    memory: bool,
}

fn cases() -> Vec<Case> {
    let index = std::fs::read_to_string(corpus().join("INDEX.md")).unwrap();
    let rows = index.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let text = cells[0].trim_matches('`').to_owned();
        Case {
            memory: text.starts_with("memory/"),
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

/// Recall, false alarms and wrong details, and which texts are misjudged in what.
#[derive(Default)]
struct Score {
    memory: u32,
    found: u32,
    other: u32,
    alarms: u32,
    right_cause: u32,
    right_unit: u32,
    units: u32,
    misjudged: BTreeSet<(String, String)>,
}

fn score(cases: &[Case]) -> Score {
    let mut score = Score::default();
    for case in cases {
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
        let wrong = [
            (verdict.memory != case.memory, "memory"),
            (!right_cause, "cause"),
            (!right_unit, "unit"),
        ];
        let wrong: Vec<&str> =
            wrong.iter().filter(|(wrong, _)| *wrong).map(|(_, what)| *what).collect();
        if !wrong.is_empty() {
            println!(
                "misjudged {}: {cause} of {:?} by {:?}; it is {:?} of {:?}",
                case.text, verdict.unit, verdict.evidence, case.causes, case.unit
            );
            score.misjudged.insert((case.text.clone(), wrong.join(", ")));
        }
    }
    score
}

fn say(score: &Score) {
    println!(
        "recall {} of {}, false alarms {} of {}, cause right {} of {}, unit right {} of {}",
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
fn what_is_misjudged_is_known_to_the_text() {
    let cases = cases();
    let judged = score(&cases);
    say(&judged);
    let known: BTreeSet<_> =
        MISJUDGED.iter().map(|(text, what)| ((*text).to_owned(), (*what).to_owned())).collect();
    let new: Vec<_> = judged.misjudged.difference(&known).collect();
    let mended: Vec<_> = known.difference(&judged.misjudged).collect();
    assert!(new.is_empty(), "misjudged, and not in the list: {new:#?}");
    assert!(
        mended.is_empty(),
        "judged rightly, or wrong in something else than the list says: {mended:#?}"
    );
}

#[test]
fn every_text_has_its_row() {
    let rows: Vec<String> = cases().into_iter().map(|case| case.text).collect();
    let mut files = Vec::new();
    for kind in ["memory", "other"] {
        for entry in corpus().join(kind).read_dir().unwrap() {
            files.push(format!("{kind}/{}", entry.unwrap().file_name().to_str().unwrap()));
        }
    }
    files.sort();
    let mut sorted = rows.clone();
    sorted.sort();
    assert_eq!(sorted, files);
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
