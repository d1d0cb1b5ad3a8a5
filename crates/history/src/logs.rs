//! The event logs: one file a build, one JSON object a budget, the header first.
//!
//! Lines are buffered and written when the caller says so, each write whole lines. A driver that is killed
//! loses at most what it had not flushed; a disk that fills up leaves a torn last line. Reading skips both,
//! and every event that this version does not know.
//!
//! Logs are for their owner only, directory and files: they name the workspace by its path, because a person who looks
//! for a build knows that. Whole command lines and the environment are in none.
//!
//! What is deliberately not here: any meaning of the events (that is the view's), and any failure of the
//! build. A log that cannot be written goes quiet after one warning.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use plimsoll_core::event::{FORMAT, Header, Record};
use serde_json::Value;

/// Logs that are kept, the new one included; and beside these the last of each workspace.
pub const KEPT_LOGS: usize = 20;

/// Logs that are kept at most: workspaces come and go.
const KEPT_AT_MOST: usize = 60;

/// What is buffered at most where the caller flushes late: a second of the busiest sampling.
const BUFFER: usize = 256 * 1024;

/// The log of the build that runs.
#[derive(Debug)]
pub struct EventLog {
    path: PathBuf,
    /// `None` after the log went quiet.
    file: Option<File>,
    buffer: Vec<u8>,
    /// What a person was not told yet.
    warning: Option<String>,
}

impl EventLog {
    /// Begins the log of a build in the directory `dir` (made, for its owner only, where it is missing) and
    /// removes the oldest logs beyond [`KEPT_LOGS`], but none that is the last of its workspace.
    ///
    /// Never fails: a log that cannot be written says so once, for a person, and is quiet from then on.
    #[must_use]
    pub fn create(dir: &Path, header: &Header) -> (Self, Option<String>) {
        let path = dir.join(file_name(&header.build.0));
        let mut log = Self { path, file: None, buffer: Vec::new(), warning: None };
        match begin(dir, &log.path) {
            Ok(file) => {
                log.file = Some(file);
                log.line(header);
                log.write();
                match &log.file {
                    Some(_) => remove_old(dir, &log.path),
                    // Without its header it is no log, and would hide the one before it.
                    None => drop(fs::remove_file(&log.path)),
                }
            }
            Err(error) => log.quiet(&error),
        }
        let warning = log.warning.take();
        (log, warning)
    }

    /// Where the log is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds an event to what the next [`EventLog::flush`] writes.
    pub fn append(&mut self, record: &Record) {
        self.line(record);
        if self.buffer.len() > BUFFER {
            self.write();
        }
    }

    /// Writes what was added. Returns what a person should be told, if anything.
    pub fn flush(&mut self) -> Option<String> {
        self.write();
        self.warning.take()
    }

    fn line(&mut self, value: &impl serde::Serialize) {
        if self.file.is_none() {
            return;
        }
        let whole = self.buffer.len();
        match serde_json::to_writer(&mut self.buffer, value) {
            Ok(()) => self.buffer.push(b'\n'),
            // Cannot happen for these types; a torn line would be worse than a missing one.
            Err(_) => self.buffer.truncate(whole),
        }
    }

    fn write(&mut self) {
        let written = match &mut self.file {
            Some(file) if !self.buffer.is_empty() => file.write_all(&self.buffer),
            _ => Ok(()),
        };
        self.buffer.clear();
        if let Err(error) = written {
            self.quiet(&error);
        }
    }

    fn quiet(&mut self, error: &io::Error) {
        self.file = None;
        self.warning = Some(format!(
            "cannot write the event log `{}`: {error}. `top` and `report` do not show all of this build",
            self.path.display()
        ));
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.write();
    }
}

/// All logs in `dir`, oldest first, also those of builds that still run.
#[must_use]
pub fn recorded(dir: &Path) -> Vec<PathBuf> {
    logs(dir)
}

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be read.
    #[error("cannot read the event log `{}`: {source}", path.display())]
    Read {
        /// The log.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its first line is no header.
    #[error("`{}` is not an event log of Plimsoll: its first line is not a header", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// A newer Plimsoll wrote it, in a format that this one would misread.
    #[error(
        "the event log `{}` was written by plimsoll {version} in format {found}; this version reads \
         up to {FORMAT}: update plimsoll",
        path.display()
    )]
    Newer {
        /// The log.
        path: PathBuf,
        /// The format's number.
        found: u64,
        /// The version that wrote it, `of a newer version` where it does not say.
        version: String,
    },
}

