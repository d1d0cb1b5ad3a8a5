//! The arms: the ways of building that are laid side by side.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use plimsoll_rig::launch::Build;
use plimsoll_rig::programs::{environment, plain, size};
use plimsoll_rig::workload::Workload;

/// The peer's version that the results speak of.
const MBX_VERSION: &str = "1.29.1";
/// What the peer takes of a container's memory by itself, as its configuration documents it.
const MBX_PERCENT: u64 = 85;
/// The rule of thumb that the `formula` arm stands for.
const FORMULA_BYTES_PER_JOB: u64 = 2 << 30;

/// One way of building.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// `cargo build -jN`.
    Plain(u32),
    /// `cargo build -j` memory / 2 GiB, at least 1.
    Formula,
    /// Plain cargo with a jobserver that has no token: the peak is the floor.
    Floor,
    /// The peer, with its scheduler's memory set to the budget.
    Mbx {
        /// With the memory history of earlier builds (never with their cached artifacts).
        warm: bool,
    },
    /// Plimsoll.
    Plimsoll {
        /// With the history of earlier builds.
        warm: bool,
        /// Outside the cgroup limit, at the budget that the arm inside took.
        outside: bool,
    },
}

impl Arm {
    /// Whether a budget changes what it does.
    pub(crate) fn has_budget(self) -> bool {
        matches!(self, Self::Mbx { .. } | Self::Plimsoll { .. })
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(jobs) => write!(f, "plain-j{jobs}"),
            Self::Formula => f.write_str("formula"),
            Self::Floor => f.write_str("floor"),
            Self::Mbx { warm: false } => f.write_str("mbx"),
            Self::Mbx { warm: true } => f.write_str("mbx-warm"),
            Self::Plimsoll { warm, outside } => {
                f.write_str(if *warm { "warm" } else { "cold" })?;
                f.write_str(if *outside { "-outside" } else { "" })
            }
        }
    }
}

impl FromStr for Arm {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "formula" => Self::Formula,
            "floor" => Self::Floor,
            "mbx" => Self::Mbx { warm: false },
            "mbx-warm" => Self::Mbx { warm: true },
            "cold" => Self::Plimsoll { warm: false, outside: false },
            "warm" => Self::Plimsoll { warm: true, outside: false },
            "cold-outside" => Self::Plimsoll { warm: false, outside: true },
            "warm-outside" => Self::Plimsoll { warm: true, outside: true },
            _ => match text.strip_prefix("plain-j").and_then(|jobs| jobs.parse::<u32>().ok()) {
                Some(jobs) if jobs > 0 => Self::Plain(jobs),
                _ => bail!(
                    "`{text}` is not an arm; there are plain-jN, formula, floor, mbx, mbx-warm, cold, warm, \
                     cold-outside, warm-outside"
                ),
            },
        })
    }
}

/// Plain cargo, one unit at once, one token.
pub(crate) fn floor(workload: &Workload) -> Build {
    let mut build = plain(workload, 1);
    build.args.remove(1);
    build.one_token = true;
    build
}

/// The jobs that the rule of thumb gives.
pub(crate) fn formula_jobs(memory: u64) -> u32 {
    u32::try_from(memory / FORMULA_BYTES_PER_JOB).unwrap_or(u32::MAX).max(1)
}

/// The budget that the peer takes by itself inside a cgroup limit.
pub(crate) fn mbx_default_budget(cgroup_limit: u64) -> u64 {
    let bytes = cgroup_limit / 100 * MBX_PERCENT;
    bytes >> 20 << 20
}

/// The peer's command. Its cache of artifacts is emptied first, so that it really compiles; when `warm`, what its
/// scheduler learned about memory stays.
pub(crate) fn mbx(
    workload: &Workload,
    state: &Path,
    budget: Option<u64>,
    jobs: u32,
    warm: bool,
) -> Result<Build> {
    let program = install_mbx(state)?;
    let home = state.join("mbx").join(&workload.name);
    empty_mbx_cache(&home.join("cache"), warm)?;
    let mut args = workload.args.clone();
    args.insert(1, format!("-j{jobs}").into());
    let mut env: Vec<(String, OsString)> = environment(workload).collect();
    let mut set = |name: &str, value: OsString| env.push((name.to_owned(), value));
    set("MBX_CACHE_DIR", home.join("cache").into());
    set("MBX_TARGET_ROOT", home.join("targets").into());
    set("MBX_SCHEDULER_CPUS", jobs.to_string().into());
    set("MBX_GC_AUTO", "false".into());
    set("MBX_DISPLAY", "plain".into());
    set("XDG_CONFIG_HOME", home.join("config").into());
    set("XDG_STATE_HOME", home.join("state").into());
    if let Some(budget) = budget {
        set("MBX_SCHEDULER_MEMORY", size(budget));
    }
    Ok(Build {
        program: program.into(),
        args,
        env,
        dir: workload.dir.clone(),
        one_token: false,
        small_pages: false,
    })
}

fn empty_mbx_cache(cache: &Path, warm: bool) -> Result<()> {
    let Ok(entries) = fs::read_dir(cache) else { return Ok(()) };
    for entry in entries.flatten() {
        if warm && entry.file_name() == "scheduler" {
            continue;
        }
        let path = entry.path();
        let removed =
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("emptying the peer's cache: {}", path.display()))?;
    }
    Ok(())
}

fn install_mbx(state: &Path) -> Result<PathBuf> {
    let root = state.join("tools");
    let program = root.join("bin/mbx");
    if program.is_file() {
        return Ok(program);
    }
    let status = Command::new("cargo")
        .args(["install", "--locked", "--quiet", "--version", MBX_VERSION, "mbx", "--root"])
        .arg(&root)
        .current_dir(state)
        .stdin(Stdio::null())
        .status()
        .context("starting `cargo install mbx`")?;
    if !status.success() {
        bail!(
            "`cargo install mbx` failed ({status}); leave the arms `mbx` and `mbx-warm` out, or see its output above"
        );
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_are_named_as_they_print() {
        for name in [
            "plain-j8",
            "formula",
            "floor",
            "mbx",
            "mbx-warm",
            "cold",
            "warm",
            "cold-outside",
            "warm-outside",
        ] {
            assert_eq!(name.parse::<Arm>().unwrap().to_string(), name);
        }
        assert!("plain-j0".parse::<Arm>().is_err());
    }

    #[test]
    fn the_formula_gives_at_least_one_job() {
        assert_eq!(formula_jobs(1 << 30), 1);
        assert_eq!(formula_jobs(7 << 30), 3);
    }
}
