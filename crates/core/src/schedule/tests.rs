//! The schedule against a model machine: every invariant of docs/architecture.md as a property.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::forecast::{Curve, Source};

/// A unit as it really is, and as it is believed to be.
#[derive(Clone, Debug)]
struct Truth {
    peak: u64,
    cpu: u64,
    believed: f64,
    source: Source,
    retryable: bool,
    script: bool,
    fails: bool,
    arrives: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    None,
    Runs,
    Stopped,
}

struct Running {
    process: Process,
    cpu: f64,
    kills: u32,
    admitted: u64,
}

/// Processors, units whose memory rises evenly to the peak in the first half of their work, a sampler
/// that looks when the schedule asks for it, and effects that are carried out at once.
struct Machine {
    truths: Vec<Truth>,
    cores: f64,
    worked: f64,
    units: BTreeMap<u32, Running>,
    done: BTreeSet<u32>,
    schedule: Schedule,
    now: u64,
    line: Bytes,
    highest_beside: Bytes,
    failed: bool,
    admitted_after_failure: bool,
}

const REST: u64 = 60;

impl Machine {
    fn new(truths: Vec<Truth>, line_mib: u64, config: Config) -> Self {
        Self {
            truths,
            cores: f64::from(config.cores),
            worked: 0.0,
            units: BTreeMap::new(),
            done: BTreeSet::new(),
            schedule: Schedule::new(config, Bytes::mib(line_mib)),
            now: 0,
            line: Bytes::mib(line_mib),
            highest_beside: Bytes::ZERO,
            failed: false,
            admitted_after_failure: false,
        }
    }

    fn memory(&self, id: u32) -> Bytes {
        let (truth, unit) = (&self.truths[id as usize], &self.units[&id]);
        if unit.process == Process::None {
            return Bytes::ZERO;
        }
        let share = (unit.cpu / (truth.cpu as f64 / 2.0)).min(1.0);
        Bytes::mib(1) + Bytes::mib(truth.peak).scale(share)
    }

    fn used(&self) -> Bytes {
        Bytes::mib(REST) + self.units.keys().map(|id| self.memory(*id)).sum()
    }

    fn tell(&mut self, input: Input) {
        for effect in self.schedule.handle(Millis(self.now), input) {
            self.carry_out(effect);
        }
        self.check_that_it_moves();
    }

    fn carry_out(&mut self, effect: Effect) {
        let anchor = self.schedule.anchor.map(|id| id.0);
        let others_run =
            |m: &Self, id: u32| m.units.iter().any(|(o, u)| *o != id && u.process == Process::Runs);
        match effect {
            Effect::Admit { unit: UnitId(id), .. } => {
                self.admitted_after_failure |= self.failed;
                let now = self.now;
                let unit = self.units.get_mut(&id).expect("admitted what had registered");
                assert_eq!(unit.process, Process::None, "admitted once");
                unit.process = Process::Runs;
                if unit.kills == 0 {
                    unit.admitted = now;
                }
            }
            Effect::Suspend(UnitId(id), _) => {
                assert!(Some(id) != anchor || !others_run(self, id), "the anchor was suspended");
                self.units.get_mut(&id).expect("known").process = Process::Stopped;
            }
            Effect::Resume(UnitId(id)) => {
                self.units.get_mut(&id).expect("known").process = Process::Runs;
            }
            Effect::Kill(UnitId(id), cause) => {
                assert!(self.truths[id as usize].retryable, "killed what cannot run again");
                assert!(
                    cause == Cause::Ending || Some(id) != anchor || !others_run(self, id),
                    "the anchor was killed"
                );
                let unit = self.units.get_mut(&id).expect("known");
                unit.process = Process::None;
                unit.cpu = 0.0;
                unit.kills += 1;
                assert!(unit.kills <= 3, "unit {id} is killed again and again");
            }
            Effect::Leave(UnitId(id)) => {
                self.units.remove(&id);
                self.done.insert(id);
            }
            Effect::Refuse { .. } => panic!("refused without --strict"),
            Effect::AdmitLink(_)
            | Effect::KillLink(..)
            | Effect::Tokens { .. }
            | Effect::Lone { .. }
            | Effect::Anchor(_)
            | Effect::Places(_) => {}
        }
    }

