//! Who runs when: the schedule, a state machine without IO.
//!
//! [`Schedule::handle`] takes what happened ([`Input`]) and the moment at which it happened, and gives
//! back what to do ([`Effect`]). It never reads a clock, so the same inputs always give the same
//! effects: property tests, a replay and the live governor all run this code.
//!
//! A unit's states:
//!
//! ```text
//!            register                 admit                    finish
//!   (shim) ──────────────▶ Waiting ───────────▶ Running ─────────────────▶ gone
//!                            ▲ │ leave, refuse    │  ▲
//!                            │ ▼                  ▼  │ resume
//!                            │ gone           Suspended
//!                            └──────── kill, lost ──┘        (attempt + 1)
//! ```
//!
//! A build script's run starts without asking (Cargo starts it): it registers as Running, and is
//! suspended at once where there is no room.
//!
//! What it deliberately does not do: measure, signal, log, or know what a process is.

mod admit;
mod builds;
mod cgroups;
mod interval;
mod outlook;
mod paging;
mod pressure;
mod processors;
mod queue;
mod room;
mod stages;
mod tally;
mod tokens;
mod unit;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::forecast::Forecast;
use crate::ids::{BuildNo, CgroupNo, UnitId};
use crate::measure::{Bytes, Millis};
use crate::oversized::Shrink;

use builds::Builds;
pub use builds::{BadPriority, BuildStanding, BuildTerms, Priority};
pub use cgroups::CgroupBudget;
use cgroups::CgroupBudgets;
use processors::Processors;
pub use unit::{LinkState, RunState, UnitView};
use unit::{ScheduledUnit, UnitTable};

/// What a unit brings when it registers.
#[derive(Clone, Debug)]
pub struct NewUnit {
    /// The build that it belongs to.
    pub build: BuildNo,
    /// What is expected of it.
    pub forecast: Forecast,
    /// It may be killed and started again.
    pub retryable: bool,
    /// It is a compiler that will run a linker at its end.
    pub links: bool,
    /// There are settings with which it would need less and write something else.
    pub slims: bool,
    /// The registered unit in whose process tree it runs: a build script, a test, a command or a compiler.
    pub inside: Option<UnitId>,
    /// It runs already: a build script, or one that another governor had admitted.
    pub running: bool,
    /// What it is to the schedule.
    pub role: UnitRole,
    /// The Cargo that asks, by its process id: others may run in the same build, and each fails for itself. None where
    /// a build script has started it by itself: a probe may fail by design.
    pub cargo: Option<u32>,
}

/// What a unit is to the schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitRole {
    /// A compiler or documenter: its shim waits to be admitted, and can run it again.
    #[default]
    Compiler,
    /// A build script's run: Cargo starts it without asking, and what it starts belongs to it.
    Script,
    /// A test's run. It asks before it begins; from then on it is left alone, because a test that is stopped misses
    /// its deadlines and one that is killed has failed. It takes no processor: how many run at once its own runner
    /// says. What it compiles are units of their own.
    Test,
    /// A command that is not Cargo, with all that it starts, but for compilers, which are units of their own.
    Command,
}

impl UnitRole {
    /// Others may run below it that are units of their own: nobody of those waits for its end.
    pub(super) fn hosts(self) -> bool {
        matches!(self, Self::Test | Self::Command)
    }
}

/// The measured state of one unit.
#[derive(Clone, Copy, Debug)]
pub struct UnitMeasurement {
    /// The unit.
    pub unit: UnitId,
    /// Tree memory, the linker's included.
    pub memory: Bytes,
    /// The linker's part of it.
    pub link_memory: Bytes,
    /// The swapped part of it.
    pub swapped: Bytes,
    /// Processor time of the tree in this attempt.
    pub cpu: Millis,
    /// Tokens issued to it beside the implicit one.
    pub issued: u32,
    /// Of these, tokens that nobody has read: not in use.
    pub unread: u32,
}

/// How a unit runs again that somebody else has killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartMode {
    /// Like any other.
    Plainly,
    /// Preferably with nothing beside it: it may have been for want of memory.
    Preferably,
    /// With nothing beside it: memory was short.
    Alone,
}

