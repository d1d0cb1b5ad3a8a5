//! The workspaces that are built: copied out of the repository into the state folder, fetched before any clock runs.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A workspace, ready to build.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// Its copy in the state folder.
    pub dir: PathBuf,
    /// The target folder: the same for every arm, so that artifacts hold the same paths.
    pub target: PathBuf,
    /// Cargo's subcommand and its arguments.
    pub args: Vec<OsString>,
}

impl Workload {
    /// Copies `name` from `sources` to the state folder and fetches its dependencies.
    pub fn prepare(sources: &Path, state: &Path, name: &str, extra: &[String]) -> Result<Self> {
        let source = sources.join(name);
        if !source.join("Cargo.lock").is_file() {
            bail!(
                "there is no workload `{name}` with a Cargo.lock in {}; name one of: {}",
                sources.display(),
                names(sources)
            );
        }
        let dir = state.join("src").join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir).with_context(|| format!("emptying {}", dir.display()))?;
        }
        copy(&source, &dir)?;
        let mut args = vec!["build", "--locked"];
        if name == "bins" {
            args.extend(["--workspace", "--all-targets"]);
        }
        let args =
            args.into_iter().map(OsString::from).chain(extra.iter().map(OsString::from)).collect();
        let status = Command::new("cargo")
            .args(["fetch", "--locked", "--quiet"])
            .current_dir(&dir)
            .stdin(Stdio::null())
            .status()
            .context("starting `cargo fetch`")?;
        if !status.success() {
            bail!(
                "`cargo fetch` failed for `{name}` ({status}); fetching needs the registry, building does not"
            );
        }
        Ok(Self { name: name.to_owned(), dir, target: state.join("target").join(name), args })
    }

    /// Removes the target folder.
    pub fn clean(&self) -> Result<()> {
        match fs::remove_dir_all(&self.target) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.target.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Where the workloads are: named, or in the repository around the manifest or the current folder.
pub fn sources(named: Option<PathBuf>) -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = std::env::current_dir().context("reading the current folder")?;
    let above = manifest.iter().chain([&here]).flat_map(|dir| dir.ancestors());
    let candidates = named.into_iter().chain(above.map(|dir| dir.join("bench/workloads")));
    candidates
        .into_iter()
        .find(|dir| dir.is_dir())
        .context("no folder with workloads was found; run this in the repository, or name one with --workloads")
}

fn names(sources: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(sources)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("Cargo.lock").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.join(", ")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("making {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry.with_context(|| format!("reading {}", from.display()))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            if entry.file_name() != "target" {
                copy(&source, &target)?;
            }
        } else {
            fs::copy(&source, &target).with_context(|| format!("copying {}", source.display()))?;
        }
    }
    Ok(())
}
