//! The compilers that are installed on this machine: rustup's toolchains, and what else `PATH` leads to.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use plimsoll_cargo::Environment;

use super::layout;

/// One compiler, perhaps with a Cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Its name for rustup, or its directory.
    pub name: String,
    /// The directory of its programs.
    pub(crate) programs: PathBuf,
}

impl Toolchain {
    /// Its compiler.
    pub(crate) fn rustc(&self) -> PathBuf {
        self.programs.join("rustc")
    }

    /// Its Cargo, where it has one.
    pub(crate) fn cargo(&self) -> Option<PathBuf> {
        Some(self.programs.join("cargo")).filter(|cargo| cargo.is_file())
    }

    /// Whether a person calls it so: `nightly` is `nightly-x86_64-unknown-linux-gnu`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// All that are installed; nothing where there is no rustup, because others may then lie anywhere.
pub(crate) fn installed(environment: &Environment) -> Option<Vec<Toolchain>> {
    let home = environment
        .get("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(environment.get("HOME")?).join(".rustup")))?;
    let directory = home.join("toolchains");
    if !directory.is_dir() {
        return None;
    }
    // A toolchain of one's own is a link to its directory.
    let mut found: Vec<Toolchain> = layout::names(&directory)
        .into_iter()
        .map(|name| Toolchain { programs: directory.join(&name).join("bin"), name })
        .collect();
    let path = environment.get("PATH").unwrap_or_default();
    found.extend(
        std::env::split_paths(path)
            .filter(|programs| !is_rustups(programs))
            .map(|programs| Toolchain { name: programs.display().to_string(), programs }),
    );
    found.retain(|it| it.rustc().is_file());
    Some(found)
}

/// Whether the compiler in this directory is rustup itself, which calls one of its own: a link to it, of either kind.
fn is_rustups(programs: &Path) -> bool {
    let same = |program: &str| {
        let found = fs::metadata(programs.join(program)).ok()?;
        Some((found.dev(), found.ino()))
    };
    let rustc = programs.join("rustc").canonicalize();
    rustc.is_ok_and(|it| {
        it.file_name().is_some_and(|name| name == "rustup" || name == "rustup-init")
    }) || same("rustc").is_some() && same("rustc") == same("rustup")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn rustups_toolchains_and_what_else_is_in_the_path_are_found() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        write("rustup/toolchains/nightly-x/bin/rustc");
        write("rustup/toolchains/broken/lib/x");
        write("mine/bin/rustc");
        symlink(root.path().join("mine"), root.path().join("rustup/toolchains/linked")).unwrap();
        write("system/rustc");
        write("proxies/rustup");
        fs::hard_link(root.path().join("proxies/rustup"), root.path().join("proxies/rustc"))
            .unwrap();
        let at = |name: &str| root.path().join(name).display().to_string();
        let path = format!("{}:{}", at("proxies"), at("system"));
        let environment = Environment::from_iter([("RUSTUP_HOME", at("rustup")), ("PATH", path)]);
        let found = installed(&environment).unwrap();
        let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["linked", "nightly-x", &at("system")]);
        assert!(found[1].is_called("nightly") && found[1].is_called("nightly-x"));
        assert!(!found[1].is_called("night"));
        let none = Environment::from_iter([("RUSTUP_HOME", at("none"))]);
        assert_eq!(installed(&none), None);
    }
}
