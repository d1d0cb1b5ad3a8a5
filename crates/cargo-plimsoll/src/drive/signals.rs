//! Signals, as things to read.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::Cause;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
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
pub(super) struct Signals {
    delivery: SignalDelivery<UnixStream, WithOrigin>,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let signals = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH];
        let delivery = SignalDelivery::with_pipe(read, write, WithOrigin::default(), signals)?;
        Ok(Self { delivery })
    }

    /// What has come since the last call.
    pub(super) fn pending(&mut self) -> Vec<Signal> {
        let meant = |origin: signal_hook::low_level::siginfo::Origin| match origin.signal {
            SIGTSTP => Signal::Stop,
            SIGCONT => Signal::Continued,
            SIGWINCH => Signal::Resized,
            number => Signal::End { number, from_terminal: origin.cause == Cause::Kernel },
        };
        self.delivery.pending().map(meant).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// Stops this process as Ctrl-Z would have, had it not been caught; returns when it is continued.
pub(super) fn stop_self() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
}
