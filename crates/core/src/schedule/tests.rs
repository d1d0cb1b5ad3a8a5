//! The schedule, case by case.

use super::*;
use crate::forecast::{Curve, ForecastSource};

pub(super) fn unit(peak: u64, cpu: u64, source: ForecastSource) -> Box<NewUnit> {
    Box::new(NewUnit {
        slims: false,
        forecast: Forecast {
            curve: Curve::ramp(Bytes::mib(peak), Millis(cpu)),
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
        build: BuildNo(1),
        cargo: Some(1),
    })
}

pub(super) fn schedule(budget: u64) -> Schedule {
    let config = Config { jobs: 8, cores: 8, oversized: Oversized::Shrink, keep_going: false };
    Schedule::of_one(config, Bytes::mib(budget))
}

pub(super) fn admitted(effects: &[Effect]) -> Vec<u32> {
    effects
        .iter()
        .filter_map(|e| if let Effect::Admit { unit, .. } = e { Some(unit.0) } else { None })
        .collect()
}

/// Far below the budget nothing is urgent, but what is short should not be remembered as nothing.
#[test]
fn what_has_just_started_is_measured_soon() {
    let mut schedule = schedule(100_000);
    let new = unit(50, 100, ForecastSource::Cold);
    assert_eq!(admitted(&schedule.handle(Millis(0), Input::Register(UnitId(1), new))), [1]);
    assert!(schedule.sampling_interval() <= Millis(40));
    let memory = Bytes::mib(20);
    let seen = UnitMeasurement {
        unit: UnitId(1),
        memory,
        link_memory: Bytes::ZERO,
        swapped: Bytes::ZERO,
        cpu: Millis(9),
        issued: 0,
        unread: 0,
    };
    let rest = Bytes::ZERO;
    let mut measure = |at| {
        let units = vec![seen];
        let sample = Input::Sample { rest, builds: Vec::new(), cpu: Millis(9), units };
        let _ = schedule.handle(Millis(at), sample);
        schedule.sampling_interval()
    };
    assert!(measure(40) <= Millis(40));
    assert!(measure(400) > Millis(100));
}

#[test]
fn an_oversized_unit_that_does_not_fit_waits_and_small_ones_pass_it() {
    let mut schedule = schedule(1000);
    let mut start = |id, peak, cpu| {
        let new = unit(peak, cpu, ForecastSource::History);
        admitted(&schedule.handle(Millis(0), Input::Register(UnitId(id), new)))
    };
    assert_eq!(start(1, 600, 20_000), [1]);
    assert_eq!(start(2, 700, 30_000), [] as [u32; 0]);
    assert_eq!(start(3, 40, 500), [3]);
    let end = Input::Finished { unit: UnitId(1), ok: true };
    assert_eq!(admitted(&schedule.handle(Millis(9000), end)), [2]);
}

#[test]
fn what_is_expected_to_cross_the_budget_alone_gives_back_early_what_is_free() {
    let lean = |peak: u64, source, retryable| {
        let mut schedule = schedule(1000);
        let mut new = unit(peak, 20_000, source);
        new.retryable = retryable;
        let effects = schedule.handle(Millis(0), Input::Register(UnitId(1), new));
        assert_eq!(admitted(&effects), [1]);
        let lean = |it: &Effect| matches!(it, Effect::Admit { shrink: Shrink::SameOutput, .. });
        effects.iter().any(lean)
    };
    assert!(lean(980, ForecastSource::History, true));
    assert!(lean(1500, ForecastSource::Cold, true));
    assert!(!lean(930, ForecastSource::History, true));
    assert!(!lean(980, ForecastSource::History, false));
}

#[test]
fn a_build_that_may_not_shrink_asks_nobody_to_need_less() {
    for oversized in [Oversized::Run, Oversized::Shrink] {
        let shrink = oversized.shrink();
        let mut schedule = schedule(1000);
        let mut new = unit(980, 20_000, ForecastSource::History);
        (new.retryable, new.build) = (true, BuildNo(2));
        let terms = BuildTerms { oversized, ..BuildTerms::default() };
        assert!(schedule.handle(Millis(0), Input::Open(BuildNo(2), terms)).is_empty());
        let effects = schedule.handle(Millis(0), Input::Register(UnitId(1), new));
        assert_eq!(admitted(&effects), [1]);
        assert!(
            effects
                .iter()
                .any(|it| matches!(it, Effect::Admit { shrink: on, .. } if *on == shrink))
        );
    }
}

#[test]
fn a_later_stage_waits_for_what_is_there_of_an_earlier_one() {
    let mut schedule = schedule(1000);
    let terms = BuildTerms { staged: true, ..BuildTerms::default() };
    assert!(schedule.handle(Millis(0), Input::Open(BuildNo(2), terms)).is_empty());
    let mut at = |now: u64, input: Input| admitted(&schedule.handle(Millis(now), input));
    let none: [u32; 0] = [];
    for id in [1, 2, 3] {
        let mut new = unit(50, 1000, ForecastSource::History);
        new.build = BuildNo(2);
        assert_eq!(at(0, Input::Register(UnitId(id), new)), none, "its stage is not known");
    }
    let stage = |id, stage| Input::Stage(UnitId(id), stage);
    assert_eq!(at(0, stage(1, 2)), none);
    assert_eq!(at(10, stage(2, 1)), none);
    assert_eq!(at(10, stage(3, 0)), [3], "what belongs to no stage waits for none");
    assert_eq!(at(300, Input::Tick), none, "something is there before the first stage");
    assert_eq!(at(400, Input::Finished { unit: UnitId(3), ok: true }), none);
    assert_eq!(at(640, Input::Tick), none);
    let mut new = unit(50, 1000, ForecastSource::History);
    new.build = BuildNo(2);
    assert_eq!(at(645, Input::Register(UnitId(5), new)), none, "others may follow it");
    assert_eq!(at(645, stage(5, 9)), none);
    assert_eq!(at(890, Input::Tick), none);
    assert_eq!(at(895, Input::Tick), [2]);
    assert_eq!(at(900, Input::Finished { unit: UnitId(2), ok: true }), none);
    // A dependent of it comes a moment later: the stage is not over.
    let mut new = unit(50, 1000, ForecastSource::History);
    new.build = BuildNo(2);
    assert_eq!(at(920, Input::Register(UnitId(4), new)), none);
    assert_eq!(at(920, stage(4, 1)), [4]);
    assert_eq!(at(2000, Input::Finished { unit: UnitId(4), ok: true }), none);
    assert_eq!(at(2250, Input::Tick), [1]);
    assert_eq!(schedule.stage_of(BuildNo(2)), 2);
}

/// A test that compiles: of whatever stage that is, the test waits for it.
#[test]
fn what_a_test_compiles_waits_for_no_stage() {
    let mut schedule = schedule(1000);
    let terms = BuildTerms { staged: true, ..BuildTerms::default() };
    assert!(schedule.handle(Millis(0), Input::Open(BuildNo(2), terms)).is_empty());
    let mut at = |now: u64, input: Input| admitted(&schedule.handle(Millis(now), input));
    let mut test = unit(50, 1000, ForecastSource::History);
    (test.build, test.role, test.retryable) = (BuildNo(2), UnitRole::Test, false);
    let _ = at(0, Input::Register(UnitId(1), test));
    assert_eq!(at(0, Input::Stage(UnitId(1), 0)), [1]);
    let mut compiled = unit(50, 1000, ForecastSource::History);
    (compiled.build, compiled.inside) = (BuildNo(2), Some(UnitId(1)));
    let mut started = at(10, Input::Register(UnitId(2), compiled));
    started.extend(at(10, Input::Stage(UnitId(2), 3)));
    assert_eq!(started, [2]);
}

#[test]
fn the_longest_path_goes_first() {
    let mut schedule = schedule(1000);
    let hold = unit(900, 5000, ForecastSource::History);
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), hold));
    for (id, critical_path) in [(2, 1000), (3, 90_000)] {
        let mut new = unit(600, 5000, ForecastSource::History);
        new.forecast.critical_path = Some(Millis(critical_path));
        assert!(admitted(&schedule.handle(Millis(0), Input::Register(UnitId(id), new))).is_empty());
    }
    let end = Input::Finished { unit: UnitId(1), ok: true };
    assert_eq!(admitted(&schedule.handle(Millis(9000), end)), [3]);
}

