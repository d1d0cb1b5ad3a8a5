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

use std::ffi::OsStr;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};

use rustix::process::Signal;

/// The first argument of the two; the second is the process group for the holder's member.
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
        let group = rustix::process::getpgrp().as_raw_pid().to_string();
        let mut holder = Command::new(std::env::current_exe()?);
        holder.args([HOLDER, &group]).stdin(Stdio::piped()).stdout(Stdio::null());
        holder.stderr(Stdio::null()).process_group(0).spawn().map(Self)
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
    let mut args = std::env::args_os().skip(1);
    let role = args.next()?;
    if role == HOLDER {
        let _ = hold(&args.next()?);
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

fn hold(group: &OsStr) -> io::Result<()> {
    let group =
        group.to_str().and_then(|text| text.parse().ok()).ok_or(io::ErrorKind::InvalidInput)?;
    let mut member = Command::new(std::env::current_exe()?);
    member.arg(MEMBER).process_group(group).spawn()?.wait().map(drop)
}