/// Why a unit was paused or killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// The build's memory is about to cross the budget.
    Pressure,
    /// A build script started that the budget had no room for yet.
    NoRoom,
    /// It alone is above what the machine has.
    TooLarge,
    /// The build is ending: an error elsewhere, or an interrupt.
    Ending,
    /// Somebody has paused the build.
    Paused,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A build came, or asks for something else than before.
    Open(BuildNo, BuildTerms),
    /// A build is over; its units have ended, or end by themselves.
    Close(BuildNo),
    /// Somebody wants that nothing of this build runs, or no longer wants that.
    Pause(BuildNo, bool),
    /// The build's first process is stopped, by somebody else; or goes on.
    RootStopped(BuildNo, bool),
    /// It holds a lock that somebody waits for whom a person waits for, or no longer does.
    LockAwaited(BuildNo, bool),
    /// A unit asks to be admitted (or, a build script, was found running).
    Register(UnitId, Box<NewUnit>),
    /// Its metadata is written: killing it now makes work for its dependents.
    Announced {
        /// The unit.
        unit: UnitId,
        /// A second run would write the same again; else the unit fails after one.
        repeats: bool,
    },
    /// Its linker asks to start and is expected to need this much.
    LinkAsked(UnitId, Bytes),
    /// Its linker ended.
    LinkFinished(UnitId),
    /// Its compiler (or only its linker) was killed by somebody else; its shim waits to run it again.
    Lost {
        /// The unit.
        unit: UnitId,
        /// Only the linker was lost.
        link: bool,
        /// How it runs again.
        again: RestartMode,
    },
    /// It ended, well or not.
    Finished {
        /// The unit.
        unit: UnitId,
        /// Its exit code was 0.
        ok: bool,
    },
    /// Its shim vanished without a word: its Cargo takes that for a failure.
    ShimGone(UnitId),
    /// A measurement of everything.
    Sample {
        /// Memory below the budget that belongs to no unit: cargo, the governor, helpers.
        rest: Bytes,
        /// Each build's part of it, where there are several.
        builds: Vec<(BuildNo, Bytes)>,
        /// Processor time of everything so far, what has ended included.
        cpu: Millis,
        /// The units.
        units: Vec<UnitMeasurement>,
    },
    /// The budget moved.
    Budget {
        /// The budget from now on.
        budget: Bytes,
        /// What the machine has for this build at the very most, its swap included: a unit that is
        /// above this by itself is stopped before the machine thrashes. [`Bytes::MAX`]: no such limit.
        machine: Bytes,
        /// Swap into which what is stopped may be paged out to make room under this budget; none where the budget counts
        /// what is swapped out.
        swap: Bytes,
        /// What is read from files does not fit beside the build: processors idle for want of memory, and
        /// more units would make that worse.
        thrashes: bool,
    },
    /// The cgroup limits that stand now around some of the builds.
    CgroupBudgets(BTreeMap<CgroupNo, CgroupBudget>),
    /// How this build's units hang together is known now, and [`Input::CriticalPath`]s have said it: what its way to the end
    /// was taken for before does not count.
    GraphKnown(BuildNo),
    /// The longest path from this unit to the end of the build became known.
    CriticalPath(UnitId, Millis),
    /// The stage of a staged build that this unit belongs to became known.
    Stage(UnitId, u32),
    /// Nothing happened, but time passed.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Let the unit run.
    Admit {
        /// The unit.
        unit: UnitId,
        /// Counted from 1.
        attempt: u32,
        /// How far it is to go to need less, for the unit is expected to cross the budget alone.
        shrink: Shrink,
    },
    /// Make the unit's issued tokens this many (beside the implicit one); tokens that it has read
    /// cannot be taken back.
    Tokens {
        /// The unit.
        unit: UnitId,
        /// The tokens to aim at.
        issue: u32,
    },
    /// Let the unit's linker run.
    AdmitLink(UnitId),
    /// Stop its processes.
    Suspend(UnitId, StopReason),
    /// Write what it holds to the swap, now that it is stopped.
    PageOut(UnitId),
    /// Let its processes go on.
    Resume(UnitId),
    /// Kill its compiler; its shim waits to be admitted again.
    Kill(UnitId, StopReason),
    /// Kill its linker only; its link shim waits to be admitted again.
    KillLink(UnitId, StopReason),
    /// It is above the budget by itself (or what there is is above the machine) and may not run: tell its shim to fail.
    Refuse {
        /// The unit.
        unit: UnitId,
        /// What it is known to need, by itself.
        needs: Bytes,
        /// What it is expected to need in all, where it was stopped on its way up.
        expected: Bytes,
        /// The budget that it is above of.
        budget: Bytes,
    },
    /// It runs with nothing beside it, and what there is is above the budget: the unit by itself, or with what belongs
    /// to no unit.
    Lone {
        /// The unit.
        unit: UnitId,
        /// What it is known to need, by itself.
        needs: Bytes,
        /// The budget now.
        budget: Bytes,
    },
    /// The build has failed elsewhere: tell its shim to leave.
    Leave(UnitId),
    /// This unit is the anchor from now on: the kernel should take anything before it.
    Anchor(UnitId),
    /// Have this many places on the pipe of the build's Cargo, those included that are taken: Cargo runs one
    /// unit more than it takes, and a build script's compilers take from the same pipe.
    JobSlots(BuildNo, u32),
}

