//! Builds by their records, and what made them slow.

use plimsoll_core::event::{Event, FORMAT, Header, Record};
use plimsoll_core::forecast::ForecastSource;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::unit::{CompileConditions, UnitKey};
use plimsoll_core::{BuildId, UnitId};
use plimsoll_view::Outline;

use super::*;
use crate::rebuilt::compare;
use crate::text;

/// A build that is told unit by unit.
struct Told {
    header: Header,
    records: Vec<Record>,
    units: u32,
}

/// What a unit is.
#[derive(Clone)]
struct What {
    title: &'static str,
    key: &'static str,
    made: CompileConditions,
}

fn what(title: &'static str) -> What {
    let source = title.split(' ').next().unwrap().to_owned();
    let made = CompileConditions {
        how: "-O0 -g2 incremental".to_owned(),
        name: "n".to_owned(),
        features: "f".to_owned(),
        source,
        local: true,
    };
    What { title, key: title, made }
}

/// Of a registry.
fn fetched(title: &'static str) -> What {
    let mut what = what(title);
    what.made.local = false;
    what.made.how = "-O0 -g2".to_owned();
    what
}

impl Told {
    fn new(started: u64, jobs: u32, processors: u32) -> Self {
        let header = Header {
            plimsoll_log: FORMAT,
            version: "0.1.0".to_owned(),
            build: BuildId::new(started, 1),
            started_unix_ms: started,
            command: "build".to_owned(),
            budget: Bytes::mib(1000),
            memory: "1000MiB".to_owned(),
            jobs,
            processors,
            target_was_empty: Some(false),
            workspace: String::new(),
        };
        Self { header, records: Vec::new(), units: 0 }
    }

    fn at(&mut self, ms: u64, event: Event) -> &mut Self {
        self.records.push(Record { t: Millis(ms), event });
        self
    }

    /// A unit registers, and runs at once.
    fn begins(&mut self, ms: u64, what: &What) -> UnitId {
        let unit = self.registers(ms, what);
        self.at(ms, Event::Admitted { unit, attempt: 1, shrink: Shrink::No });
        unit
    }

    fn registers(&mut self, ms: u64, what: &What) -> UnitId {
        self.units += 1;
        let unit = UnitId(self.units);
        self.at(
            ms,
            Event::Registered {
                unit,
                title: what.title.to_owned(),
                kind: UnitKind::Lib,
                key: UnitKey(what.key.to_owned()),
                forecast: Bytes::mib(300),
                source: ForecastSource::Cold,
                inside: None,
                cold: None,
                made: Some(Box::new(what.made.clone())),
            },
        );
        unit
    }

    fn ends(&mut self, ms: u64, unit: UnitId, cpu: u64) -> &mut Self {
        let (cpu, wall) = (Millis(cpu), Millis(cpu));
        let (peak, waited) = (Bytes::mib(100), Millis::ZERO);
        self.at(ms, Event::Finished { unit, ok: true, peak, cpu, wall, waited })
    }

    fn sample(&mut self, ms: u64, short: bool, stalled: u64) -> &mut Self {
        self.at(
            ms,
            Event::Sample {
                used: Bytes::mib(500),
                budget: Bytes::mib(1000),
                admitted: Bytes::mib(900),
                running: 0,
                waiting: 0,
                stopped: 0,
                short,
                stalled: Millis(stalled),
                units: Vec::new(),
            },
        )
    }

    fn done(&mut self, ms: u64) -> Past {
        let (wall, peak, governor_cpu) = (Millis(ms), Bytes::mib(500), Millis::ZERO);
        self.at(ms, Event::Done { exit: 0, wall, peak, governor_cpu });
        Past::new(self.header.clone(), &self.records)
    }
}

/// A build of these units, side by side, a second each.
fn built(started: u64, units: &[What]) -> Past {
    let mut told = Told::new(started, 4, 4);
    let ids: Vec<UnitId> = units.iter().map(|what| told.begins(0, what)).collect();
    for unit in ids {
        told.ends(1000, unit, 1000);
    }
    told.done(1000)
}

