//! Whatever is in a log, in whatever order: no text panics, counts add up, limits hold.

use plimsoll_core::event::{BuildLiveState, Event, FORMAT, Header, Record};
use plimsoll_core::forecast::ForecastSource;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::Shrink;
use plimsoll_core::schedule::StopReason;
use plimsoll_core::unit::UnitKey;
use plimsoll_core::{BuildId, Bytes, Millis, UnitId};
use plimsoll_view::{
    BuildState, Status, WORD, report_text, status_line, summary, top_json, waiting_line,
    word_column,
};
use proptest::prelude::*;
use unicode_width::UnicodeWidthStr as _;

fn unit() -> impl Strategy<Value = UnitId> + Clone {
    (0u32..6).prop_map(UnitId)
}

fn bytes() -> impl Strategy<Value = Bytes> + Clone {
    prop_oneof![Just(Bytes::ZERO), Just(Bytes::MAX), (0u64..4000).prop_map(Bytes::mib)]
}

fn millis() -> impl Strategy<Value = Millis> + Clone {
    prop_oneof![9 => (0u64..300_000).prop_map(Millis), 1 => Just(Millis(u64::MAX))]
}

fn shrink() -> impl Strategy<Value = Shrink> {
    proptest::sample::select(vec![Shrink::No, Shrink::SameOutput, Shrink::OtherOutput])
}