    fn check_that_it_moves(&self) {
        if !self.units.is_empty() {
            assert!(
                self.units.values().any(|unit| unit.process == Process::Runs),
                "work is there and nothing runs"
            );
        }
    }

    fn arrive(&mut self) {
        for id in 0..self.truths.len() as u32 {
            let truth = self.truths[id as usize].clone();
            if truth.arrives > self.now || self.units.contains_key(&id) || self.done.contains(&id) {
                continue;
            }
            let process = if truth.script { Process::Runs } else { Process::None };
            let running = Running { process, cpu: 0.0, kills: 0, admitted: self.now };
            self.units.insert(id, running);
            let peak = Bytes::mib(truth.peak).scale(truth.believed);
            let new = NewUnit {
                forecast: Forecast {
                    curve: Curve::ramp(peak, Millis(truth.cpu).scale(truth.believed)),
                    log_sd: if truth.source == Source::History { 0.05 } else { 0.5 },
                    link_peak: Bytes::ZERO,
                    tail: None,
                    source: truth.source,
                },
                retryable: truth.retryable,
                inside: None,
                running: truth.script,
            };
            self.tell(Input::Register(UnitId(id), Box::new(new)));
        }
    }

    fn work(&mut self, step: u64) {
        let runs = self.units.values().filter(|u| u.process == Process::Runs).count().max(1);
        let share = (self.cores / runs as f64).min(1.0) * step as f64;
        let mut ended = Vec::new();
        for (id, unit) in &mut self.units {
            if unit.process == Process::Runs {
                unit.cpu += share;
                self.worked += share;
                if unit.cpu >= self.truths[*id as usize].cpu as f64 {
                    ended.push(*id);
                }
            }
        }
        for id in ended {
            self.units.remove(&id);
            self.done.insert(id);
            let ok = !self.truths[id as usize].fails;
            self.failed |= !ok;
            self.tell(Input::Finished { unit: UnitId(id), ok });
        }
    }

    fn sample(&mut self) {
        let units = self.units.iter().map(|(id, unit)| Measured {
            unit: UnitId(*id),
            memory: self.memory(*id),
            link_memory: Bytes::ZERO,
            cpu: Millis(unit.cpu as u64),
            issued: 0,
            unread: 0,
        });
        let units = units.collect();
        let cpu = Millis(self.worked as u64);
        self.tell(Input::Sample { rest: Bytes::mib(REST), cpu, units });
    }

    fn run(&mut self) {
        let mut sampled = 0;
        let total: u64 = self.truths.iter().map(|t| t.cpu).sum();
        let last = self.truths.iter().map(|t| t.arrives).max().unwrap_or(0);
        while self.done.len() < self.truths.len() {
            assert!(self.now < last + 6 * total + 60_000, "the build does not end");
            self.arrive();
            self.work(5);
            self.now += 5;
            // Asked anew after every input, as the governor does: admissions shorten it.
            if self.now >= sampled + self.schedule.sampling_interval().0 {
                self.sample();
                sampled = self.now;
            }
            let holders = self.units.values().filter(|u| u.process != Process::None).count();
            if holders > 1 {
                self.highest_beside = self.highest_beside.max(self.used());
            }
        }
    }
}

