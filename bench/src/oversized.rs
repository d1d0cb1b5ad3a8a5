//! `oversized`: how far below its natural peak each step of shrinking gets the heaviest unit of a workload, and for how much
//! time. The unit's own compiler command is recorded from a plain build, and run again by itself for each step; where
//! swap is on, also inside cgroup limits below what it then needs.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use plimsoll_rig::cgroup::CgroupLimit;
use plimsoll_rig::launch::{self, Build, Limits, Measured};
use plimsoll_rig::programs;
use plimsoll_rig::report::{Report, commit, machine, slug};
use serde_json::json;

use crate::bench::Bench;
use crate::budget::mib;

/// As the shim says it to a unit that would cross the budget alone (`crates/shim/src/allocator.rs`).
const SOONER: &str = "background_thread:true,dirty_decay_ms:200,muzzy_decay_ms:0";
/// The most that can be asked of the allocator; the shim does not, because of its price.
const AT_ONCE: &str = "dirty_decay_ms:0,muzzy_decay_ms:0";
/// A cgroup limit holds file-backed pages, too: what rustc's own code takes of it.
const FILES: u64 = 192 << 20;

/// How a step ends that gets the unit through.
const WELL: &str = "well";

/// One way to run the unit.
struct Step {
    name: String,
    one_token: bool,
    small_pages: bool,
    allocator: Option<&'static str>,
    slimmer: Vec<&'static str>,
    cgroup_limit: Option<CgroupLimit>,
}

impl Step {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            one_token: false,
            small_pages: false,
            allocator: None,
            slimmer: Vec::new(),
            cgroup_limit: None,
        }
    }

    /// All that Plimsoll does by itself.
    fn preserving(name: &str) -> Self {
        Self { one_token: true, small_pages: true, allocator: Some(SOONER), ..Self::new(name) }
    }
}