/// The schedule of the builds that share a budget.
#[derive(Debug)]
pub struct Schedule {
    /// Processors that this process may use. More units or threads than that, whatever a build's jobs say,
    /// run only where the processors are seen to idle.
    cores: u32,
    builds: Builds,
    cgroups: CgroupBudgets,
    units: UnitTable,
    /// Memory below the budget that belongs to no unit.
    rest: Bytes,
    budget: Bytes,
    machine: Bytes,
    swap: Bytes,
    /// The Cargos that have failed and still have units here: they start nothing more.
    failed: BTreeSet<u32>,
    /// The unit told to be the anchor last. Invariant: the anchor is never suspended or killed while
    /// another unit runs, so that the build always moves; see [`UnitTable::anchor`]. But for what a person waits for
    /// it stands still, for a while ([`Schedule::gives_way`]).
    anchor: Option<UnitId>,
    /// The anchor's processor time when it last advanced, and the moment of that.
    anchor_progress: (Millis, Millis),
    processors: Processors,
}

impl Schedule {
    /// An empty schedule for so many processors (jobs count by build), under `line`.
    #[must_use]
    pub fn new(cores: u32, budget: Bytes) -> Self {
        Self {
            cores,
            builds: Builds::default(),
            cgroups: CgroupBudgets::default(),
            units: UnitTable::default(),
            rest: Bytes::ZERO,
            budget,
            machine: Bytes::MAX,
            swap: Bytes::ZERO,
            failed: BTreeSet::new(),
            anchor: None,
            anchor_progress: (Millis::ZERO, Millis::ZERO),
            processors: Processors::default(),
        }
    }

    /// Takes in what happened at `now` and decides what to do about it, in order.
    #[must_use]
    pub fn handle(&mut self, now: Millis, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        let measured = matches!(input, Input::Sample { .. });
        self.take(now, input, &mut effects);
        self.leave(&mut effects);
        self.hold_paused(now, &mut effects);
        self.choose_anchor(now, &mut effects);
        if measured {
            self.relieve(now, &mut effects);
        }
        let room = self.admit(now, &mut effects);
        self.share_tokens(&room, &mut effects);
        self.share_job_slots(&room, &mut effects);
        self.builds.look(now, &self.units);
        effects
    }

    /// Everything below the budget, as last measured.
    #[must_use]
    pub fn used(&self) -> Bytes {
        self.rest + self.units.iter().map(|(_, unit)| unit.resident()).sum()
    }

    /// What of that belongs to one build.
    #[must_use]
    pub fn used_by(&self, build: BuildNo) -> Bytes {
        let rest = self.builds.get(build).map(|it| it.rest).unwrap_or_default();
        let own = self.units.iter().filter(|(_, unit)| unit.build == build);
        rest + own.map(|(_, unit)| unit.resident()).sum()
    }

    /// The budget of all builds now.
    #[must_use]
    pub fn budget(&self) -> Bytes {
        self.budget
    }

    /// The cgroup limits as they were told last.
    #[must_use]
    pub fn cgroup_budgets(&self) -> &BTreeMap<CgroupNo, CgroupBudget> {
        self.cgroups.all()
    }

    /// The budget that bounds one build now: the lowest of the machine's, those of the cgroup limits around it, and its own.
    #[must_use]
    pub fn budget_of(&self, build: BuildNo) -> Bytes {
        self.scopes_of(build).map(|scope| self.budget_in(scope)).min().unwrap_or(self.budget)
    }

    /// Whether a unit of the build waits for memory now while a processor is free for it.
    #[must_use]
    pub fn is_short(&self, build: BuildNo) -> bool {
        self.builds.get(build).is_some_and(|build| build.short)
    }

