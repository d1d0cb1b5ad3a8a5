//! Every text, whole, for one build in which all that can happen does: the expected ones are committed in
//! `expected/`. After an intended change, copy what the failing test prints.

use plimsoll_core::event::{Cause, Event, FORMAT, Header, Now, Record};
use plimsoll_core::forecast::Source;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::Standing;
use plimsoll_core::unit::UnitKey;
use plimsoll_core::{BuildId, Bytes, Millis, UnitId};
use plimsoll_view::{BuildState, report_text, status_line, summary, top_json, waiting_line};

fn header() -> Header {
    Header {
        plimsoll_log: FORMAT,
        version: "0.1.0".to_owned(),
        build: BuildId::new(1_795_364_687_000, 4711),
        started_unix_ms: 1_795_364_687_000,
        command: "build".to_owned(),
        line: Bytes::mib(1600),
        memory: "1600MiB".to_owned(),
        jobs: 8,
        processors: 8,
        target_was_empty: None,
    }
}

fn at(seconds: u64, event: Event) -> Record {
    Record { t: Millis::seconds(seconds), event }
}

fn registered(seconds: u64, id: u32, title: &str, mib: u64, source: Source) -> Record {
    at(
        seconds,
        Event::Registered {
            unit: UnitId(id),
            title: title.to_owned(),
            kind: if title.contains("bin") { UnitKind::Bin } else { UnitKind::Lib },
            key: UnitKey(format!("{id:016x}")),
            forecast: Bytes::mib(mib),
            source,
            inside: None,
            cold: None,
            made: None,
        },
    )
}

fn admitted(seconds: u64, id: u32, attempt: u32) -> Record {
    at(seconds, Event::Admitted { unit: UnitId(id), attempt, shrink: Shrink::No })
}

fn sample(seconds: u64, mib: u64, admitted: u64, units: &[(u32, u64)]) -> Record {
    at(
        seconds,
        Event::Sample {
            used: Bytes::mib(mib),
            line: Bytes::mib(1600),
            admitted: Bytes::mib(admitted),
            running: 0,
            waiting: 0,
            stopped: 0,
            short: false,
            stalled: Millis::ZERO,
            units: units.iter().map(|(id, mib)| (UnitId(*id), Bytes::mib(*mib))).collect(),
        },
    )
}

fn finished(seconds: u64, id: u32, ok: bool, mib: u64, wall: u64, waited: u64) -> Record {
    at(
        seconds,
        Event::Finished {
            unit: UnitId(id),
            ok,
            peak: Bytes::mib(mib),
            cpu: Millis(wall * 1300),
            wall: Millis::seconds(wall),
            waited: Millis::seconds(waited),
        },
    )
}

/// The first 60 seconds: everything is under way.
fn under_way() -> Vec<Record> {
    let unit = UnitId;
    vec![
        registered(0, 1, "cfg-if v1.0.4", 40, Source::History),
        admitted(0, 1, 1),
        registered(0, 2, "wasmtime v40.0.0", 900, Source::Elder),
        registered(1, 3, "cranelift-codegen v0.127.0", 1300, Source::Cold),
        finished(1, 1, true, 35, 1, 0),
        admitted(1, 2, 1),
        sample(2, 300, 950, &[(2, 250)]),
        admitted(5, 3, 1),
        sample(10, 900, 1550, &[(2, 400), (3, 450)]),
        registered(12, 4, "regex v1.12.2", 200, Source::History),
        registered(12, 5, "app v0.1.0 (bin)", 300, Source::Cold),
        registered(12, 6, "serde v1.0.228", 150, Source::History),
        registered(12, 7, "giant-sdk v1.0.0", 2400, Source::History),
        sample(20, 1400, 1590, &[(2, 640), (3, 710)]),
        at(24, Event::Suspended { unit: unit(2), cause: Cause::Pressure, holds: Bytes::mib(812) }),
        sample(25, 1560, 1600, &[(2, 812), (3, 700)]),
        at(
            30,
            Event::Killed {
                unit: unit(2),
                cause: Cause::Pressure,
                freed: Bytes::mib(812),
                lost_cpu: Millis(12_300),
                link_only: false,
            },
        ),
        sample(31, 760, 1500, &[(3, 710)]),
        admitted(32, 4, 1),
        admitted(33, 5, 1),
        sample(40, 1210, 1590, &[(3, 812), (4, 160), (5, 190)]),
        at(44, Event::Lost { unit: unit(4), signal: 9, link_only: false }),
        at(45, Event::LinkAsked { unit: unit(5), forecast: Bytes::mib(400) }),
        sample(50, 1240, 1590, &[(3, 1000), (5, 190)]),
    ]
}

