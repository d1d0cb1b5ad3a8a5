use std::fs;

use plimsoll_core::forecast::Curve;
use plimsoll_core::invocation::UnitKind;

use super::*;

const DAY: i64 = 24 * 3600;

fn facts(package: &str, version: &str) -> UnitFacts {
    let mut facts = UnitFacts::build_script_run(package.to_owned(), version.to_owned());
    facts.kind = UnitKind::Lib;
    facts
}

fn seen(mib: u64) -> Observation {
    Observation {
        curve: Curve::ramp(Bytes::mib(mib), Millis(mib * 10)),
        cpu: Millis(mib * 11),
        wall: Millis(mib * 12),
        link_peak: Bytes::mib(mib / 2),
        tokens: 2,
        critical_path: None,
    }
}

fn open(dir: &Path) -> History {
    let (history, warning) = History::open(dir);
    assert_eq!(warning, None);
    history
}

#[test]
fn what_was_recorded_is_known_to_the_next_build() {
    let dir = tempfile::tempdir().unwrap();
    let unit = facts("serde", "1.0.1");
    let mut history = open(dir.path());
    assert_eq!(history.forecast(&unit), None);
    for mib in 1..=6 {
        history.record(&unit, &seen(mib * 100));
    }
    history.set_critical_paths(&[
        (unit.key(), Millis(777)),
        (facts("unknown", "1.0.0").key(), Millis(1)),
    ]);
    assert_eq!(history.flush(), None);
    drop(history);
    let expected: Vec<_> = [600, 500, 400, 300]
        .into_iter()
        .map(|mib| Observation { critical_path: Some(Millis(777)), ..seen(mib) })
        .collect();
    let known = open(dir.path()).forecast(&unit).unwrap();
    assert_eq!(known, Remembered { exact: true, observations: expected, at_least: Bytes::ZERO });
}

/// A build asks for each of its units.
#[test]
fn a_question_is_compiled_once_and_not_for_each_unit() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    for number in 0..20 {
        history.record(&facts(&format!("crate-{number}"), "1.0.0"), &seen(100));
    }
    assert_eq!(history.flush(), None);
    for number in 0..20 {
        assert!(history.forecast(&facts(&format!("crate-{number}"), "1.0.1")).is_some());
    }
    let statement = history.db.as_ref().unwrap().prepare_cached(ELDERS).unwrap();
    assert_eq!(statement.get_status(rusqlite::StatementStatus::Run), 20);
    assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0);
}

#[test]
fn a_unit_that_was_never_seen_has_its_related_crates() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    for patch in 0..8 {
        history.record(&facts("serde", &format!("1.0.{patch}")), &seen(999));
        history.record(&facts("serde", &format!("1.0.{patch}")), &seen(100 + patch));
    }
    history.record(&facts("serde_json", "1.0.9"), &seen(1));
    history.flush();
    let known = history.forecast(&facts("serde", "1.0.9")).unwrap();
    assert!(!known.exact);
    let peaks: Vec<_> = known.observations.iter().map(|o| o.curve.peak()).collect();
    assert_eq!(peaks, [107, 106, 105, 104].map(Bytes::mib));
    let mut optimised = facts("serde", "1.0.9");
    optimised.opt_level = "3".to_owned();
    assert_eq!(history.forecast(&optimised), None);
}

#[test]
fn threads_of_the_front_end_are_reckoned_in_and_remembered_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let one = facts("serde", "1.0.1");
    let mut four = one.clone();
    four.threads = 4;
    history.record(&one, &seen(129));
    for flushed in [false, true] {
        if flushed {
            history.flush();
        }
        let known = history.forecast(&four).unwrap();
        let peak = known.observations[0].curve.peak().as_mib();
        assert!(!known.exact && (180.0..200.0).contains(&peak), "{peak}");
    }
    history.record(&four, &seen(192));
    history.flush();
    for (unit, mib) in [(&one, 129), (&four, 192)] {
        let known = history.forecast(unit).unwrap();
        assert_eq!((known.exact, known.observations[0].curve.peak()), (true, Bytes::mib(mib)));
    }
    let profiles: Vec<_> = history.list(None).unwrap().into_iter().map(|it| it.profile).collect();
    assert_eq!(profiles, ["-O0 threads=4", "-O0"]);
}

