//! What the schedule wants done, done.

use std::collections::BTreeMap;

use plimsoll_core::event::{Cause, Event};
use plimsoll_core::invocation::UnitKind;
use plimsoll_core::oversized::{Oversized, Shrink};
use plimsoll_core::schedule::Effect;
use plimsoll_core::{BuildNo, Bytes, Millis, UnitId};
use plimsoll_host::TokenPipe;
use plimsoll_proto::ToShim;

use crate::connection::Peer;
use crate::governor::Governor;
use crate::ledger::{Entry, compiler, linker};
use crate::sampling::Rest;

/// What the kernel should rather take than the anchor, Cargo or anything else of the user's
/// (`oom_score_adj`, -1000 to 1000). Shims set the same before they start a compiler.
const RATHER_THIS: i32 = 500;

/// ` (sleep 300 MiB, cargo 14 MiB)`.
fn listed(programs: &[(String, Bytes)]) -> String {
    let told: Vec<String> = programs.iter().map(|(name, held)| format!("{name} {held}")).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

impl Governor {
    pub(crate) fn carry_out(&mut self, now: Millis, effect: Effect) {
        match effect {
            Effect::Admit { unit, attempt, shrink } => self.admit(now, unit, attempt, shrink),
            Effect::Tokens { unit, issue } => self.issue(unit, issue),
            Effect::AdmitLink(unit) => {
                let waited =
                    self.entries.get(&unit).map_or(Millis::ZERO, |entry| now - entry.link_since);
                self.say(unit, Event::LinkAdmitted { unit, waited });
                let again = self.comes_back(unit);
                self.send(Peer::Linker(unit), &ToShim::Admit { unit, again, shrink: Shrink::No });
            }
            Effect::Suspend(unit, cause) => {
                self.tree.stop(compiler(unit));
                let holds = self.memory_of(unit);
                self.say(unit, Event::Suspended { unit, cause, holds });
            }
            Effect::PageOut(unit) => {
                self.tree.page_out(compiler(unit));
                let holds = self.memory_of(unit);
                self.say(unit, Event::PagedOut { unit, holds });
            }
            Effect::Resume(unit) => {
                self.tree.resume(compiler(unit));
                self.say(unit, Event::Resumed { unit });
            }
            Effect::Kill(unit, cause) => {
                // The shim is told first, so that it knows whose kill it sees.
                self.send(Peer::Shim(unit), &ToShim::Retry);
                self.tree.kill(compiler(unit));
                self.tree.release(linker(unit));
                let (freed, lost_cpu) = (self.memory_of(unit), self.cpu_of(unit));
                self.say(unit, Event::Killed { unit, cause, freed, lost_cpu, link_only: false });
                if let Some(entry) = self.entries.get(&unit) {
                    let (facts, mut peak) = (entry.facts.clone(), entry.peak);
                    if cause == Cause::TooLarge {
                        // It was still growing, and what belongs to no unit is less at another time.
                        peak = peak.max(self.schedule.line_of(entry.build));
                    }
                    self.history().record_lower_bound(&facts, peak);
                }
            }
            Effect::KillLink(unit, cause) => {
                self.send(Peer::Linker(unit), &ToShim::Retry);
                self.tree.kill(linker(unit));
                let freed = self.tree.usage(linker(unit)).memory;
                let lost_cpu = self.tree.usage(linker(unit)).cpu;
                self.say(unit, Event::Killed { unit, cause, freed, lost_cpu, link_only: true });
            }
            Effect::Refuse { unit, needs, expected, line } => {
                self.refuse(unit, needs, expected, line);
            }
            Effect::Lone { unit, needs, line } => {
                let Rest { memory: rest, programs } = self.rest_beside(unit);
                self.say(unit, Event::Lone { unit, needs, line, rest, programs });
            }
            Effect::Leave(unit) => self.leave(unit),
            Effect::Anchor(unit) => {
                if let Some(old) = self.anchor.replace(unit) {
                    self.tree.set_oom_score(compiler(old), RATHER_THIS);
                }
                self.tree.set_oom_score(compiler(unit), 0);
            }
            Effect::Places(build, places) => self.set_places(build, places),
        }
    }

    fn admit(&mut self, now: Millis, unit: UnitId, attempt: u32, shrink: Shrink) {
        let tokens = TokenPipe::new().ok();
        let cpu = self.tree.usage(compiler(unit)).cpu + self.tree.usage(linker(unit)).cpu;
        let message = ToShim::Admit { unit, again: self.comes_back(unit), shrink };
        if let Some(connection) = self.connection_of(Peer::Shim(unit)) {
            match &tokens {
                Some(pipe) => {
                    let (reader, writer) = pipe.fds();
                    connection.send_with(&message, &[reader, writer]);
                }
                None => connection.send(&message),
            }
        }
        if let Some(entry) = self.entries.get_mut(&unit) {
            entry.start(now, cpu, tokens);
            entry.shrink = shrink;
            entry.slimmed = shrink == Shrink::OtherOutput && !entry.facts.slimmer.is_empty();
        }
        self.say(unit, Event::Admitted { unit, attempt, shrink });
        let slimmed = self.entries.get(&unit).filter(|entry| entry.slimmed);
        if let Some(changes) = slimmed.map(|entry| entry.facts.slimmer.clone()) {
            self.say(unit, Event::Slimmed { unit, changes });
        }
    }

    /// Issues tokens, or takes unread ones back: those that were read come back when the compiler is
    /// done with them.
    fn issue(&mut self, unit: UnitId, aim: u32) {
        let Some(entry) = self.entries.get_mut(&unit) else { return };
        let Some(pipe) = &mut entry.tokens else { return };
        if aim > entry.issued {
            // A pipe that is full or gone holds what it holds: the audit says what.
            let _ = pipe.issue(aim - entry.issued);
        } else {
            let _ = pipe.withdraw(entry.issued - aim);
        }
        entry.issued = pipe.audit().issued;
    }

    /// Cargo reports every unit that ends in failure, and quotes its whole command where it has said nothing;
    /// words that are the same for all it prints once.
    fn leave(&mut self, unit: UnitId) {
        let text = "the build has failed; what still waited for memory is not compiled";
        let json = self.build_of(unit).is_some_and(|build| build.options.json_messages);
        let message = match json {
            true => ToShim::Leave,
            false => ToShim::Refuse { text: text.to_owned() },
        };
        self.send(Peer::Shim(unit), &message);
    }

    fn refuse(&mut self, unit: UnitId, needs: Bytes, expected: Bytes, line: Bytes) {
        let Some(build) = self.entries.get(&unit).map(|entry| entry.build) else { return };
        let refuses =
            self.builds.get(&build).is_some_and(|build| build.options.terms.oversized.refuses());
        let title = self.entries.get(&unit).map(|entry| entry.title.clone()).unwrap_or_default();
        let text = if refuses && needs > line {
            format!(
                "{title} needs {needs} by itself, more than the memory budget of {line}; `--oversized refuse` \
                 refuses it. Set a budget of at least {needs}, or drop `--oversized refuse` to run it alone"
            )
        } else {
            self.too_large(unit, &title, needs, expected)
        };
        self.say(unit, Event::Refused { unit, needs, line });
        self.send(Peer::Shim(unit), &ToShim::Refuse { text });
    }

    /// What a person should know of a unit for which the whole machine is too small: what it needs, what was tried,
    /// and what would help here.
    fn too_large(&self, unit: UnitId, title: &str, needs: Bytes, expected: Bytes) -> String {
        let Some(entry) = self.entries.get(&unit) else { return String::new() };
        let allowed = self.builds.get(&entry.build).map(|build| build.options.terms.oversized);
        let allowed = allowed.map(Oversized::shrink).unwrap_or_default();
        let mut tried = "alone".to_owned();
        if entry.shrink >= Shrink::SameOutput {
            tried.push_str(", with one thread, its allocator giving back early");
        } else if allowed >= Shrink::SameOutput {
            tried.push_str(" (not once more with one thread and an early allocator: that saves a few percent, and more was ahead)");
        }
        let slimmer = entry.facts.slimmer.as_str();
        if entry.slimmed {
            tried.push_str(&format!(", {slimmer}"));
        }
        // It was stopped on its way up: how far that leads is known only where more was expected of it.
        let (in_all, swap) = if expected > needs {
            (
                format!("on its way to about {expected}, as far as is known"),
                expected - needs + expected.scale(0.25),
            )
        } else {
            ("while it was still growing: how far that leads nobody knows".to_owned(), needs)
        };
        let swap = Bytes::gib(swap.0.div_ceil(1 << 30).max(1));
        let smaller = match slimmer {
            "" => String::new(),
            _ if entry.slimmed => String::new(),
            changes => {
                format!(", or `--oversized shrink-output`, which compiles it with {changes}")
            }
        };
        let reading = self.limits.read();
        let mut without = reading.clone();
        without.machine.killer = None;
        let most = |reading| self.line.capacity(reading, self.held);
        let most_now = most(&reading);
        let beside = match self.rest_beside(unit) {
            Rest { memory, programs } if needs <= most_now => {
                format!(" beside {memory} that belong to no unit{}", listed(&programs))
            }
            _ => String::new(),
        };
        let kept = if most_now < most(&without) {
            ", but for what stays free because earlyoom or systemd-oomd kills below that"
        } else {
            ""
        };
        format!(
            "{title} needs more than {needs} by itself{beside}, and that is all that this machine (or the container around \
             this build) has, swap counted{kept}. Tried: {tried}. It was stopped before the machine thrashes, {in_all}; what is \
             built stays. What helps: at least {swap} of swap more (`fallocate -l {gib}G /swapfile && chmod 600 /swapfile && mkswap \
             /swapfile && swapon /swapfile`, as root), closing what else holds memory{smaller}",
            gib = swap.0 >> 30
        )
    }

    fn send(&mut self, peer: Peer, message: &ToShim) {
        if let (Peer::Shim(unit), ToShim::Leave | ToShim::Refuse { .. }) = (peer, message)
            && let Some(entry) = self.entries.get_mut(&unit)
        {
            entry.dismissed = true;
        }
        if let Some(connection) = self.connection_of(peer) {
            connection.send(message);
        }
    }

    /// Tells every shim of a build that it is ending: children are killed, files cleaned up.
    pub fn abort(&mut self, build: BuildNo) {
        for entry in self.entries.values_mut().filter(|entry| entry.build == build) {
            entry.dismissed = true;
        }
        let entries = &self.entries;
        for connection in self.connections.values_mut() {
            if is_of(connection.peer, build, entries) {
                connection.send(&ToShim::Abort);
            }
        }
    }

    /// A shim or link shim of the build is still connected.
    #[must_use]
    pub fn has_shims(&self, build: BuildNo) -> bool {
        self.connections.values().any(|it| is_of(it.peer, build, &self.entries))
    }

    /// The units of a build that have not ended.
    pub(crate) fn live(&self, build: BuildNo) -> Vec<UnitId> {
        let is_of_it = |unit: &UnitId| self.entries.get(unit).is_some_and(|it| it.build == build);
        self.unfinished.iter().copied().filter(is_of_it).collect()
    }

    /// Kills what is left of a build's units: compilers, linkers, build scripts, and what they started. Tests and
    /// commands are the user's own.
    pub fn kill_units(&mut self, build: BuildNo) {
        let ours = |unit: &UnitId| {
            let kind = self.entries.get(unit).map(|entry| entry.facts.kind);
            !matches!(kind, Some(UnitKind::TestRun | UnitKind::Command))
        };
        let units: Vec<UnitId> = self.live(build).into_iter().filter(ours).collect();
        for unit in units {
            self.tree.kill(linker(unit));
            self.tree.kill(compiler(unit));
        }
    }

    /// Kills what still runs below us in our own session, whoever started it: Cargo was killed or told to
    /// end. Daemons, which leave the session, are not the build's to end.
    pub fn kill_rest(&mut self) {
        self.tree.kill_session();
    }

    /// Lets everything of a build that is stopped go on: it is ending, or governing is.
    pub fn resume_everything(&mut self, build: BuildNo) {
        for unit in self.live(build) {
            self.tree.resume(compiler(unit));
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
            self.tree.stop(compiler(unit));
        }
    }

    /// Whether the unit is run again should somebody else kill it.
    fn comes_back(&self, unit: UnitId) -> bool {
        self.entries.get(&unit).is_some_and(|entry| !entry.last_chance)
    }

    fn memory_of(&self, unit: UnitId) -> Bytes {
        self.entries.get(&unit).map(|entry| entry.memory).unwrap_or_default()
    }

    fn cpu_of(&self, unit: UnitId) -> Millis {
        self.entries.get(&unit).map(|entry| entry.cpu).unwrap_or_default()
    }
}

/// Whether a peer is a shim or link shim of the build.
fn is_of(peer: Peer, build: BuildNo, entries: &BTreeMap<UnitId, Entry>) -> bool {
    match peer {
        Peer::Shim(unit) | Peer::Linker(unit) => {
            entries.get(&unit).is_some_and(|entry| entry.build == build)
        }
        Peer::Unknown | Peer::Driver(_) | Peer::Done => false,
    }
}
