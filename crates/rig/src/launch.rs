//! Runs one build in a fresh group, watches it, and says how it went.
//!
//! The build enters its group by `plimsoll-bench enter`, which writes itself into the group and then becomes the build:
//! no byte of it is ever accounted elsewhere.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::cgroup::{CgroupLimit, Group};
use crate::sampler::{INTERVAL, Sampler, Scope, Totals, reap_orphans};

/// Set by Ctrl-C, SIGTERM and SIGHUP.
#[derive(Clone, Debug)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Begins to listen. From here on the signals end builds in order, and groups are removed.
    pub fn listen() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in
            [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .context("listening for signals")?;
        }
        // Orphans of a build come to us, so that the process tree has no holes and nothing is left behind.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        Ok(Self(flag))
    }

    /// Fails once somebody asked us to stop.
    pub fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            bail!("interrupted; finished arms are kept, the same command goes on from here");
        }
        Ok(())
    }
}

/// A command line with its surroundings.
#[derive(Clone, Debug)]
pub struct Build {
    /// The program.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Set on top of the cleaned environment.
    pub env: Vec<(String, OsString)>,
    /// Where it runs.
    pub dir: PathBuf,
    /// Hands it a jobserver without any token: one unit at once, and one LLVM thread in it.
    pub one_token: bool,
    /// The kernel gives it no huge pages.
    pub small_pages: bool,
}

impl Build {
    /// For people and tables: no paths of this machine.
    pub fn display(&self) -> String {
        let short = |text: &OsString| {
            let text = text.to_string_lossy();
            Path::new(&*text)
                .file_name()
                .filter(|_| text.starts_with('/'))
                .map_or_else(|| text.to_string(), |name| name.to_string_lossy().into_owned())
        };
        std::iter::once(&self.program).chain(&self.args).map(short).collect::<Vec<_>>().join(" ")
    }

    /// The command, in an environment without anything that a surrounding Cargo or build tool left in ours.
    pub fn command(&self, entrances: &[PathBuf]) -> Result<Command> {
        let me = std::env::current_exe().context("finding the benchmark's own program")?;
        let mut command = Command::new(me);
        command.arg("enter");
        for entrance in entrances {
            command.arg("--procs").arg(entrance);
        }
        if self.one_token {
            command.arg("--one-token");
        }
        if self.small_pages {
            command.arg("--small-pages");
        }
        command
            .arg("--")
            .arg(&self.program)
            .args(&self.args)
            .current_dir(&self.dir)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if is_foreign(&name.to_string_lossy()) {
                command.env_remove(&name);
            }
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }
}

/// `cargo run` and whoever calls us leave these; a build must not see them.
fn is_foreign(name: &str) -> bool {
    const KEPT: [&str; 2] = ["CARGO_HOME", "RUSTUP_HOME"];
    const PREFIXES: [&str; 4] = ["CARGO", "RUSTC", "PLIMSOLL_", "MBX_"];
    const NAMES: [&str; 8] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "MAKEFLAGS",
        "MFLAGS",
        "LD_LIBRARY_PATH",
        "NUM_JOBS",
        "OUT_DIR",
        "TARGET",
    ];
    !KEPT.contains(&name)
        && (PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&name))
}

/// What bounds a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A memory limit.
    pub cgroup_limit: Option<CgroupLimit>,
    /// After this it is stopped.
    pub stop_after: Duration,
    /// Go on without a cgroup where none can be made.
    pub without_cgroup: bool,
}

/// How a run went.
#[derive(Debug)]
pub struct Measured {
    /// Start to end of the build's own process.
    pub wall: Duration,
    /// 128 + n for a signal; `None` if it was stopped.
    pub exit: Option<i32>,
    /// The samples.
    pub samples: Sampler,
    /// The figures of the whole run.
    pub totals: Totals,
    /// How it was measured.
    pub sampler: &'static str,
}

