//! What Cargo keeps about each unit that it has built in a profile's directory.
//!
//! A unit's fingerprint is a directory ([`layout`] knows which). `<target>.json` there says what the unit was built
//! from, and beside it `<target>` holds, in hexadecimal, the number by which its dependents name it (Cargo 1.95 to
//! 1.100: `compiler/fingerprint`). What the compiler has read stands in a `.d` file.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::layout::{self, Home, Kept};

/// One unit that was built.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Its package's name.
    pub(crate) package: String,
    /// Where its files are.
    pub home: Home,
    /// What it makes: `lib-serde`, `run-build-script-build-script-build` …
    pub target: String,
    /// The compiler.
    pub rustc: Option<u64>,
    /// The number by which dependents name it; nothing where it was not built to the end.
    pub(crate) number: Option<u64>,
    /// The numbers of what it needs.
    pub needs: Vec<u64>,
    /// Where its source is, as the compiler was told: nothing for what is not compiled.
    pub(crate) source: Option<PathBuf>,
    /// When it was built.
    pub built: Option<SystemTime>,
}

#[derive(Deserialize)]
struct Fingerprint {
    rustc: u64,
    #[serde(default)]
    deps: Vec<(u64, String, bool, u64)>,
}

impl Unit {
    /// The crate's name, for what is compiled.
    pub(crate) fn crate_name(&self) -> Option<String> {
        let target = self.target.strip_prefix("test-").unwrap_or(&self.target);
        let kinds = ["lib-", "bin-", "example-", "bench-", "integration-test-", "build-script-"];
        let name = kinds.iter().find_map(|kind| target.strip_prefix(kind))?;
        Some(name.replace('-', "_"))
    }
}

/// What is known of these units of a profile's directory. One that cannot be read has neither a compiler nor a
/// number: nothing can be told of it.
pub fn read(profile: &Path, kept: &[Kept]) -> Vec<Unit> {
    let mut units = Vec::new();
    for Kept { package, home, fingerprint } in kept {
        let run = fingerprint.with_file_name("run");
        let times = [fingerprint, &run].map(|directory| directory.join("invoked.timestamp"));
        let [compiled, ran] = times.map(fs::metadata);
        let built = compiled
            .or(ran)
            .or_else(|_| fs::metadata(fingerprint))
            .and_then(|found| found.modified())
            .ok();
        let names = layout::names(fingerprint);
        for target in names.iter().filter_map(|name| name.strip_suffix(".json")) {
            let read = |name: &str| fs::read_to_string(fingerprint.join(name)).ok();
            let says = read(&format!("{target}.json"))
                .and_then(|text| serde_json::from_str::<Fingerprint>(&text).ok());
            units.push(Unit {
                package: package.clone(),
                home: home.clone(),
                target: target.to_owned(),
                rustc: says.as_ref().map(|says| says.rustc),
                number: read(target).and_then(|text| number(&text)),
                needs: says.into_iter().flat_map(|it| it.deps).map(|dep| dep.3).collect(),
                source: source(profile, package, home, target),
                built,
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

/// The crate's root: the first Rust source that the compiler has read. (Clippy reads its settings before.)
fn source(profile: &Path, package: &str, home: &Home, target: &str) -> Option<PathBuf> {
    if target.starts_with("run-build-script-") {
        return None;
    }
    let (directories, ending) = match home {
        Home::Shared(hash) => {
            let script = profile.join("build").join(format!("{package}-{hash}"));
            let artifacts = profile.join("deps/artifact").join(format!("{package}-{hash}"));
            let mut directories = vec![profile.join("deps"), script, profile.join("examples")];
            directories.extend(layout::directories(&artifacts).into_iter().map(|it| it.1));
            (directories, format!("-{hash}.d"))
        }
        Home::Own(own) => {
            let artifacts = layout::directories(&own.join("artifact"));
            let mut directories = vec![own.join("out")];
            directories.extend(artifacts.into_iter().map(|it| it.1));
            (directories, ".d".to_owned())
        }
    };
    let directory_has = |directory: &PathBuf| -> Option<String> {
        let (_, name) = target.rsplit_once('-').unwrap_or(("", target));
        let exact = directory.join(format!("{}{ending}", name.replace('-', "_")));
        if let Ok(text) = fs::read_to_string(exact) {
            return Some(text);
        }
        let found = layout::names(directory).into_iter().find(|name| name.ends_with(&ending))?;
        fs::read_to_string(directory.join(found)).ok()
    };
    let text = directories.iter().find_map(directory_has)?;
    first_source(&text)
}

/// The first of the files that are named after a target's colon which ends as a Rust source does; a blank in a name stands
/// behind a backslash.
fn first_source(text: &str) -> Option<PathBuf> {
    let (_, files) = text.lines().next()?.split_once(": ")?;
    let mut name = String::new();
    let mut chars = files.chars().chain([' ']);
    while let Some(char) = chars.next() {
        match char {
            '\\' => name.extend(chars.next()),
            ' ' if name.ends_with(".rs") => return Some(PathBuf::from(name)),
            ' ' => name.clear(),
            other => name.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_sources_are_read() {
        assert_eq!(number("dea516f3438fa013\n"), Some(0x13a0_8f43_f316_a5de));
        assert_eq!(number("x"), None);
        let read = |text: &str| first_source(text).map(|path| path.display().to_string());
        assert_eq!(read("/t/a b.d: src/ma\\ in.rs src/b.rs\n").as_deref(), Some("src/ma in.rs"));
        assert_eq!(read("/t/a.d: /w/clippy.toml src/a.rs\n").as_deref(), Some("src/a.rs"));
        assert_eq!(read("/t/a.d:\n"), None);
    }
}
