//! Several builds under one line, case by case.

use super::*;
use crate::forecast::{Curve, ForecastSource};

const BUDGET: u64 = 1000;

fn unit(build: u32, peak: u64, cpu: u64) -> Box<NewUnit> {
    Box::new(NewUnit {
        slims: false,
        build: BuildNo(build),
        forecast: Forecast {
            curve: Curve::ramp(Bytes::mib(peak), Millis(cpu)),
            log_sd: 0.05,
            link_peak: Bytes::ZERO,
            critical_path: None,
            source: ForecastSource::History,
        },
        retryable: true,
        links: false,
        inside: None,
        running: false,
        role: UnitRole::Compiler,
        cargo: Some(build),
    })
}

/// A schedule on two processors, with these builds.
fn schedule(builds: &[BuildTerms]) -> Schedule {
    let mut schedule = Schedule::new(2, Bytes::mib(BUDGET));
    for (number, terms) in builds.iter().enumerate() {
        let open = Input::Open(BuildNo(number as u32 + 1), *terms);
        assert!(schedule.handle(Millis::ZERO, open).is_empty());
    }
    schedule
}

fn background() -> BuildTerms {
    BuildTerms::default()
}

fn awaited() -> BuildTerms {
    BuildTerms { interactive: true, ..BuildTerms::default() }
}

fn admitted(effects: &[Effect]) -> Vec<u32> {
    effects
        .iter()
        .filter_map(|e| if let Effect::Admit { unit, .. } = e { Some(unit.0) } else { None })
        .collect()
}

fn register(schedule: &mut Schedule, at: u64, id: u32, new: Box<NewUnit>) -> Vec<u32> {
    admitted(&schedule.handle(Millis(at), Input::Register(UnitId(id), new)))
}

fn finish(schedule: &mut Schedule, at: u64, id: u32) -> Vec<u32> {
    admitted(&schedule.handle(Millis(at), Input::Finished { unit: UnitId(id), ok: true }))
}

#[test]
fn what_a_person_waits_for_goes_first_and_does_not_wait_for_a_processor() {
    let mut schedule = schedule(&[background(), awaited()]);
    for id in 1..=6 {
        let started = register(&mut schedule, 0, id, unit(1, 20, 30_000));
        assert_eq!(started.len(), usize::from(id <= 2), "two processors");
    }
    assert_eq!(register(&mut schedule, 5, 7, unit(2, 20, 1000)), [7]);
    assert_eq!(register(&mut schedule, 5, 8, unit(2, 20, 1000)), [8]);
    assert_eq!(register(&mut schedule, 6, 9, unit(2, 20, 1000)), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 900, 7), [9]);
    // Four use the processors now: nobody else gets one before there are fewer than two.
    assert_eq!(finish(&mut schedule, 950, 8), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 960, 9), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 999, 1), [3]);
}

#[test]
fn equals_take_turns_by_what_they_were_given_and_a_newcomer_has_nothing_saved_up() {
    let mut schedule = schedule(&[background(), background()]);
    for id in 1..=8 {
        register(&mut schedule, 0, id, unit(1, 20, 1000));
    }
    let mut order = Vec::new();
    let mut running = vec![1, 2];
    for at in 1..4 {
        order.extend(finish(&mut schedule, at * 1000, running.remove(0)));
        running.extend(order.last());
    }
    assert_eq!(order, [3, 4, 5]);
    for id in 21..=24 {
        assert!(register(&mut schedule, 4000, id, unit(2, 20, 1000)).is_empty());
    }
    let mut order = Vec::new();
    for at in 5..11 {
        order.extend(finish(&mut schedule, at * 1000, running.remove(0)));
        running.extend(order.last());
    }
    // It begins where the other is, and from then on they take turns.
    assert_eq!(order, [6, 21, 7, 22, 8, 23]);
}

#[test]
fn a_share_is_as_large_as_its_priority() {
    let high = BuildTerms { priority: Priority::High, ..BuildTerms::default() };
    let mut schedule = schedule(&[background(), high]);
    // Both wait behind one that must be alone.
    register(&mut schedule, 0, 1, unit(1, 5000, 1000));
    for id in 2..=20 {
        register(&mut schedule, 0, id, unit(1 + id % 2, 20, 1000));
    }
    let mut running = finish(&mut schedule, 1000, 1);
    let mut of_high = running.iter().filter(|id| **id % 2 == 1).count();
    for at in 2..10 {
        let ended = running.remove(0);
        let next = finish(&mut schedule, at * 1000, ended);
        of_high += next.iter().filter(|id| **id % 2 == 1).count();
        running.extend(next);
    }
    assert_eq!(of_high, 8, "four of five");
}