/// What a person reads.
fn said(past: &Past, rebuilt: &Rebuilt, found: &[Cause]) -> String {
    let outline = Outline::new(&past.header, &[], false);
    text::blocks(past, &outline, rebuilt, found, 9_000).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn only(past: &Past, earlier: &[Past]) -> Cause {
    let rebuilt = compare(past, earlier);
    let mut found = find(past, &rebuilt);
    assert_eq!(found.len(), 1, "{found:#?}\n{rebuilt:#?}");
    let text = said(past, &rebuilt, &found);
    assert!(text.contains("-> "), "{text}");
    found.remove(0)
}

#[track_caller]
fn none(past: &Past, earlier: &[Past]) {
    let rebuilt = compare(past, earlier);
    let found = find(past, &rebuilt);
    assert!(found.is_empty(), "{found:#?}");
    let text = said(past, &rebuilt, &found);
    assert!(text.contains("Nothing that you can change slowed this build"), "{text}");
}

fn all(change: impl Fn(&mut What)) -> Vec<What> {
    let mut units = vec![what("app v0.1.0"), fetched("serde v1.0.1"), fetched("libc v0.2.1")];
    units.iter_mut().for_each(change);
    units
}

#[test]
fn a_first_build_and_one_after_an_edit_have_nothing_to_mend() {
    let first = built(1, &all(|_| ()));
    none(&first, &[]);
    let edited = built(2, &[what("app v0.1.0")]);
    none(&edited, &[first]);
}

#[test]
fn other_flags_are_told_from_another_compiler_features_profile_and_version() {
    let before = || [built(1, &all(|_| ()))];
    let topic = |units: Vec<What>| only(&built(2, &units), &before());
    let flags = topic(all(|it| it.made.name = "other".to_owned()));
    assert_eq!(flags.topic, "flags");
    assert!(
        flags.what.starts_with("3 of 3 units were rebuilt and took 3.00s of 3.00s"),
        "{}",
        flags.what
    );
    assert_eq!(flags.cost_ms, 1000);
    let threads = topic(all(|it| {
        (it.key, it.made.name) = ("other", "other".to_owned());
        it.made.how.push_str(" threads=4");
    }));
    assert_eq!(threads.topic, "flags");
    let compiler = topic(all(|it| {
        it.made.name = "other".to_owned();
        it.key = "other";
    }));
    assert_eq!(compiler.topic, "compiler");
    let features = topic(all(|it| {
        it.made.name = "other".to_owned();
        it.key = "other";
        if it.title.starts_with("libc") {
            it.made.features = "more".to_owned();
        }
    }));
    assert_eq!(features.topic, "features", "what depends on it is other, too");
    let profile = topic(all(|it| {
        it.key = "other";
        it.made.how = "-O3".to_owned();
    }));
    assert_eq!(profile.topic, "profile");
    let mut versions = all(|_| ());
    (versions[1].title, versions[1].key) = ("serde v1.0.2", "serde v1.0.2");
    versions[1].made.name = "other".to_owned();
    versions.remove(2);
    assert_eq!(topic(versions).topic, "versions");
}

#[test]
fn what_was_there_and_is_not_any_more_is_a_lost_cache() {
    let before = [built(1, &all(|_| ()))];
    let fetched_again = [fetched("serde v1.0.1"), what("app v0.1.0")];
    assert_eq!(only(&built(2, &fetched_again), &before).topic, "lost");
    let mut cleaned = built(2, &all(|_| ()));
    cleaned.header.target_was_empty = Some(true);
    let cause = only(&cleaned, &before);
    assert!(cause.what.contains("the target directory was empty"), "{}", cause.what);
    assert!(cause.advice.contains("cargo plimsoll clean"));
}

#[test]
fn another_workspace_and_a_log_without_its_facts_are_nothing_to_compare_with() {
    let other = built(1, &[what("other v0.1.0"), fetched("serde v1.0.1")]);
    let now = built(2, &all(|_| ()));
    assert_eq!(compare(&now, &[other]).before, None);
    let mut old = built(1, &all(|_| ()));
    old.units.iter_mut().for_each(|unit| unit.made = None);
    assert_eq!(compare(&now, &[old]).before, None);
}

#[test]
fn own_crates_that_are_compiled_as_a_whole_after_an_edit_are_told() {
    let mut app = what("app v0.1.0");
    app.made.how = "-O0 -g2".to_owned();
    let before = [built(1, &[app.clone()])];
    assert_eq!(only(&built(2, &[app.clone()]), &before).topic, "incremental");
    app.made.how = "-O3".to_owned();
    none(&built(3, &[app.clone()]), &[built(1, &[app])]);
}

#[test]
fn jobs_below_the_processors_are_told_where_all_of_them_were_taken() {
    let mut told = Told::new(1, 2, 8);
    let units = [told.begins(0, &what("a v1")), told.begins(0, &what("b v1"))];
    for unit in units {
        told.ends(8000, unit, 8000);
    }
    let cause = only(&told.done(10_000), &[]);
    assert_eq!((cause.topic, cause.cost_ms), ("jobs", 6000));
    assert!(
        cause.what.contains("2 of 8 processors") && cause.what.contains("80%"),
        "{}",
        cause.what
    );
    // One processor, and as many jobs.
    let mut told = Told::new(1, 1, 1);
    let unit = told.begins(0, &what("a v1"));
    told.ends(8000, unit, 8000);
    none(&told.done(8000), &[]);
}

#[test]
fn a_budget_that_held_the_build_back_is_told_with_the_one_that_would_not_have() {
    let mut told = Told::new(1, 4, 4);
    let a = told.begins(0, &what("a v1"));
    let b = told.registers(0, &what("b v1"));
    told.sample(0, true, 0).sample(500, true, 0).sample(1000, true, 0).sample(1500, false, 0);
    told.ends(1500, a, 1500).at(1500, Event::Admitted { unit: b, attempt: 1, shrink: Shrink::No });
    told.ends(3000, b, 1500);
    let cause = only(&told.done(4000), &[]);
    assert_eq!(cause.topic, "budget");
    assert!(cause.what.contains("for 1.00s (25% of the time)"), "{}", cause.what);
    assert!(
        cause.advice.contains("--memory 1216MiB"),
        "900 and the 300 of what waited: {}",
        cause.advice
    );
}

#[test]
fn work_that_was_killed_and_units_that_stood_still_are_the_lines_price() {
    let mut told = Told::new(1, 4, 4);
    let (a, b) = (told.begins(0, &what("a v1")), told.begins(0, &what("b v1")));
    let cause = plimsoll_core::schedule::StopReason::Pressure;
    told.at(500, Event::Suspended { unit: a, cause, holds: Bytes::mib(1) });
    let (freed, lost_cpu) = (Bytes::mib(1), Millis(900));
    told.at(900, Event::Killed { unit: b, cause, freed, lost_cpu, link_only: false });
    told.at(1500, Event::Resumed { unit: a });
    told.at(1500, Event::Admitted { unit: b, attempt: 2, shrink: Shrink::No });
    told.ends(2900, a, 1900).ends(2900, b, 1400);
    let found = only(&told.done(3000), &[]);
    assert_eq!(found.topic, "budget");
    assert!(
        found.what.contains("1 were killed and ran again, 0.90s of CPU time was lost"),
        "{}",
        found.what
    );
    assert!(found.what.contains("paused for 1.00s"), "{}", found.what);
}

#[test]
fn one_unit_that_nothing_runs_beside_is_named_with_what_would_split_it() {
    let mut told = Told::new(1, 4, 4);
    let mut oversized = what("giant v1");
    oversized.made.how = "-O3 cgu=1".to_owned();
    let (a, b) = (told.begins(0, &oversized), told.begins(0, &what("b v1")));
    told.ends(2000, b, 2000).ends(10_000, a, 9900);
    let cause = only(&told.done(10_000), &[]);
    assert_eq!((cause.topic, cause.cost_ms), ("alone", 8000));
    assert!(cause.what.starts_with("giant v1 ran alone for 8.00s (80%"), "{}", cause.what);
    assert!(cause.advice.contains("codegen-units = 16"));
    // A unit that ends the build of a second is nothing to speak of.
    let mut told = Told::new(1, 4, 4);
    let a = told.begins(0, &oversized);
    told.ends(1000, a, 1000);
    none(&told.done(1000), &[]);
}

#[test]
fn a_link_that_is_waited_for_is_told() {
    let mut told = Told::new(1, 4, 4);
    let (a, b) = (told.begins(0, &what("a v1")), told.begins(0, &what("b v1")));
    told.at(4000, Event::LinkAsked { unit: a, forecast: Bytes::mib(1) });
    told.at(4000, Event::LinkAdmitted { unit: a, waited: Millis::ZERO });
    told.ends(9000, b, 9000).ends(10_000, a, 9000);
    let cause = only(&told.done(10_000), &[]);
    assert_eq!((cause.topic, cause.cost_ms), ("link", 6000));
    assert!(cause.what.contains("of a v1, took 6.00s (60% of the time)"), "{}", cause.what);
}

#[test]
fn a_build_in_which_everything_stood_still_thrashed() {
    let mut told = Told::new(1, 2, 2);
    let (a, b) = (told.begins(0, &what("a v1")), told.begins(0, &what("b v1")));
    for at in 0..8 {
        told.sample(at * 500, false, if at == 0 { 0 } else { 250 });
    }
    told.ends(4000, a, 3000).ends(4000, b, 3000);
    let cause = only(&told.done(4000), &[]);
    assert_eq!((cause.topic, cause.cost_ms), ("thrashing", 1750));
    assert!(cause.what.contains("50%"), "{}", cause.what);
}

#[test]
fn processors_that_somebody_else_used_are_told() {
    let mut told = Told::new(1, 2, 2);
    let (a, b) = (told.begins(0, &what("a v1")), told.begins(0, &what("b v1")));
    told.ends(10_000, a, 3000).ends(10_000, b, 2000);
    let cause = only(&told.done(10_000), &[]);
    assert_eq!((cause.topic, cause.cost_ms), ("others", 7500));
    assert!(cause.what.contains("20.00s of CPU time, and got 5.00s (25%)"), "{}", cause.what);
}

#[test]
fn a_machine_that_slept_did_not_wait_for_the_budget() {
    let mut told = Told::new(1, 2, 2);
    let (a, b) = (told.begins(0, &what("a v1")), told.begins(0, &what("b v1")));
    told.sample(100, false, 0).sample(3_600_000, true, 0);
    told.ends(3_600_100, a, 3_600_000).ends(3_600_100, b, 3_600_000);
    none(&told.done(3_600_100), &[]);
}