/// Reads a log, complete or not. Lines that are torn or unknown are skipped.
///
/// # Errors
/// Where the file cannot be read, is not a log, or is one in a newer format.
pub fn read(path: &Path) -> Result<(Header, Vec<Record>), LogError> {
    let failed = |source| LogError::Read { path: path.to_owned(), source };
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).map_err(failed)?;
    let header = header(path, &line)?;
    let mut records = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            return Ok((header, records));
        }
        records.extend(serde_json::from_slice::<Record>(&line));
    }
}

/// Reads only the header of a log.
///
/// # Errors
/// As [`read`].
pub fn read_header(path: &Path) -> Result<Header, LogError> {
    let failed = |source| LogError::Read { path: path.to_owned(), source };
    let mut line = Vec::new();
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    reader.read_until(b'\n', &mut line).map_err(failed)?;
    header(path, &line)
}

fn header(path: &Path, line: &[u8]) -> Result<Header, LogError> {
    let not_a_log = || LogError::NotALog { path: path.to_owned() };
    let value: Value = serde_json::from_slice(line).map_err(|_| not_a_log())?;
    let found = value.get("plimsoll_log").and_then(Value::as_u64).ok_or_else(not_a_log)?;
    if found > u64::from(FORMAT) {
        let version = value.get("version").and_then(Value::as_str).unwrap_or("of a newer version");
        return Err(LogError::Newer { path: path.to_owned(), found, version: version.to_owned() });
    }
    serde_json::from_value(value).map_err(|_| not_a_log())
}

fn begin(dir: &Path, path: &Path) -> io::Result<File> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)?;
    let mut options = File::options();
    options.append(true).create_new(true);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn file_name(build: &str) -> String {
    format!("build-{build}.jsonl")
}

/// Whether `name` is [`file_name`] of a build: 13 digits of time, a dash, a pid.
fn is_log(name: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix("build-")
        .and_then(|rest| rest.strip_suffix(".jsonl"))
        .and_then(|build| build.split_once('-'))
        .is_some_and(|(time, pid)| time.len() == 13 && digits(time) && digits(pid))
}

/// All logs in `dir`, oldest first: their names sort by time.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut logs: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(is_log))
        .map(|entry| entry.path())
        .collect();
    logs.sort();
    logs
}

fn remove_old(dir: &Path, new: &Path) {
    let mut old = logs(dir);
    old.retain(|path| path != new);
    let surplus = (old.len() + 1).saturating_sub(KEPT_LOGS);
    if surplus == 0 {
        return;
    }
    let too_many = (old.len() + 1).saturating_sub(KEPT_AT_MOST);
    let lasts = lasts(old.iter().map(PathBuf::as_path).chain([new]));
    for (at, path) in old[..surplus].iter().enumerate() {
        if at >= too_many && lasts.contains(path.as_path()) {
            continue;
        }
        // Another build that starts now may have removed it; one that stays is tried again next time.
        let _ = fs::remove_file(path);
    }
}