#[test]
fn a_build_in_which_nothing_runs_for_long_gets_its_turn_before_those_that_are_awaited() {
    let mut schedule = schedule(&[background(), awaited()]);
    for id in 101..=200 {
        register(&mut schedule, 0, id, unit(2, 400, 1000));
    }
    assert!(register(&mut schedule, 0, 50, unit(1, 400, 1000)).is_empty());
    let mut running = vec![101, 102];
    for at in 1..80 {
        let next = finish(&mut schedule, at * 500, running.remove(0));
        if next.contains(&50) {
            assert!((30_000..32_000).contains(&(at * 500)), "at {at}");
            return;
        }
        running.extend(next);
    }
    panic!("the background build never got its turn");
}

#[test]
fn whoever_holds_a_lock_that_a_person_waits_for_is_lifted() {
    let mut schedule = schedule(&[background(), background(), awaited()]);
    let lift = |on| Input::LockAwaited(BuildNo(2), on);
    let _ = schedule.handle(Millis(0), lift(true));
    for id in 1..=4 {
        register(&mut schedule, 0, id, unit(1, 20, 1000));
    }
    assert_eq!(register(&mut schedule, 0, 5, unit(2, 20, 1000)), [5]);
    let _ = schedule.handle(Millis(1), lift(false));
    assert!(register(&mut schedule, 1, 6, unit(2, 20, 1000)).is_empty());
}

#[test]
fn two_oversized_units_are_never_together_and_small_ones_run_beside_the_first() {
    let mut schedule = schedule(&[background(), background(), background()]);
    assert_eq!(register(&mut schedule, 0, 1, unit(1, 700, 30_000)), [1]);
    assert_eq!(register(&mut schedule, 0, 2, unit(2, 700, 30_000)), [] as [u32; 0]);
    assert_eq!(register(&mut schedule, 0, 3, unit(3, 40, 500)), [3]);
    assert_eq!(finish(&mut schedule, 500, 3), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 30_000, 1), [2]);
}

#[test]
fn a_line_of_its_own_bounds_a_build_and_nobody_else() {
    let own = BuildTerms { budget: Some(Bytes::mib(300)), ..BuildTerms::default() };
    let mut schedule = schedule(&[own, background()]);
    assert_eq!(register(&mut schedule, 0, 1, unit(1, 200, 1000)), [1]);
    assert_eq!(register(&mut schedule, 0, 2, unit(1, 200, 1000)), [] as [u32; 0]);
    assert_eq!(register(&mut schedule, 0, 3, unit(2, 200, 1000)), [3]);
    assert_eq!(schedule.budget_of(BuildNo(1)), Bytes::mib(300));
    assert_eq!(schedule.budget_of(BuildNo(2)), Bytes::mib(BUDGET));
    assert_eq!(finish(&mut schedule, 900, 1), [2]);
    // What is above that budget by itself runs where nothing else of its build does.
    assert_eq!(register(&mut schedule, 900, 4, unit(1, 400, 1000)), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 1000, 2), [4]);
}

#[test]
fn a_hard_limit_bounds_those_inside_together_and_nobody_else() {
    let mut schedule = schedule(&[background(), background(), background()]);
    let builds = [BuildNo(1), BuildNo(2)].into();
    let cgroup = CgroupBudget {
        budget: Bytes::mib(300),
        capacity: Bytes::mib(350),
        swap: Bytes::ZERO,
        builds,
    };
    assert!(
        schedule.handle(Millis(0), Input::CgroupBudgets([(CgroupNo(7), cgroup)].into())).is_empty()
    );
    assert_eq!(register(&mut schedule, 0, 1, unit(1, 200, 1000)), [1]);
    assert_eq!(register(&mut schedule, 0, 2, unit(2, 200, 1000)), [] as [u32; 0]);
    assert_eq!(register(&mut schedule, 0, 3, unit(3, 200, 1000)), [3]);
    let budget_of = |no| schedule.budget_of(BuildNo(no));
    assert_eq!([1, 2, 3].map(budget_of), [300, 300, BUDGET].map(Bytes::mib));
    assert_eq!(finish(&mut schedule, 900, 1), [2]);
    // What is above that budget by itself runs where nothing else in there does.
    assert_eq!(register(&mut schedule, 900, 4, unit(1, 400, 1000)), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 1000, 2), [4]);
    // And is refused where even the cgroup limit has no more, whatever the machine has.
    let measured = UnitMeasurement {
        unit: UnitId(4),
        memory: Bytes::mib(360),
        link_memory: Bytes::ZERO,
        swapped: Bytes::ZERO,
        cpu: Millis(500),
        issued: 0,
        unread: 0,
    };
    let (rest, builds, cpu) = (Bytes::ZERO, Vec::new(), Millis(2000));
    let units = vec![measured];
    let effects = schedule.handle(Millis(1500), Input::Sample { rest, builds, cpu, units });
    let refused = |effect: &Effect| matches!(effect, Effect::Refuse { unit: UnitId(4), .. });
    assert!(effects.iter().any(refused), "{effects:?}");
}

