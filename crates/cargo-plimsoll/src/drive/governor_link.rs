//! The budget that a driver's build is under: one that it hosts itself, or the account's, which it joins.

use std::os::fd::BorrowedFd;

use plimsoll_core::event::{Header, Record};
use plimsoll_core::{BuildNo, Millis};
use plimsoll_governor::{Ending, Governor, GovernorError, Observer as _, Wake};
use plimsoll_host::{Jobserver, ProcessTree};
use plimsoll_proto::Rerun;

use super::joined::Joined;
use super::watch::Watch;

/// A governor, as the driver of one build sees it.
pub(super) enum GovernorLink {
    /// In this process.
    Own {
        /// The loop.
        governor: Box<Governor>,
        /// Its only build.
        build: BuildNo,
    },
    /// The account's, in a process of its own.
    Joined(Box<Joined>),
}

impl GovernorLink {
    /// The first line of the build's log.
    pub(super) fn header(&self) -> Option<&Header> {
        match self {
            Self::Own { governor, build } => governor.header(*build),
            Self::Joined(joined) => Some(joined.header()),
        }
    }

    /// Where the shims find it: an abstract name, or a path.
    pub(super) fn socket(&self) -> &str {
        match self {
            Self::Own { governor, .. } => governor.socket(),
            Self::Joined(joined) => joined.socket(),
        }
    }

    /// Cargo's pipe.
    pub(super) fn jobserver(&self) -> Option<&Jobserver> {
        match self {
            Self::Own { governor, build } => governor.jobserver(*build),
            Self::Joined(joined) => Some(joined.jobserver()),
        }
    }

    /// The time since the start of the build.
    pub(super) fn now(&self) -> Millis {
        match self {
            Self::Own { governor, .. } => governor.now(),
            Self::Joined(joined) => joined.now(),
        }
    }

    /// Waits until something happens, or `deadline`; what happened in the build is told to `watch`.
    pub(super) fn turn(
        &mut self,
        extra: &[BorrowedFd<'_>],
        deadline: Millis,
        watch: &mut Watch,
    ) -> Result<Wake, GovernorError> {
        match self {
            Self::Own { governor, .. } => governor.turn(extra, deadline, watch),
            Self::Joined(joined) => joined.turn(extra, deadline, watch),
        }
    }

    /// Cargo has failed: takes in what is known of the reason.
    pub(super) fn hear_out(&mut self, watch: &mut Watch) -> Result<(), GovernorError> {
        /// The account's governor is another process: so long its word is waited for.
        const PATIENCE: Millis = Millis(50);
        let patience = match self {
            // A process's sockets close before anybody hears of its end.
            Self::Own { .. } => Millis::ZERO,
            Self::Joined(_) => PATIENCE,
        };
        let until = self.now() + patience;
        loop {
            self.turn(&[], until, watch)?;
            if let Self::Own { governor, .. } = self {
                governor.end_unwatched();
            }
            if self.now() >= until || self.wants_rerun().is_some() {
                return Ok(());
            }
        }
    }

    /// Why Cargo must run once more.
    pub(super) fn wants_rerun(&self) -> Option<Rerun> {
        match self {
            Self::Own { governor, build } => governor.wants_rerun(*build),
            Self::Joined(joined) => joined.wants_rerun(),
        }
    }

    /// Cargo runs once more: what failed before is forgotten.
    pub(super) fn begin_again(&mut self) {
        match self {
            Self::Own { governor, build } => governor.begin_again(*build),
            Self::Joined(joined) => joined.begin_again(),
        }
    }

    /// Something is compiled, or was.
    pub(super) fn has_seen_units(&self) -> bool {
        match self {
            Self::Own { governor, build } => governor.has_seen_units(*build),
            Self::Joined(joined) => joined.has_seen_units(),
        }
    }

    /// Something that a person should know.
    pub(super) fn notice(&mut self, text: &str, watch: &mut Watch) {
        use plimsoll_core::event::Event;
        match self {
            Self::Own { governor, build } => governor.notice(*build, text),
            Self::Joined(joined) => {
                let event = Event::Notice { text: text.to_owned() };
                watch.record(BuildNo(1), &Record { t: joined.now(), event });
            }
        }
    }

    /// A command that is not Cargo runs, as this process.
    pub(super) fn command(&mut self, pid: u32, name: String) {
        match self {
            Self::Own { governor, build } => {
                governor.command(*build, std::process::id(), pid, name);
            }
            Self::Joined(joined) => joined.command(pid, name),
        }
    }

    /// Somebody wants the build to end: what is stopped goes on to hear it, what waits leaves.
    pub(super) fn interrupt(&mut self) {
        match self {
            Self::Own { governor, build } => {
                governor.resume_everything(*build);
                governor.abort(*build);
            }
            Self::Joined(joined) => joined.interrupt(),
        }
    }

    /// Units still run though they were told to end.
    pub(super) fn kill_units(&mut self) {
        match self {
            Self::Own { governor, build } => governor.kill_units(*build),
            // Told once more, the governor kills them.
            Self::Joined(joined) => joined.interrupt(),
        }
    }

    /// After a `fg`: what should be stopped is stopped again.
    pub(super) fn suspend_again(&mut self) {
        match self {
            Self::Own { governor, build } => governor.suspend_again(*build),
            Self::Joined(joined) => joined.continued(),
        }
    }

    /// Governing ends, the build goes on: under `cargo run` Cargo has become the user's own program.
    pub(super) fn stop_governing(&mut self) {
        match self {
            Self::Own { governor, build } => governor.stop_governing(*build),
            Self::Joined(joined) => joined.leave(Ending { exit: 0, complete: false }),
        }
    }

    /// A shim is still connected, as far as is known here.
    pub(super) fn has_shims(&self) -> bool {
        match self {
            Self::Own { governor, build } => governor.has_shims(*build),
            // The governor waits for them when the build leaves.
            Self::Joined(_) => false,
        }
    }

    /// Kills what still runs below us in our own session, whoever started it. Daemons, which leave the session,
    /// are not the build's to end.
    pub(super) fn kill_rest(&mut self) {
        match self {
            Self::Own { governor, .. } => governor.kill_rest(),
            Self::Joined(_) => {
                if let Ok(mut tree) = ProcessTree::new(std::process::id()) {
                    tree.kill_session();
                }
            }
        }
    }

    /// The build is over.
    pub(super) fn close(&mut self, ending: Ending, watch: &mut Watch) {
        match self {
            Self::Own { governor, build } => governor.close(*build, ending, watch),
            Self::Joined(joined) => joined.close(ending, watch),
        }
    }
}