    /// How a build stands among the others.
    #[must_use]
    pub fn standing(&self, build: BuildNo) -> BuildStanding {
        self.builds.get(build).map(builds::ScheduledBuild::standing).unwrap_or_default()
    }

    /// Whether a person waits for the build, or for somebody who waits for it.
    #[must_use]
    pub fn goes_first(&self, build: BuildNo) -> bool {
        self.builds.goes_first(build)
    }

    /// Whether somebody has asked that nothing of the build run.
    #[must_use]
    pub fn is_paused(&self, build: BuildNo) -> bool {
        self.builds.is_paused(build)
    }

    /// The units that are not gone, by id.
    pub fn views(&self) -> impl Iterator<Item = UnitView> {
        self.units.iter().map(|(id, unit)| unit.view(id))
    }

    /// What `unit` is, while it is not gone.
    #[must_use]
    pub fn view(&self, unit: UnitId) -> Option<UnitView> {
        self.units.get(unit).map(|state| state.view(unit))
    }

    fn take(&mut self, now: Millis, input: Input, effects: &mut Vec<Effect>) {
        match input {
            Input::Open(no, terms) => self.builds.open(no, terms),
            Input::Close(no) => self.builds.close(no),
            Input::RootStopped(no, stands) => self.builds.with(no, |build| build.stands = stands),
            Input::Pause(no, paused) => self.builds.with(no, |build| build.paused = paused),
            Input::LockAwaited(no, lifted) => self.builds.with(no, |build| build.lifted = lifted),
            Input::Register(id, new) => self.register(now, id, *new),
            Input::Announced { unit, repeats } => self.units.with(unit, |unit| {
                (unit.announced, unit.repeats) = (true, repeats);
            }),
            Input::LinkAsked(id, peak) => self.units.with(id, |unit| {
                unit.link = LinkState::Waiting { since: now, peak };
            }),
            Input::LinkFinished(id) => self.units.with(id, |unit| {
                unit.link = LinkState::None;
                unit.link_memory = Bytes::ZERO;
            }),
            Input::Lost { unit: id, link, again } => self.units.with(id, |unit| {
                // Its processes may have been stopped when they were killed: the next must not be.
                if !link {
                    effects.extend(unit.resume(now, id));
                }
                unit.lost(now, link, again);
            }),
            Input::Finished { unit, ok } => {
                if !ok {
                    self.fail(unit);
                }
                self.units.remove(unit);
            }
            Input::ShimGone(unit) => {
                self.fail(unit);
                self.units.remove(unit);
            }
            Input::Sample { rest, builds, cpu, units } => {
                self.rest = rest;
                for (no, rest) in builds {
                    self.builds.with(no, |build| build.rest = rest);
                }
                for measured in units {
                    self.units.with(measured.unit, |unit| unit.measure(now, &measured));
                }
                self.processors.measure(now, cpu, self.active(), self.cores);
            }
            Input::Budget { budget, machine, swap, thrashes } => {
                (self.budget, self.machine, self.swap) = (budget, machine, swap);
                self.processors.thrashes(thrashes);
            }
            Input::CgroupBudgets(cgroups) => self.cgroups.set(cgroups),
            Input::GraphKnown(no) => self.builds.with(no, |build| build.path = None),
            Input::CriticalPath(id, critical_path) => {
                self.units.with(id, |unit| unit.forecast.critical_path = Some(critical_path))
            }
            Input::Stage(id, stage) => self.units.with(id, |unit| unit.stage = Some(stage)),
            Input::Tick => {}
        }
    }

    fn register(&mut self, now: Millis, id: UnitId, new: NewUnit) {
        self.builds.wakes(new.build, &self.units);
        self.builds.with(new.build, |build| build.stage.stir());
        self.units.insert(id, ScheduledUnit::new(now, new));
    }

    /// The unit's Cargo will not get what it asked for. A test that fails is no reason to compile less. Whether a Cargo
    /// inside another unit goes on after a failure is not known.
    fn fail(&mut self, id: UnitId) {
        let own = self.units.get(id).filter(|unit| unit.role != UnitRole::Test);
        if let Some(unit) = own.filter(|unit| !self.builds.terms(unit.build).keep_going) {
            self.failed.extend(unit.cargo);
        }
    }

