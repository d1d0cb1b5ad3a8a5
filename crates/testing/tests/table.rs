//! The closing table of `.ci/run`, from what test programs say.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up stops there")]

use std::path::Path;
use std::process::Command;

/// As Rust's own harness says it, and ours.
const LOG: &str = "tests: root-v1 here
test a_walk ... ok
test with_swap ... ignored, there is too little swap
tests: user-v1 here
test a_walk       ... ok
test as_nobody    ... ignored (it takes root)
test src/lib.rs - it (line 3) ... ok
tests: root-v1 here\r
test with_swap ... ok\r
";

/// Whether all is well, and the table, for a log and a list.
fn table(log: &str, list: &str) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let (logged, listed) = (dir.path().join("log"), dir.path().join("list"));
    std::fs::write(&logged, log).unwrap();
    std::fs::write(&listed, list).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.ci/table");
    let said = Command::new(script).arg(listed).arg(logged).output().unwrap();
    (said.status.success(), String::from_utf8(said.stdout).unwrap())
}

#[test]
fn what_ran_once_has_run_and_a_reason_may_be_one_of_the_list() {
    let (is_well, table) = table(LOG, "# why\nroot-* user-*: it takes *\n");
    assert!(is_well, "{table}");
    let rows: Vec<Vec<&str>> = table.lines().map(|row| row.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["root-v1", "here", "2", "0"]), "{table}");
    assert!(rows.contains(&vec!["user-v1", "here", "2", "1"]), "{table}");
    assert!(table.contains("1: it takes root"), "{table}");
}

#[test]
fn another_reason_another_kind_of_machine_and_a_failure_are_not_well() {
    for (log, list) in [
        (LOG, ""),
        (LOG, "user-*: there is no moon\n"),
        (LOG, "root-*: it takes root\n"),
        ("tests: root-v1 here\ntest a_walk ... ignored\n", "*: there is no moon\n"),
        ("tests: root-v1 here\ntest a_walk ... FAILED\n", "*: *\n"),
    ] {
        let (is_well, table) = table(log, list);
        assert!(!is_well, "{list}: {table}");
    }
}