/// Measures all steps on the unit whose crate has this name.
///
/// `cgroup_limits` are shares of what the unit needs with everything that keeps its output.
pub(crate) fn oversized(
    bench: &Bench,
    unit: &str,
    repeat: u32,
    cgroup_limits: &[f64],
) -> Result<Report> {
    let recorded = record(bench, unit)?;
    let mut rows = Vec::new();
    let mut steps = vec![
        Step::new("natural: plain cargo's own command"),
        Step { one_token: true, ..Step::new("one thread") },
        Step { one_token: true, small_pages: true, ..Step::new("and no huge pages") },
        Step::preserving("and an allocator that gives back within 0.2 s"),
        Step { allocator: Some(AT_ONCE), ..Step::preserving("the same, at once") },
    ];
    for slimmer in ["-Cdebuginfo=0", "-Ccodegen-units=16", "-Ccodegen-units=1"] {
        let name = format!("with {} (another output)", &slimmer[2..]);
        steps.push(Step { slimmer: vec![slimmer], ..Step::preserving(&name) });
    }
    if recorded.links() {
        let smaller: [(&str, &[&str]); 5] = [
            ("one thread in its linker", &["-Clink-arg=-Wl,--threads=1"]),
            ("its linker puts no equal strings together", &["-Clink-arg=-Wl,-O0"]),
            ("with strip=debuginfo (another output)", &["-Cstrip=debuginfo"]),
            ("the system's linker", &["-Clinker-features=-lld"]),
            (
                "that, which may read its inputs twice",
                &["-Clinker-features=-lld", "-Clink-arg=-Wl,--no-keep-memory"],
            ),
        ];
        steps.extend(
            smaller.map(|(name, words)| Step { slimmer: words.into(), ..Step::preserving(name) }),
        );
    }
    let natural = measured(bench, &recorded, &steps[0], repeat)?;
    println!("  {}: {}", steps[0].name, natural.one_line());
    if natural.ended != WELL {
        bail!("the unit's own command {} by itself", natural.ended);
    }
    let mut needs = natural.peak;
    for step in &steps[1..] {
        let it = measured(bench, &recorded, step, repeat)?;
        println!("  {}: {}", step.name, it.one_line());
        if step.slimmer.is_empty() && step.allocator == Some(SOONER) {
            needs = it.peak;
        }
        rows.push((step.name.clone(), None, it));
    }
    rows.insert(0, (steps[0].name.clone(), None, natural));
    let swap = fs::read_to_string("/proc/swaps").is_ok_and(|text| text.lines().count() > 1);
    for share in cgroup_limits.iter().copied() {
        let bytes = (needs as f64 * share) as u64 + FILES;
        for swap in [false, true].into_iter().filter(|with| !with || swap) {
            let with = if swap { "swap" } else { "no swap" };
            let step = Step {
                cgroup_limit: Some(CgroupLimit { bytes, swap }),
                ..Step::preserving(&format!(
                    "in a cgroup limit of {share} x that and {} MiB for files, {with}",
                    FILES >> 20
                ))
            };
            let it = measured(bench, &recorded, &step, 1)?;
            println!("  {}: {}, {}", step.name, it.one_line(), it.ended);
            rows.push((step.name, Some(bytes), it));
        }
    }
    let natural = (rows[0].2.peak as f64, rows[0].2.wall, rows[0].2.cpu);
    let lines: String = rows
        .iter()
        .map(|(name, cgroup_limit, it)| {
            let cgroup_limit = cgroup_limit.map_or(String::new(), |bytes| format!("{:.0} MiB", mib(bytes)));
            format!(
                "| {name} | {cgroup_limit} | {:.0} MiB | {:.2} | {:.1} s | {:.2} | {:.1} s | {:.2} | {} |\n",
                mib(it.peak),
                it.peak as f64 / natural.0,
                it.wall,
                it.wall / natural.1,
                it.cpu,
                it.cpu / natural.2,
                it.ended
            )
        })
        .collect();
    let cgroup_limits: Vec<String> = cgroup_limits.iter().map(f64::to_string).collect();
    let at = if cgroup_limits.is_empty() {
        String::new()
    } else {
        format!(" --cgroup-limit {}", cgroup_limits.join(","))
    };
    let command =
        format!("oversized --workload {} --unit {unit} --repeat {repeat}{at}", bench.workload.name);
    let body = format!(
        "`plimsoll-bench {command}`{}\n\ncommit {} · {} · the compiler of `{unit}` by itself; worst peak and median \
         times of {repeat}\n\n\
         | step | cgroup limit | peak | x natural | time | x natural | processor time | x natural | ended |\n\
         |---|---|---|---|---|---|---|---|---|\n{lines}",
        if swap { ", with swap switched on" } else { "" },
        commit(),
        machine(),
    );
    let json = rows.iter().map(|(name, cgroup_limit, it)| {
        json!({ "step": name, "cgroup_limit_bytes": cgroup_limit, "peak_bytes": it.peak, "wall_s": it.wall, "cpu_s": it.cpu, "ended": it.ended })
    });
    let json = json!({ "command": command, "commit": commit(), "machine": machine(), "steps": json.collect::<Vec<_>>() });
    Ok(Report {
        title: format!("Oversized: {unit} of {}", bench.workload.name),
        body,
        json,
        ok: true,
    })
}

/// A compiler command with its surroundings.
struct Recorded {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    dir: PathBuf,
}