/// A killed shim is a failure to its Cargo: what waits for that leaves, what another Cargo asked for stays. With
/// the last of its units the failure is forgotten.
#[test]
fn a_failure_is_its_cargos() {
    let mut schedule = schedule(100);
    let of = |id, cargo| {
        let mut new = unit(90, 1000, ForecastSource::History);
        new.cargo = Some(cargo);
        Input::Register(UnitId(id), new)
    };
    assert_eq!(admitted(&schedule.handle(Millis(0), of(1, 7))), [1]);
    let _ = schedule.handle(Millis(1), of(2, 7));
    let _ = schedule.handle(Millis(2), of(3, 8));
    let effects = schedule.handle(Millis(3), Input::ShimGone(UnitId(1)));
    assert!(effects.contains(&Effect::Leave(UnitId(2))), "{effects:?}");
    assert_eq!(admitted(&effects), [3]);
    let _ = schedule.handle(Millis(4), Input::Finished { unit: UnitId(3), ok: true });
    assert_eq!(admitted(&schedule.handle(Millis(5), of(4, 7))), [4]);
}

#[test]
fn an_oversized_unit_is_refused_whatever_waits_beside_it() {
    let config = Config { jobs: 2, cores: 2, oversized: Oversized::Refuse, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(500));
    for id in 1..=2 {
        let _ = schedule
            .handle(Millis(0), Input::Register(UnitId(id), unit(400, 9000, ForecastSource::Cold)));
    }
    // The second is a shim that waits.
    let effects = scripts(&mut schedule, 900, [(1, 600), (2, 2)]);
    let refused = |e: &Effect| matches!(e, Effect::Refuse { unit: UnitId(1), .. });
    assert!(effects.iter().any(refused), "{effects:?}");
}

