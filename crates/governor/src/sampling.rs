//! Measuring: when, what, and what follows from it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use plimsoll_core::budget::Own;
use plimsoll_core::event::Event;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::schedule::{Input, RunState};
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};

use plimsoll_host::{Ended, Exit, Owner, Tmpfs, Usage};
use plimsoll_proto::Rerun;

use crate::account::root_of;
use crate::governor::Governor;
use crate::unit_records::{compiler, linker};

/// New processes are looked for this often: what a build script starts is found within a tenth of a
/// second, and the walk over /proc stays under 1 % of a core.
const SCAN_EVERY: Millis = Millis(100);

/// The budget is read this often.
const BUDGET_EVERY: Millis = Millis(250);

/// A sample goes to the log this often: fine enough for a timeline, 100 KB for five minutes.
const LOG_EVERY: Millis = Millis(500);

/// Nothing is measured before this: a build with nothing to do is over by then.
const FIRST: Millis = Millis(60);

impl Governor {
    /// The moment of the next measurement.
    pub(crate) fn next_measurement(&self) -> Millis {
        if !self.governing || self.builds.is_empty() {
            return Millis(u64::MAX / 2);
        }
        let interval = if self.schedule.views().next().is_some() {
            self.schedule.sampling_interval()
        } else {
            BUDGET_EVERY
        };
        (self.sampled + interval).max(FIRST)
    }

    pub(crate) fn measure_if_due(&mut self) {
        let now = self.now();
        if now < self.next_measurement() {
            return;
        }
        self.sampled = now;
        let reading = (now - self.line_read >= BUDGET_EVERY).then(|| self.read_limits());
        // What the limits count already and nobody has found yet would be somebody else's.
        if now - self.scanned >= SCAN_EVERY || self.scanned == Millis::ZERO || reading.is_some() {
            self.scan();
        }
        self.tree.sample(None, now);
        let Memory { rest, builds } = self.measure_units();
        self.end_unwatched();
        if let Some(reading) = reading {
            self.follow_limits(&reading);
        }
        self.audit_job_slots();
        let due = now - self.sample_logged >= LOG_EVERY;
        // The input comes last: what it leads to sees the budget and the places of this moment.
        let units = std::mem::take(&mut self.measured);
        let cpu = self.tree.total().cpu;
        self.decide(Input::Sample { rest, builds, cpu, units });
        if due {
            self.sample_logged = now;
            self.log_samples();
        }
    }

    /// Looks for new processes, and with them for build scripts.
    pub(crate) fn scan(&mut self) {
        self.scanned = self.now();
        for script in self.tree.scan() {
            self.found_script(script);
        }
    }

    /// Measures every unit, and what belongs to none.
    fn measure_units(&mut self) -> Memory {
        let mut units: BTreeMap<BuildNo, Own> = BTreeMap::new();
        self.measured.clear();
        let live: Vec<UnitId> = self.schedule.views().map(|view| view.id).collect();
        for id in live {
            let (whole, link) = (self.tree.usage(compiler(id)), self.tree.usage(linker(id)));
            let memory = whole.memory + link.memory;
            if let Some(entry) = self.entries.get_mut(&id) {
                let cpu = whole.cpu + link.cpu;
                let of_build = units.entry(entry.build).or_default();
                of_build.memory += memory;
                of_build.swapped += whole.swapped + link.swapped;
                let swapped = whole.swapped + link.swapped;
                self.measured.push(entry.measure(id, memory, link.memory, swapped, cpu));
            }
        }
        let mut total = self.tree.total().memory;
        let all_units: Bytes = units.values().map(|it| it.memory).sum();
        let all = self.tree.total();
        let mut builds = Vec::with_capacity(self.builds.len());
        for (no, build) in &mut self.builds {
            let tmpfs = build.tmpfs.as_ref().map(Tmpfs::growth).unwrap_or_default();
            let of_units = units.get(no).copied().unwrap_or_default();
            let own = match build.elsewhere {
                Some(_) => self.tree.usage(root_of(*no)),
                // The only build of its driver: what is below that belongs to it.
                None => Usage {
                    memory: all.memory - of_units.memory,
                    swapped: all.swapped - of_units.swapped,
                    ..all
                },
            };
            build.held = Own {
                memory: own.memory + tmpfs + of_units.memory,
                swapped: own.swapped + of_units.swapped,
            };
            (build.rest, build.in_files) = (own.memory + tmpfs, tmpfs);
            build.peak = build.peak.max(build.held.memory);
            build.stage.peak = build.stage.peak.max(build.held.memory);
            builds.push((*no, build.rest));
            total += tmpfs;
        }
        self.held = Own { memory: total, swapped: all.swapped };
        Memory { rest: total - all_units, builds }
    }