#[test]
fn a_paused_build_stands_still_and_the_others_go_on() {
    let mut schedule = schedule(&[background(), background()]);
    register(&mut schedule, 0, 1, unit(1, 20, 1000));
    register(&mut schedule, 0, 2, unit(2, 20, 1000));
    register(&mut schedule, 0, 3, unit(1, 20, 1000));
    let effects = schedule.handle(Millis(10), Input::Pause(BuildNo(1), true));
    assert!(effects.contains(&Effect::Suspend(UnitId(1), StopReason::Paused)), "{effects:?}");
    assert!(!admitted(&effects).contains(&3));
    assert_eq!(register(&mut schedule, 20, 4, unit(2, 20, 1000)), [4]);
    assert_eq!(finish(&mut schedule, 400, 2), [] as [u32; 0]);
    assert_eq!(finish(&mut schedule, 500, 4), [] as [u32; 0]);
    let effects = schedule.handle(Millis(900), Input::Pause(BuildNo(1), false));
    assert!(effects.contains(&Effect::Resume(UnitId(1))), "{effects:?}");
    assert_eq!(admitted(&effects), [3]);
}

/// Neither what runs alone in it nor a link of it that waits holds others up.
#[test]
fn what_is_paused_is_nothing_that_another_build_waits_for() {
    let mut schedule = schedule(&[background(), background()]);
    assert_eq!(register(&mut schedule, 0, 1, unit(1, 20, 1000)), [1]);
    let lost = Input::Lost { unit: UnitId(1), link: false, again: RestartMode::Alone };
    assert_eq!(admitted(&schedule.handle(Millis(5), lost)), [1]);
    assert_eq!(register(&mut schedule, 10, 2, unit(2, 20, 1000)), [] as [u32; 0], "alone");
    let effects = schedule.handle(Millis(15), Input::Pause(BuildNo(1), true));
    assert_eq!(admitted(&effects), [2]);
    let effects = schedule.handle(Millis(20), Input::Pause(BuildNo(1), false));
    assert!(effects.contains(&Effect::Resume(UnitId(1))), "{effects:?}");
}

/// A terminal has stopped it: nobody here sends it a signal for that.
#[test]
fn a_build_that_stands_still_by_itself_holds_nobody_up_and_is_left_alone() {
    let mut schedule = schedule(&[background(), background()]);
    assert_eq!(register(&mut schedule, 0, 1, unit(1, 900, 1000)), [1]);
    assert_eq!(register(&mut schedule, 10, 2, unit(2, 900, 1000)), [] as [u32; 0]);
    let effects = schedule.handle(Millis(15), Input::RootStopped(BuildNo(1), true));
    assert_eq!(admitted(&effects), [2]);
    let signal =
        |it: &Effect| matches!(it, Effect::Suspend(..) | Effect::Resume(_) | Effect::Kill(..));
    assert!(!effects.iter().any(signal), "{effects:?}");
    assert_eq!(finish(&mut schedule, 400, 2), [] as [u32; 0]);
    assert_eq!(register(&mut schedule, 410, 3, unit(1, 20, 1000)), [] as [u32; 0]);
    let effects = schedule.handle(Millis(900), Input::RootStopped(BuildNo(1), false));
    assert_eq!(admitted(&effects), [3]);
}

#[test]
fn a_failure_is_that_of_its_own_build() {
    let mut schedule = schedule(&[background(), background()]);
    for id in 1..=6 {
        register(&mut schedule, 0, id, unit(1 + id % 2, 20, 1000));
    }
    let effects = schedule.handle(Millis(9), Input::Finished { unit: UnitId(1), ok: false });
    let left = |id| effects.contains(&Effect::Leave(UnitId(id)));
    assert!(left(3) && left(5) && !left(4) && !left(6), "{effects:?}");
}