/// What happens beside the build, called at every sample.
pub type Beside<'a> = &'a mut dyn FnMut(&Scope, Duration);

/// Runs a build to its end, its deadline or an interrupt. Output goes to `log` (standard output) and `log` + `.stderr`.
pub fn run(
    build: &Build,
    limits: Limits,
    log: &Path,
    interrupt: &Interrupt,
    beside: Option<Beside<'_>>,
) -> Result<Measured> {
    rustix::fs::sync();
    let mut started = Started::start(build, limits, log, interrupt)?;
    let watched = started.watch(limits.stop_after, interrupt, beside);
    let measured = started.end();
    let exit = watched?;
    Ok(Measured { exit, ..measured })
}

/// A build on its way, alone in its scope. It is to be ended, however it goes: nothing of it outlives that.
#[derive(Debug)]
pub struct Started {
    child: Child,
    /// Where its processes are.
    pub scope: Scope,
    sampler: Sampler,
    /// How its own process ended, and when.
    ended: Option<(i32, Duration)>,
}

impl Started {
    /// Starts it.
    pub fn start(build: &Build, limits: Limits, log: &Path, interrupt: &Interrupt) -> Result<Self> {
        interrupt.check()?;
        let scope = match Group::make(limits.cgroup_limit) {
            Ok(group) => Scope::Group(group),
            Err(error) if limits.without_cgroup && limits.cgroup_limit.is_none() => {
                drop(error);
                Scope::Tree
            }
            Err(error) => {
                return Err(error.context("a measurement needs a memory cgroup of its own"));
            }
        };
        let entrances = match &scope {
            Scope::Group(group) => group.entrances(),
            Scope::Tree => Vec::new(),
        };
        let mut command = build.command(&entrances)?;
        command.process_group(0).stdout(create(log)?).stderr(create(&stderr_of(log))?);
        let sampler = Sampler::start(&scope);
        let child = command.spawn().with_context(|| format!("starting {}", build.display()))?;
        Ok(Self { child, scope, sampler, ended: None })
    }

    /// The build's own process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stays with it until its own process has ended; `None` when the deadline passed.
    pub fn watch(
        &mut self,
        stop_after: Duration,
        interrupt: &Interrupt,
        mut beside: Option<Beside<'_>>,
    ) -> Result<Option<i32>> {
        let Self { child, scope, sampler, ended } = self;
        let exit = watch(child, scope, sampler, stop_after, interrupt, &mut beside)?;
        *ended = exit.map(|exit| (exit, sampler.elapsed()));
        Ok(exit)
    }

    /// Ends whatever still runs, and gives the figures.
    pub fn end(mut self) -> Measured {
        let wall = match self.ended {
            Some((_, wall)) => wall,
            None => {
                // Its own process first, waited for by itself; then whatever it started.
                let wall = self.sampler.elapsed();
                let _ = self.child.kill();
                let _ = self.child.wait();
                wall
            }
        };
        self.scope.end_all();
        reap_orphans();
        let totals = self.sampler.totals(&self.scope, wall);
        Measured {
            wall,
            exit: self.ended.map(|(exit, _)| exit),
            totals,
            samples: self.sampler,
            sampler: self.scope.name(),
        }
    }
}

/// `None` when the deadline passed.
fn watch(
    child: &mut Child,
    scope: &Scope,
    sampler: &mut Sampler,
    stop_after: Duration,
    interrupt: &Interrupt,
    beside: &mut Option<Beside<'_>>,
) -> Result<Option<i32>> {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty())
        .context("watching the build (pidfd needs Linux 5.3)")?;
    let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(INTERVAL.subsec_nanos()) };
    loop {
        sampler.sample(scope);
        if let Some(beside) = beside {
            beside(scope, sampler.elapsed());
        }
        let mut fds = [PollFd::new(&ended, PollFlags::IN)];
        // An interrupted wait is a signal for us: the flag below is read either way.
        let _ = poll(&mut fds, Some(&pause));
        if let Some(status) = child.try_wait().context("waiting for the build")? {
            return Ok(Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))));
        }
        interrupt.check()?;
        if sampler.elapsed() > stop_after {
            return Ok(None);
        }
    }
}