/// A database of the first schema, with one unit that was seen.
#[test]
fn what_was_recorded_before_threads_were_told_apart_is_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let unit = facts("serde", "1.0.1");
    let db = Connection::open(dir.path().join(open::FILE)).unwrap();
    schema::first(&db);
    db.execute_batch(&format!(
        "INSERT INTO units VALUES (1, '{}', '{}', 'serde', '1.0.1', 'serde', 'lib', 0, '0', 0, 0, 0, 0, '', 1, 5, 0,
             NULL, {});
         INSERT INTO observations VALUES (1, 1, 1, '[[1000,135266304]]', 135266304, 1000, 1000, 0, 1)",
        unit.key().0,
        unit.family().0,
        unix_now(),
    ))
    .unwrap();
    drop(db);
    let mut history = open(dir.path());
    let peak = |known: Option<Remembered>| {
        known.map(|it| (it.exact, it.observations[0].curve.peak().as_mib() as u64))
    };
    assert_eq!(peak(history.forecast(&unit)), Some((true, 129)));
    let mut four = unit.clone();
    four.threads = 4;
    assert_eq!(peak(history.forecast(&four)), Some((false, 191)));
}

/// The tests of one program learn from each other, and so do two builds of the same crates.
#[test]
fn what_waits_to_be_written_is_known_already() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let unit = facts("serde", "1.0.1");
    let peaks = |known: &Remembered| -> Vec<Bytes> {
        known.observations.iter().map(|it| it.curve.peak()).collect()
    };
    history.record(&facts("serde", "1.0.0"), &seen(100));
    history.flush();
    // Of a unit that was seen twice its newest run counts, written or not.
    history.record(&facts("serde", "1.0.0"), &seen(200));
    history.record(&facts("serde", "1.0.3"), &seen(1));
    history.record(&facts("serde", "1.0.3"), &seen(300));
    history.record(&facts("serde_json", "1.0.1"), &seen(999));
    let known = history.forecast(&unit).unwrap();
    assert_eq!((known.exact, peaks(&known)), (false, [200, 300].map(Bytes::mib).to_vec()));
    history.record_lower_bound(&unit, Bytes::mib(150));
    assert_eq!(history.forecast(&unit).unwrap().at_least, Bytes::mib(150));
    history.record(&unit, &seen(160));
    history.set_critical_paths(&[(unit.key(), Millis(777))]);
    history.flush();
    history.record_lower_bound(&unit, Bytes::mib(170));
    history.record(&unit, &seen(180));
    let known = history.forecast(&unit).unwrap();
    assert_eq!((known.exact, peaks(&known)), (true, [180, 160].map(Bytes::mib).to_vec()));
    assert_eq!(
        (known.at_least, known.observations[0].critical_path),
        (Bytes::ZERO, Some(Millis(777)))
    );
    history.record_lower_bound(&unit, Bytes::mib(190));
    assert_eq!(history.forecast(&unit).unwrap().at_least, Bytes::mib(190));
}

#[test]
fn a_killed_run_is_a_lower_bound_until_a_complete_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let unit = facts("wasmtime", "40.0.0");
    history.record_lower_bound(&unit, Bytes::mib(900));
    history.record_lower_bound(&unit, Bytes::mib(700));
    history.flush();
    let known = history.forecast(&unit).unwrap();
    assert_eq!((known.exact, known.at_least), (false, Bytes::mib(900)));
    assert_eq!(known.observations, []);
    history.record(&facts("wasmtime", "39.0.0"), &seen(500));
    history.flush();
    let known = history.forecast(&unit).unwrap();
    assert_eq!((known.exact, known.at_least), (false, Bytes::mib(900)));
    assert_eq!(known.observations.len(), 1);
    history.record(&unit, &seen(1000));
    history.flush();
    let known = history.forecast(&unit).unwrap();
    assert_eq!((known.exact, known.at_least), (true, Bytes::ZERO));
}

