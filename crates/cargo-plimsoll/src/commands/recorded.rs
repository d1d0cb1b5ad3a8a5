//! Which recorded build a question is about: the last of this workspace, unless another one is named.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use plimsoll_core::event::{Event, Header, Record};
use plimsoll_history::LogError;
use plimsoll_shim::discovery;

use crate::cli::WhichBuild;
use crate::exit::Failure;
use crate::plimsoll_toml::workspace_root;
use crate::settings::Settings;

/// The account's governor notices the end of a plain Cargo at its next measurement, and then writes the log: a log
/// without an end is read again for this long while a governor runs.
const END_IS_WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// A build, as its log has it.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The log.
    pub(crate) path: PathBuf,
    /// Its first line.
    pub(crate) header: Header,
    /// The rest.
    pub(crate) records: Vec<Record>,
}

impl Recorded {
    fn read(path: PathBuf) -> Result<Self, LogError> {
        let (header, records) = plimsoll_history::read(&path)?;
        Ok(Self { path, header, records })
    }

    /// Whether the log has the build's end.
    fn has_ended(&self) -> bool {
        self.records.iter().any(|record| matches!(record.event, Event::Done { .. }))
    }

    /// Whether the process is there whose number ends the build's id, and has not ended the build.
    pub(crate) fn runs(&self) -> bool {
        let process = self.header.build.0.rsplit_once('-');
        process.is_some_and(|(_, process)| Path::new("/proc").join(process).exists())
    }
}

/// The build whose id begins with `id`, the newest of these; without one, the last build of the workspace around `cwd`,
/// or of all.
///
/// # Errors
/// Where there is none, or it cannot be read.
pub(crate) fn find(
    id: Option<&str>,
    which: &WhichBuild,
    settings: &Settings,
    cwd: &Path,
) -> Result<Recorded, Failure> {
    let logs = logs(settings)?;
    let found = match id {
        Some(id) => {
            let named = logs.iter().rev().find(|path| id_of(path).starts_with(id));
            named.cloned().ok_or_else(|| Failure::NoSuchLog(id.to_owned()))?
        }
        None => of_place(&logs, which, cwd)?.pop().ok_or(Failure::NoLog)?,
    };
    Ok(read_with_end(found, settings.home.value.as_deref()).map_err(anyhow::Error::from)?)
}

