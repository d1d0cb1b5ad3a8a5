//! The files of units, and the compiler's incremental sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context as _;
use plimsoll_core::Bytes;

use super::layout::{self, Home};
use super::units::Unit;

/// Something to remove: a file, or a directory with all that is in it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Where it is.
    pub path: PathBuf,
    /// What its files take on the disk. A file with another name outside does not count: that one stays.
    pub size: Bytes,
    /// How many files.
    pub files: usize,
    /// When the newest of them was written.
    pub newest: Option<SystemTime>,
}

/// What belongs to units with these homes in a profile's directory.
pub fn of_units(profile: &Path, homes: &BTreeSet<&Home>) -> BTreeMap<Home, Vec<Found>> {
    let mut found: BTreeMap<Home, Vec<Found>> = BTreeMap::new();
    for home in homes {
        if let Home::Own(directory) = home {
            found.insert((*home).clone(), vec![weigh(directory.clone())]);
        }
    }
    for place in [".fingerprint", "build", "deps", "deps/artifact", "examples"] {
        let place = profile.join(place);
        for name in layout::names(&place) {
            let path = place.join(&name);
            // A package's directory of the newer layout may be called as anything.
            if place.ends_with("build") && !layout::is_shared(&name, &layout::directories(&path)) {
                continue;
            }
            let home = layout::hash_in(&name).map(|hash| Home::Shared(hash.to_owned()));
            if let Some(home) = home.filter(|home| homes.contains(home)) {
                found.entry(home).or_default().push(weigh(path));
            }
        }
    }
    found
}

/// The sessions of the incremental compiler that are no unit's: more than there are units of their crate (each has
/// one), and written before any of those was built. Without those written since `kept_since`.
pub fn spare_sessions(
    profile: &Path,
    live: &[&Unit],
    kept_since: Option<SystemTime>,
) -> Vec<Found> {
    let mut wanted: BTreeMap<String, Vec<Option<SystemTime>>> = BTreeMap::new();
    for unit in live {
        if let Some(name) = unit.crate_name() {
            // What was not built to the end has the session of an earlier time.
            wanted.entry(name).or_default().push(unit.built.filter(|_| unit.number.is_some()));
        }
    }
    let mut sessions: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for entry in fs::read_dir(profile.join("incremental")).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if let Some((name, _)) = name.rsplit_once('-') {
            sessions.entry(name.to_owned()).or_default().push(weigh(entry.path()));
        }
    }
    let spare = sessions.into_iter().flat_map(|(name, mut of_it)| {
        let units = wanted.remove(&name).unwrap_or_default();
        of_it.sort_by_key(|found| std::cmp::Reverse(found.newest));
        let mut spare = of_it.split_off(units.len().min(of_it.len()));
        spare.retain(|found| units.iter().all(|built| found.newest < *built));
        spare
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
pub fn remove(found: &Found) -> anyhow::Result<()> {
    let is_directory = found.path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    let done =
        if is_directory { fs::remove_dir_all(&found.path) } else { fs::remove_file(&found.path) };
    match done {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => other.with_context(|| format!("cannot remove `{}`", found.path.display()))?,
    }
    let package = found.path.parent();
    if let Some(package) = package.filter(|it| it.parent().is_some_and(|it| it.ends_with("build")))
    {
        remove_empty(package);
    }
    Ok(())
}

/// `build/<package>` of the newer layout goes with its last unit. Cargo makes directories for units that it does not
/// build (documentation tests), and makes them anew where it misses them.
fn remove_empty(package: &Path) {
    for (_, home) in layout::directories(package) {
        if !home.join("fingerprint").exists() {
            let _ = fs::remove_dir(home.join("out"));
            let _ = fs::remove_dir(home);
        }
    }
    // What is not empty stays.
    let _ = fs::remove_dir(package);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_session_that_may_be_a_units_stays() {
        let profile = tempfile::tempdir().unwrap();
        let session = |name: &str, second: u64| {
            let directory = profile.path().join("incremental").join(name);
            fs::create_dir_all(&directory).unwrap();
            let file = fs::File::create(directory.join("dep-graph.bin")).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
        };
        session("it-1", 10);
        session("it-2", 30);
        session("gone-1", 40);
        let unit = |built: u64, number: Option<u64>| Unit {
            package: "app".to_owned(),
            home: Home::Shared("0123456789abcdef".to_owned()),
            target: "test-integration-test-it".to_owned(),
            rustc: None,
            number,
            needs: Vec::new(),
            source: None,
            built: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(built)),
        };
        let spare = |live: &[Unit]| -> Vec<String> {
            let live: Vec<&Unit> = live.iter().collect();
            let found = spare_sessions(profile.path(), &live, None).into_iter();
            found.map(|it| it.path.file_name().unwrap().display().to_string()).collect()
        };
        assert_eq!(spare(&[unit(20, Some(1))]), ["gone-1", "it-1"]);
        assert_eq!(spare(&[unit(5, Some(1))]), ["gone-1"], "either may be its");
        assert_eq!(spare(&[unit(20, None)]), ["gone-1"], "it failed since");
        assert_eq!(spare(&[unit(20, Some(1)), unit(20, Some(2))]), ["gone-1"]);
    }
}
