//! The target directory, its profiles, and what is true of the workspace now.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use plimsoll_cargo::Environment;
use plimsoll_cargo::metadata::{self, answer};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::Deserialize;

use super::layout::{self, Home, LOCKS};
use super::source::Source;
use super::toolchains::{self, Toolchain};
use super::units::{self, Unit};

/// Where builds of a workspace go, and what they are built from.
#[derive(Debug)]
pub struct Place {
    /// The workspace's root.
    pub root: PathBuf,
    /// Where units are built: the target directory, or `build.build-dir`.
    pub build: PathBuf,
    /// Where programs go in the end: the target directory.
    target: PathBuf,
    /// What the lock file has.
    pub locked: Locked,
    /// The Cargo that would build here; nothing where that cannot be told.
    pub now: Option<Builder>,
    cargo: std::ffi::OsString,
}

/// The toolchains whose work stays, beside that of the one that would build here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All that are installed.
    Installed,
    /// No other.
    Current,
    /// Those with these names.
    Named(Vec<String>),
}

/// The compilers whose work stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// These, as Cargo's fingerprints know them.
    These(BTreeSet<u64>),
    /// Every one, for this reason.
    All(Untold),
}

impl Kept {
    /// Whether what this compiler built stays.
    pub(crate) fn includes(&self, rustc: u64) -> bool {
        match self {
            Self::These(known) => known.contains(&rustc),
            Self::All(_) => true,
        }
    }
}

/// Why it cannot be told whose work is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untold {
    /// The compiler that would build here does not work.
    Current,
    /// There is no rustup to say which are installed.
    NoRustup,
    /// This one, which is installed, does not work.
    Broken(String),
}

/// A toolchain was named that is not installed.
#[derive(Debug, thiserror::Error)]
#[error("toolchain `{name}` is not installed; installed: {}", installed.join(", "))]
pub struct NotInstalled {
    name: String,
    installed: Vec<String>,
}

/// A Cargo and its compiler, by what they leave.
#[derive(Clone, Debug)]
pub struct Builder {
    /// The compiler as Cargo's fingerprints know it.
    pub rustc: u64,
    /// It has each unit's files in a directory of their own: the newer layout.
    pub is_newer: bool,
}

/// The packages of a lock file.
#[derive(Clone, Debug, Default)]
pub struct Locked {
    /// Name and version of those from elsewhere.
    pub(crate) foreign: BTreeSet<(String, String)>,
    /// The commits of those from git.
    pub(crate) commits: Vec<String>,
    /// The names of those that lie on this machine.
    pub own: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Metadata {
    workspace_root: PathBuf,
    target_directory: PathBuf,
    #[serde(default)]
    build_directory: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    source: Option<String>,
}

impl Place {
    /// Finds them with Cargo's own eyes.
    ///
    /// # Errors
    /// Where there is no workspace, or its target directory is not one of Cargo's.
    pub fn find(environment: &Environment, cwd: &Path) -> anyhow::Result<Self> {
        let cargo = environment.get("CARGO").unwrap_or("cargo".as_ref());
        let metadata: Metadata = metadata::of_workspace(environment, cwd)?;
        let target = metadata.target_directory;
        let build = metadata.build_directory.unwrap_or_else(|| target.clone());
        let is_cargos = ["CACHEDIR.TAG", ".rustc_info.json"].map(|name| build.join(name).is_file());
        anyhow::ensure!(
            is_cargos.contains(&true) || !build.exists(),
            "`{}` is not a target directory of Cargo's (it has no CACHEDIR.TAG); nothing was removed",
            build.display()
        );
        let root = metadata.workspace_root;
        Ok(Self {
            locked: Locked::read(&root.join("Cargo.lock")),
            now: probe(cargo, &root, None)?,
            cargo: cargo.to_owned(),
            root,
            build,
            target,
        })
    }

    /// The compilers whose work stays. Others than the one that would build here are only asked where one of them
    /// has built any of these units.
    ///
    /// # Errors
    /// Where a toolchain that is named is not installed.
    pub fn kept(
        &self,
        keep: &Keep,
        units: &[Unit],
        environment: &Environment,
    ) -> Result<Kept, NotInstalled> {
        let installed = toolchains::installed(environment);
        let wanted: Vec<Toolchain> = match keep {
            Keep::Installed => installed.clone().unwrap_or_default(),
            Keep::Current => Vec::new(),
            Keep::Named(names) => named(names, installed.clone().unwrap_or_default())?,
        };
        let Some(now) = &self.now else { return Ok(Kept::All(Untold::Current)) };
        let mut known = BTreeSet::from([now.rustc]);
        let mut others = units.iter().filter_map(|unit| unit.rustc);
        if *keep == Keep::Current || others.all(|rustc| rustc == now.rustc) {
            return Ok(Kept::These(known));
        }
        if *keep == Keep::Installed && installed.is_none() {
            return Ok(Kept::All(Untold::NoRustup));
        }
        for toolchain in wanted {
            let cargo =
                toolchain.cargo().map_or_else(|| self.cargo.clone(), PathBuf::into_os_string);
            match probe(&cargo, &self.root, Some(&toolchain)) {
                Ok(Some(builder)) => _ = known.insert(builder.rustc),
                _ => return Ok(Kept::All(Untold::Broken(toolchain.name))),
            }
        }
        Ok(Kept::These(known))
    }

