//! One build of the campaign, from its surroundings to the last look.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use plimsoll_rig::account::Account;
use plimsoll_rig::artifacts::manifest;
use plimsoll_rig::cgroup::CgroupLimit;
use plimsoll_rig::folders::{copy, empty};
use plimsoll_rig::freshness::count_fresh;
use plimsoll_rig::launch::{Build, Limits, Started, quick, stderr_of};
use plimsoll_rig::programs;
use plimsoll_rig::random::Random;
use plimsoll_rig::sampler::{INTERVAL, reap_orphans};

use crate::campaign::{Campaign, Reference};
use crate::drawn::{BESIDE, Drawn, Entry, How, Whom};
use crate::faults::Injector;
use crate::reference::{on, wrong};
use crate::report::Record;
use crate::stranger::Stranger;
use crate::surroundings::{Disk, Swap};
use crate::verdict::{self, Circumstances, MARK};

/// A build under faults may take so many times what plain cargo takes, and [`GRACE`] on top: kills throw work away, a
/// budget below the floor runs unit after unit, a cgroup limit crawls, and other work may run on the machine.
const SLOWER: u32 = 25;

/// See [`SLOWER`]. Also for how long a governor waits for what it cannot have.
const GRACE: Duration = Duration::from_secs(120);

/// What a build that has ended may need to go: guards, a governor that takes leave, what was killed.
const LEAVING: Duration = Duration::from_secs(15);

/// How a command and what it left were.
struct Ended {
    exit: Option<i32>,
    stderr: String,
    oom_kills: u64,
    seconds: f64,
    left: Vec<String>,
    faults: Injector,
}

/// A build's own folders, and what surrounds it.
struct Scene {
    dir: PathBuf,
    /// Everything temporary of the build.
    tmp: PathBuf,
    /// Plimsoll's.
    home: PathBuf,
    account: Account,
    disk: Option<Disk>,
}

