//! The arms: the ways of building that are laid side by side.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use crate::launch::Build;
use crate::workload::Workload;

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

/// Where Plimsoll's programs are and what they are.
#[derive(Clone, Debug)]
pub(crate) struct Plimsoll {
    /// `cargo-plimsoll`; `plimsoll-rustc` lies beside it.
    pub(crate) program: PathBuf,
    /// A digest of all of them: results of another build of Plimsoll are never taken for this one's.
    pub(crate) id: String,
    /// Processors that it is told to plan for.
    pub(crate) processors: Option<u32>,
}

impl Plimsoll {
    /// Finds it: named, or beside the benchmark's own program.
    pub(crate) fn find(named: Option<PathBuf>, processors: Option<u32>) -> Result<Self> {
        let program = match named {
            Some(program) => program,
            None => std::env::current_exe()
                .context("finding the benchmark's own program")?
                .with_file_name("cargo-plimsoll"),
        };
        if !program.is_file() {
            bail!(
                "{} is not there; build it with `cargo build --workspace` in the same profile, or name it with --plimsoll",
                program.display()
            );
        }
        let program = fs::canonicalize(&program)
            .with_context(|| format!("resolving {}", program.display()))?;
        let mut digest = 0xcbf2_9ce4_8422_2325;
        for path in programs(&program)? {
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            digest = fnv1a(digest, &bytes);
        }
        let planned = processors.map_or(String::new(), |count| format!("-p{count}"));
        Ok(Self { program, id: format!("{digest:016x}{planned}"), processors })
    }

    /// Plimsoll's command for a workload. No `line` means no option at all: `auto`.
    pub(crate) fn build(
        &self,
        workload: &Workload,
        home: &Path,
        budget: Option<u64>,
        jobs: u32,
    ) -> Build {
        let mut args: Vec<OsString> = vec!["plimsoll".into()];
        let processors = self.processors.map(|count| OsString::from(count.to_string()));
        if let Some(budget) = budget {
            args.extend(["--memory".into(), size(budget)]);
        }
        args.extend(["--jobs".into(), jobs.to_string().into()]);
        args.extend(workload.args.iter().cloned());
        Build {
            program: self.program.clone().into(),
            args,
            env: environment(workload)
                .chain([("PLIMSOLL_HOME".to_owned(), home.into())])
                .chain(processors.map(|count| ("PLIMSOLL_PROCESSORS".to_owned(), count)))
                .collect(),
            dir: workload.dir.clone(),
            one_token: false,
            small_pages: false,
        }
    }
}

/// `cargo-plimsoll` and the shims beside it (`plimsoll-rustc`, …), without this program.
fn programs(main: &Path) -> Result<Vec<PathBuf>> {
    let dir = main.parent().context("cargo-plimsoll lies in no folder")?;
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let shim = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("plimsoll-") && !name.contains('.') && name != "plimsoll-bench"
    };
    let mut shims: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(shim).collect();
    shims.sort();
    shims.insert(0, main.to_owned());
    Ok(shims)
}

/// Plain cargo's command for a workload.
pub(crate) fn plain(workload: &Workload, jobs: u32) -> Build {
    let mut args = workload.args.clone();
    args.insert(1, format!("-j{jobs}").into());
    Build {
        program: "cargo".into(),
        args,
        env: environment(workload).collect(),
        dir: workload.dir.clone(),
        one_token: false,
        small_pages: false,
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

fn environment(workload: &Workload) -> impl Iterator<Item = (String, OsString)> {
    let env: [(String, OsString); 3] = [
        ("CARGO_TARGET_DIR".to_owned(), workload.target.clone().into()),
        ("CARGO_NET_OFFLINE".to_owned(), "true".into()),
        ("CARGO_TERM_PROGRESS_WHEN".to_owned(), "never".into()),
    ];
    env.into_iter()
}

/// As every arm takes it: whole MiB where it is, else bytes.
pub(crate) fn size(bytes: u64) -> OsString {
    if bytes.is_multiple_of(1 << 20) { format!("{}MiB", bytes >> 20) } else { format!("{bytes}B") }
        .into()
}

/// FNV-1a, to tell files apart; nobody attacks it here.
pub(crate) fn fnv1a(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
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
