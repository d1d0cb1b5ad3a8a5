//! `together`: several builds of different workloads at once, inside one cgroup limit; and the same one after another with plain
//! Cargo, which is what they are compared with.
//!
//! Plimsoll's arm is what a person has after `cargo plimsoll enable`: plain Cargos, each with its own jobs, below a Cargo
//! home of the benchmark's own that shares the real one's registry. The second round of it has the first one's history.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plimsoll_rig::account::Account;
use plimsoll_rig::cgroup::{CgroupLimit, Group};
use plimsoll_rig::folders::empty;
use plimsoll_rig::launch::{Build, Interrupt, stderr_of};
use plimsoll_rig::programs::{self, Plimsoll};
use plimsoll_rig::report::{Report, commit, machine};
use plimsoll_rig::sampler::{Sampler, Scope, Totals, reap_orphans};
use plimsoll_rig::workload::Workload;
use serde_json::json;

use crate::arms;
use crate::running::{Running, watch};

/// The builds: a name, a workload, and how it is built. The first is the smallest.
const BUILDS: [(&str, &str, &[&str]); 6] = [
    ("tiny-check", "tiny", &["check"]),
    ("tiny", "tiny", &["build"]),
    ("tiny-release", "tiny", &["build", "--release"]),
    ("native-check", "native", &["check"]),
    ("native", "native", &["build"]),
    ("service-check", "service", &["check"]),
];

/// How often the time of one after another may pass before what runs at once is stopped.
const CRAWL: f64 = 3.0;

/// What the others are compared with.
const SERIAL: &str = "plain cargo `-j2`, one after another";

/// Units at once of each plain Cargo.
const JOBS: u32 = 2;

/// One way to build them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    /// Plain Cargos at once.
    Plain,
    /// The peer's.
    Mbx,
    /// Plain Cargos at once, on an account that is enabled.
    Plimsoll,
}

impl std::str::FromStr for Arm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "plain" => Ok(Self::Plain),
            "mbx" => Ok(Self::Mbx),
            "plimsoll" => Ok(Self::Plimsoll),
            _ => Err(format!("`{text}` is not an arm; there are plain, mbx and plimsoll")),
        }
    }
}

impl Arm {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain cargo at once",
            Self::Mbx => "mbx at once",
            Self::Plimsoll => "plain cargo at once, after `enable`",
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The ways.
    pub(crate) arms: Vec<Arm>,
    /// The cgroup limit, in bytes.
    pub(crate) cgroup_limit: u64,
    /// How often each.
    pub(crate) repeat: u32,
    /// How many of the builds, the first ones.
    pub(crate) builds: usize,
}

/// How all of them went once.
struct Round {
    arm: &'static str,
    wall: Duration,
    /// Each build's time, and whether it ended well.
    builds: BTreeMap<&'static str, (Duration, bool)>,
    peak: u64,
    totals: Totals,
}

impl Round {
    fn failed(&self) -> usize {
        self.builds.values().filter(|(_, ok)| !ok).count()
    }
}

/// Runs them.
pub(crate) fn together(
    state: &Path,
    sources: &Path,
    plimsoll: &Plimsoll,
    interrupt: &Interrupt,
    plan: &Plan,
) -> Result<Report> {
    let mut members = Vec::new();
    for (name, workload, args) in BUILDS.iter().take(plan.builds.max(1)) {
        let mut prepared = Workload::prepare(sources, state, workload, &[])?;
        prepared.target = state.join("target").join(format!("together-{name}"));
        prepared.args = args.iter().map(Into::into).collect();
        members.push((*name, prepared));
    }
    let account = Account::make(state, plimsoll)?;
    let mut rounds: Vec<Round> = Vec::new();
    // The machine's speed changes within an hour: each round has its own measure.
    let in_turn = (1..=plan.repeat.max(1)).flat_map(|no| {
        std::iter::once((no, None)).chain(plan.arms.iter().map(move |arm| (no, Some(*arm))))
    });
    let mut stop_after = Duration::MAX;
    for (number, arm) in in_turn {
        let ran = match arm {
            None => one_after_another(state, &members, interrupt),
            Some(arm) => {
                let builds = builds(arm, &members, state, &account)?;
                let log = |name: &str| {
                    state.join("logs").join(format!("together-{arm:?}-{number}-{name}"))
                };
                let cgroup_limit = CgroupLimit { bytes: plan.cgroup_limit, swap: false };
                at_once(arm, builds, cgroup_limit, stop_after, &log, interrupt)
            }
        };
        let round = match ran {
            // What has ended is told; the rest is not there.
            Err(error) if !rounds.is_empty() => {
                println!("  {error:#}");
                break;
            }
            round => round?,
        };
        println!(
            "  {}: {:.1} s, {} failed, {} OOM kills, `{}` {:.1} s",
            round.arm,
            round.wall.as_secs_f64(),
            round.failed(),
            round.totals.oom_kills.unwrap_or_default(),
            BUILDS[0].0,
            round.builds[BUILDS[0].0].0.as_secs_f64(),
        );
        if arm.is_none() {
            stop_after = round.wall.mul_f64(CRAWL);
        }
        rounds.push(round);
    }
    drop(account);
    for (_, workload) in &members {
        workload.clean()?;
    }
    Ok(report(plan, &rounds))
}

