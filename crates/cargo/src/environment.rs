//! The environment as a value: read once, and handed on to whoever decides by it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The environment as it was when the program started.
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

    /// The programs of this name: those in `PATH`, the first first, or the one file where it is a path below `directory`.
    pub fn programs(
        &self,
        name: impl AsRef<OsStr>,
        directory: &Path,
    ) -> impl Iterator<Item = PathBuf> {
        which::which_in_all(name, self.get("PATH"), directory).into_iter().flatten()
    }

    /// The program of this name, as it would be started in `directory`.
    #[must_use]
    pub fn program(&self, name: impl AsRef<OsStr>, directory: &Path) -> Option<PathBuf> {
        self.programs(name, directory).next()
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
        let environment = Environment::from_iter([("PLIMSOLL_MEMORY", ""), ("HOME", "/h")]);
        assert_eq!(environment.get("PLIMSOLL_MEMORY"), None);
        assert_eq!(environment.raw("PLIMSOLL_MEMORY"), Some(OsStr::new("")));
        assert_eq!(environment.cargo_home(Path::new("/w")), Some(PathBuf::from("/h/.cargo")));
        let environment = Environment::from_iter([("CARGO_HOME", "c")]);
        assert_eq!(environment.cargo_home(Path::new("/w")), Some(PathBuf::from("/w/c")));
    }

    #[test]
    #[cfg(unix)]
    fn a_program_is_what_can_be_started() {
        use std::fs;
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for (path, mode) in [("a/cc", 0o644), ("b/cc", 0o755), ("c/cc", 0o755)] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "").unwrap();
            fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = std::env::join_paths(["a", "b", "c"].map(at)).unwrap();
        let environment = Environment::from_iter([("PATH", path)]);
        let all: Vec<PathBuf> = environment.programs("cc", Path::new("/")).collect();
        assert_eq!(all, [at("b/cc"), at("c/cc")]);
        assert_eq!(environment.program("c/cc", dir.path()), Some(at("c/cc")));
        assert_eq!(environment.program("a/cc", dir.path()), None);
        assert_eq!(Environment::default().program("cc", dir.path()), None);
    }
}