    /// What of the unit's build belongs to no unit, as last measured.
    pub(crate) fn rest_beside(&self, unit: UnitId) -> Rest {
        /// More names than that help nobody.
        const PROGRAMS: usize = 3;
        /// What holds less is not what memory is short for.
        const TOLD: Bytes = Bytes::mib(1);
        let no = self.entries.get(&unit).map(|entry| entry.build);
        let Some((no, build)) = no.and_then(|no| self.builds.get_key_value(&no)) else {
            return Rest::default();
        };
        let live: BTreeSet<Owner> =
            self.schedule.views().flat_map(|it| [compiler(it.id), linker(it.id)]).collect();
        let is_of_it = |owner: Owner| match build.elsewhere {
            Some(_) => owner == root_of(*no),
            None => !live.contains(&owner),
        };
        let mut programs = self.tree.programs(is_of_it);
        programs.push(("files in the target directory".to_owned(), build.in_files));
        programs.retain(|(_, held)| *held >= TOLD);
        programs.sort_by_key(|(_, held)| Reverse(*held));
        programs.truncate(PROGRAMS);
        Rest { memory: build.rest, programs }
    }

    /// One unit's last look before it ends.
    pub(crate) fn measure_unit(&mut self, unit: UnitId) {
        let now = self.now();
        let owners = [compiler(unit), linker(unit)];
        self.tree.sample(Some(&owners), now);
        let (whole, link) = (self.tree.usage(owners[0]), self.tree.usage(owners[1]));
        if let Some(entry) = self.entries.get_mut(&unit) {
            let (memory, swapped) = (whole.memory + link.memory, whole.swapped + link.swapped);
            let _ = entry.measure(unit, memory, link.memory, swapped, whole.cpu + link.cpu);
        }
    }

    /// The runs of build scripts, and commands, that have not ended, as far as is known: what they start takes
    /// places from Cargo's pipe.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = UnitId> {
        self.unwatched().filter(|unit| {
            self.entries.get(unit).is_some_and(|entry| entry.facts.kind != UnitKind::TestRun)
        })
    }

    /// What has no shim to say that it ended.
    fn unwatched(&self) -> impl Iterator<Item = UnitId> {
        let is_it = |unit: &UnitId| {
            self.entries.get(unit).is_some_and(|entry| match entry.facts.kind {
                UnitKind::BuildScriptRun | UnitKind::Command => true,
                UnitKind::TestRun => entry.exit.is_some(),
                _ => false,
            })
        };
        self.unfinished.iter().copied().filter(is_it)
    }

    /// Ends what nobody says has ended.
    pub fn end_unwatched(&mut self) {
        // What a script leaves behind is not the script: nobody waits for that.
        let gone = |unit: &UnitId| {
            let exit = self.entries.get(unit).and_then(|entry| entry.exit.as_ref());
            exit.is_some_and(Exit::has_ended) || self.tree.usage(compiler(*unit)).processes == 0
        };
        let how = |unit: UnitId| {
            let exit = self.entries.get(&unit).and_then(|entry| entry.exit.as_ref());
            (unit, exit.map_or(Ended::Somehow, Exit::ended))
        };
        let ended: Vec<(UnitId, Ended)> = self.unwatched().filter(gone).map(how).collect();
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
        let Some(entry) = self.entries.get(&unit) else { return };
        let (facts, peak) = (entry.facts.clone(), entry.peak);
        if facts.kind != UnitKind::BuildScriptRun || !self.kernel_has_killed() {
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
        let is_test =
            self.entries.get(&unit).is_some_and(|entry| entry.facts.kind == UnitKind::TestRun);
        if is_test && status & SIGNAL == KILLED {
            let short = self.memory_was_short();
            self.say_killed(unit, short);
        }
    }

    /// Says of a test that it was killed, and whether memory was short.
    pub(crate) fn say_killed(&mut self, unit: UnitId, short: bool) {
        let Some(entry) = self.entries.get(&unit) else { return };
        let why = match (short, entry.last_chance) {
            (true, true) => {
                "memory was short, also when it ran once more with nothing beside it: it needs more than there is"
            }
            (true, false) => {
                "memory was short: run fewer tests at once, or give `--retry-tests`, which runs it once more"
            }
            (false, _) => "memory was not short, so it was somebody's wish",
        };
        let (title, peak) = (entry.facts.title(), entry.peak);
        let text = format!("{title} did not fail: it was killed (SIGKILL) at {peak}; {why}");
        self.say(unit, Event::Notice { text });
    }

    /// Tells each build whose line has moved.
    pub(crate) fn tell_lines(&mut self) {
        let mut moved = Vec::new();
        for (no, build) in &mut self.builds {
            let budget = self.schedule.budget_of(*no);
            let before = std::mem::replace(&mut build.budget, budget);
            if !build.announced {
                build.header.budget = budget;
            } else if before != budget {
                moved.push((*no, budget));
            }
        }
        for (no, budget) in moved {
            self.say_in(no, Event::Budget { budget });
        }
    }

    fn log_samples(&mut self) {
        let stalled = Millis((self.stalled_us - self.stalled_logged_us) / 1000);
        self.stalled_logged_us = self.stalled_us;
        let builds: Vec<BuildNo> = self.builds.keys().copied().collect();
        for no in builds {
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
pub(crate) struct Rest {
    pub(crate) memory: Bytes,
    /// The largest parts of it, by the names of programs.
    pub(crate) programs: Vec<(String, Bytes)>,
}

/// What is held now.
struct Memory {
    /// By no unit.
    rest: Bytes,
    /// Each build's part of that.
    builds: Vec<(BuildNo, Bytes)>,
}