#[test]
fn a_unit_lost_while_memory_was_not_short_does_not_wait_for_ever() {
    let mut schedule = schedule(1000);
    for id in 1..=2 {
        let new = unit(100, 90_000, ForecastSource::History);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
    }
    let lost = Input::Lost { unit: UnitId(2), link: false, again: RestartMode::Preferably };
    assert_eq!(admitted(&schedule.handle(Millis(10), lost)), [] as [u32; 0]);
    assert_eq!(admitted(&schedule.handle(Millis(19_000), Input::Tick)), [] as [u32; 0]);
    assert_eq!(admitted(&schedule.handle(Millis(20_500), Input::Tick)), [2]);
}

/// The schedule's answer to a measurement of these scripts at `at`.
fn scripts(schedule: &mut Schedule, at: u64, held: [(u32, u64); 2]) -> Vec<Effect> {
    let units = held.map(|(id, mib)| UnitMeasurement {
        unit: UnitId(id),
        memory: Bytes::mib(mib),
        link_memory: Bytes::ZERO,
        swapped: Bytes::ZERO,
        cpu: Millis(at / 2),
        issued: 0,
        unread: 0,
    });
    let sample = Input::Sample {
        rest: Bytes::mib(20),
        builds: Vec::new(),
        cpu: Millis(at),
        units: units.to_vec(),
    };
    schedule.handle(Millis(at), sample)
}

