//! All arms, one after another, on one workspace.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use plimsoll_cargo::{Environment, metadata};
use plimsoll_core::{Bytes, Millis};
use plimsoll_init::workspace::Workspace;

use crate::added;
use crate::arm::{Arm, What};
use crate::measure::{Bench, Measured};
use crate::outcome::{Outcome, Run};

/// How much of a failed build's words is shown, in lines.
const WORDS: usize = 20;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// In the order in which they run.
    pub arms: Vec<Arm>,
    /// How often each runs.
    pub rounds: u32,
    /// Also the time of a build after a source file was touched.
    pub rebuild: bool,
    /// That file; nothing is one of a package that no other one needs.
    pub touch: Option<PathBuf>,
    /// The target directories stay.
    pub keep: bool,
    /// What is built.
    pub what: What,
    /// In this directory.
    pub cwd: &'a Path,
    /// With this environment.
    pub environment: &'a Environment,
    /// The jobs of every arm but those with `-j1`.
    pub jobs: u32,
    /// The machine's processors.
    pub processors: u32,
    /// The budget of our arms; nothing is the recipe's peak.
    pub budget: Option<Bytes>,
    /// Cargo's target directory, where that is configured.
    pub target: Option<PathBuf>,
    /// Where recorded builds are, for an estimate.
    pub home: Option<&'a Path>,
}

/// Something to be said while builds run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// How far it is.
    Note(String),
    /// A build failed.
    Warning(String),
}

/// A comparison that runs.
pub struct Session<'a> {
    request: Request<'a>,
    cargo: PathBuf,
    workspace: Workspace,
    /// What is removed at the end: a target directory for each arm, and a home without history.
    scratch: PathBuf,
    touched: Option<Touched>,
    bench: Bench,
    outcome: Outcome,
}

/// A source file that is touched, and when it was written.
struct Touched {
    path: PathBuf,
    written: SystemTime,
}

impl Touched {
    fn touch(&self, at: SystemTime) -> anyhow::Result<()> {
        let set = || fs::File::options().append(true).open(&self.path)?.set_modified(at);
        set().with_context(|| format!("cannot touch `{}`", self.path.display()))
    }
}

impl Drop for Touched {
    /// The user's own builds are to find it as it was.
    fn drop(&mut self) {
        let _ = self.touch(self.written);
    }
}

impl<'a> Session<'a> {
    /// Looks at the workspace, fetches what it needs, and says what is to come.
    ///
    /// # Errors
    /// Where there is no workspace, or something cannot be fetched, read or written.
    pub fn prepare(request: Request<'a>, say: &mut dyn FnMut(Said)) -> anyhow::Result<Self> {
        let (environment, cwd) = (request.environment, request.cwd);
        let workspace = Workspace::find(environment, cwd, request.processors)?;
        let cargo = PathBuf::from(environment.get("CARGO").unwrap_or("cargo".as_ref()));
        let mut fetch = Command::new(&cargo);
        metadata::answer(fetch.args(["fetch", "-q"]).current_dir(cwd))
            .context("cannot fetch what the build needs")?;
        let target = request.target.clone().unwrap_or_else(|| workspace.root.join("target"));
        let scratch = target.join("plimsoll-bench");
        clear(&scratch)?;
        let touched = request.rebuild.then(|| touched(&workspace, &request)).transpose()?;
        let session = Self {
            outcome: Outcome {
                arguments: request
                    .what
                    .args
                    .iter()
                    .map(|it| it.to_string_lossy().into_owned())
                    .collect(),
                processors: request.jobs,
                ..Outcome::default()
            },
            request,
            cargo,
            workspace,
            scratch,
            touched,
            bench: Bench::new()?,
        };
        session.announce(say);
        warm(cwd, environment);
        fs::create_dir_all(session.home()).context("cannot make a directory for the bench")?;
        Ok(session)
    }

