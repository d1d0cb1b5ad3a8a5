//! The schedule against a model machine: every invariant of docs/architecture.md as a property.

use proptest::prelude::*;

use super::*;
use crate::forecast::{Curve, ForecastSource};

/// A unit as it really is, and as it is believed to be.
#[derive(Clone, Debug)]
struct Truth {
    peak: u64,
    cpu: u64,
    believed: f64,
    source: ForecastSource,
    retryable: bool,
    script: bool,
    fails: bool,
    /// The peak of its linker, and its work.
    link: Option<(u64, u64)>,
    arrives: u64,
    /// The build script or compiler that starts it at half of its work, and waits for it.
    inside: Option<u32>,
    /// How many it starts at once itself.
    jobs: usize,
    /// Somebody else kills it once, when it is stopped or at half of its work.
    lost: bool,
    build: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    None,
    Runs,
    Stopped,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Link {
    NotYet,
    Waits,
    /// And has worked for so long.
    Runs(f64),
}

struct Running {
    process: Process,
    cpu: f64,
    link: Link,
    kills: u32,
    admitted: u64,
    lost: bool,
    /// Whatever runs for it is kept stopped.
    still: bool,
    /// What of it is in the swap, in MiB, and whether it is being written there.
    out: f64,
    paging: bool,
}

/// Processors, units and linkers whose memory rises evenly to the peak in the first half of their work,
/// compilers that keep little of it while they wait for their linker, a sampler that looks when the schedule
/// asks for it, and effects that are carried out at once.
struct Machine {
    truths: Vec<Truth>,
    cores: f64,
    worked: f64,
    units: BTreeMap<u32, Running>,
    done: BTreeSet<u32>,
    schedule: Schedule,
    now: u64,
    budget: Bytes,
    highest_beside: Bytes,
    /// Builds with a budget of their own, alone or inside one cgroup limit; the budget, and the most that they held in several
    /// units.
    own: Vec<(BTreeSet<u32>, Bytes, Bytes)>,
    failed: bool,
    keep_going: bool,
    admitted_after_failure: bool,
    /// The swap, in MiB.
    swap: u64,
    /// Somebody pauses this build at this moment, for so long.
    pause: Option<(u32, u64, u64)>,
}

const REST: u64 = 60;

/// What a compiler holds while it links.
const KEPT: u64 = 30;

impl Machine {
    fn new(truths: Vec<Truth>, budget_mib: u64, config: Config) -> Self {
        Self {
            truths,
            cores: f64::from(config.cores),
            worked: 0.0,
            units: BTreeMap::new(),
            done: BTreeSet::new(),
            schedule: Schedule::of_one(config, Bytes::mib(budget_mib)),
            now: 0,
            budget: Bytes::mib(budget_mib),
            highest_beside: Bytes::ZERO,
            own: Vec::new(),
            failed: false,
            keep_going: config.keep_going,
            admitted_after_failure: false,
            swap: 0,
            pause: None,
        }
    }

    fn works(&self, id: u32) -> bool {
        self.runs(id)
            && self.units[&id].link != Link::Waits
            && self.ancestors(id).all(|outer| self.runs(outer))
            && self.guests(id) == 0
    }

    fn runs(&self, id: u32) -> bool {
        self.units.get(&id).is_some_and(|it| it.process == Process::Runs)
    }

    fn ancestors(&self, id: u32) -> impl Iterator<Item = u32> {
        let outer = |id: u32| self.truths[id as usize].inside;
        std::iter::successors(outer(id), move |id| outer(*id))
    }

    /// The units that it has started and waits for.
    fn guests(&self, id: u32) -> usize {
        self.units.keys().filter(|other| self.truths[**other as usize].inside == Some(id)).count()
    }

    fn memory(&self, id: u32) -> Bytes {
        let (truth, unit) = (&self.truths[id as usize], &self.units[&id]);
        if unit.process == Process::None {
            return Bytes::ZERO;
        }
        let risen = |done: f64, work: u64| (done / (work as f64 / 2.0)).min(1.0);
        match unit.link {
            Link::NotYet => {
                Bytes::mib(1) + Bytes::mib(truth.peak).scale(risen(unit.cpu, truth.cpu))
            }
            Link::Waits | Link::Runs(_) => Bytes::mib(truth.peak.min(KEPT)) + self.link_memory(id),
        }
    }

