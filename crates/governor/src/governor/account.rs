//! Builds that come from elsewhere: plain Cargos of the account, and drivers that join.
//!
//! What it deliberately does not do: start or end a Cargo, or listen (the host does both).

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_core::budget::whole;
use plimsoll_core::event::Event;
use plimsoll_core::schedule::{BuildTerms, Input, Priority};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Millis};
use plimsoll_host::{Jobserver, Origin, Witness, lock_waits, origin_of};
use plimsoll_proto::{Join, ToDriver};

use super::Governor;
use crate::account_duties::AccountDuties;
use crate::build::GovernedBuild;
use crate::connection::Peer;
use crate::external::{ExternalRoot, Fate};
use crate::options::{BuildOptions, Ending, Observer};

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

impl Governor {
    /// The build that a process belongs to which asks to be admitted; a new one where it comes from a Cargo that
    /// was not seen before. `None` where it is nobody's.
    pub(super) fn build_for(&mut self, pid: u32) -> Option<BuildNo> {
        if self.account.is_none() {
            return self.builds.iter().next().map(|(no, _)| no);
        }
        let known = self.processes.build_of(pid);
        if let Some(build) = known.filter(|build| self.builds.get(*build).is_some()) {
            return Some(build);
        }
        let own = rustix::process::geteuid().as_raw();
        let origin = origin_of(pid).filter(|origin| origin.uid == own)?;
        self.open_plain(origin)
    }

    fn open_plain(&mut self, origin: Origin) -> Option<BuildNo> {
        let options = BuildOptions {
            terms: BuildTerms { interactive: origin.interactive, ..BuildTerms::default() },
            memory: Memory::Auto,
            notes: BTreeMap::new(),
            command: origin.command,
            json_messages: origin.json_messages,
            graph: None,
            target_dir: None,
            jobserver: None,
        };
        self.open_external(options, ExternalRoot::cargo(origin.root, origin.program))
    }

    /// A driver joins, the process `pid`, at the other end of the connection `id`.
    pub(super) fn join(&mut self, id: u64, pid: u32, join: Join) -> Option<BuildNo> {
        let descriptors = self.connections.get_mut(id)?.take_descriptors();
        let jobserver = descriptors.and_then(|(read, write)| Jobserver::of(read, write).ok());
        let budget = match join.memory {
            Memory::Auto => None,
            Memory::Size(bytes) => Some(bytes),
            Memory::Percent(share) => {
                Some(whole(&self.limits.look()).scale(f64::from(share) / 100.0))
            }
        };
        let options = BuildOptions::of(join, budget, jobserver);
        // After a governor's death its compilers may have come before the driver did.
        let build = match self.builds.rooted_at(pid) {
            Some(build) => self.adopt_build(build, options, id),
            None => self.open_external(options, ExternalRoot::driver(pid, id))?,
        };
        let header = serde_json::to_string(self.header(build)?).ok()?;
        let connection = self.connections.get_mut(id)?;
        connection.peer = Peer::Driver(build);
        connection.send_line(&ToDriver::Header(header).encode());
        Some(build)
    }

    fn adopt_build(&mut self, no: BuildNo, options: BuildOptions, driver: u64) -> BuildNo {
        let terms = options.terms;
        if let Some(build) = self.builds.get_mut(no) {
            build.adopt(options, driver);
        }
        self.decide(Input::Open(no, terms));
        no
    }

    /// A driver was told to end its build: what is stopped goes on to hear it, what waits leaves. What is told so
    /// once more, a while later, is killed.
    pub(super) fn interrupt(&mut self, no: BuildNo) {
        let now = self.now();
        self.resume_everything(no);
        self.abort(no);
        let external = self.builds.get_mut(no).and_then(GovernedBuild::external_mut);
        if external.is_some_and(|it| it.interrupt(now)) {
            self.kill_units(no);
        }
    }

    fn open_external(&mut self, options: BuildOptions, root: ExternalRoot) -> Option<BuildNo> {
        let draining = self.account.as_ref().is_some_and(AccountDuties::is_draining);
        let no = self.builds.next_number();
        if draining || !self.processes.add_build(no, root.pid()) {
            return None;
        }
        let no = self.open(options, root.pid(), unix_ms());
        if let Some(build) = self.builds.get_mut(no) {
            build.is_external(root);
        }
        self.follow_cgroups();
        Some(no)
    }

    /// A compiler says which share its plain Cargo was told to ask for.
    pub(super) fn hear_priority(&mut self, no: BuildNo, priority: Priority) {
        let Some(build) = self.builds.get_mut(no) else { return };
        let plain = build.external().is_some_and(|it| it.connection().is_none());
        if plain && build.terms().priority != priority {
            build.set_priority(priority);
            let terms = build.terms();
            self.decide(Input::Open(no, terms));
        }
    }

    /// Somebody at a screen wants of a build that it stand still, or go on.
    pub(super) fn pause(&mut self, name: &str, paused: bool) {
        let Some(build) = self.builds.named(name) else { return };
        if self.schedule.is_paused(build) != paused {
            self.decide(Input::Pause(build, paused));
            self.say_in(build, Event::BuildPaused { paused });
        }
    }

