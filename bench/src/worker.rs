//! `worker`: a Cloudflare Worker by worker-build alone and under Plimsoll: memory and time of the whole and of each step,
//! at a budget and at the smallest one that the steps allow; and the same bytes.
//!
//! The compiler and the tools are those that `crates/cargo-plimsoll/tests/worker/provision.sh` has made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_rig::folders::{copy, empty};
use plimsoll_rig::launch::{self, Build, Interrupt, Limits, Measured};
use plimsoll_rig::programs::Plimsoll;
use plimsoll_rig::report::{Report, commit, machine};
use plimsoll_rig::sampler::Scope;
use serde_json::json;

use crate::budget::mib;

/// A build that takes longer hangs.
const AT_MOST: Duration = Duration::from_secs(3600);
/// Cargo, worker-build and Plimsoll itself beside the heaviest compiler.
const BESIDE: u64 = 24 << 20;

/// The steps, by the name of the program that does each.
const STEPS: [&str; 3] = ["wasm-bindgen", "wasm-opt", "esbuild"];

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What `provision.sh` has made.
    pub(crate) tools: PathBuf,
    /// The Worker's sources.
    pub(crate) fixture: PathBuf,
    /// Units at once.
    pub(crate) jobs: u32,
}

/// One way to build it.
struct Arm {
    name: &'static str,
    /// Under Plimsoll, inside so many bytes.
    budget: Option<u64>,
    /// With what an earlier build has shown.
    warm: bool,
    jobs: u32,
    /// No compiler gets a second thread: the peak is the floor.
    one_token: bool,
}

/// When a step was seen first and last, in milliseconds.
type Seen = BTreeMap<&'static str, (u64, u64)>;

/// How one build went.
struct Row {
    name: String,
    budget: Option<u64>,
    whole: Measured,
    /// Each step's peak and time; Cargo's first.
    steps: Vec<(&'static str, u64, f64)>,
    output: Vec<(PathBuf, Vec<u8>)>,
}

/// Builds it in all ways.
pub(crate) fn worker(
    state: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: &Plan,
) -> Result<Report> {
    let site = state.join("worker/site");
    empty(&site)?;
    copy(&plan.fixture, &site)?;
    let run = |arm: &Arm| once(state, plimsoll, interrupt, plan, &site, arm);
    let usual =
        Arm { name: "worker-build", budget: None, warm: false, jobs: plan.jobs, one_token: false };
    let plain = run(&usual)?;
    let one = run(&Arm { name: "worker-build, one job", jobs: 1, ..usual })?;
    let floor =
        Arm { name: "worker-build, one job, one thread", jobs: 1, one_token: true, ..usual };
    let floor = run(&floor)?;
    let smallest = (floor.whole.samples.peak + BESIDE) >> 20 << 20;
    let roomy = (plain.whole.samples.peak + BESIDE) >> 20 << 20;
    let ours = |name, budget, warm| run(&Arm { name, budget: Some(budget), warm, ..usual });
    let rows = [
        ours("Plimsoll, above what it needs, first build", roomy, false)?,
        ours("Plimsoll, the smallest budget, first build", smallest, false)?,
        ours("Plimsoll, the smallest budget, again", smallest, true)?,
    ];
    let rows: Vec<Row> = [plain, one, floor].into_iter().chain(rows).collect();
    let same = rows.iter().all(|row| row.output == rows[0].output);
    let base = (rows[0].whole.samples.peak as f64, rows[0].whole.wall.as_secs_f64());
    let lines: String = rows.iter().map(|row| row.line(base)).collect();
    let command = format!("worker --tools DIR --jobs {}", plan.jobs);
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {} · one build an arm, each from nothing; each step: its peak, with what \
         stands beside it, and its time\n\n\
         | | budget | peak | x | time | x | cargo build | wasm-bindgen | wasm-opt | esbuild | OOM kills |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n{lines}\n\
         The outputs of all arms are {}.\n",
        commit(),
        machine(),
        if same { "the same, byte for byte" } else { "NOT the same" },
    );
    let inside =
        rows.iter().all(|row| row.budget.is_none_or(|budget| row.whole.samples.peak <= budget));
    let json = rows.iter().map(Row::json).collect::<Vec<_>>();
    let json = json!({ "command": command, "commit": commit(), "machine": machine(), "arms": json, "same": same });
    Ok(Report { title: "A Cloudflare Worker".to_owned(), body, json, ok: same && inside })
}

