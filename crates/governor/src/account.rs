//! Builds that come from elsewhere: plain Cargos of the account, and drivers that join.
//!
//! A plain Cargo's build begins with its first compiler and ends with its process: then nothing of it is left, or
//! what is left ends by itself. A driver says when its build begins and ends. If the driver is killed, its Cargo goes
//! on as a plain one.
//!
//! What it deliberately does not do: start or end a Cargo, or listen (the host does both).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use plimsoll_core::line::whole;
use plimsoll_core::schedule::{Input, Priority, Terms};
use plimsoll_core::settings::Memory;
use plimsoll_core::{BuildNo, Millis, UnitId};
use plimsoll_host::{
    CgroupDir, Ended, Exit, Jobserver, Origin, Owner, Witness, lock_waits, origin_of, runs_cargo,
};
use plimsoll_proto::{Join, ToDriver};

use crate::builds::{Build, BuildOptions, Ending};
use crate::connection::Peer;
use crate::governor::{Governor, Observer};

/// Ends, programs and locks are looked at this often.
const LOOK_EVERY: Millis = Millis(250);

/// How long what was told to end may take before it is killed.
const GRACE: Millis = Millis(2000);

/// More connections than this are not a build's: a shim each for 1,000 units, and their linkers. Half of the
/// descriptors that this process may have are for token pipes and what it reads.
pub(crate) fn connections_at_most() -> usize {
    const AT_MOST: u64 = 4096;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.unwrap_or(AT_MOST) / 2).unwrap_or(0).min(AT_MOST as usize)
}

/// Who connects says a word at once; whoever does not in this time has none to say.
const SILENT_AT_MOST: Millis = Millis(10_000);

/// Of a build from elsewhere.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    /// The process below which it is.
    pub(crate) root: u32,
    exit: Option<Exit>,
    /// The program of a plain Cargo, which may yet become the user's own; `None` where the root is a driver.
    cargo: Option<PathBuf>,
    /// The connection of its driver, where it has one.
    pub(crate) driver: Option<u64>,
    /// It has one, or had.
    had_driver: bool,
    /// Its driver has said how it ended, and when that was.
    leaving: Option<(Ending, Millis)>,
    /// Its driver has told it to end, and when.
    interrupted: Option<Millis>,
    /// Somebody waits for a lock of its.
    lifted: bool,
    /// Its root is stopped.
    stands: bool,
    /// The cgroups that contain its root.
    pub(crate) cgroups: Vec<CgroupDir>,
}

impl Elsewhere {
    /// Its first process has ended.
    fn root_is_gone(&self) -> bool {
        match &self.exit {
            Some(exit) => exit.has_ended(),
            // A kernel or a sandbox without process descriptors.
            None => !Path::new(&format!("/proc/{}", self.root)).exists(),
        }
    }
}

/// The owner of what belongs to a build and to none of its units.
pub(crate) fn root_of(build: BuildNo) -> Owner {
    // Units are numbered from below.
    Owner(u32::MAX - build.0)
}

