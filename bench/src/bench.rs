//! What all commands share: the workload, the state folder, Plimsoll's programs; and one arm run from start to record.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use plimsoll_rig::cgroup::CgroupLimit;
use plimsoll_rig::folders::{copy, empty};
use plimsoll_rig::freshness::count;
use plimsoll_rig::launch::{self, Beside, Build, Interrupt, Limits, Measured, stderr_of};
use plimsoll_rig::programs::{self, Plimsoll};
use plimsoll_rig::report::{commit, ram, slug};
use plimsoll_rig::workload::Workload;

use crate::arms::{self, Arm};
use crate::budget::Peaks;
use crate::log;
use crate::read_ahead::ReadAhead;
use crate::store::{Outcome, Record, Store};

/// How often the time without a cgroup limit may pass inside one before the build counts as crawling.
pub(crate) const CRAWL: f64 = 3.0;

/// Everything that an arm needs.
#[derive(Debug)]
pub(crate) struct Bench {
    /// What is built.
    pub(crate) workload: Workload,
    /// Arguments of the build beyond the workload's own; part of every key.
    pub(crate) extra: Vec<String>,
    /// The state folder.
    pub(crate) state: PathBuf,
    /// Kept records.
    pub(crate) store: Store,
    /// Units at once for plimsoll and the peer.
    pub(crate) jobs: u32,
    /// Plimsoll's programs, for the arms that take them.
    pub(crate) plimsoll: Option<Plimsoll>,
    /// Builds in the history of a warm arm.
    pub(crate) warm_builds: u32,
    /// A build outside any cgroup limit is stopped after this.
    pub(crate) timeout: Duration,
    /// Whether a walled build may swap.
    pub(crate) swap: bool,
    /// What the disk's read-ahead is set to meanwhile; part of every key.
    pub(crate) read_ahead: Option<ReadAhead>,
    /// Go on without a cgroup where none can be made.
    pub(crate) without_cgroup: bool,
    /// Ctrl-C.
    pub(crate) interrupt: Interrupt,
}

/// A memory amount by its name and in bytes.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    /// As it was given.
    pub(crate) name: String,
    /// Resolved.
    pub(crate) bytes: u64,
}

/// Where an arm runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// The budget, for the arms that have one.
    pub(crate) budget: Option<Named>,
    /// The cgroup limit around it.
    pub(crate) cgroup_limit: Option<Named>,
    /// Which repetition.
    pub(crate) repeat: u32,
}

impl Bench {
    /// Plimsoll's programs, or how to get them.
    pub(crate) fn plimsoll(&self) -> Result<&Plimsoll> {
        self.plimsoll
            .as_ref()
            .context("this arm needs Plimsoll; build it with `cargo build --release`")
    }

    /// The options that say how many units at once, for a report's command.
    pub(crate) fn sizes(&self) -> String {
        let processors = self.plimsoll.as_ref().and_then(|it| it.processors);
        let processors = processors.map_or(String::new(), |count| format!(" --processors {count}"));
        format!("--jobs {}{processors}", self.jobs)
    }

    /// The name under which a result is kept.
    pub(crate) fn key(&self, arm: Arm, place: &Place) -> Result<String> {
        let amount = |named: &Option<Named>| {
            named.as_ref().map_or("none".to_owned(), |it| (it.bytes >> 20).to_string())
        };
        let programs = match arm {
            Arm::Plimsoll { .. } => format!("{}-w{}", self.plimsoll()?.id, self.warm_builds),
            _ => "plain".to_owned(),
        };
        let jobs = if arm.has_budget() { self.jobs } else { 0 };
        let read_ahead = self.read_ahead.as_ref();
        let read_ahead = read_ahead.map_or(String::new(), |it| format!("-ra{}", it.kib()));
        Ok(slug(&[
            &self.workload.name,
            &self.extra.join("."),
            &arm.to_string(),
            &format!("line{}", amount(&place.budget)),
            &format!("wall{}{}", amount(&place.cgroup_limit), if self.swap { "s" } else { "" }),
            &format!("j{jobs}"),
            &format!("r{}", place.repeat),
            &(programs + &read_ahead),
        ]))
    }