fn truth(kinds: bool) -> impl Strategy<Value = Truth> {
    let source = prop_oneof![Just(Source::History), Just(Source::Elder), Just(Source::Cold)];
    (5u64..400, 50u64..6000, 0.4f64..1.6, source, 0u32..20, 0u64..8000).prop_map(
        move |(peak, cpu, wrong, source, dice, arrives)| Truth {
            // No compiler that we measured gains more than 0.5 MiB in a millisecond of its own time.
            peak: peak.min(cpu / 4).max(2),
            cpu,
            believed: if source == Source::History { 0.97 + wrong / 20.0 } else { wrong },
            source,
            retryable: !kinds || dice != 0,
            script: kinds && dice == 0,
            fails: kinds && dice == 1,
            arrives,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The sum stays under the line while more than one unit holds memory; every unit ends; nothing is
    /// killed more than three times; with work there, something runs; the anchor goes on.
    #[test]
    fn the_line_holds_and_the_build_ends(
        truths in proptest::collection::vec(truth(false), 1..40),
        line in 520u64..1500,
        jobs in 1u32..16,
        cores in 1u32..12,
    ) {
        let config = Config { jobs, cores, strict: false, keep_going: false };
        let mut machine = Machine::new(truths, line, config);
        machine.run();
        prop_assert!(
            machine.highest_beside <= machine.line,
            "{} above {}", machine.highest_beside, machine.line
        );
    }

    /// Also with units that nobody can kill (build scripts, and what runs behind a wrapper of the user's):
    /// where what they need is known, and each would fit alone, but no three together.
    #[test]
    fn what_cannot_be_killed_but_is_known_stays_under_the_line(
        mut truths in proptest::collection::vec(truth(false), 4..30),
        unkillable in 2usize..5,
        line in 520u64..1500,
        cores in 1u32..12,
    ) {
        for (number, truth) in truths.iter_mut().take(unkillable).enumerate() {
            (truth.script, truth.retryable) = (number % 2 == 0, false);
            (truth.source, truth.believed, truth.peak) = (Source::History, 1.0, line * 2 / 5);
            truth.cpu = truth.cpu.max(truth.peak * 4);
        }
        let config = Config { jobs: 16, cores, strict: false, keep_going: false };
        let mut machine = Machine::new(truths, line, config);
        machine.run();
        prop_assert!(
            machine.highest_beside <= machine.line,
            "{} above {}", machine.highest_beside, machine.line
        );
    }

    /// With build scripts that cannot be killed and units that fail, the build still ends, and after a
    /// failure nothing more is admitted.
    #[test]
    fn failures_and_build_scripts_end_too(
        truths in proptest::collection::vec(truth(true), 1..40),
        line in 520u64..1500,
        jobs in 1u32..16,
        cores in 1u32..12,
        keep_going: bool,
    ) {
        let config = Config { jobs, cores, strict: false, keep_going };
        let mut machine = Machine::new(truths, line, config);
        machine.run();
        prop_assert!(keep_going || !machine.admitted_after_failure);
    }
}

fn unit(peak: u64, cpu: u64, source: Source) -> Box<NewUnit> {
    Box::new(NewUnit {
        forecast: Forecast {
            curve: Curve::ramp(Bytes::mib(peak), Millis(cpu)),
            log_sd: 0.05,
            link_peak: Bytes::ZERO,
            tail: None,
            source,
        },
        retryable: true,
        inside: None,
        running: false,
    })
}

fn schedule(line: u64) -> Schedule {
    let config = Config { jobs: 8, cores: 8, strict: false, keep_going: false };
    Schedule::new(config, Bytes::mib(line))
}

fn admitted(effects: &[Effect]) -> Vec<u32> {
    effects
        .iter()
        .filter_map(|e| if let Effect::Admit { unit, .. } = e { Some(unit.0) } else { None })
        .collect()
}

#[test]
fn a_giant_that_does_not_fit_waits_and_small_ones_pass_it() {
    let mut schedule = schedule(1000);
    let mut start = |id, peak, cpu| {
        let new = unit(peak, cpu, Source::History);
        admitted(&schedule.handle(Millis(0), Input::Register(UnitId(id), new)))
    };
    assert_eq!(start(1, 600, 20_000), [1]);
    assert_eq!(start(2, 700, 30_000), [] as [u32; 0]);
    assert_eq!(start(3, 40, 500), [3]);
    let end = Input::Finished { unit: UnitId(1), ok: true };
    assert_eq!(admitted(&schedule.handle(Millis(9000), end)), [2]);
}

#[test]
fn the_longest_path_goes_first() {
    let mut schedule = schedule(1000);
    let hold = unit(900, 5000, Source::History);
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), hold));
    for (id, tail) in [(2, 1000), (3, 90_000)] {
        let mut new = unit(600, 5000, Source::History);
        new.forecast.tail = Some(Millis(tail));
        assert!(admitted(&schedule.handle(Millis(0), Input::Register(UnitId(id), new))).is_empty());
    }
    let end = Input::Finished { unit: UnitId(1), ok: true };
    assert_eq!(admitted(&schedule.handle(Millis(9000), end)), [3]);
}