/// The rest, to the end of a build that failed.
fn the_rest() -> Vec<Record> {
    let unit = UnitId;
    vec![
        at(61, Event::LinkAdmitted { unit: unit(5), waited: Millis::seconds(16) }),
        finished(63, 3, true, 1320, 58, 4),
        finished(66, 5, true, 420, 33, 21),
        sample(67, 90, 100, &[]),
        admitted(67, 4, 2),
        finished(70, 4, true, 180, 38, 20),
        admitted(70, 2, 2),
        sample(80, 700, 950, &[(2, 640)]),
        sample(100, 1010, 1000, &[(2, 954)]),
        finished(110, 2, true, 954, 109, 1),
        at(
            110,
            Event::Lone {
                unit: unit(7),
                needs: Bytes::mib(2400),
                line: Bytes::mib(1600),
                rest: Bytes::mib(40),
                programs: vec![("cargo".to_owned(), Bytes::mib(30))],
            },
        ),
        admitted(110, 7, 1),
        sample(120, 1500, 1600, &[(7, 1440)]),
        sample(130, 1590, 1600, &[(7, 1530)]),
        at(131, Event::Notice { text: "swap is in use:\nthe build may be slower".to_owned() }),
        finished(140, 7, false, 1540, 30, 98),
        at(140, Event::Left { unit: unit(6) }),
        at(
            141,
            Event::Done {
                exit: 101,
                wall: Millis(141_400),
                peak: Bytes::mib(1592),
                governor_cpu: Millis(840),
            },
        ),
    ]
}

fn whole() -> Vec<Record> {
    [under_way(), the_rest()].concat()
}

fn state(records: &[Record]) -> BuildState {
    let mut state = BuildState::new(&header());
    for record in records {
        state.apply(record);
    }
    state
}

#[track_caller]
fn check(expected: &str, actual: &str) {
    assert!(expected == actual, "expected:\n{expected}\nbut it is:\n{actual}");
}

#[test]
fn the_summary_of_a_build_with_everything() {
    check(include_str!("expected/summary.txt"), &summary(&state(&whole()), &header()));
}

#[test]
fn the_summary_of_a_calm_build() {
    let records = [
        registered(0, 1, "serde v1.0.228", 100, Source::Cold),
        admitted(0, 1, 1),
        sample(3, 120, 130, &[(1, 100)]),
        finished(5, 1, true, 110, 5, 0),
    ];
    check(include_str!("expected/summary-calm.txt"), &summary(&state(&records), &header()));
}

#[test]
fn where_no_log_is_kept_the_summary_says_everything_itself() {
    let said = |text: &str| at(0, Event::Notice { text: text.to_owned() });
    let unlogged = at(0, Event::Unlogged { text: "cannot write the event log".to_owned() });
    let logged = summary(&state(&[said("one"), said("two")]), &header());
    assert!(logged.contains("two (and 1 more notice: cargo plimsoll report"), "{logged}");
    let text = summary(&state(&[said("one"), unlogged, said("two")]), &header());
    assert!(["one", "cannot write", "two"].iter().all(|it| text.contains(it)), "{text}");
    assert!(!text.contains("report"), "{text}");
}

#[test]
fn a_build_that_compiled_nothing_says_nothing_unless_it_must() {
    assert_eq!(summary(&state(&[sample(0, 30, 30, &[])]), &header()), "");
    let notice = at(0, Event::Notice { text: "RUSTC_WRAPPER is empty".to_owned() });
    let text = summary(&state(&[notice]), &header());
    assert!(text.ends_with("\n  RUSTC_WRAPPER is empty\n"), "{text}");
}

