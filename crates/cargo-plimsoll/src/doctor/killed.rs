//! What killed a build: where its log is, and what is recorded of it. What a log says is [`super::log`]'s.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use plimsoll_doctor::recorded;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use super::log::{STDIN, say};
use crate::commands::report;
use crate::exit::Failure;
use crate::settings::Settings;
use crate::shell::Shell;

/// A pipe that says nothing for so long may be one that nobody meant.
const SILENT: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// Where the log comes from: the file that is named, or standard input where that is a file or a pipe with something in
/// it. A terminal or `/dev/null` is no log, and neither is a pipe that ends without a byte, as under some CIs. One that
/// stays open and silent is waited for, and a person is told.
pub(crate) fn log(named: Option<&Path>, shell: &mut Shell) -> Option<PathBuf> {
    if let Some(named) = named {
        return Some(named.to_owned());
    }
    let stdin = io::stdin();
    let stdin = stdin.as_fd();
    let kind = fstat(stdin).ok().map(|stat| FileType::from_raw_mode(stat.st_mode))?;
    let has_log = match kind {
        FileType::RegularFile => true,
        FileType::Fifo => {
            let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
            let mut waits = |within: Option<&Timespec>| loop {
                match poll(&mut ready, within) {
                    Err(rustix::io::Errno::INTR) => {}
                    ready => break ready == Ok(0),
                }
            };
            // Whoever writes may have to build first.
            if waits(Some(&SILENT)) {
                shell.note(
                    "waiting for a log on standard input; `cargo plimsoll doctor </dev/null` looks at this machine",
                );
                waits(None);
            }
            ready[0].revents().contains(PollFlags::IN)
        }
        _ => false,
    };
    has_log.then(|| PathBuf::from(STDIN))
}

/// Says what ended a recorded build: the last, or the newest whose id begins so. 1 where it was want of memory.
///
/// # Errors
/// Where there is no such record, it cannot be read, or the answer not be written.
pub(crate) fn of_build(
    build: Option<&str>,
    json: bool,
    settings: &Settings,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let path = report::log_of(settings, build)?;
    let (header, records) = plimsoll_history::read(&path).map_err(anyhow::Error::from)?;
    say(&recorded(&header, &records, runs(&header.build.0)), json, shell)
}

/// Whether the process is there whose number ends the build's id.
fn runs(build: &str) -> bool {
    let process = build.rsplit_once('-').map(|(_, process)| Path::new("/proc").join(process));
    process.is_some_and(|process| process.exists())
}
