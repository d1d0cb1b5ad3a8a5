//! All arms, one after another, on one workspace.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use plimsoll_cargo::metadata;
use plimsoll_core::settings::Memory;
use plimsoll_core::{Bytes, Millis};
use plimsoll_init::workspace::Workspace;

use super::added;
use super::arm::{Arm, What};
use super::measure::{Bench, Measured};
use super::outcome::{Outcome, Run};
use crate::cli::BenchOptions;
use crate::env::{self, Environment};
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// How much of a failed build's words is shown, in lines.
const WORDS: usize = 20;

/// A bench that runs.
pub(crate) struct Session<'a> {
    options: &'a BenchOptions,
    cwd: &'a Path,
    cargo: PathBuf,
    workspace: Workspace,
    what: What,
    jobs: u32,
    line: Option<Bytes>,
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
    pub(crate) fn prepare(
        options: &'a BenchOptions,
        settings: &Settings,
        environment: &Environment,
        cwd: &'a Path,
        shell: &mut Shell,
    ) -> Result<Self, Failure> {
        let what =
            What::read(&options.args).map_err(|error| Failure::BadBench(error.to_string()))?;
        let workspace = Workspace::find(environment, cwd, settings.processors.value)?;
        let line = match settings.memory.value {
            Memory::Size(line) => Some(line),
            _ => None,
        };
        let cargo = PathBuf::from(environment.get("CARGO").unwrap_or("cargo".as_ref()));
        let mut fetch = Command::new(&cargo);
        metadata::answer(fetch.args(["fetch", "-q"]).current_dir(cwd))
            .context("cannot fetch what the build needs")?;
        let target = settings.cargo.target_dir.as_ref().map(|given| given.value.clone());
        let target = target.unwrap_or_else(|| workspace.root.join("target"));
        let scratch = target.join("plimsoll-bench");
        clear(&scratch)?;
        let touched = options.rebuild.then(|| touched(&workspace, options)).transpose()?;
        let mut session = Self {
            jobs: settings.jobs.value,
            outcome: Outcome {
                arguments: what.args.iter().map(|it| it.to_string_lossy().into_owned()).collect(),
                processors: settings.jobs.value,
                ..Outcome::default()
            },
            options,
            cwd,
            cargo,
            workspace,
            what,
            line,
            scratch,
            touched,
            bench: Bench::new()?,
        };
        session.announce(settings, shell);
        warm(cwd, environment);
        fs::create_dir_all(session.home()).context("cannot make a directory for the bench")?;
        Ok(session)
    }

    fn announce(&mut self, settings: &Settings, shell: &mut Shell) {
        let arms = self.options.arms();
        let builds = arms.len() * self.options.rounds as usize;
        shell.note(format_args!("{builds} clean builds in {}:", self.scratch.display()));
        for arm in &arms {
            shell.note(format_args!("  {arm:<8}  {}", arm.meaning()));
        }
        let share: f64 = arms.iter().map(|arm| arm.usual_share(self.jobs)).sum();
        let share = share * f64::from(self.options.rounds);
        match recorded(settings, &self.workspace, self.jobs) {
            Some(plain) => shell.note(format_args!(
                "about {}, by what was recorded of its crates; Ctrl-C ends it and keeps what is done",
                minutes(plain.mul_f64(share))
            )),
            None => shell.note(format_args!(
                "how long it takes is known after the first (about {share:.0} times as long); Ctrl-C ends it \
                 and keeps what is done"
            )),
        }
    }

    /// Runs every arm in every round.
    pub(crate) fn run(&mut self, shell: &mut Shell) -> Result<(), Failure> {
        let arms = self.options.arms();
        let mut left: f64 = f64::from(self.options.rounds)
            * arms.iter().map(|arm| arm.usual_share(self.jobs)).sum::<f64>();
        for round in 1..=self.options.rounds {
            for &arm in &arms {
                let Some(run) = self.build(arm, round, shell)? else { return Ok(()) };
                let share = arm.usual_share(self.jobs);
                left -= share;
                let then = run.wall.mul_f64((left / share).max(0.0));
                shell.note(format_args!(
                    "{arm}: {} in {:.1} s; about {} to go",
                    run.peak,
                    run.wall.as_secs_f64(),
                    minutes(then)
                ));
                self.outcome.runs.push(run);
            }
        }
        Ok(())
    }

    /// One clean build, and one after a touch; nothing where a signal has ended it.
    fn build(&mut self, arm: Arm, round: u32, shell: &mut Shell) -> Result<Option<Run>, Failure> {
        let target = self.scratch.join(arm.name());
        clear(&target)?;
        let line =
            self.line.or_else(|| self.outcome.peak_of(Arm::Recipe)).filter(|_| arm.is_ours());
        if arm == Arm::Plimsoll {
            clear(&self.home())?;
            fs::create_dir_all(self.home()).context("cannot make a directory for the bench")?;
        }
        let title = format!("{arm} ({round} of {})", self.options.rounds);
        let Some(done) = self.bench.run(self.command(arm, line, &target), &title)? else {
            return Ok(None);
        };
        let mut rebuild = None;
        if done.exit == 0
            && let Some(touched) = &self.touched
        {
            touched.touch(SystemTime::now())?;
            let again = self.command(arm, line, &target);
            let Some(again) = self.bench.run(again, &format!("{title}, rebuild"))? else {
                return Ok(None);
            };
            rebuild = (again.exit == 0).then_some(again.wall);
        }
        if done.exit != 0 {
            tell_failure(arm, &done, shell);
        }
        if !self.options.keep {
            clear(&target)?;
        }
        Ok(Some(Run {
            arm,
            round,
            line,
            peak: done.peak,
            wall: done.wall,
            rebuild,
            exit: done.exit,
            out_of_memory: done.out_of_memory,
        }))
    }

    fn command(&self, arm: Arm, line: Option<Bytes>, target: &Path) -> Command {
        let added = added::settings(arm, &self.what, &self.workspace, line);
        let mut command = Command::new(&self.cargo);
        if arm.is_ours()
            && let Ok(ours) = std::env::current_exe()
        {
            command = Command::new(ours);
            command.arg("plimsoll").env("CARGO", &self.cargo).env(env::HOME, self.home());
            if let Some(line) = added.memory {
                command.env(env::MEMORY, line.0.to_string());
            }
        }
        command
            .arg("build")
            .args(&added.args)
            .args(&self.what.args)
            .arg("--target-dir")
            .arg(target)
            .env("CARGO_BUILD_BUILD_DIR", target);
        // A wrapper that keeps what was compiled would leave nothing to measure; an empty one stands before
        // what is configured, also before what `enable` has put there.
        command.env("RUSTC_WRAPPER", "").env("CARGO_BUILD_JOBS", self.jobs.to_string());
        command.envs(added.variables).current_dir(self.cwd);
        command
    }

    fn home(&self) -> PathBuf {
        self.scratch.join("home")
    }

    /// Prints the table and writes the files.
    pub(crate) fn tell(&self, options: &BenchOptions, shell: &mut Shell) -> Result<i32, Failure> {
        let to_file = |path: &Path, text: &str| {
            fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
        };
        let mut printed = false;
        for (path, text) in
            [(&options.json, self.outcome.json()), (&options.markdown, self.outcome.markdown())]
        {
            match path {
                Some(path) if path.as_os_str() == "-" => {
                    shell.answer(text).context(OUT)?;
                    printed = true;
                }
                Some(path) => to_file(path, &text)?,
                None => {}
            }
        }
        if !printed {
            shell.answer(self.outcome.text()).context(OUT)?;
        }
        Ok(match self.bench.ended_by {
            Some(signal) => 128 + signal,
            None => i32::from(!self.outcome.is_well()),
        })
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if !self.options.keep {
            // What cannot be removed is the user's to see; the figures are told already.
            let _ = fs::remove_dir_all(&self.scratch);
        }
    }
}

fn tell_failure(arm: Arm, done: &Measured, shell: &mut Shell) {
    let lines: Vec<&str> = done.words.lines().collect();
    let last = lines[lines.len().saturating_sub(WORDS)..].join("\n");
    shell.warn(format_args!("{arm} failed with {}; its last words:\n{last}", done.exit));
}

fn clear(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// The file to touch: what was asked for, or the first source of a package that no other one of the workspace needs.
fn touched(workspace: &Workspace, options: &BenchOptions) -> anyhow::Result<Touched> {
    let path = match &options.touch {
        Some(path) => path.clone(),
        None => workspace.leaf.clone().context(
            "there is no package that no other one needs; name a source file with --touch",
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
fn recorded(settings: &Settings, workspace: &Workspace, jobs: u32) -> Option<Duration> {
    let home = settings.home.value.as_deref().filter(|home| home.is_dir())?;
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