#[test]
fn tests_start_as_they_fit_and_what_they_compile_never_waits_for_them() {
    let mut schedule = schedule(&[background()]);
    let test = |peak| {
        let mut new = unit(1, peak, 5000);
        (new.role, new.retryable) = (UnitRole::Test, false);
        new
    };
    assert_eq!(register(&mut schedule, 0, 1, test(600)), [1]);
    assert_eq!(register(&mut schedule, 0, 2, test(600)), [] as [u32; 0]);
    // They take no processor: as many run as their own runner starts and as fit.
    for id in 3..=6 {
        assert_eq!(register(&mut schedule, 0, id, test(20)), [id]);
    }
    // What a test compiles does not fit beside it, and runs: the test waits for it.
    let mut compiler = unit(1, 700, 1000);
    compiler.inside = Some(UnitId(1));
    assert_eq!(register(&mut schedule, 1, 7, compiler), [7]);
    assert_eq!(finish(&mut schedule, 900, 7), [] as [u32; 0]);
    // A test that fails is no reason to compile less.
    let effects = schedule.handle(Millis(950), Input::Finished { unit: UnitId(1), ok: false });
    assert_eq!(admitted(&effects), [2]);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Leave(_))), "{effects:?}");
}

/// worker-build, and a make that runs Cargo: with `-j2` two compilers run below it.
#[test]
fn a_command_that_waits_for_what_it_hosts_takes_no_processor() {
    let mut schedule = schedule(&[background()]);
    let mut command = unit(1, 10, 50_000);
    (command.role, command.retryable, command.running) = (UnitRole::Command, false, true);
    let _ = register(&mut schedule, 0, 1, command);
    let compiler = || {
        let mut compiler = unit(1, 100, 50_000);
        compiler.inside = Some(UnitId(1));
        compiler
    };
    assert_eq!(register(&mut schedule, 1, 2, compiler()), [2]);
    assert_eq!(register(&mut schedule, 2, 3, compiler()), [3]);
    assert_eq!(register(&mut schedule, 3, 4, compiler()), [] as [u32; 0]);
}

#[test]
fn a_test_is_never_stopped_and_a_command_only_where_nothing_runs_below_it() {
    let stopped = |role, below| {
        let mut schedule = schedule(&[background()]);
        let mut new = unit(1, 300, 50_000);
        (new.role, new.retryable, new.running) = (role, false, role == UnitRole::Command);
        let _ = register(&mut schedule, 0, 1, unit(1, 300, 50_000));
        let _ = register(&mut schedule, 0, 2, new);
        let mut compiler = unit(1, 20, 50_000);
        compiler.inside = below;
        let _ = register(&mut schedule, 0, 3, compiler);
        let mut suspended = Vec::new();
        for (at, mib) in [(300, 200), (400, 300), (500, 400)] {
            let measured = |id, mib| UnitMeasurement {
                unit: UnitId(id),
                memory: Bytes::mib(mib),
                link_memory: Bytes::ZERO,
                swapped: Bytes::ZERO,
                cpu: Millis(at),
                issued: 0,
                unread: 0,
            };
            let units = vec![measured(1, mib), measured(2, mib + 150)];
            let (rest, cpu) = (Bytes::mib(20), Millis(at * 2));
            let sample = Input::Sample { rest, builds: Vec::new(), cpu, units };
            suspended.extend(schedule.handle(Millis(at), sample).iter().filter_map(
                |it| match it {
                    Effect::Suspend(unit, _) => Some(unit.0),
                    _ => None,
                },
            ));
        }
        suspended.contains(&2)
    };
    assert!(!stopped(UnitRole::Test, None));
    assert!(stopped(UnitRole::Command, None));
    assert!(!stopped(UnitRole::Command, Some(UnitId(2))));
}

#[test]
fn the_shortest_build_goes_first_but_not_for_ever() {
    let mut schedule = schedule(&[background(), background()]);
    let path = |build, critical_path, cpu| {
        let mut new = unit(build, 20, cpu);
        new.forecast.critical_path = Some(Millis(critical_path));
        new
    };
    for id in 1..=6 {
        register(&mut schedule, 0, id, path(1, 90_000, 5000));
    }
    // It does not wait for the processors that the other has: the kernel shares them out.
    let mut running = vec![1, 2];
    for id in 11..=30 {
        running.extend(register(&mut schedule, 0, id, path(2, 8000, 5000)));
    }
    assert_eq!(running, [1, 2, 11, 12]);
    let mut order = Vec::new();
    for at in 1..20 {
        let next = finish(&mut schedule, at * 1500, running.remove(0));
        running.extend(&next);
        order.extend(next);
    }
    // Ten seconds were the other's; then this one's, up to a minute more; ten of these have begun.
    let first = order.iter().take_while(|id| **id > 10).count();
    assert!((10..=12).contains(&first), "{order:?}");
    assert!(order[first..].contains(&3), "{order:?}");
}

