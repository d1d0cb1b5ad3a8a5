//! The files of units, and the compiler's incremental sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use plimsoll_core::Bytes;

use super::units::Unit;

/// Something to remove: a file, or a directory with all that is in it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What its files take on the disk. A file with another name outside does not count: that one stays.
    pub(crate) size: Bytes,
    /// How many files.
    pub(crate) files: usize,
    /// When the newest of them was written.
    pub(crate) newest: Option<SystemTime>,
}

/// What belongs to units with these hashes in a profile's directory, by hash.
pub(crate) fn of_units(profile: &Path, hashes: &BTreeSet<&str>) -> BTreeMap<String, Vec<Found>> {
    let mut found: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for directory in [".fingerprint", "build", "deps", "examples"] {
        let entries = fs::read_dir(profile.join(directory)).into_iter().flatten().flatten();
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if let Some(hash) = hash_of(&name).filter(|hash| hashes.contains(hash)) {
                found.entry(hash.to_owned()).or_default().push(weigh(entry.path()));
            }
        }
    }
    found
}

/// `libserde-0123456789abcdef.rlib`, `serde-0123456789abcdef`, `serde-0123456789abcdef.x.rcgu.o`.
fn hash_of(name: &str) -> Option<&str> {
    let at = name.find('.').unwrap_or(name.len());
    let (_, hash) = name[..at].rsplit_once('-')?;
    (hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(hash)
}

/// The sessions of the incremental compiler that are more than there are units of their crate: each unit has one, so
/// the newest stay. Without those written since `kept_since`.
pub(crate) fn spare_sessions(
    profile: &Path,
    live: &[&Unit],
    kept_since: Option<SystemTime>,
) -> Vec<Found> {
    let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
    for name in live.iter().filter_map(|unit| unit.crate_name()) {
        *wanted.entry(name).or_default() += 1;
    }
    let mut sessions: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for entry in fs::read_dir(profile.join("incremental")).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some((name, _)) = name.rsplit_once('-') {
            sessions.entry(name.to_owned()).or_default().push(weigh(entry.path()));
        }
    }
    let spare = sessions.into_iter().flat_map(|(name, mut of_it)| {
        of_it.sort_by_key(|found| std::cmp::Reverse(found.newest));
        of_it.split_off(wanted.get(&name).copied().unwrap_or_default().min(of_it.len()))
    });
    spare.filter(|found| kept_since.is_none_or(|since| found.newest < Some(since))).collect()
}

fn weigh(path: PathBuf) -> Found {
    let mut found = Found { path, size: Bytes::ZERO, files: 0, newest: None };
    let mut pending = vec![found.path.clone()];
    while let Some(path) = pending.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            pending.extend(entries.map(|entry| entry.path()));
            continue;
        }
        found.files += 1;
        found.size += frees(&meta);
        found.newest = found.newest.max(meta.modified().ok());
    }
    found
}

/// Cargo and rustc link files of the same directory to each other: each name then counts for its part.
fn frees(meta: &Metadata) -> Bytes {
    Bytes(meta.blocks() * 512 / meta.nlink().max(1))
}

/// Removes it; what is gone already is no error.
///
/// # Errors
/// Where something stays.
pub(crate) fn remove(found: &Found) -> anyhow::Result<()> {
    let is_directory = found.path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let done =
        if is_directory { fs::remove_dir_all(&found.path) } else { fs::remove_file(&found.path) };
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("cannot remove `{}`", found.path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_found_in_every_form_of_name() {
        for name in [
            "libserde-0123456789abcdef.rlib",
            "a-b-0123456789abcdef",
            "x-0123456789abcdef.y.rcgu.o",
        ] {
            assert_eq!(hash_of(name), Some("0123456789abcdef"), "{name}");
        }
        assert_eq!(hash_of("libserde.rlib"), None);
        assert_eq!(hash_of("a-release"), None);
    }
}