impl Campaign<'_> {
    /// Builds, looks, builds again, looks again. Its folder is kept where something was found.
    pub(crate) fn one(&mut self, number: u32, drawn: Drawn) -> Result<Record> {
        let reference = self.reference(drawn.workload, drawn.command)?;
        let scene = self.scene(number, &drawn, &reference)?;
        // Where there are no cgroups, who is below us counts as the build's, and would get its faults.
        let beside = scene.dir.join("stranger");
        let mut stranger = self.means.cgroups.then(|| Stranger::start(&beside)).transpose()?;
        let ended = self.under_faults(number, &drawn, &reference, &scene, stranger.as_mut())?;
        let around = Circumstances {
            oom_kills: ended.oom_kills,
            small_disk: scene.disk.is_some(),
            limited: drawn.cgroup_limit.is_some() && self.means.cgroups,
        };
        let mut findings = ended.left.clone();
        findings.extend(stranger.into_iter().flat_map(Stranger::end));
        let ending = match verdict::explain(ended.exit, &ended.faults, around, &ended.stderr) {
            Ok(ending) => ending.to_owned(),
            Err(odd) => {
                findings.push(odd.clone());
                odd
            }
        };
        findings.extend(partial_outputs(&scene, &ended, &reference));
        if let Some(disk) = &scene.disk {
            disk.widen()?;
        }
        self.again(&drawn, &reference, &scene, &ended.faults, &mut findings)?;
        // What was interrupted tells nothing.
        self.interrupt.check()?;
        let Scene { dir, account, disk, .. } = scene;
        let on_disk = disk.is_some();
        drop((account, disk));
        if on_disk && Disk::is_at(&reference.workload.target) {
            findings.push("the disk in memory is still mounted".to_owned());
        }
        if Swap::is_on(self.state) {
            findings.push("swap is still on".to_owned());
        }
        if findings.is_empty() {
            let _ = fs::remove_dir_all(&dir);
        }
        Ok(Record {
            number,
            drawn,
            exit: ended.exit,
            ending,
            seconds: ended.seconds,
            oom_kills: ended.oom_kills,
            hits: ended.faults.hits,
            missed: ended.faults.missed.len(),
            findings,
        })
    }

    fn scene(&self, number: u32, drawn: &Drawn, reference: &Reference) -> Result<Scene> {
        let dir = self.folder(number);
        empty(&dir)?;
        let account = Account::prepare(self.state, self.plimsoll)?;
        let [_, (_, shared)] = account.environment();
        let home = if drawn.entry == Entry::Driver { dir.join("home") } else { shared.into() };
        let tmp = dir.join("tmp");
        fs::create_dir(&tmp).with_context(|| format!("making {}", tmp.display()))?;
        if drawn.warm {
            copy(&reference.home, &home)?;
        }
        if drawn.entry != Entry::Driver {
            let budget = budget_of(drawn, reference).map(programs::size);
            account.enable(budget.as_deref())?;
        }
        let target = &reference.workload.target;
        reference.workload.clean()?;
        fs::create_dir_all(target).with_context(|| format!("making {}", target.display()))?;
        let bytes = drawn.disk.map(|share| reference.bytes / 100 * u64::from(share));
        let disk = bytes.filter(|_| self.means.disks);
        let disk = disk.map(|bytes| Disk::mount(target, bytes)).transpose()?;
        Ok(Scene { dir, tmp, home, account, disk })
    }

    /// Plimsoll's command or plain cargo's, in the scene.
    fn command(&self, drawn: &Drawn, reference: &Reference, scene: &Scene, ours: bool) -> Build {
        let build = if ours {
            let budget = budget_of(drawn, reference);
            self.plimsoll.build(&reference.workload, &scene.home, budget, drawn.jobs)
        } else {
            programs::plain(&reference.workload, drawn.jobs)
        };
        let mut build = on(&scene.account, build);
        build.env.extend([
            ("PLIMSOLL_HOME".to_owned(), scene.home.clone().into()),
            ("TMPDIR".to_owned(), scene.tmp.clone().into()),
            (MARK.to_owned(), scene.dir.clone().into()),
        ]);
        build
    }

    fn under_faults(
        &self,
        number: u32,
        drawn: &Drawn,
        reference: &Reference,
        scene: &Scene,
        mut stranger: Option<&mut Stranger>,
    ) -> Result<Ended> {
        let build = self.command(drawn, reference, scene, drawn.entry != Entry::Plain);
        let swap = drawn.swap_until.filter(|_| self.means.swap);
        let mut swap =
            swap.map(|at| Ok::<_, anyhow::Error>((at, Swap::on(self.state)?))).transpose()?;
        let cgroup_limit =
            drawn.cgroup_limit.filter(|_| self.means.cgroups).map(|share| CgroupLimit {
                bytes: BESIDE + reference.peak / 100 * u64::from(share),
                swap: swap.is_some(),
            });
        let limits = Limits { cgroup_limit, ..self.limits(GRACE + reference.wall * SLOWER) };
        let random = Random::nth(!self.seed, number);
        let plain = reference.wall;
        self.run(
            &build,
            limits,
            scene,
            drawn.entry,
            "build",
            &mut |id| Injector::new(id, &drawn.faults, plain, random.clone()),
            &mut |now| {
                if let Some(stranger) = &mut stranger {
                    stranger.look();
                }
                if swap.as_ref().is_some_and(|(until, _)| now > plain.mul_f64(*until)) {
                    swap = None;
                }
            },
        )
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the one place where a build is run and waited for"
    )]
    fn run(
        &self,
        build: &Build,
        limits: Limits,
        scene: &Scene,
        entry: Entry,
        name: &str,
        faults: &mut dyn FnMut(u32) -> Injector,
        beside: &mut dyn FnMut(Duration),
    ) -> Result<Ended> {
        let log = scene.dir.join(name);
        let start = Instant::now();
        let mut started = Started::start(build, limits, &log, self.interrupt)?;
        let driver = started.id();
        let mut faults = faults(driver);
        let watched = started.watch(
            limits.stop_after,
            self.interrupt,
            Some(&mut |scope, now| {
                beside(now);
                faults.tick(scope, now);
            }),
        );
        let exit = match watched {
            Ok(exit) => exit,
            Err(error) => {
                started.end();
                return Err(error);
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        faults.give_up();
        let mut left = Vec::new();
        if exit.is_some() {
            if entry != Entry::Driver
                && let Err(error) = scene.account.disable()
            {
                left.push(format!("{error:#}"));
            }
            // Without its driver or its Cargo a build goes on to the end of what runs.
            let alone = faults.hit(&[Whom::Driver, Whom::Cargo], deadly);
            let patience = if alone { limits.stop_after } else { LEAVING };
            let settled = self.settle(&started, &mut faults, &scene.dir, start, patience);
            left.extend(settled.iter().map(|pid| format!("left: {}", verdict::describe(*pid))));
            left.extend(
                verdict::sockets(driver, &scene.home).iter().map(|it| format!("left: {it}")),
            );
        } else {
            let hanging = started.scope.processes();
            left.extend(hanging.iter().map(|pid| format!("hangs: {}", verdict::describe(*pid))));
        }
        let groups = started.scope.folders();
        let measured = started.end();
        let still = groups.iter().filter(|dir| dir.exists());
        left.extend(still.map(|dir| format!("left: cgroup {}", dir.display())));
        let stderr = fs::read(stderr_of(&log)).unwrap_or_default();
        Ok(Ended {
            exit,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            oom_kills: measured.totals.oom_kills.unwrap_or(0),
            seconds,
            left,
            faults,
        })
    }

    /// Waits until nothing of a build is there any more; gives what still is.
    fn settle(
        &self,
        started: &Started,
        faults: &mut Injector,
        mark: &Path,
        start: Instant,
        patience: Duration,
    ) -> Vec<i32> {
        let until = Instant::now() + patience;
        loop {
            reap_orphans();
            faults.let_go(&started.scope, start.elapsed());
            let mut left = started.scope.processes();
            left.retain(|pid| !matches!(verdict::state(*pid), None | Some('Z' | 'X')));
            if left.is_empty() {
                left = verdict::marked(mark);
            }
            if left.is_empty() || Instant::now() > until || self.interrupt.check().is_err() {
                return left;
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// The same command undisturbed, and what plain cargo finds then.
    fn again(
        &self,
        drawn: &Drawn,
        reference: &Reference,
        scene: &Scene,
        faults: &Injector,
        findings: &mut Vec<String>,
    ) -> Result<()> {
        // Without a budget: what it needed was drawn for the first build only.
        let calm = Drawn { budget: None, faults: Vec::new(), ..drawn.clone() };
        let build = self.command(&calm, reference, scene, drawn.again_with_plimsoll);
        let limits = self.limits(GRACE + reference.wall * SLOWER);
        let none = Random::new(0);
        let ended = self.run(
            &build,
            limits,
            scene,
            Entry::Driver,
            "again",
            &mut |id| Injector::new(id, &[], Duration::ZERO, none.clone()),
            &mut |_| {},
        )?;
        findings.extend(ended.left.iter().map(|it| format!("after the undisturbed build {it}")));
        if ended.exit != Some(0) {
            let who = build.display();
            findings.push(format!("undisturbed, `{who}` ended with {:?} afterwards", ended.exit));
            return Ok(());
        }
        let found = manifest(&reference.workload.target)?;
        let wrong = wrong(reference, &found);
        // A build script that got no answer may have gone on without it, and found another compiler or system.
        let misled = faults.hit(&[Whom::Probe, Whom::Script], deadly);
        if !wrong.is_empty() && !misled {
            findings.push(format!("artifacts differ from plain cargo's: {}", wrong.join(", ")));
        }
        let mut fresh = self.command(&calm, reference, scene, false);
        fresh.args.extend(["-v".into()]);
        if drawn.command.contains(&"test") {
            fresh.args.push("--no-run".into());
        }
        match quick(&fresh, self.interrupt) {
            Ok((_, stderr)) => {
                let fresh = count_fresh(&stderr);
                if !fresh.is_fresh() {
                    let (rebuilt, why) = (fresh.rebuilt, fresh.reasons.join("; "));
                    findings.push(format!("plain cargo built {rebuilt} anew afterwards: {why}"));
                }
            }
            Err(error) => findings.push(format!("plain cargo failed afterwards: {error:#}")),
        }
        Ok(())
    }
}

/// Whoever is hit so ends.
fn deadly(how: How) -> bool {
    !matches!(how, How::Stop(_))
}

/// What the build left in its folders. Where what clears up was itself killed, and where Cargo ended everybody's
/// compilers at once, some of that is as without us.
fn partial_outputs(scene: &Scene, ended: &Ended, reference: &Reference) -> Vec<String> {
    let hit = |whom: &[Whom]| ended.faults.hit(whom, deadly);
    let killed_inside = ended.oom_kills > 0 || scene.disk.is_some();
    let mut found = Vec::new();
    // A driver that is killed while no shim is there has nobody after it. Doctests have folders of their own there.
    let ours = |path: &Path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().contains("plimsoll"))
    };
    if !(killed_inside || hit(&[Whom::Driver])) {
        let all = verdict::below(&scene.tmp).into_iter();
        let excused = hit(&[
            Whom::Rustc,
            Whom::Linker,
            Whom::Group,
            Whom::Cargo,
            Whom::Shim,
            Whom::Script,
            Whom::Test,
        ]);
        found.extend(
            all.filter(|path| !excused || ours(path))
                .map(|path| format!("left: {}", path.display())),
        );
    }
    if ended.exit == Some(0)
        && !killed_inside
        && !hit(&[Whom::Driver, Whom::Shim, Whom::Cargo, Whom::Group, Whom::Governor])
    {
        let halves = verdict::below(&reference.workload.target).into_iter();
        found.extend(
            halves.filter(|it| verdict::is_half(it)).map(|it| format!("left: {}", it.display())),
        );
    }
    found
}

/// The budget in bytes, where one is drawn.
fn budget_of(drawn: &Drawn, reference: &Reference) -> Option<u64> {
    /// Less is refused as a slip of the keyboard.
    const LEAST: u64 = 64 << 20;
    let share = u64::from(drawn.budget?);
    Some((reference.peak / 100 * share).max(LEAST) >> 20 << 20)
}
