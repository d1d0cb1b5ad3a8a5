//! Measuring: when, what, and what follows from it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use plimsoll_core::budget::{HeldMemory, MemoryReading};
use plimsoll_core::event::Event;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::schedule::{Input, RunState, UnitMeasurement};
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::{Ended, Exit};
use plimsoll_proto::Rerun;

use super::Governor;
use crate::build::GovernedBuild;
use crate::builds::BesideUnits;
use crate::cadence::LIMITS_EVERY;
use crate::connection::Peer;
use crate::processes::Part;

impl Governor {
    /// The moment of the next measurement.
    pub(super) fn next_measurement(&self) -> Millis {
        if !self.governing || self.builds.is_empty() {
            return Millis(u64::MAX / 2);
        }
        let interval = if self.schedule.views().next().is_some() {
            self.schedule.sampling_interval()
        } else {
            LIMITS_EVERY
        };
        self.cadence.next_sample(interval)
    }

    pub(super) fn measure_if_due(&mut self) {
        let now = self.now();
        if now < self.next_measurement() {
            return;
        }
        self.cadence.samples(now);
        let reading = self.cadence.limits_are_due(now).then(|| self.read_limits());
        // What the limits count already and nobody has found yet would be somebody else's.
        if self.cadence.scan_is_due(now) || reading.is_some() {
            self.scan();
        }
        self.processes.sample(now);
        let (units, rest) = self.measure_units();
        self.end_unwatched();
        if let Some(reading) = reading {
            self.follow_limits(&reading);
        }
        self.audit_slots();
        // The input comes last: what it leads to sees the budget and the slots of this moment.
        let cpu = self.processes.total().cpu;
        self.decide(Input::Sample { rest: rest.all, builds: rest.builds, cpu, units });
        if self.cadence.logs(now) {
            self.log_samples();
        }
    }

    /// Looks for new processes, and with them for build scripts.
    pub(super) fn scan(&mut self) {
        self.cadence.scans(self.now());
        for script in self.processes.scan() {
            self.found_script(script);
        }
    }

    /// Measures every unit, and what belongs to none.
    fn measure_units(&mut self) -> (Vec<UnitMeasurement>, BesideUnits) {
        let mut of_units: BTreeMap<BuildNo, HeldMemory> = BTreeMap::new();
        let mut measured = Vec::new();
        for id in self.schedule.views().map(|view| view.id) {
            let compiler = self.processes.usage(id, Part::Compiler);
            let linker = self.processes.usage(id, Part::Linker);
            if let Some(record) = self.units.get_mut(id) {
                let of_build = of_units.entry(record.build()).or_default();
                of_build.memory += compiler.memory + linker.memory;
                of_build.swapped += compiler.swapped + linker.swapped;
                measured.push(record.measure(id, compiler, linker));
            }
        }
        let beside = |no| self.processes.usage_beside_units(no);
        (measured, self.builds.measure(&of_units, self.processes.total(), beside))
    }

    /// Reads all limits, and tells of budgets that moved.
    pub(super) fn read_lines(&mut self) {
        let reading = self.read_limits();
        self.follow_limits(&reading);
    }

    fn read_limits(&mut self) -> MemoryReading {
        self.cadence.reads_limits(self.now());
        self.limits.read()
    }

    /// Moves the budgets to what the limits said, and tells of those that moved.
    fn follow_limits(&mut self, reading: &MemoryReading) {
        let now = self.now();
        let held = |no| self.builds.get(no).map(GovernedBuild::held).unwrap_or_default();
        let can_page_out = self.processes.can_page_out();
        let budgets = self.limits.follow(now, reading, self.builds.held(), held, can_page_out);
        if budgets.cgroups != *self.schedule.cgroup_budgets() {
            self.decide(Input::CgroupBudgets(budgets.cgroups));
        }
        self.decide(budgets.all);
        self.tell_lines();
    }

    /// Builds came or went: says anew which cgroups contain all of them, and which only some.
    pub(super) fn follow_cgroups(&mut self) {
        let chains = self.builds.cgroups();
        if !chains.is_empty() {
            self.limits.follow_cgroups(chains, self.options.budget());
            self.read_lines();
        }
    }

    /// Has the job slots on each Cargo's pipe counted.
    fn audit_slots(&mut self) {
        let now = self.now();
        let mut started: BTreeMap<BuildNo, u32> = BTreeMap::new();
        for peer in self.connections.peers() {
            if let Peer::Shim(unit) = peer
                && let Some(build) = self.units.build_of(unit)
            {
                *started.entry(build).or_default() += 1;
            }
        }
        let scripts = self.units.builds_with_scripts();
        for (no, build) in self.builds.iter_mut() {
            let started = started.get(&no).copied().unwrap_or_default();
            build.slots_mut().audit(now, started, scripts.contains(&no));
        }
    }

    /// What of the unit's build belongs to no unit, as last measured.
    pub(super) fn rest_beside(&self, unit: UnitId) -> Rest {
        /// More names than that help nobody.
        const PROGRAMS: usize = 3;
        /// What holds less is not what memory is short for.
        const TOLD: Bytes = Bytes::mib(1);
        let Some(no) = self.units.build_of(unit) else { return Rest::default() };
        let Some(build) = self.builds.get(no) else { return Rest::default() };
        let mut programs = match build.external() {
            Some(_) => self.processes.programs_beside_units(no),
            None => self.processes.programs_beside(self.schedule.views().map(|view| view.id)),
        };
        programs.push(("files in the target directory".to_owned(), build.in_files()));
        programs.retain(|(_, held)| *held >= TOLD);
        programs.sort_by_key(|(_, held)| Reverse(*held));
        programs.truncate(PROGRAMS);
        Rest { memory: build.rest(), programs }
    }

