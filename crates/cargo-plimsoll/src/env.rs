//! Every environment variable that people may set for Plimsoll, and the one place where the driver reads
//! its environment.
//!
//! The private ones, spoken between driver and shim, are listed beside their messages
//! ([`plimsoll_proto::env`]); they mean nothing outside a build. Cargo's own variables are read as Cargo
//! reads them (see [`crate::cargo_config`]). Nothing here decides what a value means.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The line, as `--memory` takes it.
pub const MEMORY: &str = "PLIMSOLL_MEMORY";
/// How many units run at once, as `--jobs` takes it.
pub const JOBS: &str = "PLIMSOLL_JOBS";
/// How many processors are planned for: more units or threads than that run only where they idle.
pub const PROCESSORS: &str = "PLIMSOLL_PROCESSORS";
/// What may be done with a unit that exceeds the budget by itself, as `--oversized` takes it.
pub const OVERSIZED: &str = "PLIMSOLL_OVERSIZED";
/// Whether the kernel, too, keeps the build to its line, as by `--hard`.
pub const HARD: &str = "PLIMSOLL_HARD";
/// The build's share of the account's line, as `--priority` takes it; plain `cargo` heeds it, too, after `enable`.
pub const PRIORITY: &str = plimsoll_proto::env::PRIORITY;
/// Whether a test that was killed for want of memory runs once more, as by `--retry-tests`.
pub const RETRY_TESTS: &str = plimsoll_proto::env::RETRY_TESTS;
/// Whether plain `cargo` is inside the line though the account is not, as `cargo plimsoll env` has it.
pub const ENABLED: &str = plimsoll_proto::env::ENABLED;
/// Whether Plimsoll says nothing but errors, as by `--quiet`.
pub const QUIET: &str = "PLIMSOLL_QUIET";
/// Where history and event logs are kept.
pub const HOME: &str = plimsoll_proto::HOME_VARIABLE;

/// What people may set, with one sentence each, for the help text.
pub const PUBLIC: &[(&str, &str)] = &[
    (MEMORY, "as --memory"),
    (JOBS, "as --jobs"),
    (PROCESSORS, "how many processors to plan for [default: those that this process may use]"),
    (OVERSIZED, "as --oversized"),
    (HARD, "1 is --hard"),
    (PRIORITY, "as --priority; after `enable` plain cargo heeds it, too"),
    (RETRY_TESTS, "1 is --retry-tests"),
    (QUIET, "1 is --quiet"),
    (ENABLED, "1 puts plain cargo inside the budget, as `cargo plimsoll env` does for one shell"),
    (HOME, "where history and event logs are kept [default: ~/.local/state/plimsoll]"),
];

/// The environment as it was when Plimsoll started.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// The value of a variable, empty or not.
    #[must_use]
    pub fn raw(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// The value of a variable; an empty one counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable where it is UTF-8 and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }

    /// What follows `prefix` in the names of all variables that begin with it.
    pub fn names_after<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.variables.keys().filter_map(move |name| name.to_str()?.strip_prefix(prefix))
    }

    /// Whether a program of this name is in `PATH`, or beside the commands that Cargo has installed.
    #[must_use]
    pub fn has_program(&self, name: &str) -> bool {
        let path = self.get("PATH").unwrap_or_default();
        let installed = self.cargo_home(Path::new("")).map(|home| home.join("bin"));
        let mut directories = std::env::split_paths(path).chain(installed);
        directories.any(|directory| directory.join(name).is_file())
    }

    /// The user's home directory, where Cargo looks for it.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.get(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(Path::new)
    }

    /// Cargo's home: `$CARGO_HOME` below `cwd`, else `~/.cargo`.
    #[must_use]
    pub fn cargo_home(&self, cwd: &Path) -> Option<PathBuf> {
        match self.get("CARGO_HOME") {
            Some(dir) => Some(cwd.join(dir)),
            None => self.home().map(|home| home.join(".cargo")),
        }
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self { variables: pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_unset() {
        let environment = Environment::from_iter([(MEMORY, ""), ("HOME", "/h")]);
        assert_eq!(environment.get(MEMORY), None);
        assert_eq!(environment.raw(MEMORY), Some(OsStr::new("")));
        assert_eq!(environment.cargo_home(Path::new("/w")), Some(PathBuf::from("/h/.cargo")));
        let environment = Environment::from_iter([("CARGO_HOME", "c")]);
        assert_eq!(environment.cargo_home(Path::new("/w")), Some(PathBuf::from("/w/c")));
    }
}
