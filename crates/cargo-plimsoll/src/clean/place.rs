//! The target directory, its profiles, and what is true of the workspace now.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};
use serde::Deserialize;

use crate::cargo_metadata::{self, answer};
use crate::env::Environment;

use crate::shell::Shell;

/// Where builds of a workspace go, and what they are built from.
#[derive(Debug)]
pub(crate) struct Place {
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// The target directory.
    pub(crate) target: PathBuf,
    /// What the lock file has.
    pub(crate) locked: Locked,
    /// The compiler as Cargo's fingerprints know it; nothing where that cannot be told.
    pub(crate) rustc: Option<u64>,
}

/// The packages of a lock file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locked {
    /// Name and version of those from elsewhere.
    pub(crate) foreign: BTreeSet<(String, String)>,
    /// The commits of those from git.
    pub(crate) commits: Vec<String>,
    /// The names of those that lie on this machine.
    pub(crate) own: BTreeSet<String>,
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
    pub(crate) fn find(environment: &Environment, cwd: &Path) -> anyhow::Result<Self> {
        let cargo = environment.get("CARGO").unwrap_or("cargo".as_ref());
        let metadata: Metadata = cargo_metadata::of_workspace(environment, cwd)?;
        let target = metadata.build_directory.unwrap_or(metadata.target_directory);
        let is_cargos =
            ["CACHEDIR.TAG", ".rustc_info.json"].map(|name| target.join(name).is_file());
        anyhow::ensure!(
            is_cargos.contains(&true) || !target.exists(),
            "`{}` was not made by Cargo (there is no CACHEDIR.TAG in it); nothing was removed",
            target.display()
        );
        let root = metadata.workspace_root;
        Ok(Self {
            locked: Locked::read(&root.join("Cargo.lock")),
            rustc: probe(cargo, &root),
            root,
            target,
        })
    }

    /// Whether builds of other workspaces may lie there, too.
    pub(crate) fn may_be_shared(&self) -> bool {
        !self.target.starts_with(&self.root)
    }

    /// The directories of the profiles, with those of other platforms.
    pub(crate) fn profiles(&self) -> Vec<PathBuf> {
        let below = |directory: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            let mut below: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            below.sort();
            below
        };
        let is_profile = |path: &PathBuf| path.join(".fingerprint").is_dir();
        let (mut found, others): (Vec<PathBuf>, Vec<PathBuf>) =
            below(&self.target).into_iter().partition(is_profile);
        found.extend(others.iter().flat_map(|other| below(other)).filter(is_profile));
        found
    }
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

/// Waits until no Cargo builds in a profile's directory, as Cargo itself does; nobody builds there until the file is
/// dropped.
///
/// # Errors
/// Where the lock cannot be had.
pub(crate) fn lock(profile: &Path, shell: &mut Shell) -> anyhow::Result<File> {
    let path = profile.join(".cargo-lock");
    let mut take = || -> anyhow::Result<File> {
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            shell.note(format_args!("waiting for the build in `{}` to end", profile.display()));
            flock(&file, FlockOperation::LockExclusive)?;
        }
        Ok(file)
    };
    take().with_context(|| format!("cannot lock `{}`", path.display()))
}

/// How Cargo's fingerprints call the compiler that it would use in `root`: it checks an empty package somewhere else.
fn probe(cargo: &std::ffi::OsStr, root: &Path) -> Option<u64> {
    let scratch = tempfile::tempdir().ok()?;
    let directory = scratch.path();
    fs::create_dir(directory.join("src")).ok()?;
    fs::write(directory.join("src/lib.rs"), "").ok()?;
    let manifest = directory.join("Cargo.toml");
    fs::write(&manifest, "[package]\nname = \"probe\"\nversion = \"0.0.0\"\n[workspace]\n").ok()?;
    let mut command = Command::new(cargo);
    command.args(["check", "--quiet", "--offline", "--lib", "--manifest-path"]).arg(&manifest);
    command.arg("--target-dir").arg(directory.join("target")).current_dir(root);
    command.env_remove("CARGO_BUILD_BUILD_DIR");
    answer(&mut command).ok()?;
    let place = Place {
        root: directory.to_owned(),
        target: directory.join("target"),
        locked: Locked::default(),
        rustc: None,
    };
    let units = place.profiles().into_iter().flat_map(|profile| super::units::read(&profile));
    units.filter(|unit| unit.directory.starts_with("probe-")).find_map(|unit| unit.rustc)
}
