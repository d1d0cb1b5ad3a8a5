//! Cargo's jobserver: the pipe whose tokens are places for units.
//!
//! It belongs to the driver, so that losing the governor never leaves it empty. Cargo with an inherited
//! jobserver ignores `-j` and runs at most its tokens + 1 units, so a pipe for `n` jobs begins with n - 1
//! tokens. Cargo gives the same pipe to build scripts, and they to make, ninja and nested cargos.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::pipe::PipeFlags;

use super::tokens::Pipe;
use crate::HostError;
use crate::process::Tokens;

/// The jobserver that Cargo inherits.
#[derive(Debug)]
pub struct Jobserver {
    pipe: Pipe,
    /// Where it has a name; removed with us.
    fifo: Option<PathBuf>,
}

impl Jobserver {
    /// A jobserver for `jobs` units at once (at least one), as an anonymous pipe that our children
    /// inherit.
    ///
    /// # Errors
    /// Where no pipe can be made.
    pub fn new(jobs: u32) -> Result<Self, HostError> {
        Self::filled(Pipe::anonymous(PipeFlags::empty())?, None, jobs)
    }

    /// The same as a named pipe at `path` (which must not exist), for tools that want a name. The
    /// descriptors are inherited, too, so it can be offered both ways.
    ///
    /// # Errors
    /// Where the named pipe cannot be made or opened.
    pub fn with_fifo(jobs: u32, path: &Path) -> Result<Self, HostError> {
        let named = |doing| move |error| HostError::new(doing, path, error);
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).map_err(named("make the named pipe"))?;
        // Opening one end waits for the other, but on Linux not where both are opened at once.
        let open = |flags| rustix::fs::open(path, flags, Mode::empty()).map_err(named("open"));
        let both = open(OFlags::RDWR | OFlags::CLOEXEC)?;
        let pipe = Pipe::new(open(OFlags::RDONLY)?, open(OFlags::WRONLY)?)?;
        drop(both);
        Self::filled(pipe, Some(path.to_owned()), jobs)
    }

    /// The jobserver that somebody else has made and filled, by the two ends of its pipe.
    ///
    /// # Errors
    /// Where they are no pipe.
    pub fn of(read: OwnedFd, write: OwnedFd) -> Result<Self, HostError> {
        Ok(Self { pipe: Pipe::new(read, write)?, fifo: None })
    }

    /// The two ends of the pipe: where places are taken, and where they are put.
    #[must_use]
    pub fn fds(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.pipe.read.as_fd(), self.pipe.write.as_fd())
    }

    fn filled(pipe: Pipe, fifo: Option<PathBuf>, jobs: u32) -> Result<Self, HostError> {
        let mut jobserver = Self { pipe, fifo };
        jobserver
            .lend(jobs.saturating_sub(1))
            .map_err(|error| HostError::new("fill", "the jobserver", error))?;
        Ok(jobserver)
    }

    /// The value of `CARGO_MAKEFLAGS`, which Cargo and GNU make before 4.4 understand, too.
    #[must_use]
    pub fn cargo_makeflags(&self) -> String {
        let (read, write) = (self.pipe.read.as_raw_fd(), self.pipe.write.as_raw_fd());
        format!("-j --jobserver-fds={read},{write} --jobserver-auth={read},{write}")
    }

    /// The value of `MAKEFLAGS` for tools that want a named pipe; `None` where it has no name. GNU make
    /// 4.3 and before stops with an error when it reads this: see
    /// [`ToolVersions::form`](crate::ToolVersions::form).
    #[must_use]
    pub fn fifo_makeflags(&self) -> Option<String> {
        let path = self.fifo.as_ref()?.to_str()?;
        let mut flags = String::from("-j --jobserver-auth=fifo:");
        write!(flags, "{path}").ok()?;
        Some(flags)
    }

    /// Adds `n` places; returns how many the pipe had room for (all, below some thousands).
    ///
    /// # Errors
    /// Where the pipe cannot be written.
    pub fn lend(&mut self, n: u32) -> io::Result<u32> {
        self.pipe.put(n)
    }

    /// Takes one place back, without waiting; false where none is free.
    ///
    /// # Errors
    /// Where the pipe cannot be read.
    pub fn take_back(&mut self) -> io::Result<bool> {
        self.pipe.take(1).map(|taken| taken == 1)
    }

    /// Places that are free.
    #[must_use]
    pub fn unread(&self) -> u32 {
        self.pipe.unread()
    }

    /// Places that were issued and those that are free. When nothing runs, the ones that are believed
    /// held are lost (their holders were killed), and [`lend`](Self::lend) mints them again.
    #[must_use]
    pub fn audit(&self) -> Tokens {
        self.pipe.audit()
    }
}

impl Drop for Jobserver {
    fn drop(&mut self) {
        if let Some(path) = &self.fifo {
            // It lies in the build's runtime directory, which goes with it.
            let _ = fs::remove_file(path);
        }
    }
}