    /// Whether another workspace has built in the build directory, too: units lie there of packages on this machine which
    /// this one does not have, and which it never had, as far as can be told. In a directory inside this workspace that
    /// takes a workspace inside it that has them.
    pub fn others_build_here(&self, units: &[Unit]) -> bool {
        let foreign = not_of(units, &self.locked);
        if foreign.is_empty() {
            return false;
        }
        let resolved = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !resolved(&self.build).starts_with(resolved(&self.root)) {
            return true;
        }
        let inside = nested_workspaces(&self.root, &self.build);
        inside.iter().any(|nested| {
            let locked = Locked::read(&nested.join("Cargo.lock"));
            foreign.iter().any(|package| locked.own.contains(*package))
        })
    }

    /// The directories of the profiles, with those of other platforms.
    pub fn profiles(&self) -> Vec<PathBuf> {
        profiles(&self.build)
    }

    /// Waits until no Cargo builds in these profiles' directories, as Cargo itself does; nobody builds there until the
    /// files are dropped.
    ///
    /// A Cargo before 1.96 holds `.cargo-lock` in the build directory and in the target directory; a newer one holds
    /// `.cargo-build-lock` in the build directory, and with others `.cargo-lock` in the target directory. None of them
    /// is waited for while others are held: Cargos of different age take them in different order.
    ///
    /// `waits` is told each profile that somebody builds in, before that is waited for.
    ///
    /// # Errors
    /// Where a lock cannot be had.
    pub fn lock(
        &self,
        profiles: &[PathBuf],
        waits: &mut dyn FnMut(&Path),
    ) -> anyhow::Result<Vec<File>> {
        let mut paths = Vec::new();
        for profile in profiles {
            paths.extend(LOCKS.map(|name| (profile, profile.join(name))));
            let name = profile.strip_prefix(&self.build).unwrap_or(profile);
            // Where it is not there, who makes it locks the build directory first.
            let artifacts = self.target.join(name);
            if self.target != self.build && artifacts.is_dir() {
                paths.push((profile, artifacts.join(LOCKS[0])));
            }
        }
        let mut said = BTreeSet::new();
        loop {
            let mut held = Vec::new();
            let mut busy = None;
            for (profile, path) in &paths {
                let open = File::options().create(true).truncate(false).write(true).open(path);
                let file = open.with_context(|| format!("cannot lock `{}`", path.display()))?;
                match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) => held.push(file),
                    Err(Errno::WOULDBLOCK) => {
                        busy = Some((*profile, path, file));
                        break;
                    }
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("cannot lock `{}`", path.display()));
                    }
                }
            }
            let Some((profile, path, file)) = busy else { return Ok(held) };
            drop(held);
            if said.insert(profile) {
                waits(profile);
            }
            flock(&file, FlockOperation::LockExclusive)
                .with_context(|| format!("cannot lock `{}`", path.display()))?;
        }
    }
}

/// The directories inside a workspace that are workspaces of their own, by their lock files.
fn nested_workspaces(root: &Path, build: &Path) -> Vec<PathBuf> {
    /// More directories than that are not looked at.
    const AT_MOST: usize = 20_000;
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    let mut looked = 0;
    while let Some(directory) = open.pop().filter(|_| looked < AT_MOST) {
        looked += 1;
        for (name, path) in layout::directories(&directory) {
            if path == build || matches!(name.as_str(), ".git" | "node_modules") {
                continue;
            }
            if path.join("Cargo.lock").is_file() {
                found.push(path.clone());
            }
            open.push(path);
        }
    }
    found
}

/// The directories of the profiles in a build directory, with those of other platforms.
fn profiles(build: &Path) -> Vec<PathBuf> {
    let below = |directory: &Path| layout::directories(directory).into_iter().map(|it| it.1);
    let (mut found, others): (Vec<PathBuf>, Vec<PathBuf>) =
        below(build).partition(|path| layout::is_profile(path));
    found.extend(others.iter().flat_map(|other| below(other)).filter(|it| layout::is_profile(it)));
    found
}

