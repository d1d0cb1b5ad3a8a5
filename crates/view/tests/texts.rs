//! Every text, whole, for one build in which all that can happen does: the expected ones are committed in
//! `expected/`. After an intended change, copy what the failing test prints.

use plimsoll_core::event::{BuildLiveState, Event, FORMAT, Header, Record};
use plimsoll_core::forecast::ForecastSource;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::BuildStanding;
use plimsoll_core::schedule::StopReason;
use plimsoll_core::unit::UnitKey;
use plimsoll_core::{BuildId, Bytes, Millis, UnitId};
use plimsoll_view::{
    BuildState, Outline, Tone, list, list_json, paused_line, report_text, status_line, top_json,
    waiting_line,
};

/// A quarter of an hour after the build began.
const NOW: u64 = 1_795_364_687_000 + 15 * 60 * 1000;

fn header() -> Header {
    Header {
        plimsoll_log: FORMAT,
        version: "0.1.0".to_owned(),
        build: BuildId::new(1_795_364_687_000, 4711),
        started_unix_ms: 1_795_364_687_000,
        command: "build".to_owned(),
        budget: Bytes::mib(1600),
        memory: "1600MiB".to_owned(),
        jobs: 8,
        processors: 8,
        target_was_empty: None,
        workspace: "/home/a/shop".to_owned(),
    }
}

fn at(seconds: u64, event: Event) -> Record {
    Record { t: Millis::seconds(seconds), event }
}

