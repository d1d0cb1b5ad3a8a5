//! A build that is not below this process: a plain Cargo of the account, or a driver that has joined.
//!
//! A plain Cargo's build begins with its first compiler and ends with its process: then nothing of it is left, or
//! what is left ends by itself. A driver says when its build begins and ends. If the driver is killed, its Cargo goes
//! on as a plain one.
//!
//! What it deliberately does not do: start or end a Cargo.

use std::path::{Path, PathBuf};

use plimsoll_core::Millis;
use plimsoll_host::{CgroupDir, Ended, Exit, runs_cargo};

use crate::options::Ending;

/// How long what was told to end may take before it is killed.
const GRACE: Millis = Millis(2000);

/// The first process of such a build, and what is known of its end.
#[derive(Debug)]
pub(crate) struct ExternalRoot {
    pid: u32,
    exit: Option<Exit>,
    /// The program of a plain Cargo, which may yet become the user's own; `None` where the root is a driver.
    program: Option<PathBuf>,
    /// The connection of its driver, where it has one.
    driver: Option<u64>,
    /// It has one, or had.
    had_driver: bool,
    /// Its driver has said how it ended, and when that was.
    leaving: Option<(Ending, Millis)>,
    /// Its driver has told it to end, and when.
    interrupted: Option<Millis>,
    /// Somebody waits for a lock of its.
    lifted: bool,
    /// It is stopped.
    stands: bool,
    /// The cgroups that contain it.
    cgroups: Vec<CgroupDir>,
}

/// What becomes of a build.
pub(crate) enum Fate {
    GoesOn,
    /// Nobody is left who could use what its units make, nor who could be asked to go on: they are told to end.
    Abandoned,
    /// Its driver has left. What still runs is killed, and it is over.
    Left(Ending),
    /// It is over.
    Over(Ending),
}

impl ExternalRoot {
    /// A plain Cargo.
    pub(crate) fn cargo(pid: u32, program: PathBuf) -> Self {
        Self::new(pid, Some(program), None)
    }

    /// A driver, at the other end of the connection `id`.
    pub(crate) fn driver(pid: u32, id: u64) -> Self {
        Self::new(pid, None, Some(id))
    }

    fn new(pid: u32, program: Option<PathBuf>, driver: Option<u64>) -> Self {
        Self {
            pid,
            exit: Exit::of(pid),
            program,
            driver,
            had_driver: driver.is_some(),
            leaving: None,
            interrupted: None,
            lifted: false,
            stands: false,
            cgroups: CgroupDir::around(Path::new("/"), Some(pid)),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The connection of its driver, where it has one.
    pub(crate) fn connection(&self) -> Option<u64> {
        self.driver
    }

    /// The cgroups that contain it.
    pub(crate) fn cgroups(&self) -> &[CgroupDir] {
        &self.cgroups
    }

    /// It turns out to be a driver, at the other end of the connection `id`.
    pub(crate) fn becomes_driver(&mut self, id: u64) {
        (self.driver, self.had_driver, self.program) = (Some(id), true, None);
    }

    /// The driver is gone without a word.
    pub(crate) fn lose_driver(&mut self) {
        self.driver = None;
    }

    /// The driver's Cargo has ended.
    pub(crate) fn leave(&mut self, ending: Ending, now: Millis) {
        self.leaving = Some((ending, now));
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// The driver was told to end its build. Whether that was said once more, a while later.
    pub(crate) fn interrupt(&mut self, now: Millis) -> bool {
        now - *self.interrupted.get_or_insert(now) >= GRACE
    }

    /// Whether it is stopped; true where that is news.
    pub(crate) fn set_stands(&mut self, stands: bool) -> bool {
        std::mem::replace(&mut self.stands, stands) != stands
    }

    /// Whether somebody waits for a lock of its; true where that is news.
    pub(crate) fn set_lifted(&mut self, lifted: bool) -> bool {
        std::mem::replace(&mut self.lifted, lifted) != lifted
    }

    /// What becomes of the build now. `lives`: a unit of it has not ended. `has_shims`: one is connected.
    pub(crate) fn fate(
        &self,
        now: Millis,
        lives: bool,
        has_shims: bool,
        exit_by_its_units: i32,
    ) -> Fate {
        if let Some((ending, since)) = self.leaving {
            let waits = has_shims && now - since < GRACE;
            return if waits { Fate::GoesOn } else { Fate::Left(ending) };
        }
        let gone = self.is_gone();
        if lives {
            let abandoned = gone && self.program.is_some();
            return if abandoned { Fate::Abandoned } else { Fate::GoesOn };
        }
        if self.driver.is_some() {
            return Fate::GoesOn;
        }
        if self.had_driver {
            // Its Cargo may go on: then it is a plain one's build, which begins with its next compiler.
            return Fate::Over(Ending { exit: exit_by_its_units, complete: false });
        }
        if !gone && self.program.as_ref().is_some_and(|it| runs_cargo(self.pid, Some(it))) {
            return Fate::GoesOn;
        }
        let exit = match self.exit.as_ref().map_or(Ended::Somehow, Exit::ended) {
            Ended::With(status) if status & 0x7f == 0 => (status >> 8) & 0xff,
            Ended::With(status) => 128 + (status & 0x7f),
            // As Cargo says it, as far as its compilers tell.
            Ended::NotYet | Ended::Somehow => exit_by_its_units,
        };
        Fate::Over(Ending { exit, complete: gone && exit == 0 })
    }

    fn is_gone(&self) -> bool {
        match &self.exit {
            Some(exit) => exit.has_ended(),
            // A kernel or a sandbox without process descriptors.
            None => !Path::new(&format!("/proc/{}", self.pid)).exists(),
        }
    }
}
