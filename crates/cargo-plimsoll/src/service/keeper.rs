//! The keeper: the governor's parent, which lets go on what that has stopped, should it be killed.
//!
//! It has one thing to do, so nothing can go wrong with it that could with the governor: it reads which processes
//! stand still, and at the governor's end continues those, each only if it is still the same process.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use plimsoll_host::StoppedProcess;
use plimsoll_shim::rendezvous;

use super::{READY, SERVE, STOPPED};

pub(super) fn run() -> io::Result<()> {
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
    Ok(())
}
