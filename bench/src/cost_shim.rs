//! What a shim costs: time beside a compiler that exits at once, memory while it waits and while it has a child.
//!
//! Measured from inside a build: `cargo plimsoll build` is started with this program under the name `cargo`, so that
//! socket, scratch folders, history and governor are those of every build. In Cargo's place it starts the same compiler
//! in turns: directly, as a question through the shim, and as a unit through the shim and the governor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plimsoll_rig::tree;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};

use crate::cost_rustc::{HOLD, RELEASE};

/// Where the figures go.
const FIGURES: &str = "PLIMSOLL_BENCH_FIGURES";
/// How often each is run.
const ROUNDS: &str = "PLIMSOLL_BENCH_ROUNDS";
/// The build's folder.
const WORKSPACE: &str = "PLIMSOLL_BENCH_WORKSPACE";
/// Rounds before the first one that counts: the first unit opens the history and asks for the unit graph.
const WARM_UP: u32 = 10;
/// So many units run at once in the build, so that as many wait when twice as many are started.
pub(crate) const JOBS: u32 = 8;
/// Until shims and compilers are where they should be.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the shims' memory is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// One run.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// From before the start until it had ended, in microseconds.
    pub(crate) wall: f64,
    /// The process's own processor time, in microseconds; that of its children is not in it.
    pub(crate) cpu: f64,
}

/// Memory of processes of a kind, in bytes; the largest that was seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Held {
    /// How many processes were looked at.
    pub(crate) processes: usize,
    /// Anonymous and shared pages.
    pub(crate) anonymous: u64,
    /// All resident pages, with those of the program's file.
    pub(crate) resident: u64,
}

/// All figures.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// One entry a round: the compiler by itself, as a question through the shim, as a governed unit.
    pub(crate) rounds: Vec<[Run; 3]>,
    /// Shims that wait to be admitted.
    pub(crate) waiting: Held,
    /// Shims with a running compiler.
    pub(crate) running: Held,
}

/// What the program needs to know when it stands in for Cargo.
pub(crate) fn environment(figures: &Path, workspace: &Path, rounds: u32) -> Vec<(String, PathBuf)> {
    vec![
        (FIGURES.to_owned(), figures.into()),
        (WORKSPACE.to_owned(), workspace.into()),
        (ROUNDS.to_owned(), rounds.to_string().into()),
    ]
}