    /// After its first failure a Cargo starts nothing more, but waits for all that is active: what waits
    /// leaves at once, and what is stopped does not hold the end up. With the last of its units the failure
    /// is forgotten: what it asks for later belongs to something else (`cargo install a b`, doctests).
    fn leave(&mut self, effects: &mut Vec<Effect>) {
        if self.failed.is_empty() {
            return;
        }
        let mut leaving = Vec::new();
        let has_failed =
            |unit: &ScheduledUnit| unit.cargo.is_some_and(|cargo| self.failed.contains(&cargo));
        for (id, unit) in self.units.iter().filter(|(_, unit)| has_failed(unit)) {
            match unit.state {
                RunState::Waiting => {}
                RunState::Suspended if unit.retryable => {
                    effects.push(Effect::Kill(id, StopReason::Ending))
                }
                _ => continue,
            }
            effects.push(Effect::Leave(id));
            leaving.push(id);
        }
        for id in leaving {
            self.units.remove(id);
        }
        let here: BTreeSet<u32> = self.units.iter().filter_map(|(_, unit)| unit.cargo).collect();
        self.failed.retain(|cargo| here.contains(cargo));
    }

    /// What belongs to a build that somebody has paused stands still, until it is continued.
    fn hold_paused(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        let runs: Vec<UnitId> = self
            .units
            .iter()
            .filter(|(_, unit)| unit.is_running())
            .filter(|(_, unit)| self.builds.get(unit.build).is_some_and(|build| build.paused))
            .map(|(id, _)| id)
            .collect();
        for id in runs {
            self.units.with(id, |unit| effects.push(unit.suspend(now, id, StopReason::Paused)));
        }
    }

    fn choose_anchor(&mut self, now: Millis, effects: &mut Vec<Effect>) {
        for no in self.builds.numbers() {
            let own = |unit: &ScheduledUnit| unit.build == no;
            let anchor = self.units.anchor(now, self.builds.get(no).and_then(|it| it.anchor), own);
            self.builds.with(no, |build| build.anchor = anchor);
        }
        for no in self.cgroups.numbers() {
            // What somebody has paused does not move: another one in there must be able to.
            let inside = |unit: &ScheduledUnit| {
                self.cgroups.holds(no, unit.build) && !self.builds.is_paused(unit.build)
            };
            let anchor = self.units.anchor(now, self.cgroups.anchor(no), inside);
            self.cgroups.set_anchor(no, anchor);
        }
        let may_run = |unit: &ScheduledUnit| !self.builds.is_paused(unit.build);
        let anchor = self.units.anchor(now, self.anchor, may_run);
        if anchor != self.anchor {
            self.anchor = anchor;
            self.anchor_progress = (Millis::ZERO, now);
            effects.extend(anchor.map(Effect::Anchor));
        }
        let Some(id) = anchor else { return };
        // The anchor is never suspended while another runs, but for a while where a person waits for that: whoever
        // becomes it goes on.
        if self.gives_way(id, now) {
            self.anchor_progress.1 = now;
            return;
        }
        // It goes on where what it runs inside does.
        let outer: Vec<UnitId> = self.units.ancestors(id).map(|(outer, _)| outer).collect();
        for id in outer.into_iter().rev().chain([id]) {
            self.units.with(id, |unit| effects.extend(unit.resume(now, id)));
        }
        let cpu = self.units.get(id).map(|unit| unit.cpu).unwrap_or_default();
        if cpu != self.anchor_progress.0 {
            self.anchor_progress = (cpu, now);
        }
    }
}

#[cfg(test)]
mod builds_tests;
#[cfg(test)]
mod nested_tests;
#[cfg(test)]
mod oversized_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

#[cfg(test)]
use crate::oversized::Oversized;

/// What one build asks for, beside the machine's processors.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
struct Config {
    jobs: u32,
    cores: u32,
    oversized: Oversized,
    keep_going: bool,
}

#[cfg(test)]
impl Schedule {
    /// The schedule of a driver with one build.
    fn of_one(config: Config, budget: Bytes) -> Self {
        let Config { jobs, cores, oversized, keep_going } = config;
        let mut schedule = Self::new(cores, budget);
        let job_slots = Some(jobs.saturating_sub(1));
        let terms = BuildTerms { jobs, oversized, keep_going, job_slots, ..BuildTerms::default() };
        assert!(schedule.handle(Millis::ZERO, Input::Open(BuildNo(1), terms)).is_empty());
        schedule
    }
}