fn once(
    state: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: &Plan,
    site: &Path,
    arm: &Arm,
) -> Result<Row> {
    let [target, home] = ["worker/target", "worker/home"].map(|name| state.join(name));
    empty(&target)?;
    if !arm.warm {
        empty(&home)?;
    }
    empty(&site.join("build"))?;
    let tools = plan.tools.join("env.sh");
    let mut args = vec!["-c".into(), ". \"$0\"; exec \"$@\"".into(), tools.into_os_string()];
    match arm.budget {
        Some(budget) => {
            args.push(plimsoll.program.clone().into());
            args.extend(["plimsoll", "worker", "build", "--release", "--memory"].map(Into::into));
            args.push(format!("{}MiB", budget >> 20).into());
        }
        None => args.extend(["worker-build", "--release"].map(Into::into)),
    }
    let build = Build {
        program: "sh".into(),
        args,
        env: vec![
            ("CARGO_TARGET_DIR".to_owned(), target.into()),
            ("PLIMSOLL_HOME".to_owned(), home.into()),
            ("CARGO_BUILD_JOBS".to_owned(), arm.jobs.to_string().into()),
        ],
        dir: site.to_owned(),
        one_token: arm.one_token,
        small_pages: false,
    };
    let mut seen = Seen::new();
    let mut look = |scope: &Scope, now: Duration| {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        for step in scope.processes().into_iter().filter_map(step_of) {
            seen.entry(step).and_modify(|(_, last)| *last = now).or_insert((now, now));
        }
    };
    let limits = Limits { cgroup_limit: None, stop_after: AT_MOST, without_cgroup: false };
    let log = state.join("worker/log");
    let whole = launch::run(&build, limits, &log, interrupt, Some(&mut look))?;
    if whole.exit != Some(0) {
        let said = fs::read_to_string(launch::stderr_of(&log)).unwrap_or_default();
        bail!("`{}` ended with {:?}:\n{said}", build.display(), whole.exit);
    }
    let row = Row {
        name: arm.name.to_owned(),
        budget: arm.budget,
        steps: steps(&whole, &seen),
        output: output(&site.join("build"))?,
        whole,
    };
    println!(
        "  {}: {:.0} MiB, {:.1} s",
        row.name,
        mib(row.whole.samples.peak),
        row.whole.wall.as_secs_f64()
    );
    Ok(row)
}

/// The step that a process does: by the program that it is, or that an interpreter runs.
fn step_of(pid: i32) -> Option<&'static str> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // What is only asked for its version does no step.
    if words.split(|byte| *byte == 0).any(|word| word == b"--version") {
        return None;
    }
    let mut words = words.split(|byte| *byte == 0).take(2);
    let names = |word: &[u8], step: &str| {
        let word = String::from_utf8_lossy(word);
        Path::new(&*word).file_name().is_some_and(|name| name == step)
    };
    words.find_map(|word| STEPS.into_iter().find(|step| names(word, step)))
}

/// Each step's peak and seconds; Cargo's goes until the first tool is seen.
fn steps(whole: &Measured, seen: &Seen) -> Vec<(&'static str, u64, f64)> {
    let first = seen.values().map(|(first, _)| *first).min().unwrap_or(u64::MAX);
    let peak = |from: u64, to: u64| {
        let inside = whole.samples.series.iter().filter(|(at, _)| (from..=to).contains(at));
        inside.map(|(_, bytes)| *bytes).max().unwrap_or(0)
    };
    let cargo = ("cargo", peak(0, first.saturating_sub(1)), first as f64 / 1000.0);
    let tools = STEPS.iter().filter_map(|step| {
        let (from, to) = *seen.get(step)?;
        Some((*step, peak(from, to), (to - from) as f64 / 1000.0))
    });
    std::iter::once(cargo).chain(tools).collect()
}

/// Every file of the output.
fn output(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        let entries = fs::read_dir(&next).with_context(|| format!("reading {}", next.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else {
                let text =
                    fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
                found.push((path.strip_prefix(dir)?.to_owned(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Row {
    fn line(&self, base: (f64, f64)) -> String {
        let (peak, time) = (self.whole.samples.peak, self.whole.wall.as_secs_f64());
        let budget = self.budget.map_or(String::new(), |budget| format!("{:.0} MiB", mib(budget)));
        let step = |name: &str| {
            let found = self.steps.iter().find(|(step, ..)| *step == name);
            found.map_or(String::new(), |(_, peak, time)| {
                format!("{:.0} MiB, {time:.1} s", mib(*peak))
            })
        };
        let steps = ["cargo"].iter().chain(&STEPS).map(|name| step(name)).collect::<Vec<_>>();
        format!(
            "| {} | {budget} | {:.0} MiB | {:.2} | {time:.1} s | {:.2} | {} | {} |\n",
            self.name,
            mib(peak),
            peak as f64 / base.0,
            time / base.1,
            steps.join(" | "),
            self.whole.totals.oom_kills.unwrap_or(0),
        )
    }

    fn json(&self) -> serde_json::Value {
        let steps = self
            .steps
            .iter()
            .map(|(name, peak, time)| json!({ "step": name, "peak_bytes": peak, "seconds": time }));
        json!({
            "arm": self.name, "budget_bytes": self.budget, "peak_bytes": self.whole.samples.peak,
            "wall_s": self.whole.wall.as_secs_f64(), "steps": steps.collect::<Vec<_>>(),
        })
    }
}