    fn announce(&self, say: &mut dyn FnMut(Said)) {
        let Request { arms, rounds, jobs, .. } = &self.request;
        let mut note = |text: String| say(Said::Note(text));
        let builds = arms.len() * *rounds as usize;
        let s = if builds == 1 { "" } else { "s" };
        note(format!("{builds} clean build{s} in {}:", self.scratch.display()));
        for arm in arms {
            note(format!("  {arm:<8}  {}", arm.meaning()));
        }
        let share: f64 = arms.iter().map(|arm| arm.usual_share(*jobs)).sum();
        let share = share * f64::from(*rounds);
        if builds == 1 {
            return;
        }
        note(match recorded(self.request.home, &self.workspace, *jobs) {
            Some(plain) => format!(
                "this takes about {}, judging by your recorded builds; Ctrl-C stops it and keeps the results so far",
                minutes(plain.mul_f64(share))
            ),
            None => format!(
                "this takes about {share:.0} times as long as the first build; Ctrl-C stops it and keeps the \
                 results so far"
            ),
        });
    }

    /// Runs every arm in every round.
    ///
    /// # Errors
    /// Where a build cannot be started or followed.
    pub fn run(&mut self, say: &mut dyn FnMut(Said)) -> anyhow::Result<()> {
        let (arms, rounds, jobs) =
            (self.request.arms.clone(), self.request.rounds, self.request.jobs);
        let mut left: f64 =
            f64::from(rounds) * arms.iter().map(|arm| arm.usual_share(jobs)).sum::<f64>();
        for round in 1..=rounds {
            for &arm in &arms {
                let Some(run) = self.build(arm, round, say)? else { return Ok(()) };
                let share = arm.usual_share(jobs);
                left -= share;
                let then = run.wall.mul_f64((left / share).max(0.0));
                // What is left is a sum of fractions, and at the end not quite nothing.
                let to_go = match left > 0.01 {
                    true => format!("; about {} to go", minutes(then)),
                    false => String::new(),
                };
                say(Said::Note(format!(
                    "{arm}: {} in {:.1} s{to_go}",
                    run.peak,
                    run.wall.as_secs_f64()
                )));
                self.outcome.runs.push(run);
            }
        }
        Ok(())
    }

    /// One clean build, and one after a touch; nothing where a signal has ended it.
    fn build(
        &mut self,
        arm: Arm,
        round: u32,
        say: &mut dyn FnMut(Said),
    ) -> anyhow::Result<Option<Run>> {
        let target = self.scratch.join(arm.name());
        clear(&target)?;
        let budget = self
            .request
            .budget
            .or_else(|| self.outcome.peak_of(Arm::Recipe))
            .filter(|_| arm.is_ours());
        if arm == Arm::Plimsoll {
            clear(&self.home())?;
            fs::create_dir_all(self.home()).context("cannot make a directory for the bench")?;
        }
        let title = format!("{arm} ({round} of {})", self.request.rounds);
        let Some(done) = self.bench.run(self.command(arm, budget, &target), &title)? else {
            return Ok(None);
        };
        let mut rebuild = None;
        if done.exit == 0
            && let Some(touched) = &self.touched
        {
            touched.touch(SystemTime::now())?;
            let again = self.command(arm, budget, &target);
            let Some(again) = self.bench.run(again, &format!("{title}, rebuild"))? else {
                return Ok(None);
            };
            rebuild = (again.exit == 0).then_some(again.wall);
        }
        if done.exit != 0 {
            say(failure(arm, &done));
        }
        if !self.request.keep {
            clear(&target)?;
        }
        Ok(Some(Run {
            arm,
            round,
            budget,
            peak: done.peak,
            wall: done.wall,
            rebuild,
            exit: done.exit,
            out_of_memory: done.out_of_memory,
        }))
    }

