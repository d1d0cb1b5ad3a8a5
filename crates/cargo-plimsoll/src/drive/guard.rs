//! Nothing stays stopped, and nothing ends, when this process is killed while units are stopped.
//!
//! Two things would happen then. A build script that is stopped stays so: Cargo started it, so no shim
//! stands above it to continue it. And under a shell with job control the kernel finds a process group
//! without a parent in its session that has stopped members, and sends all of it SIGHUP, Cargo too.
//!
//! So, from the first unit on, two processes wait at a pipe that closes with us. The *member* is in our
//! process group, and its parent, the *holder*, is in one of its own, so that the group keeps a parent
//! outside. When the pipe closes the member continues the whole group, gives the terminal's bottom row back
//! where we had it for the status line, and only then ends. They are started so early because nothing may be stopped before they are there; a build with nothing to do has none.
//!
//! Where there is a hard limit (`--hard`) they are there from the start. When the driver is killed the build goes on behind
//! its hard limit, and the holder stays until the last process is gone, and takes the hard limit away.
//!
//! The member inherits the group, and the holder leaves it: so the group's number is not asked for, which
//! is 0, no number at all, where the group was made outside our pid namespace (`unshare --pid`).

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use plimsoll_host::CgroupPath;
use rustix::process::Signal;

use crate::status::Terminal;

/// The first argument of the two; the words below may follow.
const HOLDER: &str = "__hold-group";
const MEMBER: &str = "__in-group";
/// The terminal's bottom row is to be given back.
const ROW: &str = "row";
/// The holder stays in the group.
const STAY: &str = "stay";
/// What follows are the words of a hard limit's place.
const CGROUP_LIMIT: &str = "wall";
/// How the member ends where the driver was killed.
const ORPHANED: u8 = 1;
/// How often it is looked whether an orphaned build has ended.
const LOOK: Duration = Duration::from_millis(200);

/// The two processes.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Starts them; `row` says whether the terminal's bottom row is taken. Where there is no `job_control` the
    /// group is to stay without a parent outside: it would become one that can be stopped.
    ///
    /// # Errors
    /// Where a process cannot be started: then a killed driver may take the build along.
    pub(super) fn start(
        row: bool,
        job_control: bool,
        hard_limit: Option<&CgroupPath>,
    ) -> io::Result<Self> {
        let mut holder = Command::new(std::env::current_exe()?);
        holder.arg(HOLDER).args(row.then_some(ROW)).args((!job_control).then_some(STAY));
        if let Some(hard_limit) = hard_limit {
            holder.arg(CGROUP_LIMIT).args(hard_limit.words());
        }
        holder.stdin(Stdio::piped()).stdout(Stdio::null());
        holder.stderr(if row { Stdio::inherit() } else { Stdio::null() }).spawn().map(Self)
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
    let words: Vec<_> = args.collect();
    let (words, hard_limit) = match words.iter().position(|word| word == CGROUP_LIMIT) {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (&words[..], &[][..]),
    };
    let row = words.iter().any(|word| word == ROW);
    if role == HOLDER {
        let _ = hold(row, words.iter().any(|word| word == STAY), hard_limit);
    } else if role == MEMBER {
        let mut word = [0];
        // Also where the pipe cannot be read: whatever has happened, we are not needed any more.
        if !matches!(io::stdin().read(&mut word), Ok(1)) {
            let _ = rustix::process::kill_current_process_group(Signal::CONT);
            if let Some(mut terminal) = Terminal::stderr().filter(|_| row) {
                terminal.give_back();
            }
            return Some(ExitCode::from(ORPHANED));
        }
    } else {
        return None;
    }
    Some(ExitCode::SUCCESS)
}

fn hold(row: bool, stays: bool, hard_limit: &[OsString]) -> io::Result<()> {
    let mut member = Command::new(std::env::current_exe()?);
    let mut member = member.arg(MEMBER).args(row.then_some(ROW)).spawn()?;
    if !stays {
        rustix::process::setpgid(None, None)?;
    }
    let ended = member.wait()?;
    let orphaned = ended.code() == Some(i32::from(ORPHANED));
    if let Some(hard_limit) = CgroupPath::from_words(hard_limit).filter(|_| orphaned) {
        while !hard_limit.is_empty() {
            std::thread::sleep(LOOK);
        }
        // What stays the next driver sweeps away.
        let _ = hard_limit.remove();
    }
    Ok(())
}