    fn link_memory(&self, id: u32) -> Bytes {
        match (self.units[&id].link, self.truths[id as usize].link) {
            (Link::Runs(done), Some((peak, work))) => {
                Bytes::mib(peak).scale((done / (work as f64 / 2.0)).min(1.0))
            }
            _ => Bytes::ZERO,
        }
    }

    fn used(&self) -> Bytes {
        let resident =
            |(id, unit): (&u32, &Running)| self.memory(*id) - Bytes::mib(unit.out as u64);
        Bytes::mib(REST) + self.units.iter().map(resident).sum()
    }

    fn tell(&mut self, input: Input) {
        let now = Millis(self.now);
        let gives_way = |id: &u32| self.schedule.gives_way(UnitId(*id), now);
        let give_way: BTreeSet<u32> = self.units.keys().copied().filter(gives_way).collect();
        let effects = self.schedule.handle(now, input);
        let anchor = self.anchor();
        for effect in effects {
            if let Effect::Suspend(UnitId(id), _) = effect {
                let others_run = self.units.keys().any(|other| *other != id && self.works(*other));
                let moves = Some(id) != anchor || !others_run || give_way.contains(&id);
                assert!(moves, "the anchor was suspended");
            }
            self.carry_out(effect, anchor);
        }
        self.check_that_it_moves();
    }

    /// The oldest; where some cannot be killed it is one of those, and which one the schedule says. What waits
    /// for one inside it is none, where there are others, nor is a build script that does nothing.
    fn anchor(&self) -> Option<u32> {
        let now = Millis(self.now);
        let none = |other: &u32| self.units[other].process == Process::None;
        let idle = |id: u32| self.schedule.units.get(UnitId(id)).is_some_and(|it| it.is_idle(now));
        let may_run = |id: &u32| !self.schedule.is_paused(BuildNo(self.truths[*id as usize].build));
        let holds = |id: &u32| !none(id) && may_run(id);
        let holders: Vec<u32> = self.units.keys().copied().filter(holds).collect();
        let goes_on = |id: &u32| self.guests(*id) == 0 && !idle(*id);
        let free: Vec<u32> = holders.iter().copied().filter(goes_on).collect();
        let candidates = if free.is_empty() { holders } else { free };
        if candidates.iter().any(|id| !self.truths[*id as usize].retryable) {
            let UnitId(id) = self.schedule.anchor.expect("something runs");
            assert!(candidates.contains(&id), "the anchor waits for others");
            assert!(!self.truths[id as usize].retryable, "the anchor could be killed");
            return Some(id);
        }
        candidates.into_iter().min_by_key(|id| (self.units[id].admitted, *id))
    }

    fn carry_out(&mut self, effect: Effect, anchor: Option<u32>) {
        let others_run = |m: &Self, id: u32| m.units.keys().any(|o| *o != id && m.works(*o));
        let free_to_run = match effect {
            Effect::Admit { unit: UnitId(id), .. } | Effect::Resume(UnitId(id)) => {
                self.ancestors(id).all(|outer| self.runs(outer))
            }
            _ => true,
        };
        match effect {
            Effect::Admit { unit: UnitId(id), .. } => {
                self.admitted_after_failure |= self.failed;
                let now = self.now;
                let unit = self.units.get_mut(&id).expect("admitted what had registered");
                assert_eq!(unit.process, Process::None, "admitted once");
                assert!(free_to_run, "let in inside what is stopped");
                unit.process = if unit.still { Process::Stopped } else { Process::Runs };
                if unit.kills == 0 && !unit.lost {
                    unit.admitted = now;
                }
            }
            Effect::Suspend(UnitId(id), _) => {
                let inside = |other: &u32| self.ancestors(*other).any(|outer| outer == id);
                let stops_others = |other: &u32| self.runs(*other) && inside(other);
                assert!(!self.units.keys().any(stops_others) || self.pause.is_some());
                let unit = self.units.get_mut(&id).expect("known");
                (unit.process, unit.still) = (Process::Stopped, true);
            }
            Effect::Resume(UnitId(id)) => {
                assert!(free_to_run, "resumed inside what is stopped");
                let unit = self.units.get_mut(&id).expect("known");
                unit.still = false;
                (unit.out, unit.paging) = (0.0, false);
                if unit.process == Process::Stopped {
                    unit.process = Process::Runs;
                }
            }
            Effect::PageOut(UnitId(id)) => {
                assert!(Some(id) != anchor || !others_run(self, id), "the anchor was paged out");
                let unit = self.units.get_mut(&id).expect("known");
                assert_eq!(unit.process, Process::Stopped, "what runs reads its pages back");
                unit.paging = true;
            }
            Effect::Kill(UnitId(id), cause) => {
                assert!(self.truths[id as usize].retryable, "killed what cannot run again");
                assert!(
                    cause == StopReason::Ending || Some(id) != anchor || !others_run(self, id),
                    "the anchor was killed"
                );
                let unit = self.units.get_mut(&id).expect("known");
                (unit.process, unit.still) = (Process::None, false);
                (unit.cpu, unit.link) = (0.0, Link::NotYet);
                (unit.out, unit.paging) = (0.0, false);
                unit.kills += 1;
                assert!(unit.kills <= 3, "unit {id} is killed again and again");
            }
            Effect::Leave(UnitId(id)) => {
                self.units.remove(&id);
                self.done.insert(id);
            }
            Effect::AdmitLink(UnitId(id)) => {
                let unit = self.units.get_mut(&id).expect("known");
                assert_eq!((unit.process, unit.link), (Process::Runs, Link::Waits));
                unit.link = Link::Runs(0.0);
            }
            Effect::KillLink(UnitId(id), _) => {
                let unit = self.units.get_mut(&id).expect("known");
                assert!(matches!(unit.link, Link::Runs(_)), "its linker does not run");
                unit.link = Link::Waits;
            }
            Effect::Refuse { .. } => panic!("refused without --oversized refuse"),
            Effect::Tokens { .. }
            | Effect::Lone { .. }
            | Effect::Anchor(_)
            | Effect::JobSlots(..) => {}
        }
    }