fn two_scripts(source: ForecastSource, peak: u64) -> Schedule {
    let mut schedule = schedule(400);
    for id in 1..=2 {
        let mut script = unit(peak, 10_000, source);
        (script.retryable, script.running, script.role) = (false, true, UnitRole::Script);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), script));
    }
    schedule
}

#[test]
fn a_script_is_stopped_while_it_holds_little_where_two_will_not_fit() {
    let mut schedule = two_scripts(ForecastSource::History, 300);
    let effects = scripts(&mut schedule, 400, [(1, 60), (2, 8)]);
    assert!(effects.contains(&Effect::Suspend(UnitId(2), StopReason::NoRoom)), "{effects:?}");
}

#[test]
fn of_two_scripts_the_one_that_holds_the_memory_goes_on() {
    let mut schedule = two_scripts(ForecastSource::Cold, 20);
    let _ = scripts(&mut schedule, 400, [(1, 10), (2, 90)]);
    let _ = scripts(&mut schedule, 500, [(1, 30), (2, 200)]);
    let effects = scripts(&mut schedule, 600, [(1, 90), (2, 230)]);
    let state = |id| schedule.view(UnitId(id)).map(|view| view.state);
    assert_eq!(state(1), Some(RunState::Suspended), "{effects:?}");
    assert_eq!(state(2), Some(RunState::Running), "{effects:?}");
}

#[test]
fn beside_a_script_cargo_has_as_many_places_as_there_are_processors_free() {
    let config = Config { jobs: 8, cores: 2, oversized: Oversized::Shrink, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(4000));
    let mut script = unit(50, 10_000, ForecastSource::History);
    (script.retryable, script.running, script.role) = (false, true, UnitRole::Script);
    let effects = schedule.handle(Millis(0), Input::Register(UnitId(1), script));
    assert!(
        effects.contains(&Effect::JobSlots(BuildNo(1), 1)),
        "one for its second compiler: {effects:?}"
    );
    let compiler = unit(50, 10_000, ForecastSource::History);
    let effects = schedule.handle(Millis(10), Input::Register(UnitId(2), compiler));
    assert!(
        !effects.iter().any(|e| matches!(e, Effect::JobSlots(..))),
        "Cargo took it: {effects:?}"
    );
    let end = Input::Finished { unit: UnitId(1), ok: true };
    let effects = schedule.handle(Millis(20), end);
    assert!(effects.contains(&Effect::JobSlots(BuildNo(1), 7)), "{effects:?}");
}

#[test]
fn refuse_refuses_what_is_known_to_be_above_the_budget() {
    let config = Config { jobs: 2, cores: 2, oversized: Oversized::Refuse, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(500));
    let oversized = unit(900, 1000, ForecastSource::History);
    let effects = schedule.handle(Millis(0), Input::Register(UnitId(1), oversized));
    let (needs, budget) = (Bytes::mib(900), Bytes::mib(500));
    assert!(effects.contains(&Effect::Refuse { unit: UnitId(1), needs, expected: needs, budget }));
}

/// A child that a build script has left, or a large Cargo: no unit needs more for it.
#[test]
fn what_belongs_to_no_unit_is_no_units_need() {
    let config = Config { jobs: 2, cores: 2, oversized: Oversized::Refuse, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(500));
    let holds = |schedule: &mut Schedule, now, rest, of_unit: &[(u32, u64)]| {
        let units = of_unit.iter().map(|(id, mib)| UnitMeasurement {
            unit: UnitId(*id),
            memory: Bytes::mib(*mib),
            link_memory: Bytes::ZERO,
            swapped: Bytes::ZERO,
            cpu: Millis(now),
            issued: 0,
            unread: 0,
        });
        let rest = Bytes::mib(rest);
        let (builds, units) = (vec![(BuildNo(1), rest)], units.collect());
        let input = Input::Sample { rest, builds, cpu: Millis(now), units };
        schedule.handle(Millis(now), input)
    };
    let _ = holds(&mut schedule, 100, 400, &[]);
    let known = unit(132, 1000, ForecastSource::History);
    let effects = schedule.handle(Millis(200), Input::Register(UnitId(1), known));
    assert_eq!(admitted(&effects), [1], "{effects:?}");
    let effects = holds(&mut schedule, 300, 400, &[(1, 132)]);
    let (needs, budget) = (Bytes::mib(132), Bytes::mib(500));
    assert!(effects.contains(&Effect::Lone { unit: UnitId(1), needs, budget }), "{effects:?}");
    // That is said once; and it is refused where it comes to be above the budget by itself.
    assert_eq!(holds(&mut schedule, 400, 400, &[(1, 140)]), []);
    let effects = holds(&mut schedule, 500, 20, &[(1, 501)]);
    let (needs, expected) = (Bytes::mib(501), Bytes::mib(501));
    assert!(effects.contains(&Effect::Refuse { unit: UnitId(1), needs, expected, budget }));
}

