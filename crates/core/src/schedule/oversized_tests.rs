//! Units that are too large for their budget: what is tried, and in which order.

use super::*;
use crate::forecast::{Curve, ForecastSource};
use crate::oversized::Oversized;

const BUILD: BuildNo = BuildNo(1);

fn schedule(budget: u64, oversized: Oversized) -> Schedule {
    let mut schedule = Schedule::new(2, Bytes::mib(budget));
    let terms = BuildTerms { jobs: 2, oversized, ..BuildTerms::default() };
    assert!(schedule.handle(Millis::ZERO, Input::Open(BUILD, terms)).is_empty());
    schedule
}

fn compiler(peak: u64, source: ForecastSource, slims: bool) -> Box<NewUnit> {
    Box::new(NewUnit {
        slims,
        forecast: Forecast {
            curve: Curve::ramp(Bytes::mib(peak), Millis(60_000)),
            log_sd: 0.05,
            link_peak: Bytes::ZERO,
            critical_path: None,
            source,
        },
        retryable: true,
        links: false,
        inside: None,
        running: false,
        role: UnitRole::Compiler,
        build: BUILD,
        cargo: Some(1),
    })
}

/// One unit's part of a measurement, in MiB and milliseconds.
struct Seen(u32, u64, u64, u64);

fn sample(schedule: &mut Schedule, at: u64, seen: &[Seen]) -> Vec<Effect> {
    let units = seen.iter().map(|&Seen(id, memory, swapped, cpu)| UnitMeasurement {
        unit: UnitId(id),
        memory: Bytes::mib(memory),
        link_memory: Bytes::ZERO,
        swapped: Bytes::mib(swapped),
        cpu: Millis(cpu),
        issued: 0,
        unread: 0,
    });
    let units = units.collect();
    let rest = Bytes::mib(20);
    schedule.handle(Millis(at), Input::Sample { rest, builds: Vec::new(), cpu: Millis(at), units })
}

fn machine(schedule: &mut Schedule, budget: u64, machine: u64, swap: u64) {
    let [budget, machine, swap] = [budget, machine, swap].map(Bytes::mib);
    let moved = Input::Budget { budget, machine, swap, thrashes: false };
    let _ = schedule.handle(Millis(1), moved);
}

fn shrinks(effects: &[Effect]) -> Vec<Shrink> {
    let shrink = |effect: &Effect| match effect {
        Effect::Admit { shrink, .. } => Some(*shrink),
        _ => None,
    };
    effects.iter().filter_map(shrink).collect()
}

#[test]
fn an_oversized_unit_goes_as_far_as_a_person_has_agreed_to_and_it_can() {
    let first = |peak, oversized, slims| {
        let mut schedule = schedule(1000, oversized);
        let new = compiler(peak, ForecastSource::History, slims);
        shrinks(&schedule.handle(Millis(2), Input::Register(UnitId(1), new)))
    };
    assert_eq!(first(1200, Oversized::ShrinkOutput, true), [Shrink::OtherOutput]);
    assert_eq!(first(1200, Oversized::ShrinkOutput, false), [Shrink::SameOutput]);
    assert_eq!(first(1200, Oversized::Shrink, true), [Shrink::SameOutput]);
    assert_eq!(first(1200, Oversized::Run, true), [Shrink::No]);
    assert_eq!(first(600, Oversized::ShrinkOutput, true), [Shrink::No], "it fits as it is");
}

#[test]
fn one_that_crosses_the_budget_unforeseen_runs_again_with_other_settings_where_that_is_agreed_to() {
    let crossing = |oversized, announced| {
        let mut schedule = schedule(1000, oversized);
        let new = compiler(300, ForecastSource::Cold, true);
        let _ = schedule.handle(Millis(2), Input::Register(UnitId(1), new));
        if announced {
            let _ = schedule.handle(Millis(3), Input::Announced { unit: UnitId(1), repeats: true });
        }
        let first = sample(&mut schedule, 5_000, &[Seen(1, 1100, 0, 4_000)]);
        let then = sample(&mut schedule, 5_100, &[Seen(1, 0, 0, 0)]);
        let killed = first.contains(&Effect::Kill(UnitId(1), StopReason::TooLarge));
        let lone = first.iter().any(|effect| matches!(effect, Effect::Lone { .. }));
        assert_ne!(killed, lone);
        let again: Vec<Shrink> = shrinks(&first).into_iter().chain(shrinks(&then)).collect();
        if let [only] = again[..] {
            let last = sample(&mut schedule, 9_000, &[Seen(1, 1200, 0, 4_000)]);
            assert!(last.iter().any(|it| matches!(it, Effect::Lone { .. })), "{only}: {last:?}");
        }
        again
    };
    assert_eq!(crossing(Oversized::ShrinkOutput, false), [Shrink::OtherOutput]);
    assert_eq!(crossing(Oversized::ShrinkOutput, true), [], "dependents have read its metadata");
    assert_eq!(crossing(Oversized::Shrink, false), [], "it runs alone, above the budget");
}

