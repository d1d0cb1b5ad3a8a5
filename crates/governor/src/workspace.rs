//! Which workspace a build is of: that of its first process, by the directory in which that runs, or by the manifest
//! that it was told.
//!
//! Deliberately not here: asking Cargo. A name for people is not worth a process for each build.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The workspace of the build whose first process is `root`; where there is no manifest, the directory in which that
/// runs. `None` where the process is gone or another user's.
pub(crate) fn workspace_of(root: u32) -> Option<PathBuf> {
    let directory = fs::read_link(format!("/proc/{root}/cwd")).ok()?;
    let words = fs::read(format!("/proc/{root}/cmdline")).unwrap_or_default();
    let directory = match manifest_in(&words) {
        // `parent` of a bare `Cargo.toml` is the empty path, and joining that changes nothing.
        Some(manifest) => directory.join(Path::new(manifest).parent()?),
        None => directory,
    };
    Some(enclosing(&directory).unwrap_or(directory))
}

/// What a Cargo's command line names as the manifest.
fn manifest_in(words: &[u8]) -> Option<&OsStr> {
    let mut words = words.split(|byte| *byte == 0).take_while(|word| *word != b"--");
    let value = words.find_map(|word| match word {
        b"--manifest-path" => Some(None),
        _ => word.strip_prefix(b"--manifest-path=").map(Some),
    })?;
    value.or_else(|| words.next()).filter(|value| !value.is_empty()).map(OsStr::from_bytes)
}

/// The nearest directory at or above this one whose manifest begins a workspace; else the nearest with a manifest.
fn enclosing(directory: &Path) -> Option<PathBuf> {
    let manifest = |dir: &&Path| dir.join("Cargo.toml").is_file();
    let begins = |dir: &&Path| {
        let text = fs::read_to_string(dir.join("Cargo.toml")).unwrap_or_default();
        text.lines().any(|line| line.starts_with("[workspace]") || line.starts_with("[workspace."))
    };
    let packages = || directory.ancestors().filter(manifest);
    packages().find(begins).or_else(|| packages().next()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_of_the_workspace_around_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (name, text) in [
            ("ws/Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"),
            ("ws/a/Cargo.toml", "[package]\nname = \"a\"\n"),
            ("one/Cargo.toml", "[package]\nname = \"one\"\n"),
        ] {
            fs::create_dir_all(at(name).parent().unwrap().join("src")).unwrap();
            fs::write(at(name), text).unwrap();
        }
        assert_eq!(enclosing(&at("ws")), Some(at("ws")));
        assert_eq!(enclosing(&at("ws/a/src")), Some(at("ws")));
        assert_eq!(enclosing(&at("one/src")), Some(at("one")));
        assert!(workspace_of(std::process::id()).is_some());
    }

    #[test]
    fn the_manifest_that_cargo_was_told_counts() {
        let told = |line: &str| {
            let words = line.replace(' ', "\0");
            manifest_in(words.as_bytes()).map(|path| path.to_str().unwrap().to_owned())
        };
        assert_eq!(told("cargo build --manifest-path a/Cargo.toml").unwrap(), "a/Cargo.toml");
        assert_eq!(told("cargo build --manifest-path=a/Cargo.toml -v").unwrap(), "a/Cargo.toml");
        assert_eq!(told("cargo test -- --manifest-path a/Cargo.toml"), None);
        assert_eq!(told("cargo build --manifest-path"), None);
    }
}
