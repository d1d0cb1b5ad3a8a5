//! `crates`: a generated workspace of very many small crates, whose Cargo is the largest process of its build: is what
//! Plimsoll counts what the kernel counts, and what does the governor take, also where the machine is busy?
//!
//! Cargo forks for each unit. Until its exec the child shows all of Cargo's memory as its own, and on a busy machine that
//! takes long enough to be seen.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{self, Build, Interrupt, Limits, stderr_of};
use plimsoll_rig::programs::{Plimsoll, size};
use plimsoll_rig::report::{Report, commit, machine};
use plimsoll_rig::sampler::Scope;
use serde_json::json;

use crate::bench::tail;
use crate::budget::mib;
use crate::log;

/// What Plimsoll counts is so near to what the kernel counts, at the median and in nineteen samples of twenty.
const NEAR_PCT: f64 = 3.0;
/// The governor takes at most this much of one core.
const GOVERNOR_PCT: f64 = 1.5;
/// A sample of ours is laid beside what the kernel counted within so many milliseconds of it: compilers come and go.
const BESIDE_MS: u64 = 60;
/// Each crate depends on so many others at most.
const DEPENDENCIES: u32 = 12;

/// What is built, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many crates.
    pub(crate) crates: u32,
    /// The budget, in bytes.
    pub(crate) budget: u64,
    /// Units at once.
    pub(crate) jobs: u32,
    /// Threads that only compute, beside the build.
    pub(crate) busy: u32,
}

/// Builds it and compares.
pub(crate) fn crates(
    state: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: Plan,
) -> Result<Report> {
    let dir = state.join("crates");
    let (sources, home, log) = (dir.join("src"), dir.join("home"), dir.join("log"));
    empty(&dir)?;
    generate(&sources, plan.crates)?;
    empty(&home)?;
    let build = Build {
        program: plimsoll.program.clone().into(),
        args: ["plimsoll", "--memory"]
            .map(Into::into)
            .into_iter()
            .chain([size(plan.budget), "--jobs".into(), plan.jobs.to_string().into()])
            .chain(["build", "--offline"].map(Into::into))
            .collect(),
        env: vec![
            ("CARGO_TARGET_DIR".to_owned(), dir.join("target").into()),
            ("PLIMSOLL_HOME".to_owned(), home.clone().into()),
            ("CARGO_TERM_PROGRESS_WHEN".to_owned(), "never".into()),
        ],
        dir: sources,
        one_token: false,
        small_pages: false,
    };
    let limits =
        Limits { cgroup_limit: None, stop_after: Duration::from_secs(3600), without_cgroup: false };
    let since = SystemTime::now();
    let busy = Busy::start(plan.busy);
    // When the sampler's clock began, by the clock of the log.
    let mut began = 0;
    let mut beside = |_: &Scope, elapsed: Duration| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let start = now.saturating_sub(elapsed).as_millis();
        began = u64::try_from(start).unwrap_or(u64::MAX);
    };
    let measured = launch::run(&build, limits, &log, interrupt, Some(&mut beside))?;
    drop(busy);
    let said = fs::read_to_string(stderr_of(&log)).unwrap_or_default();
    if measured.exit != Some(0) {
        bail!("the build did not end well; its last words:\n{}", tail(&said).join("\n"));
    }
    let own = log::newest(&home, since).context("the build left no log")?;
    let kernel: Vec<(u64, u64)> =
        measured.samples.series.iter().map(|(at, bytes)| (began + at, *bytes)).collect();
    let off: Vec<f64> =
        own.used.iter().filter_map(|(at, used)| deviation(&kernel, *at, *used)).collect();
    if off.is_empty() {
        bail!("no sample of the build's log can be laid beside the kernel's");
    }
    let size: Vec<f64> = off.iter().map(|off| off.abs()).collect();
    let (median, most, worst) = (quantile(&off, 0.5), quantile(&size, 0.95), quantile(&size, 1.0));
    let wall = measured.wall.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
    let governor = own.governor_cpu_ms as f64 / 10.0 / wall;
    let ok = median.abs() <= NEAR_PCT && most <= NEAR_PCT && governor <= GOVERNOR_PCT;
    let command = format!(
        "crates --crates {} --memory {:.0}MiB --jobs {} --busy {}",
        plan.crates,
        mib(plan.budget),
        plan.jobs,
        plan.busy
    );
    let summary: Vec<&str> =
        said.lines().skip_while(|line| !line.starts_with("    Plimsoll peak memory")).collect();
    let body = format!(
        "`plimsoll-bench {command}`\n\ncommit {} · {} · {} samples of its log, each beside what the cgroup held within {BESIDE_MS} ms of it\n\n\
         | | | asked |\n|---|---|---|\n\
         | used memory against the cgroup's, median | {median:+.1}% | {NEAR_PCT}% |\n\
         | in 95 of 100 samples | at most {most:.1}% off | {NEAR_PCT}% |\n\
         | at worst | {worst:.1}% off | |\n\
         | peak, by its summary | {:.0} MiB | |\n\
         | peak, by the cgroup | {:.0} MiB | |\n\
         | the governor | {governor:.2}% of a core | {GOVERNOR_PCT}% |\n\
         | wall time | {wall:.1} s | |\n\
         | units, above the budget by themselves, paused, killed | {}, {}, {}, {} | |\n\n\
         ```\n{}\n```\n",
        commit(),
        machine(),
        off.len(),
        mib(own.peak_bytes),
        mib(measured.samples.peak),
        own.units,
        own.lone,
        own.suspended,
        own.killed,
        summary.join("\n"),
    );
    let json = json!({
        "command": command, "commit": commit(), "machine": machine(), "off_pct": { "median": median, "p95": most, "worst": worst },
        "cgroup_peak": measured.samples.peak, "governor_pct": governor, "wall_s": wall, "plimsoll": own,
    });
    Ok(Report { title: format!("{} crates", plan.crates), body, json, ok })
}