/// Reads the log. Of a build whose Cargo has just ended, the governor may have yet to write the end: that is waited for,
/// since a log without an end tells of a killed Plimsoll.
fn read_with_end(path: PathBuf, home: Option<&Path>) -> Result<Recorded, LogError> {
    let begun = Instant::now();
    loop {
        let governed = home.and_then(discovery::governing).is_some_and(|it| is_process(it.pid));
        let build = Recorded::read(path.clone())?;
        let is_written = build.has_ended() || build.runs() || !governed;
        if is_written || begun.elapsed() > END_IS_WRITTEN_WITHIN {
            return Ok(build);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_process(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Every build of the workspace around `cwd`, or of all, the newest first. What cannot be read is left out.
///
/// # Errors
/// Where there is none.
pub(crate) fn list(
    which: &WhichBuild,
    settings: &Settings,
    cwd: &Path,
) -> Result<Vec<Recorded>, Failure> {
    let mut found = of_place(&logs(settings)?, which, cwd)?;
    let last = found.pop().map(|path| read_with_end(path, settings.home.value.as_deref()));
    let before = found.into_iter().rev().map(Recorded::read);
    Ok(last.into_iter().chain(before).filter_map(Result::ok).collect())
}

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or_default()
}

/// The columns of the terminal that stdout is.
pub(crate) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

fn logs(settings: &Settings) -> Result<Vec<PathBuf>, Failure> {
    let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
    let logs = plimsoll_history::recorded(&home.join("logs"));
    if logs.is_empty() { Err(Failure::NoLog) } else { Ok(logs) }
}

/// The id in a log's name.
fn id_of(path: &Path) -> &str {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix("build-").unwrap_or_default()
}

/// Those of the logs that are asked about; at least one.
fn of_place(logs: &[PathBuf], which: &WhichBuild, cwd: &Path) -> Result<Vec<PathBuf>, Failure> {
    if which.all {
        return Ok(logs.to_vec());
    }
    let from = match &which.manifest_path {
        Some(manifest) => {
            let manifest = cwd.join(manifest);
            if !manifest.is_file() {
                return Err(Failure::NoManifest(manifest));
            }
            manifest.parent().unwrap_or(&manifest).to_owned()
        }
        None => cwd.to_owned(),
    };
    let from =
        from.canonicalize().with_context(|| format!("cannot look at `{}`", from.display()))?;
    let workspace = workspace_root(&from);
    // A build of no workspace (`cargo install`, `run-under`) is of the directory in which it ran.
    let place = workspace.as_ref().unwrap_or(&from).to_string_lossy();
    let is_its = |path: &&PathBuf| {
        plimsoll_history::read_header(path).is_ok_and(|header| header.workspace == place)
    };
    let found: Vec<PathBuf> = logs.iter().filter(is_its).cloned().collect();
    match (found.is_empty(), workspace) {
        (false, _) => Ok(found),
        (true, Some(workspace)) => Err(Failure::NoLogHere(workspace)),
        (true, None) => Err(Failure::NoWorkspace(from)),
    }
}

#[cfg(test)]
mod tests {
    use plimsoll_core::event::FORMAT;
    use plimsoll_core::{BuildId, Bytes, Millis};
    use plimsoll_history::EventLog;
    use plimsoll_proto::Governing;

    use super::*;

    /// A process that no machine has.
    const GONE: u32 = i32::MAX as u32;

    /// The log of a build without its end, in a home whose governor is this process.
    fn unfinished(home: &Path, governor: u32) -> (EventLog, PathBuf) {
        let governing = Governing {
            protocol: plimsoll_proto::VERSION,
            version: String::new(),
            program: PathBuf::from("/plimsoll"),
            stamp: 0,
            pid: governor,
            socket: "1.sock".to_owned(),
        };
        std::fs::create_dir_all(Governing::directory(home)).unwrap();
        std::fs::write(Governing::file(home), governing.encode()).unwrap();
        let header = Header {
            plimsoll_log: FORMAT,
            version: String::new(),
            build: BuildId(format!("1796100000000-{GONE}")),
            started_unix_ms: 1_796_100_000_000,
            command: "build".to_owned(),
            budget: Bytes(1),
            memory: "auto".to_owned(),
            jobs: 1,
            processors: 1,
            target_was_empty: None,
            workspace: String::new(),
        };
        let logs = home.join("logs");
        let (log, warning) = EventLog::create(&logs, &header);
        assert_eq!(warning, None);
        (log, plimsoll_history::recorded(&logs).pop().unwrap())
    }

    #[test]
    fn the_end_that_a_governor_has_yet_to_write_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let (mut log, path) = unfinished(home.path(), std::process::id());
        let build = std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(200));
                let done = Event::Done {
                    exit: 101,
                    wall: Millis(1),
                    peak: Bytes(1),
                    governor_cpu: Millis(0),
                };
                log.append(&Record { t: Millis(1), event: done });
                assert_eq!(log.flush(), None);
            });
            read_with_end(path, Some(home.path())).unwrap()
        });
        assert!(build.has_ended());
    }

    #[test]
    fn without_a_governor_nobody_writes_the_end() {
        let home = tempfile::tempdir().unwrap();
        let (_log, path) = unfinished(home.path(), GONE);
        let begun = Instant::now();
        assert!(!read_with_end(path, Some(home.path())).unwrap().has_ended());
        assert!(begun.elapsed() < END_IS_WRITTEN_WITHIN, "{:?}", begun.elapsed());
    }
}
