//! What Plimsoll keeps in its home: finding it, weighing it, taking it away.
//!
//! It is known by its names. Whatever else lies there is somebody else's, and stays.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use plimsoll_core::Bytes;

/// The directories and files by name.
const NAMES: [&str; 7] = ["enable", "enabled", "link", "logs", "probes", "run", "tools"];

/// How the other names begin: the database with its journal and what was set aside of it.
const BEGINNINGS: [&str; 2] = ["history.sqlite3", "enabled.plimsoll-"];

/// What is kept in a home.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) entries: Vec<PathBuf>,
    /// How much space its files take.
    pub(crate) size: Bytes,
    /// How many builds have a log.
    pub(crate) logs: usize,
}

impl State {
    /// Looks through the home; nothing where that is not there.
    pub(crate) fn find(home: &Path) -> Self {
        let is_ours = |name: &str| {
            NAMES.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
        };
        let entries = fs::read_dir(home).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
        let mut entries: Vec<PathBuf> = ours.map(|entry| entry.path()).collect();
        entries.sort();
        Self {
            size: entries.iter().map(|path| size(path)).sum(),
            logs: fs::read_dir(home.join("logs")).map_or(0, Iterator::count),
            entries,
        }
    }

    /// Removes it, and the home where nothing else is in it. Gives whether something else is.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub(crate) fn remove(&self, home: &Path) -> anyhow::Result<bool> {
        for path in &self.entries {
            let is_directory = path.symlink_metadata().is_ok_and(|found| found.is_dir());
            let done = if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            gone(done).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        match gone(fs::remove_dir(home)) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(true),
            done => {
                done.with_context(|| format!("cannot remove `{}`", home.display()))?;
                Ok(false)
            }
        }
    }
}

/// What is gone already is no error.
fn gone(done: std::io::Result<()>) -> std::io::Result<()> {
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What the files below take on the disk. A link is not followed.
fn size(path: &Path) -> Bytes {
    let Ok(found) = path.symlink_metadata() else { return Bytes::ZERO };
    if !found.is_dir() {
        return Bytes(found.blocks() * 512);
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

/// The processes, but this one, that have a file below `directory` open.
pub(crate) fn users(directory: &Path) -> Vec<u32> {
    let Ok(directory) = directory.canonicalize() else { return Vec::new() };
    let has_open = |pid: u32| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|file| file.starts_with(&directory))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != std::process::id() && has_open(pid))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_goes_and_what_is_not_stays() {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("plimsoll");
        fs::create_dir_all(home.join("logs")).unwrap();
        for name in
            ["logs/a.jsonl", "history.sqlite3", "history.sqlite3-wal", "enabled", "notes.txt"]
        {
            fs::write(home.join(name), "x".repeat(5000)).unwrap();
        }
        std::os::unix::fs::symlink(root.path(), home.join("tools")).unwrap();
        let state = State::find(&home);
        assert_eq!((state.entries.len(), state.logs), (5, 1));
        assert!(state.size >= Bytes::kib(20), "{}", state.size);
        assert!(state.remove(&home).unwrap(), "something else is there");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 1);
        fs::remove_file(home.join("notes.txt")).unwrap();
        assert!(!State::find(&home).remove(&home).unwrap());
        assert!(!home.exists() && root.path().exists());
        assert!(!State::find(&home).remove(&home).unwrap(), "twice is once");
    }

    #[test]
    fn who_has_a_file_open_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let file = fs::File::create(root.path().join("held")).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").stdin(file).spawn().unwrap();
        assert_eq!(users(root.path()), [child.id()]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(users(root.path()), Vec::<u32>::new());
    }
}