#[test]
fn refuse_shrinks_first_where_that_may_be_enough() {
    let refused = |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Refuse { .. }));
    for (peak, shrunk) in [(1010, vec![Shrink::SameOutput]), (1200, vec![])] {
        let mut known = schedule(1000, Oversized::Refuse);
        let new = compiler(peak, ForecastSource::History, true);
        let effects = known.handle(Millis(2), Input::Register(UnitId(1), new));
        assert_eq!((shrinks(&effects), refused(&effects)), (shrunk.clone(), shrunk.is_empty()));
    }
    // One that crosses it unforeseen, though its record says less, is run once more and shrinks.
    let mut schedule = schedule(1000, Oversized::Refuse);
    let new = compiler(600, ForecastSource::History, false);
    assert_eq!(shrinks(&schedule.handle(Millis(2), Input::Register(UnitId(1), new))), [Shrink::No]);
    let first = sample(&mut schedule, 5_000, &[Seen(1, 1005, 0, 4_000)]);
    assert!(first.contains(&Effect::Kill(UnitId(1), StopReason::TooLarge)) && !refused(&first));
    let again = sample(&mut schedule, 5_100, &[Seen(1, 0, 0, 0)]);
    assert_eq!([shrinks(&first), shrinks(&again)].concat(), [Shrink::SameOutput]);
    let last = sample(&mut schedule, 9_000, &[Seen(1, 1005, 0, 4_000)]);
    assert!(refused(&last), "{last:?}");
}

/// make, and what it compiles; worker-build, and its tools.
#[test]
fn an_oversized_unit_below_a_command_is_told_as_one_that_is_alone() {
    let mut schedule = schedule(1000, Oversized::Shrink);
    let mut command = compiler(10, ForecastSource::Cold, false);
    (command.role, command.retryable, command.running) = (UnitRole::Command, false, true);
    let _ = schedule.handle(Millis(2), Input::Register(UnitId(1), command));
    let mut oversized = compiler(1200, ForecastSource::History, false);
    oversized.inside = Some(UnitId(1));
    let admitted = schedule.handle(Millis(3), Input::Register(UnitId(2), oversized));
    assert_eq!(shrinks(&admitted), [Shrink::SameOutput]);
    let seen = sample(&mut schedule, 5_000, &[Seen(1, 10, 0, 10), Seen(2, 1100, 0, 4_000)]);
    let lone = |it: &Effect| matches!(it, Effect::Lone { unit: UnitId(2), .. });
    assert!(seen.iter().any(lone), "{seen:?}");
}

#[test]
fn what_is_above_the_machine_is_refused_only_when_all_was_tried_that_can_be_enough() {
    let mut schedule = schedule(1000, Oversized::Shrink);
    machine(&mut schedule, 1000, 1500, 0);
    let new = compiler(300, ForecastSource::Cold, true);
    let _ = schedule.handle(Millis(2), Input::Register(UnitId(1), new));
    let announced = Input::Announced { unit: UnitId(1), repeats: true };
    let _ = schedule.handle(Millis(3), announced);
    let first = sample(&mut schedule, 5_000, &[Seen(1, 1500, 0, 4_000)]);
    assert!(first.contains(&Effect::Kill(UnitId(1), StopReason::TooLarge)), "{first:?}");
    let again = sample(&mut schedule, 5_100, &[Seen(1, 0, 0, 0)]);
    assert_eq!([shrinks(&first), shrinks(&again)].concat(), [Shrink::SameOutput]);
    let last = sample(&mut schedule, 9_000, &[Seen(1, 1600, 0, 4_000)]);
    let refused = |effect: &Effect| match effect {
        Effect::Refuse { needs, expected, .. } => expected >= needs,
        _ => false,
    };
    assert!(last.iter().any(refused), "{last:?}");

    let mut known = self::schedule(1000, Oversized::Shrink);
    machine(&mut known, 1000, 1500, 0);
    // It was forecast by another's run, and has shown by itself that it is far too large.
    let new = compiler(900, ForecastSource::RelatedCrate, true);
    let _ = known.handle(Millis(2), Input::Register(UnitId(1), new));
    let at_once = sample(&mut known, 5_000, &[Seen(1, 1600, 0, 4_000)]);
    assert!(at_once.iter().any(refused), "{at_once:?}");
}

