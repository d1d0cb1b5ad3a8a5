//! Whose programs build a workload: Plimsoll's, and plain Cargo.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::launch::Build;
use crate::workload::Workload;

/// Where Plimsoll's programs are and what they are.
#[derive(Clone, Debug)]
pub struct Plimsoll {
    /// `cargo-plimsoll`; `plimsoll-rustc` lies beside it.
    pub program: PathBuf,
    /// A digest of all of them: results of another build of Plimsoll are never taken for this one's.
    pub id: String,
    /// Processors that it is told to plan for.
    pub processors: Option<u32>,
}

impl Plimsoll {
    /// Finds it: named, or beside the benchmark's own program.
    pub fn find(named: Option<PathBuf>, processors: Option<u32>) -> Result<Self> {
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

    /// Plimsoll's command for a workload. No `budget` means no option at all: `auto`.
    pub fn build(&self, workload: &Workload, home: &Path, budget: Option<u64>, jobs: u32) -> Build {
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

/// The programs that try Plimsoll and are no part of it.
const OURS: [&str; 2] = ["plimsoll-bench", "plimsoll-torture"];

/// `cargo-plimsoll` and the shims beside it (`plimsoll-rustc`, …), without what tries them.
fn programs(main: &Path) -> Result<Vec<PathBuf>> {
    let dir = main.parent().context("cargo-plimsoll lies in no folder")?;
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let shim = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("plimsoll-") && !name.contains('.') && !OURS.contains(&name)
    };
    let mut shims: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(shim).collect();
    shims.sort();
    shims.insert(0, main.to_owned());
    Ok(shims)
}

/// Plain cargo's command for a workload.
pub fn plain(workload: &Workload, jobs: u32) -> Build {
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

/// What every build of a workload finds in its environment.
pub fn environment(workload: &Workload) -> impl Iterator<Item = (String, OsString)> {
    let env: [(String, OsString); 3] = [
        ("CARGO_TARGET_DIR".to_owned(), workload.target.clone().into()),
        ("CARGO_NET_OFFLINE".to_owned(), "true".into()),
        ("CARGO_TERM_PROGRESS_WHEN".to_owned(), "never".into()),
    ];
    env.into_iter()
}

/// As every arm takes it: whole MiB where it is, else bytes.
pub fn size(bytes: u64) -> OsString {
    if bytes.is_multiple_of(1 << 20) { format!("{}MiB", bytes >> 20) } else { format!("{bytes}B") }
        .into()
}

/// FNV-1a, to tell files apart; nobody attacks it here.
pub(crate) fn fnv1a(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
