//! The watchdog: the governor's parent, which lets go on what that has stopped, should it be killed or stand still.
//!
//! It has little to do, so nothing can go wrong with it that could with the governor: it reads which processes
//! stand still, and at the governor's end continues those, each only if it is still the same process, and takes
//! away the files by which a governor that was killed would still be looked for. While something is stopped the governor
//! says every second that it runs. Where it does not (somebody has stopped it, it hangs), its watchdog continues what is
//! stopped; a governor that is back stops again what has to be.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};

use plimsoll_host::StoppedProcess;
use plimsoll_proto::{Governing, LineBuffer};
use plimsoll_shim::discovery;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{READY, SERVE, STOPPED, lock, socket_of};

/// A governor that has stopped something says a word every second: without one for so long it stands still.
const SILENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

pub(super) fn run(home: &Path) -> io::Result<()> {
    plimsoll_host::stand_apart()?;
    let mut governor = Command::new(std::env::current_exe()?);
    governor.args([discovery::ARGUMENT, SERVE]);
    governor.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut governor = governor.spawn()?;
    let stopped = match governor.stdout.take() {
        Some(out) => listen(out)?,
        None => Vec::new(),
    };
    // It has closed its output: it ends, or was killed.
    let _ = governor.wait();
    stopped.iter().for_each(StoppedProcess::go_on);
    clear_away(home, governor.id())
}

/// Hears the governor to its end. Gives what it has stopped then.
fn listen(mut out: ChildStdout) -> io::Result<Vec<StoppedProcess>> {
    let mut stopped: Vec<StoppedProcess> = Vec::new();
    let mut received = LineBuffer::default();
    let mut bytes = [0; 4096];
    loop {
        let patience = (!stopped.is_empty()).then_some(&SILENCE);
        match rustix::event::poll(&mut [PollFd::new(&out, PollFlags::IN)], patience) {
            Ok(0) => stopped.iter().for_each(StoppedProcess::go_on),
            Ok(_) => {
                let read = out.read(&mut bytes).unwrap_or(0);
                if read == 0 || received.extend(&bytes[..read]).is_err() {
                    return Ok(stopped);
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(line) = received.next_line() {
            let line = String::from_utf8_lossy(&line);
            let mut words = line.split(' ');
            match words.next() {
                Some(READY) => {
                    let mut starter = io::stdout();
                    let _ = writeln!(starter, "{READY}").and_then(|()| starter.flush());
                    // Its end must not wait for ours.
                    let null = File::options().write(true).open("/dev/null")?;
                    rustix::stdio::dup2_stdout(&null)?;
                }
                Some(STOPPED) => stopped = words.filter_map(|word| word.parse().ok()).collect(),
                _ => {}
            }
        }
    }
}

/// Removes what a governor that was killed has left, and nothing of one that has come after it.
fn clear_away(home: &Path, governor: u32) -> io::Result<()> {
    let _alone = lock(home)?;
    let directory = Governing::directory(home);
    let _ = fs::remove_file(directory.join(socket_of(governor)));
    let _ = fs::remove_dir_all(Governing::unanswered(&directory, governor));
    if discovery::governing(home).is_some_and(|governing| governing.pid == governor) {
        let _ = fs::remove_file(Governing::file(home));
    }
    Ok(())
}