    fn check_that_it_moves(&self) {
        let may_run =
            |id: &&u32| !self.schedule.is_paused(BuildNo(self.truths[**id as usize].build));
        if self.units.keys().any(|id| may_run(&id)) {
            assert!(self.units.keys().any(|id| self.works(*id)), "work is there and nothing runs");
        }
    }

    fn arrive(&mut self) {
        for id in 0..self.truths.len() as u32 {
            let truth = self.truths[id as usize].clone();
            let due = match truth.inside {
                None => truth.arrives <= self.now,
                Some(outer) => self.units.get(&outer).is_some_and(|it| {
                    it.process == Process::Runs
                        && it.link == Link::NotYet
                        && it.cpu >= self.truths[outer as usize].cpu as f64 / 2.0
                        && self.guests(outer) < self.truths[outer as usize].jobs
                }),
            };
            if !due || self.units.contains_key(&id) || self.done.contains(&id) {
                continue;
            }
            let process = if truth.script { Process::Runs } else { Process::None };
            let link = Link::NotYet;
            let (admitted, lost, still) = (self.now, false, false);
            // A Cargo that has failed starts nothing more.
            if self.failed && !self.keep_going && self.units.is_empty() {
                self.done.insert(id);
                continue;
            }
            let (out, paging) = (0.0, false);
            let running =
                Running { process, cpu: 0.0, link, kills: 0, admitted, lost, still, out, paging };
            self.units.insert(id, running);
            let peak = Bytes::mib(truth.peak).scale(truth.believed);
            let new = NewUnit {
                slims: false,
                forecast: Forecast {
                    curve: Curve::ramp(peak, Millis(truth.cpu).scale(truth.believed)),
                    log_sd: if truth.source == ForecastSource::History { 0.05 } else { 0.5 },
                    link_peak: Bytes::ZERO,
                    critical_path: None,
                    source: truth.source,
                },
                retryable: truth.retryable,
                links: truth.link.is_some(),
                inside: truth.inside.map(UnitId),
                running: truth.script,
                role: if truth.script { UnitRole::Script } else { UnitRole::Compiler },
                build: BuildNo(truth.build),
                cargo: Some(truth.build),
            };
            self.tell(Input::Register(UnitId(id), Box::new(new)));
        }
    }

