//! Which recorded build a question is about: the last of this workspace, unless another one is named.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use plimsoll_core::event::{Header, Record};
use plimsoll_history::LogError;

use crate::cli::WhichBuild;
use crate::exit::Failure;
use crate::plimsoll_toml::workspace_root;
use crate::settings::Settings;

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
    Ok(Recorded::read(found).map_err(anyhow::Error::from)?)
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
    let found = of_place(&logs(settings)?, which, cwd)?;
    Ok(found.into_iter().rev().filter_map(|path| Recorded::read(path).ok()).collect())
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
