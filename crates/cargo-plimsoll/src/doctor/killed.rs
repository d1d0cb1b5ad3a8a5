//! What killed a build: where its log is, and what is recorded of it. What a log says is [`super::log`]'s.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_doctor::recorded_blocks;
use plimsoll_view::{Block, Outline};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};

use serde_json::json;

use super::log::{JSON, STDIN};
use crate::cli::DoctorOptions;
use crate::commands::recorded;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// A pipe that says nothing for so long may not be meant as a log.
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

/// Says what ended a recorded build: the last, or the newest whose id begins so. 1 where memory ran out.
///
/// # Errors
/// Where there is no such record, it cannot be read, or the answer not be written.
pub(crate) fn of_build(
    build: Option<&str>,
    options: &DoctorOptions,
    settings: &Settings,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let build = recorded::find(build, &options.which(), settings, cwd)?;
    let runs = build.runs();
    let header = &build.header;
    let verdict = plimsoll_doctor::recorded(header, &build.records, runs);
    if options.json {
        let mut said = serde_json::to_value(&verdict).context(JSON)?;
        if let Some(said) = said.as_object_mut() {
            let workspace = Some(&header.workspace).filter(|it| !it.is_empty());
            said.insert("build".to_owned(), json!(header.build));
            said.insert("workspace".to_owned(), json!(workspace));
            said.insert("command".to_owned(), json!(header.command));
            said.insert("started_unix_ms".to_owned(), json!(header.started_unix_ms));
        }
        shell.answer(said).context(OUT)?;
    } else {
        let outline = Outline::new(header, &build.records, runs);
        let mut blocks =
            vec![Block::Entry(outline.heading(recorded::now())), Block::Entry(outline.result())];
        blocks.extend(recorded_blocks(&verdict));
        shell.blocks(&blocks, recorded::columns()).context(OUT)?;
    }
    Ok(i32::from(verdict.memory))
}