    fn work(&mut self, step: u64) {
        let working: Vec<u32> = self.units.keys().copied().filter(|id| self.works(*id)).collect();
        let share = (self.cores / working.len().max(1) as f64).min(1.0) * step as f64;
        let (mut compiled, mut ended, mut lost) = (Vec::new(), Vec::new(), Vec::new());
        for (id, unit) in &mut self.units {
            let truth = &self.truths[*id as usize];
            if truth.lost && !unit.lost && unit.process == Process::Stopped {
                lost.push(*id);
            }
            if !working.contains(id) {
                continue;
            }
            unit.cpu += share;
            self.worked += share;
            if truth.lost && !unit.lost && unit.cpu >= truth.cpu as f64 / 2.0 {
                lost.push(*id);
                continue;
            }
            match (&mut unit.link, truth.link) {
                (Link::Runs(done), Some((_, work))) => {
                    *done += share;
                    if *done >= work as f64 {
                        ended.push(*id);
                    }
                }
                (_, Some((peak, _))) if unit.cpu >= truth.cpu as f64 => {
                    compiled.push((*id, Bytes::mib(peak).scale(truth.believed)));
                }
                (_, None) if unit.cpu >= truth.cpu as f64 => ended.push(*id),
                _ => {}
            }
        }
        for id in lost {
            let unit = self.units.get_mut(&id).expect("it works");
            (unit.process, unit.cpu, unit.link) = (Process::None, 0.0, Link::NotYet);
            (unit.lost, unit.out, unit.paging) = (true, 0.0, false);
            let again = RestartMode::Alone;
            self.tell(Input::Lost { unit: UnitId(id), link: false, again });
        }
        // Of two that come to their linkers at once, the second works until it has asked.
        for (id, expected) in compiled {
            self.units.get_mut(&id).expect("it works").link = Link::Waits;
            self.tell(Input::LinkAsked(UnitId(id), expected));
        }
        for id in ended {
            if self.truths[id as usize].link.is_some() {
                self.tell(Input::LinkFinished(UnitId(id)));
            }
            self.units.remove(&id);
            self.done.insert(id);
            let ok = !self.truths[id as usize].fails;
            self.failed |= !ok && self.truths[id as usize].inside.is_none();
            self.tell(Input::Finished { unit: UnitId(id), ok });
        }
    }

    /// To a disk of 200 MiB/s.
    fn write_out(&mut self, step: u64) {
        let paging: Vec<u32> =
            self.units.iter().filter(|(_, unit)| unit.paging).map(|(id, _)| *id).collect();
        for id in paging {
            let whole = self.memory(id).0 as f64 / f64::from(1 << 20);
            let unit = self.units.get_mut(&id).expect("it is there");
            unit.out = (unit.out + step as f64 / 5.0).min(whole);
        }
    }

    fn sample(&mut self) {
        let units = self.units.iter().map(|(id, unit)| UnitMeasurement {
            unit: UnitId(*id),
            memory: self.memory(*id),
            link_memory: self.link_memory(*id),
            swapped: Bytes::mib(unit.out as u64),
            cpu: Millis(unit.cpu as u64),
            issued: 0,
            unread: 0,
        });
        let units = units.collect();
        if self.swap > 0 {
            let filled: f64 = self.units.values().map(|unit| unit.out).sum();
            let swap = Bytes::mib(self.swap.saturating_sub(filled as u64));
            self.tell(Input::Budget {
                budget: self.budget,
                machine: Bytes::MAX,
                swap,
                thrashes: false,
            });
        }
        let cpu = Millis(self.worked as u64);
        self.tell(Input::Sample { rest: Bytes::mib(REST), builds: Vec::new(), cpu, units });
    }

