//! What runs inside a build script or a compiler: its probes, a nested Cargo's units.

use super::tests::{admitted, schedule, unit};
use super::*;
use crate::forecast::ForecastSource;

/// A build script that runs, and what it is known to need.
fn script(peak: u64) -> Box<NewUnit> {
    let mut script = unit(peak, 1000, ForecastSource::History);
    (script.retryable, script.running, script.role) = (false, true, UnitRole::Script);
    script
}

fn inside(outer: u32, peak: u64) -> Box<NewUnit> {
    let mut nested = unit(peak, 1000, ForecastSource::History);
    (nested.inside, nested.cargo) = (Some(UnitId(outer)), Some(100 + outer));
    nested
}

#[test]
fn a_nested_unit_never_queues_behind_its_ancestor() {
    let mut schedule = schedule(500);
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), script(100)));
    let effects = schedule.handle(Millis(1), Input::Register(UnitId(2), inside(1, 900)));
    assert_eq!(admitted(&effects), [2]);
}

/// A build script that runs `cargo build -j8`.
#[test]
fn nested_units_wait_for_room_like_any_and_go_before_what_nobody_waits_for() {
    let mut schedule = schedule(1000);
    let mut then = |at, input| admitted(&schedule.handle(Millis(at), input));
    let new = |id, new| Input::Register(UnitId(id), new);
    let ended = |id| Input::Finished { unit: UnitId(id), ok: true };
    let none: [u32; 0] = [];
    assert_eq!(then(0, new(1, unit(400, 9000, ForecastSource::History))), [1]);
    assert_eq!(then(1, new(2, script(50))), none);
    assert_eq!(then(2, new(3, inside(2, 400))), [3]);
    assert_eq!(then(3, new(4, inside(2, 300))), none);
    assert_eq!(then(3, new(5, unit(450, 1000, ForecastSource::History))), none);
    assert_eq!(then(4, ended(3)), [4]);
    // The script goes on when the last has ended, and the other one fits beside it.
    assert_eq!(then(5, ended(4)), [5]);
}

/// The one on whose way to its end most waits in its own Cargo, of scripts that the build waits for alike.
#[test]
fn of_nested_units_the_longest_path_in_their_own_cargo_goes_first() {
    let mut schedule = schedule(1000);
    let mut then = |at, input| admitted(&schedule.handle(Millis(at), input));
    let mut outer = script(50);
    outer.forecast.critical_path = Some(Millis(90_000));
    let _ = then(0, Input::Register(UnitId(1), outer));
    assert_eq!(then(0, Input::Register(UnitId(2), inside(1, 900))), [2]);
    for (id, critical_path) in [(3, None), (4, Some(5000)), (5, Some(2000))] {
        let mut new = inside(1, 600);
        new.forecast.critical_path = critical_path.map(Millis);
        assert_eq!(then(1, Input::Register(UnitId(id), new)), [] as [u32; 0]);
    }
    let ended = |id| Input::Finished { unit: UnitId(id), ok: true };
    assert_eq!([2, 4, 5].map(|id| then(u64::from(id), ended(id))), [[4], [5], [3]]);
}

/// Two on two processors, and Cargo starts a build script without asking: its probe has that one's.
#[test]
fn a_probe_waits_for_no_processor() {
    let config = Config { jobs: 2, cores: 2, oversized: Oversized::Shrink, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(1000));
    let mut then = |new: (u32, Box<NewUnit>)| {
        admitted(&schedule.handle(Millis(0), Input::Register(UnitId(new.0), new.1)))
    };
    let plain = || unit(50, 9000, ForecastSource::History);
    assert_eq!([then((1, plain())), then((2, plain()))], [[1], [2]]);
    assert_eq!(then((3, script(5))), [] as [u32; 0]);
    assert_eq!(then((4, inside(3, 20))), [4]);
    assert_eq!(then((5, inside(3, 20))), [] as [u32; 0], "a second one of it does");
}

fn measured(id: u32, mib: u64, cpu: u64) -> UnitMeasurement {
    let memory = Bytes::mib(mib);
    let (link_memory, swapped, cpu) = (Bytes::ZERO, Bytes::ZERO, Millis(cpu));
    UnitMeasurement { unit: UnitId(id), memory, link_memory, swapped, cpu, issued: 0, unread: 0 }
}