fn registered(seconds: u64, id: u32, title: &str, mib: u64, source: ForecastSource) -> Record {
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
            budget: Bytes::mib(1600),
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
        registered(0, 1, "cfg-if v1.0.4", 40, ForecastSource::History),
        admitted(0, 1, 1),
        registered(0, 2, "wasmtime v40.0.0", 900, ForecastSource::RelatedCrate),
        registered(1, 3, "cranelift-codegen v0.127.0", 1300, ForecastSource::Cold),
        finished(1, 1, true, 35, 1, 0),
        admitted(1, 2, 1),
        sample(2, 300, 950, &[(2, 250)]),
        admitted(5, 3, 1),
        sample(10, 900, 1550, &[(2, 400), (3, 450)]),
        registered(12, 4, "regex v1.12.2", 200, ForecastSource::History),
        registered(12, 5, "app v0.1.0 (bin)", 300, ForecastSource::Cold),
        registered(12, 6, "serde v1.0.228", 150, ForecastSource::History),
        registered(12, 7, "giant-sdk v1.0.0", 2400, ForecastSource::History),
        sample(20, 1400, 1590, &[(2, 640), (3, 710)]),
        at(
            24,
            Event::Suspended { unit: unit(2), cause: StopReason::Pressure, holds: Bytes::mib(812) },
        ),
        sample(25, 1560, 1600, &[(2, 812), (3, 700)]),
        at(
            30,
            Event::Killed {
                unit: unit(2),
                cause: StopReason::Pressure,
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
                budget: Bytes::mib(1600),
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

/// The summary as a log has it.
fn summary(state: &BuildState, header: &Header) -> String {
    let lines = plimsoll_view::summary(state, header);
    lines.iter().map(|line| format!("{line}\n")).collect()
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
        registered(0, 1, "serde v1.0.228", 100, ForecastSource::Cold),
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
    assert!(logged.contains("two (and 1 more note: cargo plimsoll report"), "{logged}");
    let text = summary(&state(&[said("one"), unlogged, said("two")]), &header());
    assert!(["one", "cannot write", "two"].iter().all(|it| text.contains(it)), "{text}");
    assert!(!text.contains("report"), "{text}");
}

#[test]
fn a_build_that_compiled_nothing_says_nothing_unless_it_must() {
    assert_eq!(summary(&state(&[sample(0, 30, 30, &[])]), &header()), "");
    let notice = at(0, Event::Notice { text: "RUSTC_WRAPPER is empty".to_owned() });
    let text = summary(&state(&[notice]), &header());
    assert!(text.ends_with("\n        Note RUSTC_WRAPPER is empty\n"), "{text}");
}

/// Found by `any_records.rs`, which keeps no seeds.
#[test]
fn the_summary_of_everything_has_eight_lines_also_where_an_oversized_unit_was_compiled_otherwise() {
    let changes = "codegen units 1 to 16".to_owned();
    let slimmed = at(110, Event::Slimmed { unit: UnitId(7), changes });
    let text = summary(&state(&[whole(), vec![slimmed]].concat()), &header());
    assert!(text.contains("Oversized giant-sdk"), "{text}");
    assert!(text.contains("Changed the output of giant-sdk (codegen units 1 to 16), because of `--oversized shrink-output`"), "{text}");
    assert_eq!(text.lines().count(), 8, "{text}");
}

#[test]
fn the_summary_says_what_was_paged_out_and_what_has_another_output() {
    let changes = "codegen units 1 to 16, no debug info".to_owned();
    let records = [
        registered(0, 1, "app v1.0.0", 100, ForecastSource::Cold),
        admitted(0, 1, 1),
        at(0, Event::Slimmed { unit: UnitId(1), changes }),
        at(
            1,
            Event::Suspended {
                unit: UnitId(1),
                cause: StopReason::Pressure,
                holds: Bytes::mib(90),
            },
        ),
        at(1, Event::PagedOut { unit: UnitId(1), holds: Bytes::mib(90) }),
        finished(5, 1, true, 110, 5, 0),
    ];
    let text = summary(&state(&records), &header());
    assert!(
        text.contains(
            "Paused 1 unit to stay within the budget: app; paged out 1 unit meanwhile: app"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "Changed the output of app (codegen units 1 to 16, no debug info), because of"
        ),
        "{text}"
    );
}

#[test]
fn the_summary_of_a_strict_build_that_refused_a_unit() {
    let records = [
        registered(0, 1, "giant-sdk v1.0.0", 2400, ForecastSource::History),
        at(
            0,
            Event::Refused {
                unit: UnitId(1),
                needs: Bytes::mib(2400),
                budget: Bytes::mib(1600),
                asked: true,
            },
        ),
    ];
    check(include_str!("expected/summary-refused.txt"), &summary(&state(&records), &header()));
}

#[test]
fn a_unit_that_was_killed_and_then_refused_was_not_restarted() {
    let (unit, needs, budget) = (UnitId(1), Bytes::mib(1700), Bytes::mib(1600));
    let killed = Event::Killed {
        unit,
        cause: StopReason::TooLarge,
        freed: needs,
        lost_cpu: Millis::seconds(5),
        link_only: false,
    };
    let records = [
        registered(0, 1, "giant-sdk v1.0.0", 900, ForecastSource::Cold),
        admitted(0, 1, 1),
        at(5, killed),
        at(5, Event::Refused { unit, needs, budget, asked: true }),
    ];
    let text = summary(&state(&records), &header());
    assert!(text.contains("Refused giant-sdk"), "{text}");
    assert!(!text.contains("Restarted"), "{text}");
}

/// The budget moves, and with it what is above it; and what no unit holds is not what a unit needs.
#[test]
fn the_summary_tells_a_unit_with_the_budget_that_it_was_above_and_names_what_belongs_to_no_unit() {
    let lone = |id, needs, budget| {
        let programs =
            vec![("sleep".to_owned(), Bytes::mib(300)), ("cargo".to_owned(), Bytes::mib(20))];
        let (unit, needs, budget) = (UnitId(id), Bytes::mib(needs), Bytes::mib(budget));
        Event::Lone { unit, needs, budget, rest: Bytes::mib(320), programs }
    };
    let records = [
        registered(0, 1, "serde_core v1.0.228", 100, ForecastSource::Cold),
        admitted(0, 1, 1),
        at(1, lone(1, 145, 120)),
        finished(5, 1, true, 145, 5, 0),
        registered(6, 2, "serde_derive v1.0.228", 100, ForecastSource::Cold),
        admitted(6, 2, 1),
        at(7, lone(2, 110, 420)),
        finished(9, 2, true, 132, 3, 0),
        at(10, Event::Budget { budget: Bytes::mib(1792) }),
    ];
    let text = summary(&state(&records), &header());
    let told = "   Oversized serde_core needs 145 MiB, more than the budget of 120 MiB (ran alone); serde_derive 132 MiB: \
                together with 320 MiB of the build's other processes (sleep 300 MiB, cargo 20 MiB), more than the budget of \
                420 MiB\n";
    assert!(text.contains(told), "{text}");
    let report = report_text(&header(), &records, NOW, false);
    let told = "serde_derive runs alone: it needs 110 MiB, the build's other processes hold 320 MiB (sleep 300 MiB, \
                cargo 20 MiB), and the memory budget is 420 MiB";
    assert!(report.contains(told), "{report}");
}

/// The row as it is on the screen.
fn row(state: &BuildState, columns: usize) -> String {
    let entry = status_line(state, columns);
    let column = plimsoll_view::word_column(columns);
    format!("{:>column$} {}", entry.word, entry.text)
}

#[test]
fn one_budget_while_it_runs() {
    let state = state(&under_way());
    let counts = "1.21 of 1.56 GiB: 1 running, 4 waiting, 1 paused";
    for (columns, budget) in [
        (200, format!("    Plimsoll [================>   ] {counts}; cranelift-codegen 1000 MiB")),
        (100, format!("    Plimsoll {counts}; cranelift-codegen 1000 MiB")),
        (80, format!("    Plimsoll {counts}; craneli… 1000 MiB")),
        (60, format!("Plimsoll {counts}")),
        (40, "Plimsoll 1.21 of 1.56 GiB: 1 running, 4…".to_owned()),
    ] {
        assert_eq!(row(&state, columns), budget, "{columns}");
    }
    assert_eq!(
        waiting_line(&state).to_string(),
        "    Plimsoll 1.21 of 1.56 GiB: 1 running, 4 waiting, 1 paused; longest cranelift-codegen, 45.00s, 1000 MiB"
    );
    assert_eq!(row(&BuildState::new(&header()), 80), "    Plimsoll 0.00 of 1.56 GiB");
}

#[test]
fn a_build_that_was_paused_in_top_says_so_in_its_own_terminal() {
    let mut records = under_way();
    let unit = UnitId(3);
    records.push(at(51, Event::BuildPaused { paused: true }));
    let holds = Bytes::mib(1000);
    records.push(at(51, Event::Suspended { unit, cause: StopReason::Paused, holds }));
    let paused = state(&records);
    let says = "from `cargo plimsoll top`; press p there to continue";
    assert_eq!(row(&paused, 80), format!("      Paused {says}"));
    assert_eq!(row(&paused, 60), format!("Paused {says}"));
    assert_eq!(status_line(&paused, 80).tone, Tone::Caution);
    assert_eq!(waiting_line(&paused), paused_line(true));
    records.push(at(59, Event::BuildPaused { paused: false }));
    records.push(at(59, Event::Resumed { unit }));
    let goes_on = state(&records);
    assert!(row(&goes_on, 80).starts_with("    Plimsoll 1.21 of 1.56 GiB"));
    let text = summary(&goes_on, &header());
    assert!(text.contains("Paused 1 unit to stay within the budget: wasmtime\n"), "{text}");
}

#[test]
fn a_build_that_was_canceled_blames_nobody() {
    let mut records = under_way();
    let done = |exit| {
        let (wall, peak) = (Millis::seconds(60), Bytes::mib(1560));
        at(60, Event::Done { exit, wall, peak, governor_cpu: Millis::ZERO })
    };
    records.extend([finished(60, 3, false, 1000, 55, 4), at(60, Event::Left { unit: UnitId(6) })]);
    let text = |exit| summary(&state(&[records.clone(), vec![done(exit)]].concat()), &header());
    assert!(text(130).starts_with(
        "    Plimsoll peak memory 1.52 of 1.56 GiB (97%), 5 units in 1m 00s, then canceled\n"
    ));
    assert!(!text(130).contains("Not built"), "{}", text(130));
    assert!(text(137).contains(", then killed by signal 9\n"), "{}", text(137));
    let failed = "   Not built serde: still waiting for memory when cranelift-codegen failed. Cargo says \
                  `could not compile`, but found no error in it\n";
    assert!(text(101).contains(failed), "{}", text(101));
}

#[test]
fn top_for_a_program() {
    let state = state(&under_way());
    let standing = BuildStanding { awaited: true, ..BuildStanding::default() };
    let now =
        BuildLiveState { elapsed: Millis::seconds(51), standing, machine_budget: Bytes::gib(4) };
    check(include_str!("expected/top.json").trim_end(), &top_json(&state, &header(), &now));
}

#[test]
fn the_report_of_a_whole_build() {
    check(include_str!("expected/report.txt"), &report_text(&header(), &whole(), NOW, false));
}

#[test]
fn the_report_of_a_log_that_breaks_off() {
    check(
        include_str!("expected/report-incomplete.txt"),
        &report_text(&header(), &under_way(), NOW, false),
    );
}

#[test]
fn the_report_of_an_empty_log() {
    let text = report_text(&header(), &[], NOW, false);
    assert!(text.contains("  Incomplete the log breaks off after 0.00s"), "{text}");
    let text = report_text(&header(), &[], NOW, true);
    assert!(text.contains("     Running for 0.00s"), "{text}");
}

/// `auto` follows what other programs leave: dozens of moves tell nothing, and where they went does.
#[test]
fn what_happens_again_and_again_is_one_line_of_the_report() {
    let unit = UnitId(1);
    let mut records =
        vec![registered(0, 1, "app v1.0.0", 100, ForecastSource::Cold), admitted(0, 1, 1)];
    for second in 1..40 {
        let budget = Bytes::mib(if second % 2 == 0 { 800 } else { 1200 });
        records.push(at(second, Event::Budget { budget }));
        records.push(at(
            second,
            Event::Suspended { unit, cause: StopReason::Pressure, holds: Bytes::mib(second) },
        ));
        records.push(at(second, Event::Resumed { unit }));
        records.push(at(second, Event::Notice { text: "swap is in use".to_owned() }));
    }
    for id in 2..9 {
        records.push(registered(40, id, "late v1.0.0", 100, ForecastSource::Cold));
        records.push(at(41, Event::Left { unit: UnitId(id) }));
    }
    let report = report_text(&header(), &records, NOW, false);
    let decisions = report.split("\nDecisions\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let expected = "   1.00s  the memory budget changed 39 times, as other programs took and freed memory: between 800 MiB \
                    and 1.56 GiB, 1.17 GiB at the end\n   1.00s  paused app at 1 MiB: memory was about to exceed the budget (39 \
                    times, last at 39.00s)\n   1.00s  swap is in use (39 times)\n  41.00s  7 units not started, because the \
                    build had failed: late, late (no. 2), late (no. 3), late (no. 4), late (no. 5) and 2 more";
    assert_eq!(decisions, expected);
    // What does not move by much says nothing.
    let calm = [1590, 1600, 1580].map(|mib| at(1, Event::Budget { budget: Bytes::mib(mib) }));
    let report = report_text(&header(), &calm, NOW, false);
    assert!(!report.contains("the memory budget changed"), "{report}");
}

#[test]
fn a_build_is_known_by_its_workspace_and_how_it_ended() {
    let done = |exit| {
        at(
            9,
            Event::Done {
                exit,
                wall: Millis::seconds(9),
                peak: Bytes::mib(90),
                governor_cpu: Millis::ZERO,
            },
        )
    };
    let other = Header { workspace: String::new(), ..header() };
    let builds = [
        Outline::new(&header(), &[done(0)], false),
        Outline::new(&header(), &[done(101)], false),
        Outline::new(&header(), &[done(130)], false),
        Outline::new(&header(), &[done(137)], false),
        Outline::new(&header(), &[sample(9, 90, 90, &[])], true),
        Outline::new(&other, &[sample(9, 90, 90, &[])], false),
    ];
    let table = list(&builds, NOW);
    let rows: Vec<&str> = table.lines().collect();
    assert_eq!(
        rows[..3],
        [
            "build               started         command  result       time    peak  workspace",
            "1795364687000-4711  15 minutes ago  build    finished    9.00s  90 MiB  /home/a/shop",
            "1795364687000-4711  15 minutes ago  build    failed      9.00s  90 MiB  /home/a/shop",
        ]
    );
    for (row, result) in
        rows[1..].iter().zip(["finished", "failed", "canceled", "killed", "running", "incomplete"])
    {
        assert!(row.contains(&format!("  {result}  ")), "{row}");
    }
    assert!(rows[6].ends_with("unknown"), "{}", rows[6]);
    let json = list_json(&builds);
    assert_eq!(json["plimsoll_builds"], 1);
    assert_eq!(json["builds"][0]["workspace"], "/home/a/shop");
    assert_eq!(json["builds"][5]["workspace"], serde_json::Value::Null);
    let json = Outline::new(&header(), &whole(), false).as_json();
    assert_eq!((&json["plimsoll_report"], &json["result"]), (&1.into(), &"failed".into()));
    assert_eq!(json["peak_bytes"], 1592 << 20);
    assert_eq!(json["units"]["failed"], 1);
    assert_eq!(json["heaviest"][0]["name"], "giant-sdk");
}
