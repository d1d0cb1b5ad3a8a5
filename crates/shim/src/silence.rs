//! An account's governor that does not answer: it was stopped, a debugger holds it, its cgroup is frozen.
//!
//! A unit may wait for memory for as long as it takes, so a long wait tells nothing. Whoever has waited for a while asks
//! the governor whether it still runs, and without an answer goes on without it. Whoever finds that out leaves a directory
//! beside the socket, and the first below each Cargo tells a person. While that directory is there nobody waits long, and
//! whoever is answered takes it away: from then on units are governed again.
//!
//! Deliberately not here: a governor that a driver hosts. Whoever stops that has stopped their build.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use plimsoll_proto::Governing;
use rustix::event::Timespec;

use crate::tree;

/// How long one waits in silence before asking, and then for the answer. Because a governor answers within a few
/// milliseconds, and within a second or two where the machine thrashes.
const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
/// The same for a governor that has not answered somebody else: it is asked whether it is back.
const LITTLE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// The same where it stands still: it cannot answer.
const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What is known of one governor's silence.
#[derive(Debug)]
pub(crate) struct Silence {
    /// The directory that says so.
    mark: PathBuf,
    pid: u32,
}

impl Silence {
    /// Of the governor at the other end of `stream`, whose socket is in `directory`.
    pub(crate) fn of(stream: &UnixStream, directory: &Path) -> Option<Self> {
        let peer = rustix::net::sockopt::socket_peercred(stream).ok()?;
        Some(Self::named(directory, peer.pid.as_raw_pid().cast_unsigned()))
    }

    /// Of the governor that is this process.
    pub(crate) fn named(directory: &Path, pid: u32) -> Self {
        Self { mark: Governing::unanswered(directory, pid), pid }
    }

    /// How long to wait for its next word.
    pub(crate) fn patience(&self) -> Timespec {
        match self.mark.exists() {
            false => PATIENCE,
            true if tree::is_stopped(self.pid) => NONE,
            true => LITTLE,
        }
    }

    /// It does not answer. What a person is to be told, where nobody else below our parent has said it.
    pub(crate) fn begins(&self) -> Option<String> {
        let made = fs::create_dir(&self.mark);
        if made.is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists) {
            return None;
        }
        let parent = rustix::process::getppid()?.as_raw_pid();
        fs::File::create_new(self.mark.join(parent.to_string())).ok().map(|_| self.text())
    }

    /// It has answered.
    pub(crate) fn ends(&self) {
        let _ = fs::remove_dir_all(&self.mark);
    }

    fn text(&self) -> String {
        format!(
            "warning: Plimsoll's governor (process {pid}) does not answer; the build goes on without a memory budget until it does (if it was stopped, run `kill -CONT {pid}`)\n",
            pid = self.pid
        )
    }
}
