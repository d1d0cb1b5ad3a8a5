//! What the schedule wants done, done.

use plimsoll_core::event::Event;
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::{Oversized, Shrink};
use plimsoll_core::schedule::Effect;
use plimsoll_core::schedule::StopReason;
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::TokenPipe;
use plimsoll_proto::ToShim;

use super::Governor;
use super::sampling::Rest;
use crate::connection::Peer;
use crate::processes::Part;

/// ` (sleep 300 MiB, cargo 14 MiB)`.
fn listed(programs: &[(String, Bytes)]) -> String {
    let told: Vec<String> = programs.iter().map(|(name, held)| format!("{name} {held}")).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

impl Governor {
    pub(super) fn carry_out(&mut self, now: Millis, effect: Effect) {
        match effect {
            Effect::Admit { unit, attempt, shrink } => self.admit(now, unit, attempt, shrink),
            Effect::Tokens { unit, issue } => {
                if let Some(record) = self.units.get_mut(unit) {
                    record.issue_tokens(issue);
                }
            }
            Effect::AdmitLink(unit) => {
                let waited =
                    self.units.get(unit).map_or(Millis::ZERO, |record| record.link_waited(now));
                self.say(unit, Event::LinkAdmitted { unit, waited });
                let again = self.comes_back(unit);
                self.send(Peer::Linker(unit), &ToShim::Admit { unit, again, shrink: Shrink::No });
            }
            Effect::Suspend(unit, cause) => {
                self.processes.stop(unit);
                let holds = self.memory_of(unit);
                self.say(unit, Event::Suspended { unit, cause, holds });
            }
            Effect::PageOut(unit) => {
                self.processes.page_out(unit);
                let holds = self.memory_of(unit);
                self.say(unit, Event::PagedOut { unit, holds });
            }
            Effect::Resume(unit) => {
                self.processes.resume(unit);
                self.say(unit, Event::Resumed { unit });
            }
            Effect::Kill(unit, cause) => {
                // The shim is told first, so that it knows whose kill it sees.
                self.send(Peer::Shim(unit), &ToShim::Retry);
                self.processes.kill(unit, Part::Compiler);
                self.processes.release(unit, Part::Linker);
                let (freed, lost_cpu) = (self.memory_of(unit), self.cpu_of(unit));
                self.say(unit, Event::Killed { unit, cause, freed, lost_cpu, link_only: false });
                if let Some(record) = self.units.get(unit) {
                    let (facts, mut peak) = (record.facts().clone(), record.peak());
                    if cause == StopReason::TooLarge {
                        // It was still growing, and what belongs to no unit is less at another time.
                        peak = peak.max(self.schedule.budget_of(record.build()));
                    }
                    self.history().record_lower_bound(&facts, peak);
                }
            }
            Effect::KillLink(unit, cause) => {
                self.send(Peer::Linker(unit), &ToShim::Retry);
                self.processes.kill(unit, Part::Linker);
                let freed = self.processes.usage(unit, Part::Linker).memory;
                let lost_cpu = self.processes.usage(unit, Part::Linker).cpu;
                self.say(unit, Event::Killed { unit, cause, freed, lost_cpu, link_only: true });
            }
            Effect::Refuse { unit, needs, expected, budget } => {
                self.refuse(unit, needs, expected, budget);
            }
            Effect::Lone { unit, needs, budget } => {
                let Rest { memory: rest, programs } = self.rest_beside(unit);
                self.say(unit, Event::Lone { unit, needs, budget, rest, programs });
            }
            Effect::Leave(unit) => self.leave(unit),
            Effect::Anchor(unit) => {
                self.processes.set_anchor(unit);
            }
            Effect::JobSlots(build, job_slots) => {
                if let Some(build) = self.builds.get_mut(build) {
                    build.slots_mut().set(job_slots);
                }
            }
        }
    }

    fn admit(&mut self, now: Millis, unit: UnitId, attempt: u32, shrink: Shrink) {
        let tokens = TokenPipe::new().ok();
        let cpu = self.processes.usage(unit, Part::Compiler).cpu
            + self.processes.usage(unit, Part::Linker).cpu;
        let message = ToShim::Admit { unit, again: self.comes_back(unit), shrink };
        if let Some(connection) = self.connections.of(Peer::Shim(unit)) {
            match &tokens {
                Some(pipe) => {
                    let (reader, writer) = pipe.fds();
                    connection.send_with(&message, &[reader, writer]);
                }
                None => connection.send(&message),
            }
        }
        if let Some(record) = self.units.get_mut(unit) {
            record.start(now, cpu, tokens, shrink);
        }
        self.say(unit, Event::Admitted { unit, attempt, shrink });
        let slimmed = self.units.get(unit).and_then(|record| record.slimmed());
        if let Some(changes) = slimmed.map(str::to_owned) {
            self.say(unit, Event::Slimmed { unit, changes });
        }
    }

    /// Cargo reports every unit that ends in failure, and quotes its whole command where it has said nothing;
    /// words that are the same for all it prints once.
    fn leave(&mut self, unit: UnitId) {
        let text = "the build failed, so the crates that were waiting for memory are not compiled \
                    (Cargo reports `could not compile` for each; they have no errors of their own)";
        let json = self.build_of(unit).is_some_and(|build| build.has_json_messages());
        let message = match json {
            true => ToShim::Leave,
            false => ToShim::Refuse { text: text.to_owned() },
        };
        self.send(Peer::Shim(unit), &message);
    }

    fn refuse(&mut self, unit: UnitId, needs: Bytes, expected: Bytes, budget: Bytes) {
        let Some(record) = self.units.get(unit) else { return };
        let build = self.builds.get(record.build());
        let refuses = build.is_some_and(|build| build.terms().oversized.refuses());
        let title = record.title();
        let text = if refuses && needs > budget {
            format!(
                "{title} needs at least {needs}, more than the memory budget of {budget}, so `--oversized refuse` refuses it. \
                 Set a budget above {expected}, or drop `--oversized refuse` to run it alone"
            )
        } else {
            self.too_large(unit, title, needs, expected)
        };
        self.say(unit, Event::Refused { unit, needs, budget, asked: refuses && needs > budget });
        self.send(Peer::Shim(unit), &ToShim::Refuse { text });
    }

    /// What a person should know of a unit for which the whole machine is too small: what it needs, what was tried,
    /// and what would help here.
    fn too_large(&self, unit: UnitId, title: &str, needs: Bytes, expected: Bytes) -> String {
        let Some(record) = self.units.get(unit) else { return String::new() };
        let allowed = self.builds.get(record.build()).map(|build| build.terms().oversized);
        let allowed = allowed.map(Oversized::shrink).unwrap_or_default();
        let mut tried = "alone".to_owned();
        if record.shrink() >= Shrink::SameOutput {
            tried.push_str(", with one thread and an allocator that returns memory early");
        } else if allowed >= Shrink::SameOutput {
            tried.push_str(" (a retry with one thread saves only a few percent, too little here)");
        }
        let slimmer = record.facts().slimmer.as_str();
        if record.slimmed().is_some() {
            tried.push_str(&format!(", {slimmer}"));
        }
        // It was stopped on its way up: how far that leads is known only where more was expected of it.
        let (in_all, swap) = if expected > needs {
            (format!("on its way to about {expected}"), expected - needs + expected.scale(0.25))
        } else {
            ("while it was still growing".to_owned(), needs)
        };
        let swap = Bytes::gib(swap.0.div_ceil(1 << 30).max(1));
        let smaller = match slimmer {
            "" => String::new(),
            _ if record.slimmed().is_some() => String::new(),
            changes => {
                format!(", or use `--oversized shrink-output`, which compiles it with {changes}")
            }
        };
        let reading = self.limits.look();
        let mut without = reading.clone();
        without.machine.killer = None;
        let most = |reading| self.limits.capacity(reading, self.builds.held());
        let most_now = most(&reading);
        let beside = match self.rest_beside(unit) {
            Rest { memory, programs } if needs <= most_now => {
                format!(" next to {memory} outside any unit{}", listed(&programs))
            }
            _ => String::new(),
        };
        let kept = if most_now < most(&without) {
            ", minus what must stay free so that earlyoom or systemd-oomd kills nothing"
        } else {
            ""
        };
        format!(
            "{title} needs more than {needs}{beside}, and this machine (or its container) has no more, swap included{kept}. \
             Tried: {tried}. It was stopped before the machine thrashes, {in_all}; finished crates are kept. \
             To build it, add at least {swap} of swap (`fallocate -l {gib}G /swapfile && chmod 600 /swapfile && mkswap \
             /swapfile && swapon /swapfile`, as root), or close other programs{smaller}",
            gib = swap.0 >> 30
        )
    }

    fn send(&mut self, peer: Peer, message: &ToShim) {
        if let (Peer::Shim(unit), ToShim::Leave | ToShim::Refuse { .. }) = (peer, message)
            && let Some(record) = self.units.get_mut(unit)
        {
            record.dismiss();
        }
        if let Some(connection) = self.connections.of(peer) {
            connection.send(message);
        }
    }

    /// Tells every shim of a build that it is ending: children are killed, files cleaned up.
    pub fn abort(&mut self, build: BuildNo) {
        self.units.dismiss(build);
        let units = &self.units;
        self.connections.send_to_all(&ToShim::Abort, |peer| units.is_of(peer, build));
    }

    /// A shim or link shim of the build is still connected.
    #[must_use]
    pub fn has_shims(&self, build: BuildNo) -> bool {
        self.connections.peers().any(|peer| self.units.is_of(peer, build))
    }

    /// Kills what is left of a build's units: compilers, linkers, build scripts, and what they started. Tests and
    /// commands are the user's own.
    pub fn kill_units(&mut self, build: BuildNo) {
        let ours = |unit: &UnitId| {
            let kind = self.units.get(*unit).map(|record| record.kind());
            !matches!(kind, Some(UnitKind::TestRun | UnitKind::Command))
        };
        let units: Vec<UnitId> = self.units.live(build).into_iter().filter(ours).collect();
        for unit in units {
            self.processes.kill(unit, Part::Linker);
            self.processes.kill(unit, Part::Compiler);
        }
    }

    /// Kills what still runs below us in our own session, whoever started it: Cargo was killed or told to
    /// end. Daemons, which leave the session, are not the build's to end.
    pub fn kill_rest(&mut self) {
        self.processes.kill_session();
    }

    /// Lets everything of a build that is stopped go on: it is ending, or governing is.
    pub fn resume_everything(&mut self, build: BuildNo) {
        for unit in self.units.live(build) {
            self.processes.resume(unit);
        }
    }

    /// After a `fg` (SIGCONT reaches the whole process group): stops again what should be stopped.
    pub fn suspend_again(&mut self, build: BuildNo) {
        use plimsoll_core::schedule::RunState;
        let stopped: Vec<UnitId> = self
            .schedule
            .views()
            .filter(|view| view.build == build && view.state == RunState::Suspended)
            .map(|view| view.id)
            .collect();
        for unit in stopped {
            self.processes.stop(unit);
        }
    }

    /// Whether the unit is run again should somebody else kill it.
    fn comes_back(&self, unit: UnitId) -> bool {
        self.units.get(unit).is_some_and(|record| !record.has_last_chance())
    }

    fn memory_of(&self, unit: UnitId) -> Bytes {
        self.units.get(unit).map(|record| record.memory()).unwrap_or_default()
    }

    fn cpu_of(&self, unit: UnitId) -> Millis {
        self.units.get(unit).map(|record| record.cpu()).unwrap_or_default()
    }
}