/// A check that is still in its front end, at 1.5 GiB: one thread and an early allocator save nothing of what lies ahead.
#[test]
fn what_has_its_peak_ahead_is_not_run_a_second_time_up_to_the_same_height() {
    let twice = |source, links: bool| {
        let mut schedule = schedule(1000, Oversized::Shrink);
        machine(&mut schedule, 1000, 1500, 0);
        let mut new = compiler(900, source, false);
        new.links = links;
        let admitted = schedule.handle(Millis(2), Input::Register(UnitId(1), new));
        assert_eq!(shrinks(&admitted), [Shrink::No]);
        let effects = sample(&mut schedule, 40_000, &[Seen(1, 1500, 0, 40_000)]);
        let refused = effects.iter().any(|it| matches!(it, Effect::Refuse { .. }));
        assert!(effects.contains(&Effect::Kill(UnitId(1), StopReason::TooLarge)), "{effects:?}");
        !refused
    };
    assert!(!twice(ForecastSource::Cold, false) && !twice(ForecastSource::RelatedCrate, false));
    assert!(
        twice(ForecastSource::History, false),
        "it needed 900 MiB before, so 1,500 are no height of its own"
    );
    assert!(twice(ForecastSource::Cold, true), "it may be linking");
}

/// Two compilers of which the second has worked for so long, and memory that gets short.
fn short(swap: u64, worked: u64, oversized: Oversized) -> (Schedule, Vec<Effect>) {
    let mut schedule = schedule(1000, oversized);
    machine(&mut schedule, 1000, 4000, swap);
    for id in 1..=2 {
        let new = compiler(400, ForecastSource::Cold, false);
        let effects = schedule.handle(Millis(2), Input::Register(UnitId(id), new));
        assert_eq!(shrinks(&effects).len(), 1);
    }
    let _ = sample(&mut schedule, 60_000, &[Seen(1, 500, 0, 50_000), Seen(2, 400, 0, worked)]);
    let short = [Seen(1, 545, 0, 50_050), Seen(2, 404, 0, worked)];
    let effects = sample(&mut schedule, 60_050, &short);
    (schedule, effects)
}

fn killed(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Kill(..)))
}

fn paged_out(effects: &[Effect]) -> bool {
    effects.contains(&Effect::PageOut(UnitId(2)))
}

#[test]
fn long_work_is_paged_out_where_there_is_swap_and_goes_on_when_there_is_room() {
    let (mut schedule, effects) = short(2000, 50_000, Oversized::Shrink);
    assert!(paged_out(&effects) && !killed(&effects), "{effects:?}");
    let stopped = effects.iter().position(|it| matches!(it, Effect::Suspend(UnitId(2), _)));
    let paged = effects.iter().position(|it| *it == Effect::PageOut(UnitId(2)));
    assert!(stopped < paged, "{effects:?}");
    // On its way out it is neither killed nor paged out again, and what is out does not count.
    let seen = |first, out| [Seen(1, first, 0, 51_000), Seen(2, 404, out, 50_000)];
    for (at, first, out) in [(60_100, 560, 0), (60_300, 575, 150), (61_000, 575, 400)] {
        let effects = sample(&mut schedule, at, &seen(first, out));
        assert!(!killed(&effects) && !paged_out(&effects), "{at}: {effects:?}");
    }
    assert_eq!(schedule.used(), Bytes::mib(20 + 575 + 4));
    let effects = sample(&mut schedule, 62_000, &seen(900, 400));
    assert!(!killed(&effects), "{effects:?}");
    let end = schedule.handle(Millis(63_000), Input::Finished { unit: UnitId(1), ok: true });
    assert!(end.contains(&Effect::Resume(UnitId(2))), "{end:?}");
    assert_eq!(schedule.used(), Bytes::mib(20 + 404), "it comes back as it runs");
}

#[test]
fn what_is_cheaper_to_do_again_is_killed() {
    for (swap, worked, oversized) in [
        (0, 50_000, Oversized::Shrink),
        (300, 50_000, Oversized::Shrink),
        (2000, 200, Oversized::Shrink),
        (2000, 50_000, Oversized::Run),
    ] {
        let (_, effects) = short(swap, worked, oversized);
        assert!(
            killed(&effects) && !paged_out(&effects),
            "{swap} {worked} {oversized}: {effects:?}"
        );
    }
}

#[test]
fn what_does_not_leave_in_time_is_killed_after_all() {
    let (mut schedule, _) = short(2000, 50_000, Oversized::Shrink);
    let still = [Seen(1, 575, 0, 60_000), Seen(2, 404, 0, 50_000)];
    assert!(!killed(&sample(&mut schedule, 61_000, &still)));
    assert!(killed(&sample(&mut schedule, 75_000, &still)));
}
