//! What killed a build, by its log or by its recorded events: the reading and printing of it.
//!
//! Logs are streamed: one of any size takes no memory. The judgement is `plimsoll-doctor`'s. Nothing is asked of this
//! machine, because a log is often another machine's.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_doctor::{LogReader, Verdict, recorded, text};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use crate::commands::report;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// What names standard input.
const STDIN: &str = "-";

/// What is read at once.
const CHUNK: usize = 64 * 1024;

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

/// Says what ended the build with this log. 1 where it was want of memory.
///
/// # Errors
/// Where the log cannot be read or the answer not be written.
pub(crate) fn of_log(log: &Path, json: bool, shell: &mut Shell) -> Result<i32, Failure> {
    let verdict = if log == Path::new(STDIN) {
        judge(io::stdin().lock()).context("cannot read the log from standard input")?
    } else {
        let said = || format!("cannot read the log `{}`", log.display());
        judge(File::open(log).with_context(said)?).with_context(said)?
    };
    say(&verdict, json, shell)
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

fn judge(mut log: impl Read) -> io::Result<Verdict> {
    let mut reader = LogReader::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        match log.read(&mut chunk) {
            Ok(0) => return Ok(reader.verdict()),
            Ok(read) => reader.feed(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn say(verdict: &Verdict, json: bool, shell: &mut Shell) -> Result<i32, Failure> {
    let answer = if json {
        serde_json::to_string(verdict).context("cannot write the verdict as JSON")?
    } else {
        text(verdict)
    };
    shell.answer(answer).context(OUT)?;
    Ok(i32::from(verdict.memory))
}