    fn command(&self, arm: Arm, budget: Option<Bytes>, target: &Path) -> Command {
        let added = added::settings(arm, &self.request.what, &self.workspace, budget);
        let mut command = Command::new(&self.cargo);
        if arm.is_ours()
            && let Ok(ours) = std::env::current_exe()
        {
            command = Command::new(ours);
            command.arg("plimsoll").env("CARGO", &self.cargo);
            command.env(plimsoll_proto::HOME_VARIABLE, self.home());
            if let Some(budget) = added.memory {
                command.arg("--memory").arg(budget.0.to_string());
            }
        }
        command
            .arg("build")
            .args(&added.args)
            .args(&self.request.what.args)
            .arg("--target-dir")
            .arg(target)
            .env("CARGO_BUILD_BUILD_DIR", target);
        // A wrapper that keeps what was compiled would leave nothing to measure; an empty one stands before
        // what is configured, also before what `enable` has put there.
        command.env("RUSTC_WRAPPER", "").env("CARGO_BUILD_JOBS", self.request.jobs.to_string());
        command.envs(added.variables).current_dir(self.request.cwd);
        command
    }

    fn home(&self) -> PathBuf {
        self.scratch.join("home")
    }

    /// What was measured.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The exit status: 1 where a build failed, 128 + n where signal n ended it.
    #[must_use]
    pub fn exit(&self) -> i32 {
        match self.bench.ended_by {
            Some(signal) => 128 + signal,
            None => i32::from(!self.outcome.is_well()),
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.request.keep {
            // What cannot be removed is the user's to see; the figures are told already.
            let _ = fs::remove_dir_all(&self.scratch);
        }
    }
}

fn failure(arm: Arm, done: &Measured) -> Said {
    let lines: Vec<&str> = done.words.lines().collect();
    let last = lines[lines.len().saturating_sub(WORDS)..].join("\n");
    Said::Warning(format!(
        "{arm} failed with exit status {}; the end of its output:\n{last}",
        done.exit
    ))
}

fn clear(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// The file to touch: what was asked for, or the first source of a package on which no other one of the workspace depends.
fn touched(workspace: &Workspace, request: &Request<'_>) -> anyhow::Result<Touched> {
    let path = match &request.touch {
        Some(path) => path.clone(),
        None => workspace.leaf.clone().context(
            "every package here is needed by another one; name the source file to change with --touch",
        )?,
    };
    let written = fs::metadata(&path).and_then(|it| it.modified());
    let written = written.with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(Touched { path, written })
}

/// Reads the compiler once, so that the first arm does not pay for a cold file cache.
fn warm(cwd: &Path, environment: &Environment) {
    let mut rustc = Command::new(environment.get("RUSTC").unwrap_or("rustc".as_ref()));
    let Ok(sysroot) = metadata::answer(rustc.args(["--print", "sysroot"]).current_dir(cwd)) else {
        return;
    };
    let lib = PathBuf::from(String::from_utf8_lossy(&sysroot).trim()).join("lib");
    let mut buffer = vec![0; 1 << 20];
    for entry in fs::read_dir(lib).into_iter().flatten().flatten() {
        let Ok(mut file) = fs::File::open(entry.path()) else { continue };
        while matches!(file.read(&mut buffer), Ok(read) if read > 0) {}
    }
}

/// Plain Cargo's time, where the crates of the workspace were recorded: their processor time, shared out.
fn recorded(home: Option<&Path>, workspace: &Workspace, jobs: u32) -> Option<Duration> {
    let home = home.filter(|home| home.is_dir())?;
    let rows = plimsoll_history::History::open(home).0.list(None).ok()?;
    let ours = |row: &&plimsoll_history::Row| {
        workspace.packages.contains(&row.package) && !row.profile.starts_with("check")
    };
    let cpu = rows.iter().filter(ours).fold(Millis::ZERO, |sum, row| sum + row.cpu);
    (cpu > Millis::ZERO).then(|| Duration::from_millis(cpu.0 / u64::from(jobs.max(1))))
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..90 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    }
}