    /// Somebody at a screen gives a build another share.
    pub(super) fn set_priority(&mut self, name: &str, priority: Priority) {
        let Some(no) = self.builds.named(name) else { return };
        let Some(build) = self.builds.get_mut(no) else { return };
        build.set_priority(priority);
        let terms = build.terms();
        self.decide(Input::Open(no, terms));
    }

    /// A driver's Cargo has ended: what is left of its units ends, too.
    pub(super) fn leave_build(&mut self, no: BuildNo, ending: Ending) {
        let now = self.now();
        self.resume_everything(no);
        self.abort(no);
        if let Some(it) = self.builds.get_mut(no).and_then(GovernedBuild::external_mut) {
            it.leave(ending, now);
        }
    }

    /// A driver is gone without a word: its Cargo goes on as a plain one.
    pub(super) fn lose_driver(&mut self, no: BuildNo) {
        if let Some(it) = self.builds.get_mut(no).and_then(GovernedBuild::external_mut) {
            it.lose_driver();
        }
    }

    /// Looks at what nobody tells: builds that have ended, Cargos that became something else, and locks.
    pub(super) fn look_around(&mut self, observer: &mut dyn Observer) {
        let now = self.now();
        let leaves =
            self.builds.iter().any(|(_, it)| it.external().is_some_and(ExternalRoot::is_leaving));
        if self.account.as_mut().is_some_and(|duties| duties.looks(now, leaves)) {
            self.see_off(now, observer);
            self.see_who_stands();
            self.lift_holders();
            for peer in self.connections.drop_silent(now) {
                self.hung_up(peer);
            }
        }
    }

    /// What a terminal has stopped with Ctrl-Z, or somebody by a signal, is nothing that another build waits for.
    fn see_who_stands(&mut self) {
        let mut changed = Vec::new();
        for (no, build) in self.builds.iter_mut() {
            let Some(it) = build.external_mut() else { continue };
            let stands = self.processes.is_stopped(it.pid());
            if it.set_stands(stands) {
                changed.push((no, stands));
            }
        }
        for (no, stands) in changed {
            self.decide(Input::RootStopped(no, stands));
        }
    }

    fn see_off(&mut self, now: Millis, observer: &mut dyn Observer) {
        for no in self.builds.numbers() {
            if let Some(ending) = self.ending_of(no, now) {
                self.close(no, ending, observer);
                self.processes.remove_build(no);
                self.follow_cgroups();
            }
        }
    }

    /// How the build ended, where it has.
    fn ending_of(&mut self, no: BuildNo, now: Millis) -> Option<Ending> {
        let (lives, has_shims) = (!self.units.live(no).is_empty(), self.has_shims(no));
        let build = self.builds.get(no)?;
        let external = build.external()?;
        match external.fate(now, lives, has_shims, build.exit_by_its_units()) {
            Fate::GoesOn => None,
            Fate::Abandoned => {
                self.abort(no);
                self.decide(Input::Pause(no, false));
                None
            }
            Fate::Left(ending) => {
                self.kill_units(no);
                Some(ending)
            }
            Fate::Over(ending) => Some(ending),
        }
    }

    /// Whoever holds a lock that somebody waits for whom a person waits for is lifted to that rank.
    fn lift_holders(&mut self) {
        if self.builds.is_empty() {
            return;
        }
        let mut lifted = BTreeSet::new();
        for wait in lock_waits() {
            let Some(holder) = self.processes.build_of(wait.holder) else { continue };
            let own = rustix::process::geteuid().as_raw();
            let awaited = match self.processes.build_of(wait.waiter) {
                Some(waiter) if waiter == holder => continue,
                Some(waiter) => self.schedule.goes_first(waiter),
                None => origin_of(wait.waiter).is_some_and(|it| it.interactive && it.uid == own),
            };
            if awaited {
                lifted.insert(holder);
            }
        }
        let mut moved = Vec::new();
        for (no, build) in self.builds.iter_mut() {
            let is_lifted = lifted.contains(&no);
            if build.external_mut().is_some_and(|it| it.set_lifted(is_lifted)) {
                moved.push((no, is_lifted));
            }
        }
        for (no, lifted) in moved {
            self.decide(Input::LockAwaited(no, lifted));
        }
    }

    /// A newer governor takes over: no build is taken any more. It goes on listening, because the compilers of
    /// builds that drivers have joined come here.
    pub(super) fn drain(&mut self) {
        if let Some(duties) = &mut self.account {
            duties.drain();
        }
    }

    /// A newer governor has taken over.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.account.as_ref().is_some_and(AccountDuties::is_draining)
    }

    /// Has `witness` told of the processes that stand still because the schedule says so: of each before it is
    /// stopped.
    pub fn tell_of_stopped(&mut self, witness: Witness) {
        self.processes.tell_of_stopped(witness);
    }

    /// Somebody is kept stopped.
    #[must_use]
    pub fn keeps_something_stopped(&self) -> bool {
        self.processes.keeps_something_stopped()
    }

    /// Governing ends: everything that is stopped goes on.
    pub fn let_everything_go(&mut self) {
        for build in self.builds.numbers() {
            self.resume_everything(build);
        }
    }
}
