//! Where Cargo keeps a unit's files in a profile's directory: two layouts, which may lie in one directory.
//!
//! ```text
//! until Cargo 1.99                               since Cargo 1.100
//! <profile>/.fingerprint/<package>-<hash>/       <profile>/build/<package>/<hash>/fingerprint/
//! <profile>/deps/[lib]<crate>-<hash>.*           <profile>/build/<package>/<hash>/out/
//! <profile>/examples/<crate>-<hash>.*            <profile>/build/<package>/<hash>/artifact/
//! <profile>/build/<package>-<hash>/              <profile>/build/<package>/<hash>/run/
//! <profile>/incremental/<crate>-<id>/            the same
//! ```
//!
//! (Cargo's `compiler/layout.rs`; a nightly Cargo before 1.100 has the newer one with `-Zbuild-dir-new-layout`.) The
//! same unit has the same hash in both. What is in neither layout is [`Contents::unknown`], and nothing is told of the
//! directory that has it.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of a unit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Home {
    /// They lie among others', with this hash in their names: the older layout.
    Shared(String),
    /// They have this directory for themselves: the newer layout.
    Own(PathBuf),
}

/// A unit that Cargo has built, or tried to build.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its package.
    pub(crate) package: String,
    /// Where its files are.
    pub home: Home,
    /// Where Cargo keeps what it was built from.
    pub(crate) fingerprint: PathBuf,
}

/// What a profile's directory holds.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The units.
    pub units: Vec<Kept>,
    /// Something that is in neither layout.
    pub unknown: Option<PathBuf>,
}

/// The files in which a Cargo locks a profile's directory: the second has been there since Cargo 1.96.
pub(crate) const LOCKS: [&str; 2] = [".cargo-lock", ".cargo-build-lock"];

/// What the newer layout has in a unit's own directory.
const IN_OWN: &[&str] = &["out", "fingerprint", "run", "artifact", ".lock"];

/// Whether Cargo builds in this directory. (On NFS it locks nothing.)
pub(crate) fn is_profile(directory: &Path) -> bool {
    let has = |name: &str| directory.join(name).is_dir();
    LOCKS.iter().any(|lock| directory.join(lock).is_file())
        || has(".fingerprint")
        || has("build") && has("incremental")
}

/// Looks through a profile's directory.
pub fn read(profile: &Path) -> Contents {
    let mut found = Contents::default();
    for (name, path) in directories(&profile.join(".fingerprint")) {
        match hash_behind(&name) {
            Some((package, hash)) => found.units.push(Kept {
                package: package.to_owned(),
                home: Home::Shared(hash.to_owned()),
                fingerprint: path,
            }),
            None => found.unknown = Some(path),
        }
    }
    for (package, path) in directories(&profile.join("build")) {
        let own = directories(&path);
        if is_shared(&package, &own) {
            continue;
        }
        for (hash, home) in own {
            let fingerprint = home.join("fingerprint");
            let odd = names(&home).into_iter().find(|name| !IN_OWN.contains(&&**name));
            if !is_hash(&hash) {
                found.unknown = Some(home);
            } else if let Some(odd) = odd {
                found.unknown = Some(home.join(odd));
            } else if fingerprint.is_dir() {
                let home = Home::Own(home);
                found.units.push(Kept { package: package.clone(), home, fingerprint });
            }
        }
    }
    if found.units.is_empty() && found.unknown.is_none() {
        let outputs = names(&profile.join("deps")).into_iter().map(|name| ("deps", name));
        let sessions = names(&profile.join("incremental")).into_iter();
        let mut of_units = outputs
            .filter(|(_, name)| hash_in(name).is_some())
            .chain(sessions.map(|name| ("incremental", name)));
        found.unknown = of_units.next().map(|(place, name)| profile.join(place).join(name));
    }
    found
}

/// Whether an entry of `build`, with these directories in it, is of the older layout.
pub(crate) fn is_shared(name: &str, below: &[(String, PathBuf)]) -> bool {
    hash_behind(name).is_some() && !below.iter().any(|(name, _)| is_hash(name))
}

/// The directories in a directory, by name. A link to one is none: it leads to what is seen elsewhere, or is not ours.
pub(crate) fn directories(directory: &Path) -> Vec<(String, PathBuf)> {
    let named = names(directory).into_iter().map(|name| (name.clone(), directory.join(name)));
    let is_one = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    named.filter(|(_, path)| is_one(path)).collect()
}

/// The names in a directory, in order.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `serde-0123456789abcdef`.
fn hash_behind(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once('-').filter(|(_, hash)| is_hash(hash))
}

/// The hash in `libserde-0123456789abcdef.rlib`, `serde-0123456789abcdef`, `serde-0123456789abcdef.x.rcgu.o`.
pub(crate) fn hash_in(name: &str) -> Option<&str> {
    hash_behind(&name[..name.find('.').unwrap_or(name.len())]).map(|(_, hash)| hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef";

    /// Reads a directory with these directories and, where a name ends in `.d` or `.json`, files.
    fn of(paths: &[&str]) -> (tempfile::TempDir, Contents) {
        let profile = tempfile::tempdir().unwrap();
        for path in paths {
            let path = profile.path().join(path);
            if path.extension().is_some() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            } else {
                fs::create_dir_all(path).unwrap();
            }
        }
        let contents = read(profile.path());
        (profile, contents)
    }

    #[test]
    fn a_hash_is_found_in_every_form_of_name() {
        for name in ["libserde-0123456789abcdef.rlib", "a-b-0123456789abcdef"] {
            assert_eq!(hash_in(name), Some(A), "{name}");
        }
        assert_eq!(hash_in("x-0123456789abcdef.y.rcgu.o"), Some(A));
        assert_eq!(hash_in("libserde.rlib"), None);
        assert_eq!(hash_in("a-release"), None);
    }

    #[test]
    fn both_layouts_are_read_from_one_directory() {
        let (profile, found) = of(&[
            ".fingerprint/a-b-0123456789abcdef",
            "build/a-b-0123456789abcdef/out",
            "build/a-b/0123456789abcdef/fingerprint",
            "build/a-b/0123456789abcdef/out/a_b.d",
            "build/c/fedcba9876543210/out",
            "build/x-0123456789abcdef/0123456789abcdef/fingerprint",
        ]);
        assert_eq!(found.unknown, None);
        let build = profile.path().join("build");
        let found: Vec<(&str, Home)> =
            found.units.iter().map(|unit| (unit.package.as_str(), unit.home.clone())).collect();
        let expected = [
            ("a-b", Home::Shared(A.to_owned())),
            ("a-b", Home::Own(build.join("a-b").join(A))),
            ("x-0123456789abcdef", Home::Own(build.join("x-0123456789abcdef").join(A))),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_in_neither_layout_is_told() {
        for paths in [
            &["build/a/of-another-kind"][..],
            &["build/a/0123456789abcdef/units"],
            &[".fingerprint/a"],
            &["deps/a-0123456789abcdef.d"],
            &["incremental/a-1qwertz"],
        ] {
            let (profile, found) = of(paths);
            let unknown = found.unknown.unwrap();
            assert_eq!(unknown.strip_prefix(profile.path()).unwrap(), Path::new(paths[0]));
        }
        let (_profile, nothing) = of(&["deps", "build", "incremental", "bundle/a.json"]);
        assert_eq!(nothing.unknown, None, "only what Cargo makes is looked at");
    }
}