fn sample(schedule: &mut Schedule, at: u64, units: &[UnitMeasurement]) -> Vec<Effect> {
    let (rest, cpu, units) = (Bytes::mib(10), Millis(at), units.to_vec());
    schedule.handle(Millis(at), Input::Sample { rest, builds: Vec::new(), cpu, units })
}

#[test]
fn of_what_crosses_the_budget_the_nested_unit_is_stopped_or_killed_and_what_waits_for_it_is_not() {
    let mut schedule = schedule(300);
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), script(40)));
    for id in 2..=4 {
        let new = Input::Register(UnitId(id), inside(1, 60));
        assert_eq!(admitted(&schedule.handle(Millis(0), new)), [id]);
    }
    let mut held_back = BTreeSet::new();
    for at in 1..12 {
        // Nobody has expected so much of them.
        let running =
            |id| schedule.view(UnitId(id)).is_some_and(|it| it.state == RunState::Running);
        let units: Vec<UnitMeasurement> = [(1, 30), (2, 30 * at), (3, 25 * at), (4, 20 * at)]
            .into_iter()
            .map(|(id, mib)| measured(id, if running(id) { mib } else { 0 }, 50 * at))
            .collect();
        for effect in sample(&mut schedule, 100 * at, &units) {
            if let Effect::Suspend(unit, _) | Effect::Kill(unit, _) = effect {
                held_back.insert(unit.0);
            }
        }
    }
    assert!(!held_back.is_empty() && !held_back.contains(&1), "{held_back:?}");
}

/// It waits for a lock in the build directory, which the other one's Cargo holds.
#[test]
fn a_nested_unit_does_not_wait_for_a_build_script_that_does_nothing() {
    let mut schedule = schedule(500);
    for id in [1, 2] {
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), script(150)));
    }
    let effects = schedule.handle(Millis(10), Input::Register(UnitId(3), inside(1, 300)));
    assert_eq!(admitted(&effects), [] as [u32; 0]);
    let plain = unit(300, 1000, ForecastSource::History);
    let _ = schedule.handle(Millis(10), Input::Register(UnitId(4), plain));
    for at in [500, 1000, 1500, 2000] {
        let effects = sample(&mut schedule, at, &[measured(1, 5, 20), measured(2, 5, at / 4)]);
        assert_eq!(admitted(&effects), [] as [u32; 0], "it works still");
    }
    assert_eq!(admitted(&schedule.handle(Millis(4900), Input::Tick)), [] as [u32; 0]);
    assert_eq!(admitted(&schedule.handle(Millis(5000), Input::Tick)), [3]);
}

/// Of two scripts the Cargo of one waits for the other's, which waits for its guest, which stands behind one that must be
/// alone: that may not wait for the scripts.
#[test]
fn what_guests_stand_behind_does_not_wait_for_a_build_script_that_does_nothing() {
    let mut schedule = schedule(500);
    let first = unit(300, 1000, ForecastSource::History);
    assert_eq!(admitted(&schedule.handle(Millis(0), Input::Register(UnitId(9), first))), [9]);
    for id in [1, 2] {
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), script(50)));
    }
    let lost = Input::Lost { unit: UnitId(9), link: false, again: RestartMode::Alone };
    assert_eq!(admitted(&schedule.handle(Millis(5), lost)), [] as [u32; 0]);
    let _ = schedule.handle(Millis(10), Input::Register(UnitId(3), inside(1, 450)));
    let _ = sample(&mut schedule, 500, &[measured(1, 5, 20), measured(2, 5, 20)]);
    let mut started = Vec::new();
    for at in (1000..30_000).step_by(500) {
        let effects = sample(&mut schedule, at, &[measured(1, 5, 20), measured(2, 5, 20)]);
        started.extend(admitted(&effects));
        for id in started.clone().into_iter().filter(|id| *id == 9) {
            let ended = Input::Finished { unit: UnitId(id), ok: true };
            started.extend(admitted(&schedule.handle(Millis(at + 1), ended)));
        }
    }
    assert!(started.contains(&9) && started.contains(&3), "{started:?}");
}