impl Locked {
    /// Nothing where there is no lock file.
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let lock: Lock = toml::from_str(&text).unwrap_or_default();
        let mut locked = Self::default();
        for package in lock.package {
            match package.source {
                Some(source) => {
                    let commit = source.split_once('#').map(|(_, commit)| commit.to_owned());
                    locked.commits.extend(commit.filter(|_| source.starts_with("git+")));
                    locked.foreign.insert((package.name, package.version));
                }
                None => _ = locked.own.insert(package.name),
            }
        }
        locked
    }

    /// Nothing can be told by it.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }
}

/// Those that are called by these names.
fn named(names: &[String], installed: Vec<Toolchain>) -> Result<Vec<Toolchain>, NotInstalled> {
    for name in names {
        if !installed.iter().any(|it| it.is_called(name)) {
            let installed = installed.into_iter().map(|it| it.name).collect();
            return Err(NotInstalled { name: name.clone(), installed });
        }
    }
    let is_named = |it: &Toolchain| names.iter().any(|name| it.is_called(name));
    Ok(installed.into_iter().filter(is_named).collect())
}

/// The Cargo that would build in `root`, or a toolchain's, and its compiler, by what it leaves when it checks an empty
/// package somewhere else.
///
/// # Errors
/// Where it leaves what is not known here.
fn probe(
    cargo: &std::ffi::OsStr,
    root: &Path,
    toolchain: Option<&Toolchain>,
) -> anyhow::Result<Option<Builder>> {
    let Some((scratch, mut command)) = empty_package(cargo, root) else { return Ok(None) };
    let target = scratch.path().join("target");
    // Not where the workspace's configuration would have it, and in no log of builds.
    command.arg("--target-dir").arg(&target).env("CARGO_BUILD_BUILD_DIR", &target);
    command.env("CARGO_BUILD_ANALYSIS_ENABLED", "false");
    if let Some(toolchain) = toolchain {
        command.env("RUSTC", toolchain.rustc()).env("RUSTUP_TOOLCHAIN", &toolchain.name);
    }
    if answer(&mut command).is_err() {
        return Ok(None);
    }
    for profile in profiles(&target) {
        let units = units::read(&profile, &layout::read(&profile).units);
        let ours = units.into_iter().find(|unit| unit.package == "probe");
        if let Some((unit, rustc)) = ours.and_then(|unit| unit.rustc.map(|rustc| (unit, rustc))) {
            let is_newer = matches!(unit.home, Home::Own(_));
            return Ok(Some(Builder { rustc, is_newer }));
        }
    }
    anyhow::bail!(
        "`{}` uses a directory layout that this version of Plimsoll does not know; nothing was removed",
        cargo.display()
    )
}

/// An empty package, and the Cargo of `root` to check it.
fn empty_package(cargo: &std::ffi::OsStr, root: &Path) -> Option<(tempfile::TempDir, Command)> {
    let scratch = tempfile::tempdir().ok()?;
    fs::create_dir(scratch.path().join("src")).ok()?;
    fs::write(scratch.path().join("src/lib.rs"), "").ok()?;
    let manifest = scratch.path().join("Cargo.toml");
    fs::write(&manifest, "[package]\nname = \"probe\"\nversion = \"0.0.0\"\n[workspace]\n").ok()?;
    let mut command = Command::new(cargo);
    command.args(["check", "--quiet", "--offline", "--lib", "--manifest-path"]).arg(&manifest);
    command.current_dir(root);
    Some((scratch, command))
}

/// The packages on this machine of which units lie there, and which this workspace does not have.
fn not_of<'a>(units: &'a [Unit], locked: &Locked) -> BTreeSet<&'a str> {
    let is_foreign = |unit: &&Unit| {
        let is_here = |source: &PathBuf| matches!(Source::of(source), Source::Here(_));
        unit.source.as_ref().is_some_and(is_here) && !locked.own.contains(&unit.package)
    };
    units.iter().filter(is_foreign).map(|unit| unit.package.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str, source: &str) -> Unit {
        Unit {
            package: name.to_owned(),
            home: Home::Shared("0000000000000001".to_owned()),
            target: format!("lib-{name}"),
            rustc: Some(7),
            number: Some(1),
            needs: Vec::new(),
            source: Some(PathBuf::from(source)),
            built: Some(std::time::SystemTime::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_directory_of_several_workspaces_is_known() {
        let mut locked = Locked::default();
        locked.own.insert("app".to_owned());
        assert!(not_of(&[unit("app", "src/lib.rs")], &locked).is_empty());
        assert!(not_of(&[unit("other", "src/lib.rs")], &locked).contains("other"));
        let registry = "/h/.cargo/registry/src/index-1/x-1.0.0/src/lib.rs";
        assert!(not_of(&[unit("x", registry)], &locked).is_empty());
    }
}