#[test]
fn a_nested_unit_never_queues_behind_its_ancestor() {
    let mut schedule = schedule(500);
    let mut script = unit(100, 1000, Source::History);
    script.running = true;
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), script));
    let mut nested = unit(900, 1000, Source::History);
    nested.inside = Some(UnitId(1));
    let effects = schedule.handle(Millis(1), Input::Register(UnitId(2), nested));
    assert_eq!(admitted(&effects), [2]);
}

/// The schedule's answer to a measurement of these scripts at `at`.
fn scripts(schedule: &mut Schedule, at: u64, held: [(u32, u64); 2]) -> Vec<Effect> {
    let units = held.map(|(id, mib)| Measured {
        unit: UnitId(id),
        memory: Bytes::mib(mib),
        link_memory: Bytes::ZERO,
        cpu: Millis(at / 2),
        issued: 0,
        unread: 0,
    });
    let sample = Input::Sample { rest: Bytes::mib(20), cpu: Millis(at), units: units.to_vec() };
    schedule.handle(Millis(at), sample)
}

fn two_scripts(source: Source, peak: u64) -> Schedule {
    let mut schedule = schedule(400);
    for id in 1..=2 {
        let mut script = unit(peak, 10_000, source);
        (script.retryable, script.running) = (false, true);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), script));
    }
    schedule
}

#[test]
fn a_script_is_stopped_while_it_holds_little_where_two_will_not_fit() {
    let mut schedule = two_scripts(Source::History, 300);
    let effects = scripts(&mut schedule, 400, [(1, 60), (2, 8)]);
    assert!(effects.contains(&Effect::Suspend(UnitId(2), Cause::NoRoom)), "{effects:?}");
}

#[test]
fn of_two_scripts_the_one_that_holds_the_memory_goes_on() {
    let mut schedule = two_scripts(Source::Cold, 20);
    let _ = scripts(&mut schedule, 400, [(1, 10), (2, 90)]);
    let _ = scripts(&mut schedule, 500, [(1, 30), (2, 200)]);
    let effects = scripts(&mut schedule, 600, [(1, 90), (2, 230)]);
    let state = |id| schedule.view(UnitId(id)).map(|view| view.state);
    assert_eq!(state(1), Some(RunState::Suspended), "{effects:?}");
    assert_eq!(state(2), Some(RunState::Running), "{effects:?}");
}

#[test]
fn beside_a_script_cargo_has_as_many_places_as_there_are_processors_free() {
    let config = Config { jobs: 8, cores: 2, strict: false, keep_going: false };
    let mut schedule = Schedule::new(config, Bytes::mib(4000));
    let mut script = unit(50, 10_000, Source::History);
    (script.retryable, script.running) = (false, true);
    let effects = schedule.handle(Millis(0), Input::Register(UnitId(1), script));
    assert!(effects.contains(&Effect::Places(1)), "one for its second compiler: {effects:?}");
    let compiler = unit(50, 10_000, Source::History);
    let effects = schedule.handle(Millis(10), Input::Register(UnitId(2), compiler));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Places(_))), "Cargo took it: {effects:?}");
    let end = Input::Finished { unit: UnitId(1), ok: true };
    let effects = schedule.handle(Millis(20), end);
    assert!(effects.contains(&Effect::Places(7)), "{effects:?}");
}

