//! What `enable` keeps below Plimsoll's home, so that `disable` gives back the very bytes.
//!
//! ```text
//! <home>/enable/original         the configuration as it was; not there where there was none
//! <home>/enable/written          what was written in its place
//! <home>/enable/made-directory   there where the configuration's directory was made, too
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;

use plimsoll_cargo::config_file::{self, PRIVATE};

/// The bytes before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// `None`: there was no file.
    pub(super) original: Option<Vec<u8>>,
    pub(super) written: Vec<u8>,
    pub(super) made_directory: bool,
}

impl Kept {
    /// What is kept in `home`, if anything.
    pub(super) fn read(home: &Path) -> anyhow::Result<Option<Self>> {
        let dir = directory(home);
        let Some(written) = config_file::read(&dir.join("written"))? else { return Ok(None) };
        Ok(Some(Self {
            original: config_file::read(&dir.join("original"))?,
            written,
            made_directory: dir.join("made-directory").exists(),
        }))
    }

    /// Keeps this and nothing else.
    pub(super) fn write(&self, home: &Path) -> anyhow::Result<()> {
        forget(home)?;
        let dir = directory(home);
        config_file::make_private_directory(&dir)?;
        if let Some(original) = &self.original {
            config_file::replace(&dir.join("original"), original, PRIVATE)?;
        }
        if self.made_directory {
            config_file::replace(&dir.join("made-directory"), b"", PRIVATE)?;
        }
        // Without it the others mean nothing.
        config_file::replace(&dir.join("written"), &self.written, PRIVATE)
    }
}

/// Keeps nothing any more.
pub(super) fn forget(home: &Path) -> anyhow::Result<()> {
    let dir = directory(home);
    match fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", dir.display()))
        }
        _ => Ok(()),
    }
}

/// When the configuration was last written.
pub(super) fn since(home: &Path) -> Option<SystemTime> {
    fs::metadata(directory(home).join("written")).ok()?.modified().ok()
}

fn directory(home: &Path) -> PathBuf {
    home.join("enable")
}