#[test]
fn the_list_shows_the_heaviest_first_and_filters_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    history.record(&facts("aws-sdk-ec2", "1.2.3"), &seen(6000));
    let mut s3 = facts("aws-sdk-s3", "1.2.3");
    s3.target_kind = "cdylib".to_owned();
    history.record(&s3, &seen(900));
    history.record(&s3, &seen(800));
    let mut check = facts("syn", "2.0.0");
    check.emit = plimsoll_core::invocation::Emit::Check;
    check.debuginfo = 2;
    check.incremental = true;
    history.record_lower_bound(&check, Bytes::mib(1000));
    history.flush_at(5 * DAY, KEPT_UNITS);
    let packages = |filter| -> Vec<String> {
        history.list(filter).unwrap().into_iter().map(|row| row.package).collect()
    };
    assert_eq!(packages(None), ["aws-sdk-ec2", "syn", "aws-sdk-s3"]);
    assert_eq!(packages(Some("aws_sdk")), ["aws-sdk-ec2", "aws-sdk-s3"]);
    assert_eq!(packages(Some("tokio")), Vec::<String>::new());
    let rows = history.list(Some("s3")).unwrap();
    assert_eq!(
        rows,
        [Row {
            package: "aws-sdk-s3".to_owned(),
            version: "1.2.3".to_owned(),
            crate_name: "aws_sdk_s3".to_owned(),
            kind: "cdylib".to_owned(),
            profile: "-O0".to_owned(),
            runs: 2,
            peak_last: Bytes::mib(800),
            peak_max: Bytes::mib(900),
            at_least: Bytes::ZERO,
            cpu: Millis(8800),
            wall: Millis(9600),
            link_peak: Bytes::mib(400),
            last_seen_unix: 5 * 86_400,
        }]
    );
    let syn = &history.list(Some("syn")).unwrap()[0];
    assert_eq!((syn.profile.as_str(), syn.runs), ("check -O0 -g2 incremental", 0));
    assert_eq!((syn.at_least, syn.kind.as_str()), (Bytes::mib(1000), "lib"));
}