/// Runs something short without a group or samples: a no-op build. Gives the time and standard error.
pub fn quick(build: &Build, interrupt: &Interrupt) -> Result<(Duration, String)> {
    interrupt.check()?;
    let mut command = build.command(&[])?;
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output().with_context(|| format!("starting {}", build.display()))?;
    let took = start.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        bail!("`{}` failed ({}):\n{stderr}", build.display(), output.status);
    }
    Ok((took, stderr))
}

/// Where the standard error of a run is kept, beside its standard output.
pub fn stderr_of(log: &Path) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(".stderr");
    name.into()
}

/// Makes a log, and the folder that it is in.
pub fn create(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    File::create(path).with_context(|| format!("making {}", path.display()))
}

/// The hidden subcommand `enter` of whoever starts builds by this crate: what goes into groups and then becomes the build.
#[derive(Args, Debug)]
pub struct Enter {
    /// The `cgroup.procs` files of the groups.
    #[arg(long)]
    procs: Vec<PathBuf>,
    /// Give the compiler one token.
    #[arg(long)]
    one_token: bool,
    /// Switch huge pages off.
    #[arg(long)]
    small_pages: bool,
    /// The build.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Enter {
    /// Goes into the groups, then becomes the build.
    ///
    /// # Errors
    /// It returns only if that failed.
    pub fn become_build(&self) -> Result<()> {
        for file in &self.procs {
            std::fs::write(file, "0")
                .with_context(|| format!("entering a cgroup by {}", file.display()))?;
        }
        if self.small_pages {
            rustix::thread::disable_transparent_huge_pages(true)
                .context("switching huge pages off for a build")?;
        }
        let (program, args) =
            self.command.split_first().context("no command was given after `--`")?;
        let mut command = Command::new(program);
        command.args(args);
        let pipe = self
            .one_token
            .then(rustix::pipe::pipe)
            .transpose()
            .context("making a jobserver pipe")?;
        if let Some((read, write)) = &pipe {
            use std::os::fd::AsRawFd;
            // Made without close-on-exec: cargo and every rustc inherit both ends, and nobody ever puts a token in.
            let auth = format!(
                "-j --jobserver-fds={0},{1} --jobserver-auth={0},{1}",
                read.as_raw_fd(),
                write.as_raw_fd()
            );
            command.env("CARGO_MAKEFLAGS", auth);
        }
        let error = command.exec();
        Err(error).with_context(|| format!("starting {}", program.to_string_lossy()))
    }
}

/// Ends one process of a build at random; the choice is the caller's.
pub fn end_one(scope: &Scope, pid: i32) -> bool {
    scope.signal(pid, Signal::KILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_sees_nothing_of_a_surrounding_cargo() {
        for name in [
            "CARGO_MAKEFLAGS",
            "CARGO",
            "RUSTC_WRAPPER",
            "LD_LIBRARY_PATH",
            "PLIMSOLL_MEMORY",
            "MBX_LOG",
        ] {
            assert!(is_foreign(name), "{name}");
        }
        for name in ["CARGO_HOME", "PATH", "HOME", "RUSTUP_TOOLCHAIN"] {
            assert!(!is_foreign(name), "{name}");
        }
    }

    #[test]
    fn a_displayed_command_has_no_paths() {
        let build = Build {
            program: "/somewhere/bin/cargo-plimsoll".into(),
            args: vec!["plimsoll".into(), "--memory".into(), "1GiB".into()],
            env: Vec::new(),
            dir: PathBuf::new(),
            one_token: false,
            small_pages: false,
        };
        assert_eq!(build.display(), "cargo-plimsoll plimsoll --memory 1GiB");
    }
}