/// Those of the logs, the oldest first, that are the last of their workspace. Older logs do not say of which they are.
fn lasts<'a>(logs: impl Iterator<Item = &'a Path>) -> BTreeSet<&'a Path> {
    let workspace = |path| Some(read_header(path).ok()?.workspace).filter(|it| !it.is_empty());
    let of = logs.filter_map(|path| Some((workspace(path)?, path)));
    of.collect::<BTreeMap<String, &Path>>().into_values().collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use plimsoll_core::event::Event;
    use plimsoll_core::{BuildId, Bytes, Millis, UnitId};

    use super::*;

    fn header(unix_ms: u64) -> Header {
        Header {
            plimsoll_log: FORMAT,
            version: "0.1.0".to_owned(),
            build: BuildId::new(unix_ms, 42),
            started_unix_ms: unix_ms,
            command: "build".to_owned(),
            budget: Bytes::mib(1600),
            memory: "1600MiB".to_owned(),
            jobs: 8,
            processors: 8,
            target_was_empty: Some(true),
            workspace: String::new(),
        }
    }

    fn records(n: u32) -> Vec<Record> {
        (1..=n)
            .map(|n| Record {
                t: Millis(u64::from(n)),
                event: Event::Announced { unit: UnitId(n) },
            })
            .collect()
    }

    #[test]
    fn a_log_is_private_and_reads_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        let (mut log, warning) = EventLog::create(&logs, &header(5));
        assert_eq!(warning, None);
        assert_eq!(recorded(&logs), [log.path()]);
        assert_eq!(read_header(log.path()).unwrap(), header(5));
        assert_eq!(read(log.path()).unwrap(), (header(5), Vec::new()));
        for record in records(3) {
            log.append(&record);
        }
        assert_eq!(log.flush(), None);
        assert_eq!(read(log.path()).unwrap(), (header(5), records(3)));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(log.path()), mode(&logs)), (0o600, 0o700));
    }

    #[test]
    fn twenty_logs_are_kept_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let foreign =
            ["build-x.jsonl", "build-1-2.jsonl", "notes.txt", "build-0000000000001-1.json"];
        for name in foreign {
            fs::write(dir.path().join(name), "").unwrap();
        }
        for n in 0..25 {
            assert_eq!(EventLog::create(dir.path(), &header(n)).1, None);
        }
        assert_eq!(logs(dir.path()).len(), KEPT_LOGS);
        assert!(!dir.path().join(file_name("0000000000004-42")).exists());
        assert!(dir.path().join(file_name("0000000000005-42")).exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), KEPT_LOGS + foreign.len());
        // A clock that was set back: the new log is the oldest by name, and stays.
        let (log, _) = EventLog::create(dir.path(), &header(0));
        assert!(log.path().exists());
        assert_eq!(logs(dir.path()).len(), KEPT_LOGS);
    }

    #[test]
    fn the_last_build_of_a_workspace_stays_however_often_another_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let of = |n, workspace: &str| Header { workspace: workspace.to_owned(), ..header(n) };
        let mut made = Vec::new();
        for (n, workspace) in [(1, "/a"), (2, "/a"), (3, "/b"), (4, "")] {
            made.push(EventLog::create(dir.path(), &of(n, workspace)).0.path().to_owned());
        }
        for n in 10..40 {
            drop(EventLog::create(dir.path(), &of(n, "/c")));
        }
        let there: Vec<bool> = made.iter().map(|path| path.exists()).collect();
        assert_eq!(there, [false, true, true, false]);
        for n in 100..200 {
            drop(EventLog::create(dir.path(), &of(n, &format!("/{n}"))));
        }
        assert_eq!(recorded(dir.path()).len(), KEPT_AT_MOST);
    }

    #[test]
    fn torn_and_unknown_lines_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let first = serde_json::to_string(&header(5)).unwrap().replacen('{', r#"{"new":[1],"#, 1);
        let text = format!(
            "{first}\n{}\n{}\n{}\n{}",
            r#"{"t":1,"event":"announced","unit":1,"colour":"red"}"#,
            r#"{"t":2,"event":"teleported","unit":1}"#,
            r#"{"t":2,"event":"announced","unit":2}"#,
            r#"{"t":3,"event":"announ"#,
        );
        fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap(), (header(5), records(2)));
    }

    #[test]
    fn what_is_no_log_or_a_newer_one_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for text in ["", "hello\n", "{}\n", r#"{"plimsoll_log":1}"#] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read(&path), Err(LogError::NotALog { .. })), "{text}");
        }
        fs::write(&path, r#"{"plimsoll_log":9,"version":"7.0.0","shape":"other"}"#).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("plimsoll 7.0.0 in format 9"), "{error}");
        assert!(matches!(read(&dir.path().join("none")), Err(LogError::Read { .. })));
    }

    #[test]
    fn a_log_that_cannot_be_made_is_quiet_after_one_warning() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let (mut log, warning) = EventLog::create(&dir.path().join("file/logs"), &header(5));
        assert!(warning.unwrap().contains("cannot write the event log"));
        log.append(&records(1)[0]);
        assert_eq!(log.flush(), None);
        assert!(recorded(dir.path()).is_empty());
    }

    /// `/dev/full` refuses every write with "No space left on device".
    #[test]
    fn a_full_disk_is_one_warning() {
        let file = File::options().write(true).open("/dev/full").unwrap();
        let mut log = EventLog {
            path: "/dev/full".into(),
            file: Some(file),
            buffer: Vec::new(),
            warning: None,
        };
        log.append(&records(1)[0]);
        assert!(log.flush().unwrap().contains("No space left"));
        log.append(&records(1)[0]);
        assert_eq!(log.flush(), None);
        assert!(log.buffer.is_empty());
    }
}
