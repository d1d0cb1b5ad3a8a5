//! The account's governor as a process of its own: `cargo-plimsoll __governor`, started on demand by whoever needs
//! one, gone when nobody does.
//!
//! ```text
//! shim, driver ── __governor ──▶ looks, under a lock, whether one governs; returns when one listens
//!                     └─ keep ─▶ the watchdog: in a session of its own, with nothing of its starter's
//!                          └─ serve ─▶ the governor
//! ```
//!
//! The watchdog knows which processes the governor has stopped, and lets them go on if that is killed. A newer program
//! takes over by starting beside the old one, which sees its builds to their end. Whoever starts one inherits neither
//! a descriptor nor a session to it, so no pipe or CI step waits for it.

mod serve;
mod spoken;
mod watchdog;

use std::fs::{DirBuilder, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use plimsoll_proto::{Governing, HOME_VARIABLE};
use plimsoll_shim::discovery;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The first process in the new session.
const KEEP: &str = "keep";
/// The governor.
const SERVE: &str = "serve";
/// What the governor says when it listens.
const READY: &str = "ready";
/// What it says, before pids and starts, of the processes that it has stopped.
const STOPPED: &str = "stopped";
/// What it says again and again while there are any.
const RUNS: &str = "runs";

/// Who starts or leaves is done within so long. One that is not was stopped, and nobody waits for it for ever.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where this process is one of these: does its part, and gives its exit code.
pub(crate) fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != discovery::ARGUMENT {
        return None;
    }
    let Some(home) = std::env::var_os(HOME_VARIABLE).map(PathBuf::from) else {
        return Some(ExitCode::FAILURE);
    };
    let role = args.next();
    let done = match role.as_deref().and_then(|role| role.to_str()) {
        None => launch(&home),
        Some(KEEP) => watchdog::run(&home),
        Some(SERVE) => serve::run(&home),
        Some(_) => Err(io::ErrorKind::InvalidInput.into()),
    };
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Starts a governor, unless there is one that stays.
fn launch(home: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(Governing::directory(home))?;
    let _alone = lock(home)?;
    let program = std::env::current_exe()?;
    if let Some(governing) = discovery::governing(home)
        && !discovery::is_superseded(&governing, &program)
        && discovery::connect(home, &governing)
            .map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |_| true)
    {
        return Ok(());
    }
    let mut watchdog = Command::new(program);
    watchdog.args([discovery::ARGUMENT, KEEP]);
    watchdog.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut watchdog = watchdog.spawn()?;
    // It says so when the governor listens, or ends without a word.
    let out = watchdog.stdout.take().filter(|out| {
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let mut ready = [PollFd::new(out, PollFlags::IN)];
        rustix::event::poll(&mut ready, Some(&patience)).is_ok_and(|ready| ready > 0)
    });
    let said = out.map(|out| BufReader::new(out).lines().next());
    match said.flatten() {
        Some(Ok(word)) if word == READY => Ok(()),
        _ => Err(io::Error::other("the governor did not start")),
    }
}

/// The name of a governor's socket, by its process.
fn socket_of(governor: u32) -> String {
    format!("{governor}.sock")
}

/// The directory where governor and compilers meet, for this user alone, and nobody else who starts or leaves.
fn lock(home: &Path) -> io::Result<File> {
    let directory = Governing::directory(home);
    let found = directory.metadata()?;
    if found.uid() != rustix::process::geteuid().as_raw() {
        let what = format!("`{}` belongs to somebody else", directory.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    if found.mode() & 0o077 != 0 {
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))?;
    }
    let file =
        File::options().create(true).truncate(false).write(true).open(directory.join("lock"))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.into()),
        }
    }
}