fn cause() -> impl Strategy<Value = StopReason> {
    proptest::sample::select(vec![
        StopReason::Pressure,
        StopReason::NoRoom,
        StopReason::TooLarge,
        StopReason::Ending,
        StopReason::Paused,
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let sample_units = proptest::collection::vec((unit(), bytes()), 0..5);
    prop_oneof![
        (
            unit(),
            "\\PC{0,30}|[a-z]{3} v1\\.0\\.0|\n\u{1b}\\[2J",
            bytes(),
            proptest::option::of(unit())
        )
            .prop_map(|(unit, title, forecast, inside)| Event::Registered {
                unit,
                title,
                kind: UnitKind::Lib,
                key: UnitKey(String::new()),
                forecast,
                source: ForecastSource::Cold,
                inside,
                cold: None,
                made: None,
            }),
        (unit(), any::<u32>(), shrink()).prop_map(|(unit, attempt, shrink)| Event::Admitted {
            unit,
            attempt,
            shrink
        }),
        (unit(), "\\PC{0,30}").prop_map(|(unit, changes)| Event::Slimmed { unit, changes }),
        (unit(), bytes()).prop_map(|(unit, holds)| Event::PagedOut { unit, holds }),
        unit().prop_map(|unit| Event::Announced { unit }),
        (unit(), bytes()).prop_map(|(unit, forecast)| Event::LinkAsked { unit, forecast }),
        (unit(), millis()).prop_map(|(unit, waited)| Event::LinkAdmitted { unit, waited }),
        (unit(), cause(), bytes()).prop_map(|(unit, cause, holds)| Event::Suspended {
            unit,
            cause,
            holds
        }),
        unit().prop_map(|unit| Event::Resumed { unit }),
        (unit(), cause(), bytes(), millis(), any::<bool>()).prop_map(
            |(unit, cause, freed, lost_cpu, link_only)| Event::Killed {
                unit,
                cause,
                freed,
                lost_cpu,
                link_only
            }
        ),
        (unit(), any::<i32>(), any::<bool>()).prop_map(|(unit, signal, link_only)| Event::Lost {
            unit,
            signal,
            link_only
        }),
        (unit(), bytes(), bytes(), bytes(), "\\PC{0,20}|a\nb").prop_map(
            |(unit, needs, budget, rest, name)| {
                Event::Lone { unit, needs, budget, rest, programs: vec![(name, rest)] }
            }
        ),
        (unit(), bytes(), bytes()).prop_map(|(unit, needs, budget)| Event::Refused {
            asked: true,
            unit,
            needs,
            budget
        }),
        (unit(), any::<bool>(), bytes(), millis()).prop_map(|(unit, ok, peak, time)| {
            Event::Finished { unit, ok, peak, cpu: time, wall: time, waited: time }
        }),
        unit().prop_map(|unit| Event::Left { unit }),
        (bytes(), bytes(), bytes(), sample_units).prop_map(|(used, budget, admitted, units)| {
            Event::Sample {
                used,
                budget,
                admitted,
                running: 1,
                waiting: 2,
                stopped: 3,
                short: false,
                stalled: Millis::ZERO,
                units,
            }
        }),
        bytes().prop_map(|budget| Event::Budget { budget }),
        any::<bool>().prop_map(|paused| Event::BuildPaused { paused }),
        "\\PC{0,20}|a\nb\n\nc".prop_map(|text| Event::Notice { text }),
        ("\\PC{0,20}|a\nb", any::<u32>(), bytes(), millis()).prop_map(
            |(name, stage, peak, wall)| Event::StageEnded { stage, of: stage, name, peak, wall }
        ),
        (any::<i32>(), millis(), bytes()).prop_map(|(exit, wall, peak)| Event::Done {
            exit,
            wall,
            peak,
            governor_cpu: wall
        }),
    ]
}

/// The number before these words, 0 where they are not said.
fn before(text: &str, words: &str) -> u64 {
    let said = text.split(words).next().filter(|said| said.len() < text.len());
    let number = said.and_then(|said| said.rsplit(|c: char| !c.is_ascii_digit()).next());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// The number of units after these words, 0 where they are not said.
fn after(text: &str, words: &str) -> u64 {
    let numbers = text.split(words).skip(1).filter_map(|rest| {
        let (number, rest) = rest.split_once(' ')?;
        rest.starts_with("unit").then(|| number.parse().ok())?
    });
    numbers.last().unwrap_or_default()
}

proptest! {
    #[test]
    fn any_records_make_consistent_texts(
        records in proptest::collection::vec((millis(), event()), 0..80),
        columns in 0usize..120,
        budget in bytes(),
    ) {
        let header = Header {
            plimsoll_log: FORMAT,
            version: "0.1.0".to_owned(),
            build: BuildId::new(1, 2),
            started_unix_ms: 1,
            command: "build".to_owned(),
            budget,
            memory: "auto".to_owned(),
            jobs: 2,
            processors: 2,
            target_was_empty: None,
            workspace: String::new(),
        };
        let records: Vec<Record> =
            records.into_iter().map(|(t, event)| Record { t, event }).collect();
        let mut state = BuildState::new(&header);
        for record in &records {
            state.apply(record);
            let counts = state.counts();
            let by = |wanted: &[Status]| {
                state.units().filter(|unit| wanted.contains(&unit.status)).count()
            };
            prop_assert_eq!(counts.running, by(&[Status::Running]));
            prop_assert_eq!(counts.waiting, by(&[Status::Waiting]));
            prop_assert_eq!(counts.paused, by(&[Status::LinkHeld, Status::Suspended]));
            let all = counts.running + counts.waiting + counts.paused + counts.ended;
            prop_assert_eq!(all, state.units().count());
            for unit in state.units() {
                prop_assert!(unit.memory <= unit.peak);
                prop_assert!(!unit.status.ended() || unit.memory == Bytes::ZERO);
            }
            prop_assert!(state.used() <= state.peak());
        }
        let lines = summary(&state, &header);
        for line in &lines {
            prop_assert!(line.word.width() <= WORD);
            let wrapped = line.wrapped(columns).join(" ");
            prop_assert!(wrapped.split_whitespace().eq(line.text.split_whitespace()));
        }
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        prop_assert!(text.lines().count() <= 9 + state.stages().len(), "{}", text);
        prop_assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        let status = status_line(&state, columns);
        let width = status.text.width();
        prop_assert!(width == 0 || word_column(columns).max(status.word.len()) + 1 + width <= columns);
        let said = waiting_line(&state).to_string();
        prop_assert_eq!(said.lines().count(), 1);
        let now = state.now();
        let json = top_json(&state, &header, &BuildLiveState { elapsed: now, ..BuildLiveState::default() });
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(value["running_units"].as_u64(), Some(state.counts().running as u64));
        prop_assert_eq!(
            value["units"].as_array().map(Vec::len),
            Some(state.units().count() - state.counts().ended)
        );
        let report = report_text(&header, &records, 9_000, false);
        // All say the same: units and their peaks, the time, what was stopped and killed and what that has cost.
        if let Some(first) = text.lines().next() {
            let units = if state.tally().ran == 1 { "unit" } else { "units" };
            let ran = format!("{} {units}", state.tally().ran);
            prop_assert!(report.contains(&format!("\n  {ran} ran: ")), "{}", report);
            prop_assert!(report.contains(&format!("peak memory {}", state.peak())), "{}", report);
            if state.tally().ran > 0 {
                prop_assert!(first.contains(&format!(", {ran} in {}", state.wall())), "{}", first);
                prop_assert!(first.starts_with("    Plimsoll peak memory "), "{}", first);
            } else {
                prop_assert!(first.starts_with("    Plimsoll ran nothing"), "{}", first);
            }
        }
        let totals = report.split("\nTotals\n").nth(1).unwrap_or_default();
        for (of_summary, of_report) in [
            ("Paused ", " paused"),
            ("paged out ", " of them paged out"),
            ("Restarted ", " killed and run again"),
        ] {
            let line = text.lines().find(|line| line.contains(of_summary)).unwrap_or_default();
            let is_for_memory = of_summary != "Restarted " || line.contains("within the budget");
            let one = if is_for_memory { after(line, of_summary) } else { 0 };
            let other = before(totals, of_report);
            prop_assert_eq!(one, other, "{}\n{}{}", of_summary, text, report);
        }
        prop_assert_eq!(value["peak_bytes"].as_u64(), Some(state.peak().0));
        for (word, key) in [
            ("running", "running_units"),
            ("waiting", "waiting_units"),
            ("paused", "paused_units"),
        ] {
            let number = before(said.split(';').next().unwrap(), &format!(" {word}"));
            prop_assert_eq!(Some(number).filter(|_| !state.is_paused()), value[key].as_u64().filter(|_| !state.is_paused()), "{}", said);
        }
        prop_assert!(report.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