    /// The result of an arm: kept, or measured now and kept.
    pub(crate) fn arm(&self, arm: Arm, place: &Place) -> Result<Record> {
        let key = self.key(arm, place)?;
        let record = match self.store.get(&key) {
            Some(record) => {
                println!("  {arm}: kept from before");
                record
            }
            None => {
                let record = self.measure(arm, place, &key)?;
                println!("  {}", crate::table::one_line(&record));
                record
            }
        };
        if record.outcome == Outcome::Failed {
            record.tail.iter().for_each(|line| println!("    {line}"));
        }
        Ok(record)
    }

    fn measure(&self, arm: Arm, place: &Place, key: &str) -> Result<Record> {
        let inside = if matches!(arm, Arm::Plimsoll { outside: true, .. }) {
            None
        } else {
            place.cgroup_limit.as_ref()
        };
        let budget = place.budget.as_ref().map(|budget| budget.bytes);
        let home = self.state.join("homes").join(key);
        let build = match arm {
            Arm::Plain(jobs) => programs::plain(&self.workload, jobs),
            Arm::Formula => programs::plain(
                &self.workload,
                arms::formula_jobs(inside.map_or_else(ram, |it| it.bytes)),
            ),
            Arm::Floor => arms::floor(&self.workload),
            Arm::Mbx { warm } => arms::mbx(&self.workload, &self.state, budget, self.jobs, warm)?,
            Arm::Plimsoll { warm, .. } => {
                empty(&home)?;
                if warm {
                    self.learn(&home, place)?;
                }
                self.plimsoll()?.build(&self.workload, &home, budget, self.jobs)
            }
        };
        self.workload.clean()?;
        let log = self.state.join("logs").join(key);
        let limits = self.limits(inside)?;
        let since = SystemTime::now();
        let measured = launch::run(&build, limits, &log, &self.interrupt, None)?;
        let record = self.record(arm, place, &build, &measured, &log, &home, since);
        self.store.put(key, &record, &measured.samples.series)?;
        Ok(record)
    }

    /// Runs a build beside the kept arms: for the commands that ask something else than how long and how much.
    pub(crate) fn once(
        &self,
        build: &Build,
        name: &str,
        beside: Option<Beside<'_>>,
    ) -> Result<(Measured, PathBuf)> {
        let log = self.state.join("logs").join(slug(&[&self.workload.name, name]));
        let measured = launch::run(build, self.limits(None)?, &log, &self.interrupt, beside)?;
        if measured.exit != Some(0) {
            let stderr = fs::read_to_string(stderr_of(&log)).unwrap_or_default();
            tail(&stderr).iter().for_each(|line| println!("    {line}"));
        }
        Ok((measured, log))
    }

    /// Fills a home with the history of earlier builds: that of the cold arm at the same place, and more if asked.
    fn learn(&self, home: &Path, place: &Place) -> Result<()> {
        let first = Place { repeat: 0, ..place.clone() };
        let cold = Arm::Plimsoll { warm: false, outside: false };
        let cold_home = self.state.join("homes").join(self.key(cold, &first)?);
        let mut built = 0;
        if self.store.get(&self.key(cold, &first)?).is_some_and(|it| it.outcome == Outcome::Ok)
            && cold_home.is_dir()
        {
            copy(&cold_home, home)?;
            built = 1;
        }
        while built < self.warm_builds {
            println!("  (a build for the history, not measured)");
            self.workload.clean()?;
            let budget = place.budget.as_ref().map(|budget| budget.bytes);
            let build = self.plimsoll()?.build(&self.workload, home, budget, self.jobs);
            let log = self.state.join("logs").join(slug(&[&self.workload.name, "learn"]));
            launch::run(
                &build,
                self.limits(place.cgroup_limit.as_ref())?,
                &log,
                &self.interrupt,
                None,
            )?;
            built += 1;
        }
        Ok(())
    }

