//! Nothing stays stopped, and nothing ends, when this process is killed while units are stopped.
//!
//! Two things would happen then. A build script that is stopped stays so: Cargo started it, so no shim
//! stands above it to continue it. And under a shell with job control the kernel finds a process group
//! without a parent in its session that has stopped members, and sends all of it SIGHUP, Cargo too.
//!
//! So, from the first unit on, two processes wait at a pipe that closes with us. The *member* is in our
//! process group, and its parent, the *holder*, is in one of its own, so that the group keeps a parent
//! outside. When the pipe closes the member continues the whole group, and only then ends. They are started
//! so early because nothing may be stopped before they are there; a build with nothing to do has none.
//!
//! The member inherits the group, and the holder leaves it: so the group's number is not asked for, which
//! is 0, no number at all, where the group was made outside our pid namespace (`unshare --pid`).

use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::Signal;

/// The first argument of the two.
const HOLDER: &str = "__hold-group";
const MEMBER: &str = "__in-group";

/// The two processes.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts them.
    ///
    /// # Errors
    /// Where a process cannot be started: then a killed driver may take the build along.
    pub(super) fn start() -> io::Result<Self> {
        let mut holder = Command::new(std::env::current_exe()?);
        holder.arg(HOLDER).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        holder.spawn().map(Self)
    }
}

impl Drop for Guard {
    /// A word before the pipe closes: nothing is to be continued.
    fn drop(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b".");
        }
        let _ = self.0.wait();
    }
}

/// Where this process is one of the two: does its part, and gives its exit code.
pub(crate) fn main() -> Option<ExitCode> {
    let role = std::env::args_os().nth(1)?;
    if role == HOLDER {
        let _ = hold();
    } else if role == MEMBER {
        let mut word = [0];
        // Also where the pipe cannot be read: whatever has happened, we are not needed any more.
        if !matches!(io::stdin().read(&mut word), Ok(1)) {
            let _ = rustix::process::kill_current_process_group(Signal::CONT);
        }
    } else {
        return None;
    }
    Some(ExitCode::SUCCESS)
}

fn hold() -> io::Result<()> {
    let mut member = Command::new(std::env::current_exe()?).arg(MEMBER).spawn()?;
    rustix::process::setpgid(None, None)?;
    member.wait().map(drop)
}
