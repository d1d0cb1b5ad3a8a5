//! What killed a build, by its log or by its recorded events.

use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::settings::Settings;
use crate::shell::Shell;

/// Where the log comes from: the file that is named, or standard input where that is a file or a pipe.
pub(crate) fn log(_named: Option<&Path>) -> Option<PathBuf> {
    None
}

pub(crate) fn of_log(_log: &Path, _json: bool, _shell: &mut Shell) -> Result<i32, Failure> {
    Ok(0)
}

pub(crate) fn of_build(
    _build: Option<&str>,
    _json: bool,
    _settings: &Settings,
    _shell: &mut Shell,
) -> Result<i32, Failure> {
    Ok(0)
}
