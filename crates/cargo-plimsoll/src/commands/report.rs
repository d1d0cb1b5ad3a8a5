//! `cargo plimsoll report --text [ID]`: a build from its event log.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// Prints the report of the newest build, or of the newest whose id begins with `id`.
///
/// # Errors
/// Where there is no such log, or it cannot be read or the report not be written.
pub fn run(settings: &Settings, id: Option<&str>, shell: &mut Shell) -> Result<(), Failure> {
    let path = log_of(settings, id)?;
    let (header, records) = plimsoll_history::read(&path).map_err(anyhow::Error::from)?;
    let report = plimsoll_view::report_text(&header, &records);
    Ok(shell.answer(report).context(OUT)?)
}

/// The log of the newest build, or of the newest whose id begins with `id`.
///
/// # Errors
/// Where there is none.
pub(crate) fn log_of(settings: &Settings, id: Option<&str>) -> Result<PathBuf, Failure> {
    let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
    let dir = home.join("logs");
    match id {
        None => plimsoll_history::latest(&dir).ok_or(Failure::NoLog(dir)),
        Some(id) => find(&dir, id)
            .ok_or_else(|| Failure::NoSuchLog { id: id.to_owned(), logs: dir.clone() }),
    }
}

/// The newest log of a build whose id begins with `id`.
fn find(dir: &Path, id: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(dir).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let wanted =
        |name: &String| name.strip_prefix("build-").is_some_and(|rest| rest.starts_with(id));
    Some(dir.join(names.filter(wanted).max()?))
}