/// Found by `any_records.rs`, which keeps no seeds.
#[test]
fn the_summary_of_everything_has_six_lines_also_where_a_giant_was_compiled_otherwise() {
    let changes = "codegen units 1 to 16".to_owned();
    let slimmed = at(110, Event::Slimmed { unit: UnitId(7), changes });
    let text = summary(&state(&[whole(), vec![slimmed]].concat()), &header());
    assert!(text.contains("by itself: giant-sdk"), "{text}");
    assert!(
        text.contains("by --oversized shrink-output: giant-sdk (codegen units 1 to 16)"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 6, "{text}");
}

#[test]
fn the_summary_says_what_was_paged_out_and_what_has_another_output() {
    let changes = "codegen units 1 to 16, no debug info".to_owned();
    let records = [
        registered(0, 1, "app v1.0.0", 100, Source::Cold),
        admitted(0, 1, 1),
        at(0, Event::Slimmed { unit: UnitId(1), changes }),
        at(1, Event::Suspended { unit: UnitId(1), cause: Cause::Pressure, holds: Bytes::mib(90) }),
        at(1, Event::PagedOut { unit: UnitId(1), holds: Bytes::mib(90) }),
        finished(5, 1, true, 110, 5, 0),
    ];
    let text = summary(&state(&records), &header());
    assert!(
        text.contains("suspended 1 unit near the line (app); paged out 1 unit meanwhile (app)"),
        "{text}"
    );
    assert!(
        text.contains("by --oversized shrink-output: app (codegen units 1 to 16, no debug info)"),
        "{text}"
    );
}

#[test]
fn the_summary_of_a_strict_build_that_refused_a_unit() {
    let records = [
        registered(0, 1, "giant-sdk v1.0.0", 2400, Source::History),
        at(0, Event::Refused { unit: UnitId(1), needs: Bytes::mib(2400), line: Bytes::mib(1600) }),
    ];
    check(include_str!("expected/summary-refused.txt"), &summary(&state(&records), &header()));
}

/// The line moves, and with it what is above it; and what no unit holds is not what a unit needs.
#[test]
fn the_summary_tells_a_unit_with_the_line_that_it_was_above_and_names_what_belongs_to_no_unit() {
    let lone = |id, needs, line| {
        let programs =
            vec![("sleep".to_owned(), Bytes::mib(300)), ("cargo".to_owned(), Bytes::mib(20))];
        let (unit, needs, line) = (UnitId(id), Bytes::mib(needs), Bytes::mib(line));
        Event::Lone { unit, needs, line, rest: Bytes::mib(320), programs }
    };
    let records = [
        registered(0, 1, "serde_core v1.0.228", 100, Source::Cold),
        admitted(0, 1, 1),
        at(1, lone(1, 145, 120)),
        finished(5, 1, true, 145, 5, 0),
        registered(6, 2, "serde_derive v1.0.228", 100, Source::Cold),
        admitted(6, 2, 1),
        at(7, lone(2, 110, 420)),
        finished(9, 2, true, 132, 3, 0),
        at(10, Event::Line { line: Bytes::mib(1792) }),
    ];
    let text = summary(&state(&records), &header());
    let told = "  more than the line of 120 MiB by itself: serde_core needs 145 MiB (ran alone); above the line of \
                420 MiB with 320 MiB that belong to no unit (sleep 300 MiB, cargo 20 MiB): serde_derive 132 MiB\n";
    assert!(text.contains(told), "{text}");
    let report = report_text(&header(), &records);
    let told = "serde_derive v1.0.228 runs alone: it needs 110 MiB, and 320 MiB belong to no unit (sleep 300 MiB, \
                cargo 20 MiB); the line is 420 MiB";
    assert!(report.contains(told), "{report}");
}

#[test]
fn one_line_while_it_runs() {
    let state = state(&under_way());
    let line = "plimsoll 1.21/1.56 GiB  1 running 4 waiting 1 stopped  cranelift-codegen 1000 MiB";
    assert_eq!(status_line(&state, 100), line);
    assert_eq!(status_line(&state, 40), "plimsoll 1.21/1.56 GiB  1 running 4 wai…");
    assert_eq!(status_line(&state, 0), "");
    assert_eq!(
        waiting_line(&state),
        "plimsoll: 1.21 of 1.56 GiB, 1 running, 4 waiting, 1 stopped; longest: cranelift-codegen, \
         45.0 s, 1000 MiB"
    );
    assert_eq!(status_line(&BuildState::new(&header()), 80), "plimsoll 0.00/1.56 GiB");
}

#[test]
fn top_for_a_program() {
    let state = state(&under_way());
    let standing = Standing { awaited: true, ..Standing::default() };
    let now = Now { elapsed: Millis::seconds(51), standing, machine_line: Bytes::gib(4) };
    check(include_str!("expected/top.json").trim_end(), &top_json(&state, &header(), &now));
}

#[test]
fn the_report_of_a_whole_build() {
    check(include_str!("expected/report.txt"), &report_text(&header(), &whole()));
}

#[test]
fn the_report_of_a_log_that_breaks_off() {
    check(include_str!("expected/report-incomplete.txt"), &report_text(&header(), &under_way()));
}

#[test]
fn the_report_of_an_empty_log() {
    let text = report_text(&header(), &[]);
    assert!(text.contains("This log is incomplete: it breaks off at 0 ms."), "{text}");
}