/// Builds the workload plainly up to one unit, and keeps its command instead of running it.
fn record(bench: &Bench, unit: &str) -> Result<Recorded> {
    let dir = bench.state.join("oversized");
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let [wrapper, words, env] = ["wrapper.sh", "words", "env"].map(|name| dir.join(name));
    let _ = fs::remove_file(&words);
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *\" --crate-name {unit} \"*)\n  {{ printf '%s\\0' \"$PWD\" \"$@\"; }} >'{}'\n  env -0 >'{}'\n  exit 1;;\n\
         esac\nexec \"$@\"\n",
        words.display(),
        env.display()
    );
    fs::write(&wrapper, script).with_context(|| format!("writing {}", wrapper.display()))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("making {} executable", wrapper.display()))?;
    bench.workload.clean()?;
    let mut plain = programs::plain(&bench.workload, bench.jobs);
    plain.env.push(("RUSTC_WRAPPER".to_owned(), wrapper.into_os_string()));
    let log = bench.state.join("logs").join(slug(&[&bench.workload.name, "oversized"]));
    launch::run(&plain, bench.limits(None)?, &log, &bench.interrupt, None)?;
    let said = split(&words).with_context(|| {
        format!(
            "the workload has no unit `{unit}`, or cannot be built ({} says which)",
            log.display()
        )
    })?;
    let [dir, program, args @ ..] = said.as_slice() else { bail!("no command was recorded") };
    // All of it: a build script may have set any name. But the jobserver is another one now.
    let variable = |entry: &OsString| {
        let (name, value) = entry.to_str()?.split_once('=')?;
        let left_out = ["CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS", "RUSTC_WRAPPER"].contains(&name);
        (!left_out).then(|| (name.to_owned(), value.into()))
    };
    Ok(Recorded {
        program: program.clone(),
        args: args.to_vec(),
        env: split(&env)?.iter().filter_map(variable).collect(),
        dir: dir.into(),
    })
}

fn split(path: &Path) -> Result<Vec<OsString>> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let words = bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec()));
    let mut words: Vec<OsString> = words.collect();
    words.pop();
    Ok(words)
}

impl Recorded {
    /// Whether a linker runs at its end.
    fn links(&self) -> bool {
        self.args.windows(2).any(|pair| pair[0] == "--crate-type" && pair[1] == "bin")
    }

    /// Removes what an incremental compilation kept of the run before: each run is a first one.
    fn forget(&self) -> Result<()> {
        let said = self.args.iter().filter_map(|arg| arg.to_str()?.strip_prefix("incremental="));
        for kept in said {
            match fs::remove_dir_all(kept) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {kept}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// How one step went.
struct Went {
    peak: u64,
    wall: f64,
    cpu: f64,
    ended: String,
}

impl Went {
    fn one_line(&self) -> String {
        format!("{:.0} MiB, {:.1} s, {:.1} s of processors", mib(self.peak), self.wall, self.cpu)
    }
}

fn measured(bench: &Bench, recorded: &Recorded, step: &Step, repeat: u32) -> Result<Went> {
    let mut env = recorded.env.clone();
    env.extend(step.allocator.map(|it| ("MALLOC_CONF".to_owned(), it.into())));
    let build = Build {
        program: recorded.program.clone(),
        args: recorded
            .args
            .iter()
            .cloned()
            .chain(step.slimmer.iter().map(OsString::from))
            .collect(),
        env,
        dir: recorded.dir.clone(),
        one_token: step.one_token,
        small_pages: step.small_pages,
    };
    let limits = Limits {
        cgroup_limit: step.cgroup_limit,
        stop_after: bench.timeout,
        without_cgroup: false,
    };
    let log = bench.state.join("logs").join(slug(&["oversized", &step.name]));
    let mut runs: Vec<Measured> = Vec::new();
    for _ in 0..repeat {
        recorded.forget()?;
        runs.push(launch::run(&build, limits, &log, &bench.interrupt, None)?);
    }
    let median = |of: fn(&Measured) -> f64| {
        let mut all: Vec<f64> = runs.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let killed = runs.iter().any(|it| it.totals.oom_kills.is_some_and(|kills| kills > 0));
    let ended = match runs.iter().map(|it| it.exit).find(|exit| *exit != Some(0)) {
        None => WELL.to_owned(),
        Some(_) if killed => "killed for memory".to_owned(),
        Some(None) => "stopped: it crawled".to_owned(),
        Some(Some(code)) => format!("failed with {code}"),
    };
    Ok(Went {
        peak: runs.iter().map(|it| it.samples.peak).max().unwrap_or(0),
        wall: median(|it| it.wall.as_secs_f64()),
        cpu: median(|it| it.totals.cpu.unwrap_or_default().as_secs_f64()),
        ended,
    })
}