#[test]
fn units_not_built_for_half_a_year_and_the_oldest_of_too_many_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let packages = |history: &History| -> Vec<String> {
        history.list(None).unwrap().into_iter().map(|row| row.package).collect()
    };
    for (day, name) in [(0, "a"), (100, "b"), (150, "c"), (179, "d")] {
        let mut history = open(dir.path());
        history.record(&facts(name, "1.0.0"), &seen(10));
        history.flush_at(day * DAY, KEPT_UNITS);
    }
    assert_eq!(packages(&open(dir.path())), ["a", "b", "c", "d"]);
    let mut history = open(dir.path());
    history.record(&facts("e", "1.0.0"), &seen(10));
    history.flush_at(181 * DAY, KEPT_UNITS);
    assert_eq!(packages(&history), ["b", "c", "d", "e"]);
    let mut history = open(dir.path());
    history.record(&facts("b", "1.0.0"), &seen(10));
    history.flush_at(182 * DAY, 2);
    assert_eq!(packages(&history), ["b", "e"]);
    let db = history.db.as_ref().unwrap();
    let orphans = "SELECT count(*) FROM observations WHERE unit NOT IN (SELECT id FROM units)";
    assert_eq!(db.query_row(orphans, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn learned_numbers_are_known_at_once_and_later() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    assert_eq!(history.learned("reserve"), None);
    history.set_learned("reserve", 1.0);
    history.set_learned("reserve", 2.5);
    history.set_learned("reserve", f64::NAN);
    assert_eq!(history.learned("reserve"), Some(2.5));
    history.flush();
    drop(history);
    assert_eq!(open(dir.path()).learned("reserve"), Some(2.5));
}

#[test]
fn what_a_busy_database_refuses_is_written_later() {
    let dir = tempfile::tempdir().unwrap();
    let unit = facts("serde", "1.0.1");
    let mut history = open(dir.path());
    let other = Connection::open(dir.path().join(open::FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    history.record(&unit, &seen(100));
    for _ in 0..3 {
        assert_eq!(history.flush(), None);
    }
    assert!(!history.patient);
    let written = || -> u32 {
        other.query_row("SELECT count(*) FROM observations", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(written(), 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(history.flush(), None);
    assert!(history.patient);
    assert_eq!(written(), 1);
    assert!(history.forecast(&unit).unwrap().exact);
}

/// Two thousand crates are four thousand changes, and as many more with the next of the account's builds.
#[test]
fn a_build_of_any_size_is_remembered_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let units: Vec<_> = (0..3 * PENDING / 2).map(|n| facts(&format!("c{n}"), "1.0.0")).collect();
    for unit in &units {
        history.record(unit, &seen(10));
        assert!(history.pending.len() <= TOGETHER);
    }
    let critical_paths: Vec<_> = units.iter().map(|unit| (unit.key(), Millis(1))).collect();
    history.set_critical_paths(&critical_paths);
    assert_eq!(history.flush(), None);
    drop(history);
    let mut history = open(dir.path());
    for unit in [&units[0], &units[TOGETHER], &units[units.len() - 1]] {
        let known = history.forecast(unit).unwrap();
        assert!(known.exact && known.observations[0].critical_path == Some(Millis(1)), "{known:?}");
    }
}

#[test]
fn what_never_can_be_written_is_dropped_with_one_warning() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let other = Connection::open(dir.path().join(open::FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let critical_paths = vec![(facts("serde", "1.0.1").key(), Millis(1)); PENDING + 7];
    history.set_critical_paths(&critical_paths);
    assert_eq!(history.pending.len(), PENDING);
    assert!(history.flush().unwrap().contains("has locked the history"));
    history.set_critical_paths(&critical_paths);
    assert_eq!(history.flush(), None);
}

#[test]
fn a_full_disk_costs_one_warning_and_only_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let unit = facts("serde", "1.0.1");
    let mut history = open(dir.path());
    history.record(&unit, &seen(100));
    history.flush();
    let db = history.db.as_ref().unwrap();
    let pages: i64 = db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).unwrap();
    for n in 0..500 {
        history.record(&facts(&format!("package-{n}"), "1.0.0"), &seen(n));
    }
    let warning = history.flush().unwrap();
    assert!(warning.contains("full"), "{warning}");
    history.record(&facts("late", "1.0.0"), &seen(1));
    assert_eq!(history.flush(), None);
    assert!(history.forecast(&unit).unwrap().exact);
    assert_eq!(history.list(None).unwrap().len(), 1);
}

#[test]
fn damage_that_shows_late_is_set_aside_and_the_build_is_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let unit = facts("serde", "1.0.1");
    let mut history = open(dir.path());
    history.record(&unit, &seen(100));
    history.flush();
    let other = Connection::open(dir.path().join(open::FILE)).unwrap();
    other.execute("UPDATE observations SET curve = 'not a curve'", []).unwrap();
    drop(other);
    assert_eq!(history.forecast(&unit), None);
    history.record(&unit, &seen(200));
    assert!(history.flush().unwrap().contains(".damaged-"));
    assert_eq!(history.forecast(&unit).unwrap().observations.len(), 1);
    let aside = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
            name.contains("damaged") && !name.ends_with("-wal")
        })
        .count();
    assert_eq!(aside, 1);
}

#[test]
fn nothing_of_the_machine_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut unit = facts("serde", "1.0.1");
    unit.source = "/home/someone/secret/lib.rs".into();
    unit.out_dir = "/home/someone/secret/out".into();
    unit.externs = vec!["/home/someone/secret/libx.rlib".into()];
    unit.target = "/home/someone/secret/target.json".to_owned();
    let mut history = open(dir.path());
    history.record(&unit, &seen(100));
    history.flush();
    drop(history);
    let bytes = fs::read(dir.path().join(open::FILE)).unwrap();
    assert!(bytes.windows(5).any(|window| window == b"serde"));
    assert!(!bytes.windows(6).any(|window| window == b"secret"));
}

#[test]
fn a_database_that_a_newer_version_migrates_meanwhile_stays_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = open(dir.path());
    let other = Connection::open(dir.path().join(open::FILE)).unwrap();
    other.execute_batch("DROP TABLE observations; PRAGMA user_version = 99").unwrap();
    drop(other);
    history.record(&facts("serde", "1.0.1"), &seen(1));
    assert!(history.flush().unwrap().contains("cannot record all of this build"));
    assert_eq!(history.forecast(&facts("serde", "1.0.1")), None);
    drop(history);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
