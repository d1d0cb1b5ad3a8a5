//! How the shim ends: with its child's exit code, or of the same signal.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};

use crate::diagnostic;

/// What a shell says of a program that could not be started.
const NOT_STARTED: u8 = 127;

/// How the shim is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChildEnding {
    /// With this exit code.
    Code(u8),
    /// Of this signal, as the child did.
    Signal(i32),
}

impl ChildEnding {
    /// A failure of our own.
    pub(crate) const FAILED: Self = Self::Code(1);
    /// Nothing could be run.
    pub(crate) const NOT_STARTED: Self = Self::Code(NOT_STARTED);
}

impl From<ExitStatus> for ChildEnding {
    fn from(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signal(signal),
            None => Self::Code(u8::try_from(status.code().unwrap_or(1) & 0xff).unwrap_or(1)),
        }
    }
}

/// Ends the process so. Only the caller's `main` may return after it.
pub(crate) fn act(ending: ChildEnding) -> ExitCode {
    match ending {
        ChildEnding::Code(code) => ExitCode::from(code),
        ChildEnding::Signal(number) => {
            die_of(number);
            // The signal is ignored here (Rust ignores SIGPIPE): what a shell would say.
            ExitCode::from(u8::try_from(128 + number).unwrap_or(1))
        }
    }
}

fn die_of(number: i32) {
    let Some(signal) = Signal::from_named_raw(number) else { return };
    // The child has left its core already; ours would only hide it.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // Twice: Rust's handler for SIGSEGV and SIGBUS takes the first one and steps aside.
    for _ in 0..2 {
        let _ = kill_process(getpid(), signal);
    }
}

/// Becomes `command`. Returns only where that fails.
pub(crate) fn become_command(mut command: Command) -> ChildEnding {
    let error = command.exec();
    let program = Path::new(command.get_program()).display().to_string();
    diagnostic::plain(&format!("cannot run `{program}`: {error}"));
    ChildEnding::NOT_STARTED
}
