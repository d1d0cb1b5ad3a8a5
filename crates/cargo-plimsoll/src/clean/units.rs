//! What Cargo keeps about each unit that it has built in a profile's directory.
//!
//! `.fingerprint/<package>-<hash>/<target>.json` says what a unit was built from, and beside it `<target>` holds, in
//! hexadecimal, the number by which its dependents name it (Cargo 1.95: `core/compiler/fingerprint`). The hash is in
//! the names of all the files that belong to the unit. What the compiler has read stands in a `.d` file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

/// One unit that was built.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    /// `<package>-<hash>`.
    pub(crate) directory: String,
    /// The hash in its files' names.
    pub(crate) hash: String,
    /// What it makes: `lib-serde`, `run-build-script-build-script-build` …
    pub(crate) target: String,
    /// The compiler.
    pub(crate) rustc: Option<u64>,
    /// The number by which dependents name it; nothing where it was not built to the end.
    pub(crate) number: Option<u64>,
    /// The numbers of what it needs.
    pub(crate) needs: Vec<u64>,
    /// Where its source is, as the compiler was told: nothing for what is not compiled.
    pub(crate) source: Option<PathBuf>,
    /// When it was built.
    pub(crate) built: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Fingerprint {
    rustc: u64,
    #[serde(default)]
    deps: Vec<(u64, String, bool, u64)>,
}

impl Unit {
    /// The package's name.
    pub(crate) fn package(&self) -> &str {
        self.directory.strip_suffix(&self.hash).map_or("", |name| name.trim_end_matches('-'))
    }

    /// The crate's name, for what is compiled.
    pub(crate) fn crate_name(&self) -> Option<String> {
        let target = self.target.strip_prefix("test-").unwrap_or(&self.target);
        let kinds = ["lib-", "bin-", "example-", "bench-", "test-", "build-script-"];
        let name = kinds.iter().find_map(|kind| target.strip_prefix(kind))?;
        Some(name.replace('-', "_"))
    }
}

/// The units in a profile's directory. One that cannot be read has neither a compiler nor a number: nothing can be
/// told of it.
pub(crate) fn read(profile: &Path) -> Vec<Unit> {
    let mut units = Vec::new();
    for entry in fs::read_dir(profile.join(".fingerprint")).into_iter().flatten().flatten() {
        let Ok(directory) = entry.file_name().into_string() else { continue };
        let Some((package, hash)) = directory.rsplit_once('-') else { continue };
        let names = fs::read_dir(entry.path()).into_iter().flatten().flatten();
        let names: Vec<String> =
            names.filter_map(|name| name.file_name().into_string().ok()).collect();
        let built = fs::metadata(entry.path().join("invoked.timestamp"))
            .or_else(|_| entry.metadata())
            .and_then(|found| found.modified())
            .ok();
        for target in names.iter().filter_map(|name| name.strip_suffix(".json")) {
            let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
            let says = read(&format!("{target}.json"))
                .and_then(|text| serde_json::from_str::<Fingerprint>(&text).ok());
            units.push(Unit {
                hash: hash.to_owned(),
                target: target.to_owned(),
                rustc: says.as_ref().map(|says| says.rustc),
                number: read(target).and_then(|text| number(&text)),
                needs: says.into_iter().flat_map(|it| it.deps).map(|dep| dep.3).collect(),
                source: source(profile, package, hash, target),
                built,
                directory: directory.clone(),
            });
        }
    }
    units
}

/// Eight bytes, the smallest first.
fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim(), 16)
        .ok()
        .filter(|_| text.trim().len() == 16)
        .map(u64::swap_bytes)
}

/// The first file that the compiler has read.
fn source(profile: &Path, package: &str, hash: &str, target: &str) -> Option<PathBuf> {
    if target.starts_with("run-build-script-") {
        return None;
    }
    let directories = [
        profile.join("deps"),
        profile.join("build").join(format!("{package}-{hash}")),
        profile.join("examples"),
    ];
    let directory_has = |directory: &PathBuf| -> Option<String> {
        let ending = format!("-{hash}.d");
        let (_, name) = target.rsplit_once('-').unwrap_or(("", target));
        let exact = directory.join(format!("{}{ending}", name.replace('-', "_")));
        if let Ok(text) = fs::read_to_string(exact) {
            return Some(text);
        }
        let entries = fs::read_dir(directory).ok()?.flatten();
        let found = entries
            .map(|entry| entry.path())
            .find(|path| path.to_str().is_some_and(|path| path.ends_with(&ending)))?;
        fs::read_to_string(found).ok()
    };
    let text = directories.iter().find_map(directory_has)?;
    first_file(&text)
}

/// The first file that is named after a target's colon; a blank in a name stands behind a backslash.
fn first_file(text: &str) -> Option<PathBuf> {
    let (_, files) = text.lines().next()?.split_once(": ")?;
    let mut name = String::new();
    let mut chars = files.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => name.extend(chars.next()),
            ' ' => break,
            other => name.push(other),
        }
    }
    (!name.is_empty()).then(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sources_are_read() {
        assert_eq!(number("dea516f3438fa013\n"), Some(0x13a0_8f43_f316_a5de));
        assert_eq!(number("x"), None);
        let read = |text: &str| first_file(text).map(|path| path.display().to_string());
        assert_eq!(read("/t/a b.d: src/ma\\ in.rs src/b.rs\n").as_deref(), Some("src/ma in.rs"));
        assert_eq!(read("/t/a.d:\n"), None);
    }
}
