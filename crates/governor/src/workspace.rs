//! Which workspace a build is of: that of its first process, by the directory in which that runs, or by the manifest
//! that it was told.
//!
//! Deliberately not here: asking Cargo (a name is not worth a process for each build), and the rules by which a
//! directory belongs to a workspace, which the program brings along: who looks for a build later goes by the same.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The workspace of the build whose first process is `root`; where there is no manifest, the directory in which that
/// runs. `None` where the process is gone or another user's.
pub(crate) fn workspace_of(
    root: u32,
    workspace_root: fn(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let directory = fs::read_link(format!("/proc/{root}/cwd")).ok()?;
    let words = fs::read(format!("/proc/{root}/cmdline")).unwrap_or_default();
    let directory = directory_of(&words, &directory);
    // Cargo itself goes there with `-C`, and so is there already; our own driver is not.
    let directory = directory.canonicalize().unwrap_or(directory);
    Some(workspace_root(&directory).unwrap_or(directory))
}

/// Where a Cargo that runs in `cwd` with these words looks for a manifest.
fn directory_of(words: &[u8], cwd: &Path) -> PathBuf {
    let (mut directory, mut manifest) = (cwd.to_owned(), None);
    let mut words = words.split(|byte| *byte == 0).take_while(|word| *word != b"--");
    while let Some(word) = words.next() {
        if word == b"-C" {
            let named = words.next().map(path).unwrap_or_default();
            let there = cwd.join(named);
            directory = if there.is_dir() { there } else { directory };
        } else if word == b"--manifest-path" {
            manifest = words.next().map(path);
        } else if let Some(named) = word.strip_prefix(b"--manifest-path=") {
            manifest = Some(path(named));
        }
    }
    // `parent` of a bare `Cargo.toml` is the empty path, and joining that changes nothing.
    match manifest.as_deref().and_then(Path::parent) {
        Some(parent) => directory.join(parent),
        None => directory,
    }
}

fn path(word: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_of_the_workspace_around_its_directory() {
        let found = workspace_of(std::process::id(), |_| Some(PathBuf::from("/found")));
        assert_eq!(found, Some(PathBuf::from("/found")));
        let own = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(workspace_of(std::process::id(), |_| None), Some(own));
    }

    #[test]
    fn the_directory_and_the_manifest_that_cargo_was_told_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("d")).unwrap();
        let told = |line: &str| {
            let words = line.replace(' ', "\0");
            directory_of(words.as_bytes(), dir.path())
        };
        for (line, directory) in [
            ("cargo build --manifest-path a/Cargo.toml", "a"),
            ("cargo build --manifest-path=a/Cargo.toml -v", "a"),
            ("cargo build --manifest-path Cargo.toml", ""),
            ("cargo test -- --manifest-path a/Cargo.toml", ""),
            ("cargo build --manifest-path", ""),
            ("cargo plimsoll -C d build", "d"),
            ("cargo plimsoll -C d build --manifest-path=a/Cargo.toml", "d/a"),
            // Cargo is there already.
            ("cargo -C gone build", ""),
        ] {
            assert_eq!(told(line), dir.path().join(directory), "{line}");
        }
    }
}