#[test]
fn strict_refuses_what_is_known_to_be_above_the_line() {
    let config = Config { jobs: 2, cores: 2, strict: true, keep_going: false };
    let mut schedule = Schedule::new(config, Bytes::mib(500));
    let giant = unit(900, 1000, Source::History);
    let effects = schedule.handle(Millis(0), Input::Register(UnitId(1), giant));
    assert!(effects.contains(&Effect::Refuse { unit: UnitId(1), needs: Bytes::mib(900) }));
}

#[test]
fn a_unit_lost_to_another_killer_runs_alone() {
    let mut schedule = schedule(1000);
    for id in 1..=3 {
        let new = unit(100, 5000, Source::History);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
    }
    let lost = Input::Lost { unit: UnitId(2), link: false, alone: true };
    assert!(admitted(&schedule.handle(Millis(10), lost)).is_empty());
    let late = Input::Register(UnitId(4), unit(10, 100, Source::History));
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
    let measured = |mib| Measured {
        unit: UnitId(1),
        memory: Bytes::mib(mib),
        link_memory: Bytes::ZERO,
        cpu: Millis(800),
        issued: 0,
        unread: 0,
    };
    let sample = |mib| {
        let (rest, cpu) = (Bytes::mib(20), Millis(800));
        Input::Sample { rest, cpu, units: vec![measured(mib)] }
    };
    let mut schedule = schedule(300);
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(1), unit(20, 100, Source::Cold)));
    let _ = schedule.handle(Millis(1000), sample(220));
    let late = unit(60, 100, Source::Cold);
    assert!(admitted(&schedule.handle(Millis(1005), Input::Register(UnitId(2), late))).is_empty());
    assert!(admitted(&schedule.handle(Millis(1015), sample(0))).is_empty(), "its word is coming");
    assert_eq!(admitted(&schedule.handle(Millis(1200), sample(0))), [2], "it was no end");
}

#[test]
fn an_anchor_that_waits_for_a_stopped_one_brings_it_back() {
    let mut schedule = schedule(500);
    for id in 1..=2 {
        let new = unit(150, 50_000, Source::Cold);
        let _ = schedule.handle(Millis(0), Input::Register(UnitId(id), new));
    }
    let sample = |first: u64, second: u64| Input::Sample {
        rest: Bytes::mib(50),
        cpu: Millis(800),
        units: [(1, first), (2, second)]
            .map(|(id, mib)| Measured {
                unit: UnitId(id),
                memory: Bytes::mib(mib),
                link_memory: Bytes::ZERO,
                cpu: Millis(400),
                issued: 0,
                unread: 0,
            })
            .to_vec(),
    };
    let _ = schedule.handle(Millis(400), sample(100, 80));
    let effects = schedule.handle(Millis(900), sample(240, 190));
    assert!(effects.contains(&Effect::Suspend(UnitId(2), Cause::Pressure)), "{effects:?}");
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

#[test]
fn a_decision_over_a_thousand_queued_units_is_made_in_one_pass() {
    let mut schedule = schedule(700);
    let _ = schedule.handle(Millis(0), Input::Register(UnitId(0), unit(600, 9000, Source::Cold)));
    for id in 1..1000 {
        let new = unit(200 + u64::from(id) % 90, 9000, Source::Cold);
        assert!(admitted(&schedule.handle(Millis(1), Input::Register(UnitId(id), new))).is_empty());
    }
    assert_eq!(schedule.views().filter(|v| v.state == RunState::Waiting).count(), 999);
}
