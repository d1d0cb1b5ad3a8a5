//! The signals that a person or the system sends to us, as things to read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The build is to end.
    End {
        /// The signal's number.
        number: i32,
        /// A key on the terminal sent it, to the whole process group; else somebody sent it to us.
        from_terminal: bool,
    },
    /// Ctrl-Z.
    Stop,
    /// `fg` or `bg`: what was stopped runs, also what should not.
    Continued,
    /// The terminal has another size.
    Resized,
}

/// The signals that were caught.
#[derive(Debug)]
pub struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH];
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals)?;
        Ok(Self { delivery })
    }

    /// What has come since the last call.
    pub fn pending(&mut self) -> Vec<Signal> {
        let meant = |origin: signal_hook::low_level::siginfo::Origin| match origin.signal {
            SIGTSTP => Signal::Stop,
            SIGCONT => Signal::Continued,
            SIGWINCH => Signal::Resized,
            number => Signal::End { number, from_terminal: origin.cause == Cause::Kernel },
        };
        let mut pending: Vec<Signal> = self.delivery.pending().map(meant).collect();
        // They come in the order of their numbers: whoever was continued meanwhile is not to stop any more.
        if pending.contains(&Signal::Continued) {
            pending.retain(|signal| *signal != Signal::Stop);
        }
        pending
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Whether our process group has a parent outside that is in our session: a shell with job control. Without
/// one (`ssh host command`, a container's first process) the group is *orphaned*, and the kernel ignores Ctrl-Z
/// (setpgid(2), POSIX "orphaned process group").
pub fn have_job_control() -> bool {
    let Some(own) = Kin::of("self") else { return true };
    let mut above = own.parent;
    // A group that was made outside our pid namespace has the number 0, and says nothing.
    while own.group != 0 && above != 0 {
        match Kin::of(&above.to_string()) {
            Some(it) if it.group == own.group => above = it.parent,
            Some(it) => return it.session == own.session,
            None => return true,
        }
    }
    own.group == 0
}

/// Where a process stands: fields 4 to 6 of its `stat` (proc(5)).
struct Kin {
    parent: u32,
    group: u32,
    session: u32,
}

impl Kin {
    fn of(pid: &str) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name before them may hold anything, and ends at the last `)`.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(1);
        let mut next = || fields.next()?.parse().ok();
        Some(Self { parent: next()?, group: next()?, session: next()? })
    }
}

/// Stops this process as Ctrl-Z would have, had it not been caught; returns when it is continued.
pub fn stop_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
}