/// Under the name `cargo`.
pub(crate) fn main() -> Result<ExitCode> {
    if std::env::args_os().any(|arg| arg == "--unit-graph") {
        // Asked by the governor on the side; a Cargo may not know the answer.
        return Ok(ExitCode::FAILURE);
    }
    let figures = variable(FIGURES)?;
    let rounds = variable(ROUNDS)?;
    let rounds = rounds.to_string_lossy().parse::<u32>().context("reading the number of rounds")?;
    let scene = Scene {
        rustc: variable("RUSTC")?,
        shim: variable("CARGO_BUILD_RUSTC_WRAPPER")?,
        workspace: variable(WORKSPACE)?,
        hold: variable(HOLD)?,
    };
    let mut got = Figures::default();
    for round in 0..WARM_UP + rounds {
        let runs = scene.round(round)?;
        if round >= WARM_UP {
            got.rounds.push(runs);
        }
    }
    scene.memory(&mut got)?;
    fs::write(&figures, serde_json::to_string(&got)?)
        .with_context(|| format!("writing {}", figures.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn variable(name: &str) -> Result<PathBuf> {
    std::env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: this is no build of the benchmark"))
}

struct Scene {
    rustc: PathBuf,
    shim: PathBuf,
    workspace: PathBuf,
    hold: PathBuf,
}

impl Scene {
    /// The three ways, each first in a third of the rounds.
    fn round(&self, round: u32) -> Result<[Run; 3]> {
        let mut runs = [Run::default(); 3];
        for turn in 0..3 {
            let way = ((round + turn) % 3) as usize;
            let mut command = match way {
                0 => Command::new(&self.rustc),
                _ => {
                    let mut command = Command::new(&self.shim);
                    command.arg(&self.rustc);
                    command
                }
            };
            if way == 1 {
                command.args(["--print", "sysroot"]);
            } else {
                self.unit(&mut command, round);
            }
            runs[way] = time(command.env_remove(HOLD))?;
        }
        Ok(runs)
    }

    /// The arguments and variables that Cargo would give a small crate.
    fn unit(&self, command: &mut Command, number: u32) {
        let (name, dir) = (format!("unit{number}"), self.workspace.join("u00"));
        let out = self.workspace.join("out");
        command
            .args(["--crate-name", &name, "--edition=2021", "src/lib.rs", "--error-format=json"])
            .args(["--json=diagnostic-rendered-ansi,artifacts,future-incompat"])
            .args(["--crate-type", "lib", "--emit=dep-info,metadata,link"])
            .args(["-C", "embed-bitcode=no", "-C", "debuginfo=2"])
            .args(["-C", "metadata=0123456789abcdef", "-C", "extra-filename=-0123456789abcdef"])
            .args(["--out-dir".as_ref(), out.as_os_str()])
            .args(["-L", &format!("dependency={}", out.display())])
            .env("CARGO_PKG_NAME", &name)
            .env("CARGO_PKG_VERSION", "0.1.0")
            .current_dir(dir)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
    }

    /// Twice as many units as may run: half of them wait.
    fn memory(&self, figures: &mut Figures) -> Result<()> {
        let mut shims = Vec::new();
        let out = self.workspace.join("out");
        fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
        for number in 0..2 * JOBS {
            let mut command = Command::new(&self.shim);
            command.arg(&self.rustc);
            self.unit(&mut command, 1000 + number);
            shims.push(command.spawn().context("starting a shim")?);
        }
        let looked = self.look(&shims, figures);
        let release = self.hold.join(RELEASE);
        fs::write(&release, "").with_context(|| format!("writing {}", release.display()))?;
        for mut shim in shims {
            let status = shim.wait().context("waiting for a shim")?;
            if !status.success() {
                bail!("a unit that was held and released failed: {status}");
            }
        }
        looked
    }

    fn look(&self, shims: &[Child], figures: &mut Figures) -> Result<()> {
        let start = Instant::now();
        let running = loop {
            let said = fs::read_dir(&self.hold).map_or(0, Iterator::count);
            if said >= JOBS as usize {
                break said;
            }
            if start.elapsed() > PATIENCE {
                bail!("of {} units {said} were admitted, not {JOBS}", 2 * JOBS);
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let pids: Vec<i32> = shims.iter().filter_map(|it| i32::try_from(it.id()).ok()).collect();
        let start = Instant::now();
        while start.elapsed() < LOOK {
            let (waiting, with_child) = held(&pids);
            figures.waiting.take(waiting);
            figures.running.take(with_child);
            std::thread::sleep(Duration::from_millis(200));
        }
        if figures.running.processes != running || figures.waiting.processes == 0 {
            bail!(
                "{} shims had a compiler and {} had none, where {running} and {} were expected",
                figures.running.processes,
                figures.waiting.processes,
                shims.len() - running
            );
        }
        Ok(())
    }
}

impl Held {
    /// Keeps the larger of each.
    pub(crate) fn take(&mut self, other: Self) {
        self.processes = self.processes.max(other.processes);
        self.anonymous = self.anonymous.max(other.anonymous);
        self.resident = self.resident.max(other.resident);
    }
}

/// What shims hold, the largest of those without and of those with a child.
pub(crate) fn held(shims: &[i32]) -> (Held, Held) {
    let parents: Vec<i32> = tree::parents().into_values().collect();
    let mut both = (Held::default(), Held::default());
    for pid in shims {
        let Some(one) = memory(*pid) else { continue };
        let kind = if parents.contains(pid) { &mut both.1 } else { &mut both.0 };
        kind.take(Held { processes: kind.processes + 1, ..one });
    }
    both
}

/// What one process holds: exact, from its page tables.
pub(crate) fn memory(pid: i32) -> Option<Held> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let anonymous = tree::bytes(&rollup, "Anonymous:") + tree::bytes(&status, "RssShmem:");
    Some(Held { processes: 1, anonymous, resident: tree::bytes(&rollup, "Rss:") })
}

fn time(command: &mut Command) -> Result<Run> {
    let start = Instant::now();
    let mut child =
        command.stdout(Stdio::null()).spawn().context("starting the benchmark's compiler")?;
    // Not yet reaped, its account can still be read.
    let ended =
        waitid(WaitId::Pid(Pid::from_child(&child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    let wall = start.elapsed();
    let path = format!("/proc/{}/schedstat", child.id());
    let account = fs::read_to_string(&path).with_context(|| format!("reading {path}"));
    let status = child.wait().context("waiting for the benchmark's compiler")?;
    ended.context("waiting for the benchmark's compiler")?;
    if !status.success() {
        bail!("the benchmark's compiler failed: {status}");
    }
    let account = account?;
    let nanoseconds = account.split(' ').next().unwrap_or_default().trim();
    let nanoseconds =
        nanoseconds.parse::<f64>().with_context(|| format!("understanding {path}"))?;
    Ok(Run { wall: wall.as_secs_f64() * 1e6, cpu: nanoseconds / 1e3 })
}