    fn run(&mut self) {
        let mut sampled = 0;
        let work = |truth: &Truth| truth.cpu + truth.link.map_or(0, |(_, cpu)| cpu);
        let total: u64 = self.truths.iter().map(work).sum();
        let last = self.truths.iter().map(|t| t.arrives).max().unwrap_or(0);
        while self.done.len() < self.truths.len() {
            assert!(self.now < last + 6 * total + 60_000, "the build does not end");
            if let Some((build, from, length)) = self.pause {
                let paused = (from..from + length).contains(&self.now);
                if paused != self.schedule.is_paused(BuildNo(build)) {
                    self.tell(Input::Pause(BuildNo(build), paused));
                }
            }
            self.arrive();
            self.work(5);
            self.write_out(5);
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
            let (truths, units) = (&self.truths, &self.units);
            let mut own = std::mem::take(&mut self.own);
            for (builds, _, highest) in &mut own {
                let of_it = units.iter().filter(|(id, unit)| {
                    builds.contains(&truths[**id as usize].build) && unit.process != Process::None
                });
                let held: Vec<Bytes> = of_it.map(|(id, _)| self.memory(*id)).collect();
                if held.len() > 1 {
                    *highest = (*highest).max(held.into_iter().sum());
                }
            }
            self.own = own;
        }
    }
}

fn truth(kinds: bool) -> impl Strategy<Value = Truth> {
    let source = prop_oneof![
        Just(ForecastSource::History),
        Just(ForecastSource::RelatedCrate),
        Just(ForecastSource::Cold)
    ];
    let link = prop_oneof![Just(None), (5u64..300, 500u64..3000).prop_map(Some)];
    let numbers = (5u64..400, 50u64..6000, 0.4f64..1.6, 0u64..8000);
    (numbers, source, 0u32..20, link).prop_map(
        move |((peak, cpu, wrong, arrives), source, dice, link)| Truth {
            // No compiler that we measured gains more than 0.5 MiB in a millisecond of its own time.
            peak: peak.min(cpu / 4).max(2),
            cpu,
            believed: if source == ForecastSource::History { 0.97 + wrong / 20.0 } else { wrong },
            source,
            retryable: !kinds || dice != 0,
            script: kinds && dice == 0,
            fails: kinds && dice == 1,
            link: link.filter(|_| !kinds || dice != 0).map(|(peak, cpu)| (peak.min(cpu / 4), cpu)),
            arrives,
            inside: None,
            jobs: usize::MAX,
            lost: false,
            build: 1,
        },
    )
}

/// While more than one unit holds memory.
fn stays_under(budget: u64, truths: Vec<Truth>, config: Config) -> Result<(), TestCaseError> {
    let mut machine = Machine::new(truths, budget, config);
    machine.run();
    let (highest, budget) = (machine.highest_beside, machine.budget);
    prop_assert!(highest <= budget, "{highest} above {budget}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// The sum stays under the budget while more than one unit holds memory; every unit ends; nothing is
    /// killed more than three times; with work there, something runs; the anchor goes on.
    #[test]
    fn the_budget_holds_and_the_build_ends(
        truths in proptest::collection::vec(truth(false), 1..40),
        budget in 520u64..1500,
        jobs in 1u32..16,
        cores in 1u32..12,
    ) {
        let config = Config { jobs, cores, oversized: Oversized::Shrink, keep_going: false };
        stays_under(budget, truths, config)?;
    }

    /// The same where what is stopped may be paged out instead of killed.
    #[test]
    fn with_swap_the_budget_holds_for_what_is_in_memory_and_the_build_ends(
        mut truths in proptest::collection::vec(truth(true), 1..40),
        budget in 520u64..1500,
        swap in 100u64..4000,
        cores in 1u32..12,
    ) {
        truths.iter_mut().for_each(|truth| truth.fails = false);
        let config = Config { jobs: 16, cores, oversized: Oversized::Shrink, keep_going: false };
        let scripts = truths.iter().any(|truth| truth.script);
        let mut machine = Machine::new(truths, budget, config);
        machine.swap = swap;
        machine.run();
        prop_assert!(scripts || machine.highest_beside <= machine.budget);
    }

    /// Also with units that nobody can kill (build scripts, and what runs behind a wrapper of the user's):
    /// where what they need is known, and each would fit alone, but no three together.
    #[test]
    fn what_cannot_be_killed_but_is_known_stays_under_the_budget(
        mut truths in proptest::collection::vec(truth(false), 4..30),
        unkillable in 2usize..5,
        budget in 520u64..1500,
        cores in 1u32..12,
    ) {
        for (number, truth) in truths.iter_mut().take(unkillable).enumerate() {
            (truth.script, truth.retryable) = (number % 2 == 0, false);
            (truth.source, truth.believed, truth.peak) = (ForecastSource::History, 1.0, budget * 2 / 5);
            truth.cpu = truth.cpu.max(truth.peak * 4);
            truth.link = None;
        }
        let config = Config { jobs: 16, cores, oversized: Oversized::Shrink, keep_going: false };
        stays_under(budget, truths, config)?;
    }

    /// With build scripts that cannot be killed and units that fail, the build still ends, and after a
    /// failure nothing more is admitted.
    #[test]
    fn failures_and_build_scripts_end_too(
        truths in proptest::collection::vec(truth(true), 1..40),
        budget in 520u64..1500,
        jobs in 1u32..16,
        cores in 1u32..12,
        keep_going: bool,
    ) {
        let config = Config { jobs, cores, oversized: Oversized::Shrink, keep_going };
        let mut machine = Machine::new(truths, budget, config);
        machine.run();
        prop_assert!(keep_going || !machine.admitted_after_failure);
    }

    /// What somebody else kills runs again, also where a build script waits for it.
    #[test]
    fn what_is_lost_runs_again_and_the_build_ends(
        mut truths in proptest::collection::vec(truth(false), 6..30),
        lost in proptest::collection::vec(0usize..30, 1..6),
        scripts in 1usize..4,
        nested in 1usize..6,
        budget in 520u64..1500,
        cores in 1u32..12,
    ) {
        for truth in truths.iter_mut().take(scripts) {
            (truth.script, truth.retryable, truth.link) = (true, false, None);
        }
        for (number, truth) in truths.iter_mut().skip(scripts).take(nested).enumerate() {
            (truth.inside, truth.lost) = (Some((number % scripts) as u32), true);
        }
        for number in lost {
            let of = number % truths.len();
            truths[of].lost |= truths[of].retryable;
        }
        let config = Config { jobs: 16, cores, oversized: Oversized::Shrink, keep_going: false };
        Machine::new(truths, budget, config).run();
    }

    /// Units inside build scripts and compilers, and inside those, as many at once as their own Cargo starts: the budget
    /// holds for them, too, none waits for one that waits for it, and all end.
    #[test]
    fn what_is_inside_others_stays_under_the_budget_and_ends(
        mut truths in proptest::collection::vec(truth(false), 12..40),
        scripts in 1usize..4,
        compilers in 0usize..4,
        inside in proptest::collection::vec(0usize..7, 1..30),
        own_jobs in proptest::collection::vec(1usize..9, 7),
        lost in proptest::collection::vec(0usize..40, 0..4),
        budget in 750u64..1500,
        jobs in 1u32..16,
        cores in 1u32..12,
    ) {
        let hosts = scripts + compilers;
        for (number, truth) in truths.iter_mut().take(hosts).enumerate() {
            (truth.source, truth.believed, truth.link) = (ForecastSource::History, 1.0, None);
            (truth.peak, truth.jobs) = (truth.peak.min(30), own_jobs[number]);
            if number < scripts {
                (truth.script, truth.retryable) = (true, false);
            } else {
                truth.inside = Some((number % scripts) as u32);
            }
        }
        for (truth, outer) in truths.iter_mut().skip(hosts).zip(inside) {
            truth.inside = Some((outer % hosts) as u32);
        }
        for number in lost {
            let of = hosts + number % (truths.len() - hosts);
            truths[of].lost = true;
        }
        stays_under(budget, truths, Config { jobs, cores, oversized: Oversized::Shrink, keep_going: false })?;
    }

    /// Builds that share the machine, some under budgets of their own, some inside one cgroup limit, some awaited by a
    /// person, some paused for a while: the machine's budget holds, each build's own budget holds, the cgroup limit's holds,
    /// and all of them end.
    #[test]
    fn builds_share_the_budget_and_each_keeps_its_own(
        mut truths in proptest::collection::vec(truth(false), 6..40),
        of in proptest::collection::vec(1u32..4, 40),
        lines in proptest::collection::vec(proptest::option::of(400u64..900), 3),
        cgroup in proptest::option::of((420u64..900, proptest::collection::btree_set(1u32..4, 1..4))),
        awaited in proptest::collection::vec(any::<bool>(), 3),
        pause in proptest::option::of((1u32..4, 0u64..6000, 1u64..9000)),
        budget in 520u64..1500,
        cores in 1u32..12,
    ) {
        for (truth, build) in truths.iter_mut().zip(of) {
            truth.build = build;
        }
        let config = Config { jobs: 16, cores, oversized: Oversized::Shrink, keep_going: false };
        let mut machine = Machine::new(truths, budget, config);
        for (number, (budget, interactive)) in lines.into_iter().zip(awaited).enumerate() {
            let (build, budget) = (number as u32 + 1, budget.map(Bytes::mib));
            let terms = BuildTerms { jobs: 16, budget, interactive, ..BuildTerms::default() };
            machine.own.extend(budget.map(|budget| ([build].into(), budget, Bytes::ZERO)));
            machine.tell(Input::Open(BuildNo(build), terms));
        }
        if let Some((budget, builds)) = cgroup {
            let budget = Bytes::mib(budget);
            machine.own.push((builds.clone(), budget, Bytes::ZERO));
            let builds = builds.into_iter().map(BuildNo).collect();
            let cgroup = CgroupBudget { budget, capacity: Bytes::MAX, swap: Bytes::ZERO, builds };
            machine.tell(Input::CgroupBudgets([(CgroupNo(1), cgroup)].into()));
        }
        machine.pause = pause;
        machine.run();
        prop_assert!(machine.highest_beside <= machine.budget);
        for (builds, budget, highest) in &machine.own {
            prop_assert!(highest <= budget, "builds {builds:?}: {highest} above {budget}");
        }
    }
}
