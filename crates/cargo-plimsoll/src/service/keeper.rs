//! The keeper: the governor's parent, which lets go on what that has stopped, should it be killed.
//!
//! It has little to do, so nothing can go wrong with it that could with the governor: it reads which processes
//! stand still, and at the governor's end continues those, each only if it is still the same process, and takes
//! away the files by which a governor that was killed would still be looked for.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use plimsoll_host::StoppedProcess;
use plimsoll_proto::Governing;
use plimsoll_shim::rendezvous;

use super::{READY, SERVE, STOPPED, lock, socket_of};

pub(super) fn run(home: &Path) -> io::Result<()> {
    plimsoll_host::stand_apart()?;
    let mut governor = Command::new(std::env::current_exe()?);
    governor.args([rendezvous::ARGUMENT, SERVE]);
    governor.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut governor = governor.spawn()?;
    let mut stopped: Vec<StoppedProcess> = Vec::new();
    if let Some(out) = governor.stdout.take() {
        for line in BufReader::new(out).lines() {
            let Ok(line) = line else { break };
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
    // It has closed its output: it ends, or was killed.
    let _ = governor.wait();
    stopped.iter().for_each(StoppedProcess::go_on);
    clear_away(home, governor.id())
}

/// Removes what a governor that was killed has left, and nothing of one that has come after it.
fn clear_away(home: &Path, governor: u32) -> io::Result<()> {
    let _alone = lock(home)?;
    let _ = fs::remove_file(Governing::directory(home).join(socket_of(governor)));
    if rendezvous::governing(home).is_some_and(|governing| governing.pid == governor) {
        let _ = fs::remove_file(Governing::file(home));
    }
    Ok(())
}