#[test]
fn a_way_that_turns_out_to_be_short_counts_as_that() {
    let mut schedule = schedule(&[background(), background()]);
    let path = |build, critical_path| {
        let mut new = unit(build, 20, 5000);
        new.forecast.critical_path = Some(Millis(critical_path));
        new
    };
    for id in 1..=3 {
        register(&mut schedule, 0, id, path(1, 30_000));
    }
    // What was remembered of it was of another build.
    assert_eq!(register(&mut schedule, 0, 11, path(2, 100_000)), [] as [u32; 0]);
    let known = schedule.handle(Millis(100), Input::CriticalPath(UnitId(11), Millis(3000)));
    assert_eq!(admitted(&known), [] as [u32; 0]);
    let planned = schedule.handle(Millis(100), Input::GraphKnown(BuildNo(2)));
    assert_eq!(admitted(&planned), [11]);
}

#[test]
fn two_builds_of_one_length_do_not_overtake_each_other_in_turns() {
    let mut schedule = schedule(&[background(), background()]);
    // Both come nearer to their ends with every unit; each has one more that waits than processors are free.
    let path = |build, critical_path| {
        let mut new = unit(build, 20, 1000);
        new.forecast.critical_path = Some(Millis(critical_path));
        new
    };
    let mut running = Vec::new();
    for id in 0..8 {
        for (build, id) in [(1, id), (2, id + 10)] {
            let critical_path = 8000 - u64::from(id % 10) * 1000;
            running.extend(register(&mut schedule, 0, id + 1, path(build, critical_path)));
        }
    }
    // The first of both, and a second of the one that goes ahead.
    assert_eq!(running, [1, 11, 2]);
    let mut order = Vec::new();
    for at in 1..14 {
        let next = finish(&mut schedule, at * 1000, running.remove(0));
        running.extend(&next);
        order.extend(next);
    }
    let first = order.iter().position(|id| *id < 10).is_some_and(|at| at == 0);
    let of_first = order.iter().take_while(|id| (**id < 10) == first).count();
    assert_eq!(of_first, 6, "{order:?}");
}

/// A measurement of these units (number, MiB), each on a processor of its own since the start.
fn sample(schedule: &mut Schedule, at: u64, units: &[(u32, u64)]) -> Vec<Effect> {
    let measured = |(id, mib): &(u32, u64)| UnitMeasurement {
        unit: UnitId(*id),
        memory: Bytes::mib(*mib),
        link_memory: Bytes::ZERO,
        swapped: Bytes::ZERO,
        cpu: Millis(at),
        issued: 0,
        unread: 0,
    };
    let units = units.iter().map(measured).collect();
    let (rest, cpu) = (Bytes::mib(20), Millis(at * 2));
    schedule.handle(Millis(at), Input::Sample { rest, builds: Vec::new(), cpu, units })
}

#[test]
fn what_a_person_waits_for_starts_beside_an_oversized_unit_and_the_oversized_unit_stands_still_for_it()
 {
    let stops =
        |effects: &[Effect]| effects.iter().any(|it| matches!(it, Effect::Suspend(UnitId(1), _)));
    let goes_on = |effects: &[Effect]| effects.contains(&Effect::Resume(UnitId(1)));
    for lasts in [3000, 60_000] {
        let mut schedule = schedule(&[background(), background(), awaited()]);
        register(&mut schedule, 0, 1, unit(1, 1100, 30_000));
        sample(&mut schedule, 500, &[(1, 700)]);
        assert!(register(&mut schedule, 500, 2, unit(2, 20, lasts)).is_empty(), "nobody waits");
        assert_eq!(register(&mut schedule, 500, 3, unit(3, 20, lasts)), [3]);
        // The oversized unit grows; what is awaited does, too, and goes on.
        let mut effects = Vec::new();
        let mut at = 600;
        while !stops(&effects) {
            effects = sample(&mut schedule, at, &[(1, 600 + at / 5), (3, 15)]);
            assert!(
                !effects.contains(&Effect::Suspend(UnitId(3), StopReason::Pressure)),
                "at {at}"
            );
            at += 100;
        }
        let stopped = at;
        assert!((1500..2500).contains(&stopped), "stopped at {stopped}");
        let end = loop {
            if at >= stopped + lasts {
                break schedule.handle(Millis(at), Input::Finished { unit: UnitId(3), ok: true });
            }
            let effects = sample(&mut schedule, at, &[(1, 940), (3, 15)]);
            if goes_on(&effects) {
                break effects;
            }
            at += 100;
        };
        assert!(goes_on(&end), "{end:?}");
        let stood = at - stopped;
        assert!(stood == lasts || lasts > 9900 && (9900..10_200).contains(&stood), "{stood}");
    }
}