fn one_after_another(
    state: &Path,
    members: &[(&'static str, Workload)],
    interrupt: &Interrupt,
) -> Result<Round> {
    let scope =
        Scope::Group(Group::make(None).context("a measurement needs a memory cgroup of its own")?);
    let Scope::Group(group) = &scope else { bail!("no group") };
    let entrances = group.entrances();
    let mut sampler = Sampler::start(&scope);
    let mut builds = BTreeMap::new();
    let ended = members.iter().try_for_each(|(name, workload)| {
        workload.clean()?;
        let log = state.join("logs").join(format!("together-serial-{name}"));
        let began = sampler.elapsed();
        let mut one = [Running::start(name, &programs::plain(workload, JOBS), &entrances, &log)?];
        let watched = watch(&mut one, &scope, &mut sampler, Duration::MAX, interrupt);
        one[0].end();
        watched?;
        let ok = one[0].ended == Some(true);
        builds.insert(*name, (sampler.elapsed().saturating_sub(began), ok));
        anyhow::ensure!(ok, "`{name}` does not build by itself; see {}", stderr_of(&log).display());
        Ok(())
    });
    let wall = sampler.elapsed();
    let totals = sampler.totals(&scope, wall);
    scope.end_all();
    reap_orphans();
    ended?;
    Ok(Round { arm: SERIAL, wall, builds, peak: sampler.peak, totals })
}

/// The commands of an arm.
fn builds(
    arm: Arm,
    members: &[(&'static str, Workload)],
    state: &Path,
    account: &Account,
) -> Result<Vec<(&'static str, Build)>> {
    let mut builds = Vec::new();
    let peer = state.join("mbx/together");
    if arm == Arm::Mbx {
        empty(&peer)?;
    }
    for (name, workload) in members {
        workload.clean()?;
        let mut build = match arm {
            Arm::Plain | Arm::Plimsoll => programs::plain(workload, JOBS),
            Arm::Mbx => shared(arms::mbx(workload, state, None, JOBS, false)?, &peer),
        };
        if arm == Arm::Plimsoll {
            build.env.extend(account.environment());
        }
        builds.push((*name, build));
    }
    Ok(builds)
}

/// The peer's builds of one account share its home, and with it whatever schedules them.
fn shared(mut build: Build, home: &Path) -> Build {
    for (name, value) in &mut build.env {
        let below = match name.as_str() {
            "MBX_CACHE_DIR" => "cache",
            "XDG_CONFIG_HOME" => "config",
            "XDG_STATE_HOME" => "state",
            _ => continue,
        };
        *value = home.join(below).into();
    }
    build
}

fn at_once(
    arm: Arm,
    builds: Vec<(&'static str, Build)>,
    cgroup_limit: CgroupLimit,
    stop_after: Duration,
    log: &dyn Fn(&str) -> PathBuf,
    interrupt: &Interrupt,
) -> Result<Round> {
    interrupt.check()?;
    let scope = Scope::Group(
        Group::make(Some(cgroup_limit)).context("a cgroup limit needs a memory cgroup")?,
    );
    let Scope::Group(group) = &scope else { bail!("no group") };
    let entrances = group.entrances();
    rustix::fs::sync();
    let mut sampler = Sampler::start(&scope);
    let mut running = Vec::new();
    let watched = builds
        .iter()
        .try_for_each(|(name, build)| {
            running.push(Running::start(name, build, &entrances, &log(name))?);
            Ok(())
        })
        .and_then(|()| watch(&mut running, &scope, &mut sampler, stop_after, interrupt));
    let wall = sampler.elapsed();
    let totals = sampler.totals(&scope, wall);
    for one in &mut running {
        one.end();
    }
    scope.end_all();
    reap_orphans();
    watched?;
    let of = |one: &Running| (one.name, (one.took.unwrap_or(wall), one.ended == Some(true)));
    let builds = running.iter().map(of).collect();
    Ok(Round { arm: arm.name(), wall, builds, peak: sampler.peak, totals })
}

fn report(plan: &Plan, rounds: &[Round]) -> Report {
    let smallest = BUILDS[0].0;
    let row = |at: usize| {
        let round = &rounds[at];
        // The round's own.
        let serial = rounds[..=at].iter().rfind(|it| it.arm == SERIAL).unwrap_or(round);
        let base = serial.wall.as_secs_f64();
        let alone = serial.builds[smallest].0.as_secs_f64();
        let took = round.builds[smallest].0.as_secs_f64();
        let share = |cpu: Duration, of: Duration| cpu.as_secs_f64() / of.as_secs_f64().max(0.001);
        let cpu = round.totals.cpu.zip(serial.totals.cpu);
        let cpu = cpu.map_or("?".to_owned(), |(cpu, of)| format!("{:.2}", share(cpu, of)));
        let psi = round.totals.psi_full_pct.map_or("?".to_owned(), |it| format!("{it:.1}%"));
        format!(
            "| {} | {:.1} s | {:.2} | {cpu} | {} | {} | {:.1} s ({:.2}) | {} MiB | {psi} |\n",
            round.arm,
            round.wall.as_secs_f64(),
            round.wall.as_secs_f64() / base,
            round.totals.oom_kills.map_or("?".to_owned(), |kills| kills.to_string()),
            round.failed(),
            took,
            took / alone,
            round.peak >> 20,
        )
    };
    let arms: Vec<String> = plan.arms.iter().map(|arm| format!("{arm:?}").to_lowercase()).collect();
    let whole = (plan.arms.len() + 1) * plan.repeat.max(1) as usize;
    let cut = if rounds.len() < whole { " (interrupted)" } else { "" };
    let command = format!(
        "together --cgroup-limit {}MiB --arms {} --repeat {} --builds {}",
        plan.cgroup_limit >> 20,
        arms.join(","),
        plan.repeat,
        plan.builds
    );
    let names: Vec<&str> = rounds.iter().take(1).flat_map(|it| it.builds.keys().copied()).collect();
    let rows: String = (0..rounds.len()).map(row).collect();
    let body = format!(
        "`plimsoll-bench {command}`{cut}\n\ncommit {} · {}\n\nBuilds: {}. The cgroup limit is around all of them; one after another they have \
         none. Each round is compared with the one after another before it.\n\n| | all | of one after another | CPU of that | OOM kills | failed | `{smallest}` (of its time alone) | peak | PSI full |\n\
         |---|---|---|---|---|---|---|---|---|\n{rows}",
        commit(),
        machine(),
        names.join(", "),
    );
    let ours = |round: &&Round| round.arm == Arm::Plimsoll.name();
    let well = |round: &Round| round.failed() == 0 && round.totals.oom_kills.unwrap_or(0) == 0;
    let json = |round: &Round| {
        let builds: BTreeMap<_, _> = round
            .builds
            .iter()
            .map(|(name, (took, ok))| (*name, json!({"wall_s": took.as_secs_f64(), "ok": ok})))
            .collect();
        json!({
            "arm": round.arm, "wall_s": round.wall.as_secs_f64(), "peak_bytes": round.peak,
            "cpu_s": round.totals.cpu.map(|cpu| cpu.as_secs_f64()),
            "oom_kills": round.totals.oom_kills, "psi_full_pct": round.totals.psi_full_pct,
            "builds": builds,
        })
    };
    Report {
        title: format!(
            "Together: {} builds in a cgroup limit of {} MiB ({})",
            names.len(),
            plan.cgroup_limit >> 20,
            arms.join(", ")
        ),
        body,
        json: json!({
            "command": command, "cgroup_limit_bytes": plan.cgroup_limit, "commit": commit(),
            "rounds": rounds.iter().map(json).collect::<Vec<_>>(),
        }),
        // A run without Plimsoll promises nothing.
        ok: rounds.iter().filter(ours).all(well),
    }
}