#[test]
fn a_unit_lost_to_another_killer_runs_alone() {
    let mut schedule = schedule(1000);
    for id in 1..=3 {
        let new = unit(100, 5000, ForecastSource::History);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
    }
    let lost = Input::Lost { unit: UnitId(2), link: false, again: RestartMode::Alone };
    assert!(admitted(&schedule.handle(Millis(10), lost)).is_empty());
    let late = Input::Register(UnitId(4), unit(10, 100, ForecastSource::History));
    assert!(admitted(&schedule.handle(Millis(11), late)).is_empty(), "it must not wait for ever");
    for id in [1, 3] {
        let end = Input::Finished { unit: UnitId(id), ok: true };
        let started = admitted(&schedule.handle(Millis(20), end));
        assert_eq!(started, if id == 3 { vec![2] } else { vec![] });
    }
    let end = Input::Finished { unit: UnitId(2), ok: true };
    assert_eq!(admitted(&schedule.handle(Millis(30), end)), [4]);
}

#[test]
fn the_room_of_one_that_has_just_ended_is_not_taken_before_its_word() {
    let measured = |mib| UnitMeasurement {
        unit: UnitId(1),
        memory: Bytes::mib(mib),
        link_memory: Bytes::ZERO,
        swapped: Bytes::ZERO,
        cpu: Millis(800),
        issued: 0,
        unread: 0,
    };
    let sample = |mib| {
        let (rest, cpu) = (Bytes::mib(20), Millis(800));
        Input::Sample { rest, builds: Vec::new(), cpu, units: vec![measured(mib)] }
    };
    let mut schedule = schedule(300);
    let _ =
        schedule.handle(Millis(0), Input::Register(UnitId(1), unit(20, 100, ForecastSource::Cold)));
    let _ = schedule.handle(Millis(1000), sample(220));
    let late = unit(60, 100, ForecastSource::Cold);
    assert!(admitted(&schedule.handle(Millis(1005), Input::Register(UnitId(2), late))).is_empty());
    assert!(admitted(&schedule.handle(Millis(1015), sample(0))).is_empty(), "its word is coming");
    assert_eq!(admitted(&schedule.handle(Millis(1200), sample(0))), [2], "it was no end");
}