/// Each Cargo fails for itself, and a probe fails by design.
#[test]
fn a_nested_failure_is_its_cargos_and_a_probes_nobodys() {
    let fails = |cargo| {
        let mut schedule = schedule(500);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), script(10)));
        let _ = schedule
            .handle(Millis(0), Input::Register(UnitId(2), unit(400, 9, ForecastSource::History)));
        for id in [3, 4] {
            let mut new = inside(1, 300);
            new.cargo = cargo;
            let _ = schedule.handle(Millis(1), Input::Register(UnitId(id), new));
        }
        let _ = schedule.handle(Millis(2), Input::Finished { unit: UnitId(2), ok: true });
        let _ = schedule
            .handle(Millis(3), Input::Register(UnitId(5), unit(400, 9, ForecastSource::History)));
        let effects = schedule.handle(Millis(4), Input::Finished { unit: UnitId(3), ok: false });
        [4, 5].map(|id| effects.contains(&Effect::Leave(UnitId(id))))
    };
    assert_eq!(fails(Some(7)), [true, false]);
    assert_eq!(fails(None), [false, false]);
}

/// What a nested Cargo's units hold of the places, and what a C compiler may take beside them.
#[test]
fn a_nested_cargos_first_unit_has_the_scripts_place_and_each_other_one_of_its_own() {
    let config = Config { jobs: 8, cores: 2, oversized: Oversized::Shrink, keep_going: false };
    let mut schedule = Schedule::of_one(config, Bytes::mib(1000));
    let mut job_slots = 7;
    let mut then = |at, id, new| {
        for effect in schedule.handle(Millis(at), Input::Register(UnitId(id), new)) {
            if let Effect::JobSlots(_, now) = effect {
                job_slots = now;
            }
        }
        job_slots
    };
    // The processors that are free: one, none.
    assert_eq!(then(0, 1, script(5)), 1);
    assert_eq!(then(1, 2, inside(1, 20)), 1);
    assert_eq!(then(2, 3, inside(1, 20)), 1);
    // What waits holds one, too.
    assert_eq!(then(3, 4, inside(1, 20)), 2);
    assert_eq!(then(4, 5, unit(20, 1000, ForecastSource::History)), 3);
    let mut probe = inside(1, 20);
    probe.cargo = None;
    assert_eq!(then(5, 6, probe), 3);
}

/// A build script, and a compiler that it runs.
fn script_and_nested(schedule: &mut Schedule, outer: u32, nested: u32) {
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(outer), script(10)));
    let new = Input::Register(UnitId(nested), inside(outer, 20));
    assert_eq!(admitted(&schedule.handle(Millis(0), new)), [nested]);
}

fn lost(id: u32) -> Input {
    Input::Lost { unit: UnitId(id), link: false, again: RestartMode::Alone }
}

#[test]
fn what_is_lost_inside_another_waits_for_what_goes_on_by_itself_and_never_for_its_ancestor() {
    let mut schedule = schedule(1000);
    script_and_nested(&mut schedule, 1, 4);
    script_and_nested(&mut schedule, 2, 5);
    let mut then = |at, input| admitted(&schedule.handle(Millis(at), input));
    let plain = |id| Input::Register(UnitId(id), unit(20, 1000, ForecastSource::History));
    let ended = |id| Input::Finished { unit: UnitId(id), ok: true };
    assert_eq!(then(1, plain(3)), [3]);
    assert_eq!(then(2, lost(4)), [] as [u32; 0]);
    assert_eq!(then(2, lost(5)), [] as [u32; 0]);
    assert_eq!(then(3, plain(6)), [] as [u32; 0]);
    assert_eq!(then(4, ended(3)), [4]);
    assert_eq!(then(5, ended(4)), [] as [u32; 0]);
    assert_eq!(then(6, ended(1)), [5]);
    assert_eq!(then(7, ended(5)), [6]);
}

/// The other script may wait for a lock that its ancestor holds.
#[test]
fn what_is_lost_inside_another_does_not_wait_for_ever() {
    let mut schedule = schedule(1000);
    script_and_nested(&mut schedule, 1, 3);
    script_and_nested(&mut schedule, 2, 4);
    let _ = schedule.handle(Millis(5), lost(3));
    assert_eq!(admitted(&schedule.handle(Millis(19_000), Input::Tick)), [] as [u32; 0]);
    assert_eq!(admitted(&schedule.handle(Millis(21_000), Input::Tick)), [3]);
}