    pub(crate) fn limits(&self, cgroup_limit: Option<&Named>) -> Result<Limits> {
        let mut stop_after = self.timeout;
        if cgroup_limit.is_some() {
            let plain = self.store.get(&self.key(Arm::Plain(self.jobs), &Place::default())?);
            if let Some(plain) = plain.filter(|plain| plain.outcome == Outcome::Ok) {
                stop_after = Duration::from_secs_f64(plain.wall_s * CRAWL);
            }
        }
        let cgroup_limit = cgroup_limit
            .map(|cgroup_limit| CgroupLimit { bytes: cgroup_limit.bytes, swap: self.swap });
        Ok(Limits { cgroup_limit, stop_after, without_cgroup: self.without_cgroup })
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where a record is put together")]
    fn record(
        &self,
        arm: Arm,
        place: &Place,
        build: &Build,
        measured: &Measured,
        log: &Path,
        home: &Path,
        since: SystemTime,
    ) -> Record {
        let stderr = fs::read(launch::stderr_of(log)).unwrap_or_default();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let oom = measured.totals.oom_kills;
        let outcome = match measured.exit {
            None => Outcome::Crawled,
            Some(0) => Outcome::Ok,
            Some(_) if oom.is_some_and(|kills| kills > 0) => Outcome::Died,
            Some(_) => Outcome::Failed,
        };
        let budget = place.budget.as_ref().filter(|_| arm.has_budget());
        let is_plimsoll = matches!(arm, Arm::Plimsoll { .. });
        Record {
            format: Record::FORMAT,
            workload: self.workload.name.clone(),
            arm: arm.to_string(),
            budget: budget.map(|it| it.name.clone()),
            budget_bytes: budget.map(|it| it.bytes),
            cgroup_limit: place.cgroup_limit.as_ref().map(|it| it.name.clone()),
            cgroup_limit_bytes: place.cgroup_limit.as_ref().map(|it| it.bytes),
            repeat: place.repeat,
            command: build.display(),
            commit: commit(),
            programs: self.plimsoll.as_ref().filter(|_| is_plimsoll).map(|it| it.id.clone()),
            outcome,
            exit: measured.exit,
            wall_s: measured.wall.as_secs_f64(),
            cpu_s: measured.totals.cpu.map(|cpu| cpu.as_secs_f64()),
            peak_bytes: measured.samples.peak,
            peak_at_s: Duration::from_millis(measured.samples.peak_at_ms).as_secs_f64(),
            oom_kills: oom,
            psi_full_pct: measured.totals.psi_full_pct,
            sampler: measured.sampler.to_owned(),
            samples: measured.samples.series.len(),
            compiled: count(&stderr, "Compiling"),
            plimsoll: is_plimsoll.then(|| log::newest(home, since)).flatten(),
            tail: tail(&stderr),
        }
    }

    /// The peaks of plain cargo that budgets relate to, measured first where they are missing.
    pub(crate) fn peaks(&self, floor: bool, one_job: bool, all_jobs: bool) -> Result<Peaks> {
        let peak = |wanted: bool, arm: Arm| -> Result<Option<u64>> {
            if !wanted {
                return Ok(None);
            }
            let record = self.arm(arm, &Place::default())?;
            if record.outcome != Outcome::Ok {
                // A peak of a failed build says nothing; next time it is measured anew.
                self.store.forget(&self.key(arm, &Place::default())?);
                anyhow::bail!("{arm} failed, so that no budget can relate to its peak");
            }
            Ok(Some(record.peak_bytes))
        };
        Ok(Peaks {
            floor: peak(floor, Arm::Floor)?,
            one_job: peak(one_job, Arm::Plain(1))?,
            all_jobs: peak(all_jobs, Arm::Plain(self.jobs))?,
        })
    }
}

pub(crate) fn tail(stderr: &str) -> Vec<String> {
    let lines: Vec<_> =
        stderr.lines().filter(|line| !line.trim_start().starts_with("Compiling ")).collect();
    lines[lines.len().saturating_sub(12)..].iter().map(|budget| (*budget).to_owned()).collect()
}