#[test]
fn compilers_that_will_link_come_no_faster_than_their_links() {
    let config = Config { jobs: 8, cores: 2, oversized: Oversized::Shrink, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(1000));
    let linking = |schedule: &mut Schedule, at, id| {
        let mut new = unit(30, 400, ForecastSource::Cold);
        new.links = true;
        admitted(&schedule.handle(Millis(at), Input::Register(UnitId(id), new)))
    };
    assert_eq!(linking(&mut schedule, 0, 1), [1]);
    assert_eq!(linking(&mut schedule, 0, 2), [2]);
    let links = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::AdmitLink(_)));
    let huge = Bytes::mib(700);
    assert!(links(&schedule.handle(Millis(400), Input::LinkAsked(UnitId(1), huge))));
    assert!(!links(&schedule.handle(Millis(400), Input::LinkAsked(UnitId(2), huge))));
    assert_eq!(linking(&mut schedule, 500, 3), [3], "the second processor has nothing to do");
    assert!(!links(&schedule.handle(Millis(900), Input::LinkAsked(UnitId(3), huge))));
    assert!(linking(&mut schedule, 1000, 4).is_empty(), "two wait for their linkers already");
    assert!(schedule.is_short(BuildNo(1)));
    let library = Input::Register(UnitId(5), unit(30, 400, ForecastSource::Cold));
    assert_eq!(admitted(&schedule.handle(Millis(1000), library)), [5], "it will not link");
    let end = |unit| Input::Finished { unit: UnitId(unit), ok: true };
    assert!(admitted(&schedule.handle(Millis(1900), end(5))).is_empty());
    let second = schedule.handle(Millis(2000), Input::LinkFinished(UnitId(1)));
    assert!(second.contains(&Effect::AdmitLink(UnitId(2))), "{second:?}");
    assert_eq!(admitted(&schedule.handle(Millis(2000), end(1))), [4]);
}

#[test]
fn links_go_one_by_one_where_files_are_read_again() {
    let mut schedule = schedule(2000);
    let budget = Bytes::mib(2000);
    for id in 1..=2 {
        let new = unit(30, 400, ForecastSource::Cold);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
    }
    let move_budget = |schedule: &mut Schedule, at, thrashes| {
        schedule.handle(
            Millis(at),
            Input::Budget { budget, machine: Bytes::MAX, swap: Bytes::ZERO, thrashes },
        )
    };
    let ask = |schedule: &mut Schedule, at, id| {
        schedule.handle(Millis(at), Input::LinkAsked(UnitId(id), Bytes::mib(100)))
    };
    let _ = move_budget(&mut schedule, 10, true);
    assert!(ask(&mut schedule, 400, 1).contains(&Effect::AdmitLink(UnitId(1))));
    assert!(!ask(&mut schedule, 400, 2).contains(&Effect::AdmitLink(UnitId(2))));
    let effects = move_budget(&mut schedule, 20_000, false);
    assert!(effects.contains(&Effect::AdmitLink(UnitId(2))), "{effects:?}");
}

#[test]
fn an_oversized_unit_that_nobody_knew_gets_no_threads_where_code_generation_may_not_fit() {
    let threads = |budget, held| {
        let mut schedule = schedule(budget);
        let new = unit(300, 5000, ForecastSource::Cold);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), new));
        let mut issued = 0;
        for (at, memory) in [(1000, 100), (4000, 300), (20_000, held)] {
            let measured = UnitMeasurement {
                unit: UnitId(1),
                memory: Bytes::mib(memory),
                link_memory: Bytes::ZERO,
                swapped: Bytes::ZERO,
                cpu: Millis(at),
                issued,
                unread: issued,
            };
            let (rest, cpu) = (Bytes::mib(20), Millis(at));
            let sample = Input::Sample { rest, builds: Vec::new(), cpu, units: vec![measured] };
            for effect in schedule.handle(Millis(at), sample) {
                if let Effect::Tokens { issue, .. } = effect {
                    issued = issue;
                }
            }
        }
        issued
    };
    assert_eq!(threads(4000, 900), 1, "one stands ready");
    assert_eq!(threads(1150, 900), 0, "taken back unread: beside 900 MiB there is no room for 225");
}