/// A workspace of crates with one function each, on the shoulders of others.
fn generate(dir: &Path, crates: u32) -> Result<()> {
    let write = |path: &Path, text: &str| {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
        }
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    };
    write(&dir.join("Cargo.toml"), "[workspace]\nresolver = \"2\"\nmembers = [\"c*\"]\n")?;
    for number in 0..crates {
        let mut below: Vec<u32> = (2..2 + DEPENDENCIES).map(|part| number / part).collect();
        below.dedup();
        below.retain(|below| *below < number);
        let dependencies: String =
            below.iter().map(|it| format!("c{it:05} = {{ path = \"../c{it:05}\" }}\n")).collect();
        let calls: String = below.iter().map(|it| format!(" + c{it:05}::number() % 2")).collect();
        let manifest = format!(
            "[package]\nname = \"c{number:05}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\n{dependencies}"
        );
        let crate_dir = dir.join(format!("c{number:05}"));
        write(&crate_dir.join("Cargo.toml"), &manifest)?;
        let source = format!("pub fn number() -> u64 {{\n    {number}{calls}\n}}\n");
        write(&crate_dir.join("src/lib.rs"), &source)?;
    }
    Ok(())
}

/// How far what we counted at a moment is outside of what the kernel counted around it, in per cent of the latter.
fn deviation(kernel: &[(u64, u64)], at: u64, used: u64) -> Option<f64> {
    let from = kernel.partition_point(|(it, _)| *it < at.saturating_sub(BESIDE_MS));
    let to = kernel.partition_point(|(it, _)| *it <= at + BESIDE_MS);
    let around = kernel.get(from..to)?.iter().map(|(_, bytes)| *bytes);
    let (least, most) = (around.clone().min()?, around.max()?);
    let nearest = used.clamp(least, most);
    #[expect(clippy::cast_precision_loss, reason = "bytes of a build")]
    (nearest > 0).then(|| 100.0 * (used as f64 - nearest as f64) / nearest as f64)
}

fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let at = (share * (sorted.len().max(1) - 1) as f64).round() as usize;
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Threads that only compute, until it is dropped.
struct Busy {
    over: Arc<AtomicBool>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Busy {
    fn start(threads: u32) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let compute = |over: Arc<AtomicBool>| {
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        };
        let threads = (0..threads).map(|_| compute(Arc::clone(&over))).collect();
        Self { over, threads }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_off_by_what_it_is_outside_of_its_surroundings() {
        let kernel = [(1000, 90), (1020, 100), (1040, 110), (2000, 500)];
        assert_eq!(deviation(&kernel, 1020, 105), Some(0.0));
        assert_eq!(deviation(&kernel, 1020, 121), Some(10.0));
        assert_eq!(deviation(&kernel, 1020, 45), Some(-50.0));
        assert_eq!(deviation(&kernel, 1500, 100), None);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0), 3.0);
    }
}