fn build_of(owner: Owner) -> BuildNo {
    BuildNo(u32::MAX - owner.0)
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

impl Governor {
    /// The build that a process belongs to which asks to be admitted; a new one where it comes from a Cargo that
    /// was not seen before. `None` where it is nobody's.
    pub(crate) fn build_for(&mut self, pid: u32) -> Option<BuildNo> {
        if !self.of_account {
            return self.builds.keys().next().copied();
        }
        let known = self.tree.build_of(pid).map(build_of);
        if let Some(build) = known.filter(|build| self.builds.contains_key(build)) {
            return Some(build);
        }
        let own = rustix::process::geteuid().as_raw();
        let origin = origin_of(pid).filter(|origin| origin.uid == own)?;
        self.open_plain(origin)
    }

    fn open_plain(&mut self, origin: Origin) -> Option<BuildNo> {
        let options = BuildOptions {
            terms: Terms { interactive: origin.interactive, ..Terms::default() },
            memory: Memory::Auto,
            notes: BTreeMap::new(),
            command: origin.command,
            json_messages: origin.json_messages,
            graph: None,
            target_dir: None,
            jobserver: None,
        };
        self.open_elsewhere(options, origin.root, Some(origin.program), None)
    }

    /// A driver joins, the process `pid`, at the other end of the connection `id`.
    pub(crate) fn join(&mut self, id: u64, pid: u32, join: Join) -> Option<BuildNo> {
        let descriptors = self.connections.get_mut(&id)?.take_descriptors();
        let jobserver = descriptors.and_then(|(read, write)| Jobserver::of(read, write).ok());
        let line = match join.memory {
            Memory::Auto => None,
            Memory::Size(bytes) => Some(bytes),
            Memory::Percent(share) => {
                Some(whole(&self.limits.read()).scale(f64::from(share) / 100.0))
            }
        };
        let options = BuildOptions::of(join, line, jobserver);
        let build = match self.rooted_at(pid) {
            Some(build) => self.adopt_build(build, options, id),
            None => self.open_elsewhere(options, pid, None, Some(id))?,
        };
        let header = serde_json::to_string(self.header(build)?).ok()?;
        let connection = self.connections.get_mut(&id)?;
        connection.peer = Peer::Driver(build);
        connection.send_line(&ToDriver::Header(header).encode());
        Some(build)
    }

    /// The build without a driver whose root is this process: after a governor's death its compilers may have come
    /// before its driver did.
    fn rooted_at(&self, pid: u32) -> Option<BuildNo> {
        let of_it = |build: &Build| {
            build.elsewhere.as_ref().is_some_and(|it| it.root == pid && it.driver.is_none())
        };
        self.builds.iter().find(|(_, build)| of_it(build)).map(|(no, _)| *no)
    }

    fn adopt_build(&mut self, no: BuildNo, options: BuildOptions, driver: u64) -> BuildNo {
        let terms = options.terms;
        if let Some(build) = self.builds.get_mut(&no) {
            build.options = options;
            if let Some(it) = build.elsewhere.as_mut() {
                (it.driver, it.had_driver, it.cargo) = (Some(driver), true, None);
            }
        }
        self.decide(Input::Open(no, terms));
        no
    }

    /// A driver was told to end its build: what is stopped goes on to hear it, what waits leaves. What is told so
    /// once more, a while later, is killed.
    pub(crate) fn interrupt(&mut self, no: BuildNo) {
        let now = self.now();
        self.resume_everything(no);
        self.abort(no);
        let Some(build) = self.builds.get_mut(&no) else { return };
        let Some(it) = build.elsewhere.as_mut() else { return };
        if now - *it.interrupted.get_or_insert(now) >= GRACE {
            self.kill_units(no);
        }
    }

    fn open_elsewhere(
        &mut self,
        options: BuildOptions,
        root: u32,
        cargo: Option<PathBuf>,
        driver: Option<u64>,
    ) -> Option<BuildNo> {
        let exit = Exit::of(root);
        let cgroups = CgroupDir::around(Path::new("/"), Some(root));
        let no = BuildNo(self.next_build);
        if self.draining || !self.tree.add_root(root, root_of(no)) {
            return None;
        }
        let no = self.open(options, root, unix_ms());
        if let Some(build) = self.builds.get_mut(&no) {
            build.elsewhere = Some(Elsewhere {
                root,
                exit,
                cargo,
                driver,
                had_driver: driver.is_some(),
                leaving: None,
                interrupted: None,
                lifted: false,
                stands: false,
                cgroups,
            });
        }
        self.follow_cgroups();
        Some(no)
    }

    /// A compiler says which share its plain Cargo was told to ask for.
    pub(crate) fn hear_priority(&mut self, no: BuildNo, priority: Priority) {
        let Some(build) = self.builds.get_mut(&no) else { return };
        let plain = build.elsewhere.as_ref().is_some_and(|it| it.driver.is_none());
        if plain && build.options.terms.priority != priority {
            build.options.terms.priority = priority;
            let terms = build.options.terms;
            self.decide(Input::Open(no, terms));
        }
    }

    /// Somebody at a screen wants of a build that it stand still, or go on.
    pub(crate) fn pause(&mut self, name: &str, paused: bool) {
        if let Some(build) = self.named(name) {
            self.decide(Input::Pause(build, paused));
        }
    }

    /// Somebody at a screen gives a build another share.
    pub(crate) fn favour(&mut self, name: &str, priority: Priority) {
        let Some(no) = self.named(name) else { return };
        let Some(build) = self.builds.get_mut(&no) else { return };
        build.options.terms.priority = priority;
        let terms = build.options.terms;
        self.decide(Input::Open(no, terms));
    }

    fn named(&self, name: &str) -> Option<BuildNo> {
        self.builds.iter().find(|(_, build)| build.header.build.0 == name).map(|(no, _)| *no)
    }

    /// A driver's Cargo has ended: what is left of its units ends, too.
    pub(crate) fn leave_build(&mut self, no: BuildNo, ending: Ending) {
        let now = self.now();
        self.resume_everything(no);
        self.abort(no);
        if let Some(it) = self.builds.get_mut(&no).and_then(|build| build.elsewhere.as_mut()) {
            it.leaving = Some((ending, now));
        }
        self.looked = Millis::ZERO;
    }

    /// A driver is gone without a word: its Cargo goes on as a plain one.
    pub(crate) fn lose_driver(&mut self, no: BuildNo) {
        if let Some(it) = self.builds.get_mut(&no).and_then(|build| build.elsewhere.as_mut()) {
            it.driver = None;
        }
    }

    /// Looks at what nobody tells: builds that have ended, Cargos that became something else, and locks.
    pub(crate) fn look_around(&mut self, observer: &mut dyn Observer) {
        let now = self.now();
        let leaves =
            |build: &Build| build.elsewhere.as_ref().is_some_and(|it| it.leaving.is_some());
        let somebody_leaves = self.builds.values().any(leaves);
        if !self.of_account || now - self.looked < LOOK_EVERY && !somebody_leaves {
            return;
        }
        self.looked = now;
        self.see_off(now, observer);
        self.see_who_stands();
        self.lift_holders();
        self.drop_silent(now);
    }

    /// What a terminal has stopped with Ctrl-Z, or somebody by a signal, is nothing that another build waits for.
    fn see_who_stands(&mut self) {
        let mut changed = Vec::new();
        for (no, build) in &mut self.builds {
            let Some(it) = &mut build.elsewhere else { continue };
            let stands = self.tree.is_stopped(it.root);
            if std::mem::replace(&mut it.stands, stands) != stands {
                changed.push((*no, stands));
            }
        }
        for (no, stands) in changed {
            self.decide(Input::Stands(no, stands));
        }
    }

    fn see_off(&mut self, now: Millis, observer: &mut dyn Observer) {
        let builds: Vec<BuildNo> = self.builds.keys().copied().collect();
        for no in builds {
            if let Some(ending) = self.has_ended(no, now) {
                self.close(no, ending, observer);
                self.tree.remove_root(root_of(no));
                self.follow_cgroups();
            }
        }
    }

    /// How the build ended, where it has.
    fn has_ended(&mut self, no: BuildNo, now: Millis) -> Option<Ending> {
        let lives = !self.live(no).is_empty();
        let it = self.builds.get(&no)?.elsewhere.as_ref()?;
        if let Some((ending, since)) = it.leaving {
            if self.has_shims(no) && now - since < GRACE {
                return None;
            }
            self.kill_units(no);
            return Some(ending);
        }
        let gone = it.root_is_gone();
        if lives && gone && it.cargo.is_some() {
            // Nobody is left who could use what they make, nor who could be asked to go on.
            self.abort(no);
            self.decide(Input::Pause(no, false));
        }
        let build = self.builds.get(&no)?;
        let it = build.elsewhere.as_ref()?;
        if it.driver.is_some() || lives {
            return None;
        }
        if it.had_driver {
            // Its Cargo may go on: then it is a plain one's build, which begins with its next compiler.
            return Some(Ending { exit: build.exit_by_its_units(), complete: false });
        }
        let goes_on = it.cargo.as_ref().is_some_and(|program| runs_cargo(it.root, Some(program)));
        if !gone && goes_on {
            return None;
        }
        let said = it.exit.as_ref().map_or(Ended::Somehow, Exit::ended);
        let exit = match said {
            Ended::With(status) if status & 0x7f == 0 => (status >> 8) & 0xff,
            Ended::With(status) => 128 + (status & 0x7f),
            // As Cargo says it, as far as its compilers tell.
            Ended::NotYet | Ended::Somehow => build.exit_by_its_units(),
        };
        Some(Ending { exit, complete: gone && exit == 0 })
    }

    /// Whoever holds a lock that somebody waits for whom a person waits for is lifted to that rank.
    fn lift_holders(&mut self) {
        if self.builds.is_empty() {
            return;
        }
        let mut lifted = BTreeSet::new();
        for wait in lock_waits() {
            let Some(holder) = self.tree.build_of(wait.holder).map(build_of) else { continue };
            let own = rustix::process::geteuid().as_raw();
            let awaited = match self.tree.build_of(wait.waiter).map(build_of) {
                Some(waiter) if waiter == holder => continue,
                Some(waiter) => self.schedule.goes_first(waiter),
                None => origin_of(wait.waiter).is_some_and(|it| it.interactive && it.uid == own),
            };
            if awaited {
                lifted.insert(holder);
            }
        }
        let mut moved = Vec::new();
        for (no, build) in &mut self.builds {
            if let Some(it) = build.elsewhere.as_mut()
                && it.lifted != lifted.contains(no)
            {
                it.lifted = !it.lifted;
                moved.push((*no, it.lifted));
            }
        }
        for (no, lifted) in moved {
            self.decide(Input::Lift(no, lifted));
        }
    }

    /// Connections that have nothing to say make room.
    fn drop_silent(&mut self, now: Millis) {
        let silent = |peer: Peer| matches!(peer, Peer::Unknown | Peer::Done);
        let gone: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, it)| it.is_stuck() || silent(it.peer) && now - it.since >= SILENT_AT_MOST)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            if let Some(connection) = self.connections.remove(&id) {
                let peer = connection.peer;
                let _ = connection.close();
                self.hung_up(peer);
            }
        }
    }

    /// A unit whose governor is gone runs on, and is governed again from here.
    pub(crate) fn take_over(&mut self, unit: UnitId, shim: u32, pid: u32) {
        self.tree.adopt_child(shim, pid, crate::ledger::compiler(unit));
    }

    /// A newer governor takes over: no build is taken any more. It goes on listening, because the compilers of
    /// builds that drivers have joined come here.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// A newer governor has taken over.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Nobody is governed, and nobody is connected.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.builds.is_empty() && self.connections.is_empty()
    }

    /// The line is named anew, and what is kept free beside it.
    pub fn name_line(&mut self, memory: Memory, reserve: Memory) {
        if (memory, reserve) != (self.options.memory, self.options.reserve) {
            (self.options.memory, self.options.reserve) = (memory, reserve);
            self.line = self.options.line();
        }
    }

    /// Has `witness` told of the processes that stand still because the schedule says so: of each before it is
    /// stopped.
    pub fn tell_of_stopped(&mut self, witness: Witness) {
        self.tree.tell_of_stopped(witness);
    }

    /// Somebody is kept stopped.
    #[must_use]
    pub fn keeps_something_stopped(&self) -> bool {
        self.tree.keeps_something_stopped()
    }

    /// Governing ends: everything that is stopped goes on.
    pub fn let_everything_go(&mut self) {
        let builds: Vec<BuildNo> = self.builds.keys().copied().collect();
        for build in builds {
            self.resume_everything(build);
        }
    }

    /// Takes everybody who waits to be let in; for the last look before the end.
    pub fn accept_waiting(&mut self, observer: &mut dyn Observer) {
        self.accept(observer);
    }
}