#[test]
fn an_anchor_that_waits_for_a_stopped_one_brings_it_back() {
    let mut schedule = schedule(500);
    for id in 1..=2 {
        let new = unit(150, 50_000, ForecastSource::Cold);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
    }
    let sample = |first: u64, second: u64| Input::Sample {
        builds: Vec::new(),
        rest: Bytes::mib(50),
        cpu: Millis(800),
        units: [(1, first), (2, second)]
            .map(|(id, mib)| UnitMeasurement {
                unit: UnitId(id),
                memory: Bytes::mib(mib),
                link_memory: Bytes::ZERO,
                swapped: Bytes::ZERO,
                cpu: Millis(400),
                issued: 0,
                unread: 0,
            })
            .to_vec(),
    };
    let _ = schedule.handle(Millis(400), sample(100, 80));
    let effects = schedule.handle(Millis(900), sample(240, 190));
    assert!(effects.contains(&Effect::Suspend(UnitId(2), StopReason::Pressure)), "{effects:?}");
    let mut resumed = None;
    for at in (1000..8000).step_by(100) {
        let effects = schedule.handle(Millis(at), sample(240, 190));
        if effects.contains(&Effect::Resume(UnitId(2))) {
            resumed = Some(at);
            break;
        }
    }
    assert!(resumed.is_some_and(|at| at >= 3400), "{resumed:?}");
}

/// Three compilers, of which the second has announced its metadata and the third has worked for longer, or is not
/// there; and memory that gets short. Who is killed.
fn killed_when_short(repeats: bool, third: bool) -> Vec<u32> {
    let mut schedule = schedule(1000);
    for id in 1..=if third { 3 } else { 2 } {
        let new = unit(280, 90_000, ForecastSource::History);
        let admits = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
        assert_eq!(admitted(&admits), [id]);
    }
    let _ = schedule.handle(Millis(1000), Input::Announced { unit: UnitId(2), repeats });
    let mut sample = |at, sizes: [u64; 3]| {
        let seen = |(id, mib): (u32, u64)| UnitMeasurement {
            unit: UnitId(id),
            memory: Bytes::mib(mib),
            link_memory: Bytes::ZERO,
            swapped: Bytes::ZERO,
            cpu: Millis([0, 2000, 1000, 50_000][id as usize]),
            issued: 0,
            unread: 0,
        };
        let units = [1, 2, 3].into_iter().zip(sizes).filter(|(_, mib)| *mib > 0).map(seen);
        let units = units.collect();
        let (rest, cpu) = (Bytes::mib(20), Millis(at));
        schedule.handle(Millis(at), Input::Sample { rest, builds: Vec::new(), cpu, units })
    };
    let sizes = |first, others| [first, others, if third { others } else { 0 }];
    let _ = sample(60_000, sizes(200, 200));
    let effects = sample(60_500, sizes(if third { 500 } else { 750 }, 240));
    let kill = |it: &Effect| if let Effect::Kill(id, _) = it { Some(id.0) } else { None };
    effects.iter().filter_map(kill).collect()
}

#[test]
fn a_unit_that_would_write_other_metadata_again_is_killed_where_nothing_else_can_be() {
    assert_eq!(killed_when_short(true, true), [2], "the least work is lost");
    assert_eq!(killed_when_short(false, true), [3]);
    assert_eq!(killed_when_short(false, false), [2], "the budget is kept all the same");
}

#[test]
fn a_decision_over_a_thousand_queued_units_is_made_in_one_pass() {
    let mut schedule = schedule(700);
    let _ = schedule
        .handle(Millis(0), Input::Register(UnitId(0), unit(600, 9000, ForecastSource::Cold)));
    // How many units the decision looks at, some of them more than once, when so many are there.
    let mut looks = vec![0];
    for id in 1..1000 {
        let new = unit(200 + u64::from(id) % 90, 9000, ForecastSource::Cold);
        schedule.units.looks.set(0);
        assert!(admitted(&schedule.handle(Millis(1), Input::Register(UnitId(id), new))).is_empty());
        looks.push(schedule.units.looks.get());
    }
    assert_eq!(schedule.views().filter(|v| v.state == RunState::Waiting).count(), 999);
    let (half, whole) = (looks[499], looks[999]);
    assert!(whole <= 100 * 1000, "{whole} looks at a thousand units");
    assert!(whole <= half * 2 + 100, "{half} looks for half of them, and {whole} for all");
}
