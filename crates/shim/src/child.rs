//! A compiler or linker as our child: it dies with us, is the kernel's first choice when memory runs out,
//! and is watched by a process descriptor.
#![expect(unsafe_code, reason = "what a child does between fork and exec has no safe interface")]

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use rustix::io::FdFlags;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::tokens::UnitTokens;

/// What the kernel adds to the badness of a compiler, of at most 1,000: it is to die before Cargo, an
/// editor or a database, for it can be run again.
const OOM_SCORE: i32 = 500;

/// A running child.
pub(crate) struct Child {
    process: std::process::Child,
    descriptor: OwnedFd,
}

impl Child {
    /// Starts `command`. Where a token pipe is given, the child inherits it under these same numbers.
    pub(crate) fn start(
        command: &mut Command,
        tokens: Option<Arc<UnitTokens>>,
        raise: Raise,
        pages: Pages,
    ) -> io::Result<Self> {
        let parent = rustix::process::getpid();
        let prepare = move || prepare(parent, raise, pages, tokens.as_deref());
        // SAFETY: `prepare` makes system calls only: it allocates nothing and takes no lock, as is asked of
        // code between fork and exec. (And this process has one thread.)
        unsafe { command.pre_exec(prepare) };
        let mut process = command.spawn()?;
        let pid = Pid::from_child(&process);
        // It is our child and not waited for, so the number is still its own.
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Self { process, descriptor }),
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                Err(error.into())
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Readable when it has ended.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Takes the reading end of its standard error, where that is a pipe.
    pub(crate) fn take_stderr(&mut self) -> Option<std::process::ChildStderr> {
        self.process.stderr.take()
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.process.wait()
    }

    /// Kills it, and waits until it has ended. It may have ended before by itself: the status tells.
    pub(crate) fn kill(&mut self) -> io::Result<ExitStatus> {
        // ESRCH: it has ended.
        let _ = rustix::process::pidfd_send_signal(&self.descriptor, Signal::KILL);
        self.process.wait()
    }
}

/// In which sizes the kernel gives a child and all that it starts its memory (`PR_SET_THP_DISABLE`, `prctl(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// As the machine has it set: by default in pages of 2 MiB where a program asks for that, on some machines always.
    Usual,
    /// Never in huge ones, of which a half-used one is held as a whole.
    Small,
}

/// In the child, before it becomes the compiler.
fn prepare(parent: Pid, raise: Raise, pages: Pages, tokens: Option<&UnitTokens>) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // The shim died before the line above: nobody waits for us.
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::SRCH.raw_os_error()));
    }
    if raise.0 {
        raise_oom_score();
    }
    if pages == Pages::Small {
        // Where it is refused, the child needs a little more.
        let _ = rustix::thread::disable_transparent_huge_pages(true);
    }
    if let Some(tokens) = tokens {
        rustix::io::fcntl_setfd(&tokens.read, FdFlags::empty())?;
        rustix::io::fcntl_setfd(&tokens.write, FdFlags::empty())?;
    }
    Ok(())
}

/// Raising needs no privilege; where it is not allowed all the same, the build goes on.
fn raise_oom_score() {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open(
        c"/proc/self/oom_score_adj",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    if let Ok(file) = file {
        let _ = rustix::io::write(file, b"500");
    }
}

/// Whether a child's score is to be raised: not where our own, which it inherits, is that high already. Known before
/// the child is needed, so that a unit which waits finds out meanwhile.
#[derive(Clone, Copy)]
pub(crate) struct Raise(bool);

impl Raise {
    /// Raises this process's own, which is about to become what may be taken first.
    pub(crate) fn raise_own(self) {
        if self.0 {
            raise_oom_score();
        }
    }

    /// By our own score.
    pub(crate) fn needed() -> Self {
        let own = std::fs::read_to_string("/proc/self/oom_score_adj");
        let score = own.ok().and_then(|text| text.trim().parse::<i32>().ok());
        Self(score.is_none_or(|score| score < OOM_SCORE))
    }
}

/// The jobserver of the unit's own, as `CARGO_MAKEFLAGS` says it to rustc: in the old and the new spelling,
/// as Cargo itself writes it.
pub(crate) fn offer(tokens: &UnitTokens, command: &mut Command) {
    let (read, write) = (tokens.read.as_raw_fd(), tokens.write.as_raw_fd());
    command
        .env(
            "CARGO_MAKEFLAGS",
            format!("-j --jobserver-fds={read},{write} --jobserver-auth={read},{write}"),
        )
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS");
}

/// Puts tokens for all processors into the pipe, so that a unit without a governor is not starved.
pub(crate) fn fill(tokens: &UnitTokens) {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut write = match tokens.write.try_clone() {
        Ok(write) => std::fs::File::from(write),
        Err(_) => return,
    };
    // Fewer than a pipe holds; where it fails the unit goes on with its one thread.
    let _ = write.write_all(&vec![b'|'; processors - 1]);
}