    /// One unit's last look before it ends.
    pub(super) fn measure_unit(&mut self, unit: UnitId) {
        let now = self.now();
        self.processes.sample_unit(unit, now);
        let compiler = self.processes.usage(unit, Part::Compiler);
        let linker = self.processes.usage(unit, Part::Linker);
        if let Some(record) = self.units.get_mut(unit) {
            let _ = record.measure(unit, compiler, linker);
        }
    }

    /// Ends what nobody says has ended.
    pub fn end_unwatched(&mut self) {
        // What a script leaves behind is not the script: nobody waits for that.
        let gone = |unit: UnitId, exit: Option<&Exit>| {
            exit.is_some_and(Exit::has_ended)
                || self.processes.usage(unit, Part::Compiler).processes == 0
        };
        let how = |exit: Option<&Exit>| exit.map_or(Ended::Somehow, Exit::ended);
        let unwatched = self.units.unwatched().map(|(unit, record)| (unit, record.exit()));
        let ended: Vec<(UnitId, Ended)> = unwatched
            .filter(|(unit, exit)| gone(*unit, *exit))
            .map(|(unit, exit)| (unit, how(exit)))
            .collect();
        for (unit, how) in ended {
            match how {
                Ended::NotYet => {}
                Ended::With(status) => {
                    self.explain(unit, status);
                    if status != 0 {
                        self.script_failed(unit);
                    }
                    self.finished(unit, status == 0);
                }
                Ended::Somehow => self.finished(unit, true),
            }
        }
    }

    /// A build script has failed. Where the kernel has killed for want of memory meanwhile it may be for that: nobody but
    /// Cargo can run it again, and then it is known to need at least what it held.
    fn script_failed(&mut self, unit: UnitId) {
        let Some(record) = self.units.get(unit) else { return };
        let (facts, peak) = (record.facts().clone(), record.peak());
        if facts.kind != UnitKind::BuildScriptRun || !self.limits.kernel_has_killed() {
            return;
        }
        self.history().record_lower_bound(&facts, peak);
        self.ask_for_rerun(unit, Rerun::ScriptLost);
    }

    /// A test that somebody has killed has not failed.
    fn explain(&mut self, unit: UnitId, status: i32) {
        /// The signal in a wait status, and SIGKILL.
        const SIGNAL: i32 = 0x7f;
        const KILLED: i32 = 9;
        let kind = self.units.get(unit).map(|record| record.kind());
        if kind == Some(UnitKind::TestRun) && status & SIGNAL == KILLED {
            let short = self.limits.memory_was_short();
            self.say_killed(unit, short);
        }
    }

    /// Says of a test that it was killed, and whether memory was short.
    pub(super) fn say_killed(&mut self, unit: UnitId, short: bool) {
        let Some(record) = self.units.get(unit) else { return };
        let why = match (short, record.has_last_chance()) {
            (true, true) => {
                "memory was short, even when it ran again alone: it needs more memory than there is"
            }
            (true, false) => {
                "memory was short: run fewer tests at once, or pass `--retry-tests` to run it again"
            }
            (false, _) => "memory was not short, so a person or another program killed it",
        };
        let (title, peak) = (record.facts().title(), record.peak());
        let text = format!("{title} did not fail: it was killed (SIGKILL) at {peak}; {why}");
        self.say(unit, Event::Notice { text });
    }

    /// Tells each build whose line has moved.
    pub(super) fn tell_lines(&mut self) {
        let now = self.now();
        for (no, build) in self.builds.iter_mut() {
            build.log_mut().say_line(now, self.schedule.budget_of(no));
        }
    }

    fn log_samples(&mut self) {
        let stalled = self.limits.take_stalled();
        for no in self.builds.numbers() {
            self.log_sample(no, stalled);
        }
    }

    fn log_sample(&mut self, no: BuildNo, stalled: Millis) {
        let mut counts = (0, 0, 0);
        let mut units = Vec::new();
        for view in self.schedule.views().filter(|view| view.build == no) {
            match view.state {
                RunState::Running => counts.0 += 1,
                RunState::Waiting => counts.1 += 1,
                RunState::Suspended => counts.2 += 1,
            }
            if view.memory >= Bytes::mib(1) {
                units.push((view.id, view.memory));
            }
        }
        let sample = Event::Sample {
            used: self.schedule.used_by(no),
            budget: self.schedule.budget_of(no),
            admitted: self.schedule.admitted(no),
            running: counts.0,
            waiting: counts.1,
            stopped: counts.2,
            short: self.schedule.is_short(no),
            stalled,
            units,
        };
        self.say_in(no, sample);
    }
}

/// What of a build belongs to no unit: Cargo, Plimsoll, what units and build scripts have left.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) memory: Bytes,
    /// The largest parts of it, by the names of programs.
    pub(super) programs: Vec<(String, Bytes)>,
}
