//! What killed a build, by its log, whichever machine that is from: the reading and printing of it.
//!
//! Logs are streamed: one of any size takes no memory. The judgement is `plimsoll-doctor`'s. Nothing is asked of this
//! machine, so this part works on every system.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;
use plimsoll_doctor::{LogReader, Verdict, blocks};

use crate::exit::{Failure, OUT};
use crate::shell::Shell;

/// What names standard input.
pub(crate) const STDIN: &str = "-";

/// What could not be done, where a verdict is no JSON.
pub(crate) const JSON: &str = "cannot write the verdict as JSON";

/// What is read at once.
const CHUNK: usize = 64 * 1024;

/// Says what ended the build with this log, broken for a terminal of so many columns. 1 where memory ran out.
///
/// # Errors
/// Where the log cannot be read or the answer not be written.
pub(crate) fn of_log(
    log: &Path,
    json: bool,
    columns: Option<usize>,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let verdict = if log == Path::new(STDIN) {
        judge(io::stdin().lock()).context("cannot read the log from standard input")?
    } else {
        let said = || format!("cannot read the log `{}`", log.display());
        judge(File::open(log).with_context(said)?).with_context(said)?
    };
    say(&verdict, json, columns, shell)
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

/// Prints a verdict. 1 where memory ran out.
///
/// # Errors
/// Where the answer cannot be written.
fn say(
    verdict: &Verdict,
    json: bool,
    columns: Option<usize>,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    if json {
        shell.answer(serde_json::to_string(verdict).context(JSON)?).context(OUT)?;
    } else {
        shell.blocks(&blocks(verdict), columns).context(OUT)?;
    }
    Ok(i32::from(verdict.memory))
}
