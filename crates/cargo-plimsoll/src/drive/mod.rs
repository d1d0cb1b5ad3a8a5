//! Driving one build: Cargo is started below us, the governor's loop runs here, and what is seen is shown.
//!
//! The driver is Cargo's parent and stays in its process group, so that Ctrl-C and Ctrl-Z reach everybody
//! as they do without us. Whatever of ours cannot be had (a socket, a temporary directory, the shims)
//! leaves a warning and plain Cargo: the user's build outranks us.
//!
//! What it deliberately does not do: decide (the schedule's work) or touch what shims run by itself.

mod cargo;
mod governor_link;
pub(crate) mod guard;
pub(crate) mod hard_limit;
mod joined;
mod launch;
mod scratch;
pub(crate) mod stages;
mod task;
mod watch;

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use plimsoll_cargo::Kind;
use plimsoll_core::Millis;
use plimsoll_core::event::Header;
use plimsoll_governor::{BuildOptions, Ending, Governor, Options};
use plimsoll_proto::{Enabled, Join, Rerun, VERSION};

use crate::cargo_args::CargoCall;
use crate::env::{ENABLED, Environment};
use crate::plain;
use crate::plimsoll_toml::CrateNote;
use crate::settings::Settings;
use crate::shell::Shell;
use crate::shims::Shims;
use governor_link::GovernorLink;
use guard::Guard;
use hard_limit::RaisedLimit;
use joined::{Joined, NotJoined, Why};
pub(crate) use launch::shim_variables;
use plimsoll_host::{Jobserver, Signal, Signals};
use scratch::Scratch;
use task::Task;
pub(crate) use task::{Foreign, Pipeline, PipelineTool};
use watch::Watch;

/// Runs Cargo inside the budget; gives its exit status (128 + n for a signal).
///
/// # Errors
/// Where Cargo cannot be started.
pub(crate) fn run(
    call: &CargoCall,
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> anyhow::Result<i32> {
    if !call.builds() {
        return plain::run(call, environment);
    }
    run_task(Task::Cargo(call), settings, environment, shell)
}

/// Runs a command that is not Cargo inside the budget; gives its exit status (128 + n for a signal).
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn run_under(
    words: &[OsString],
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> anyhow::Result<i32> {
    let command = Foreign::read(words).context("no command is named")?;
    run_task(Task::Other(&command), settings, environment, shell)
}

/// Runs a Cargo and tools on what it builds, as one command, inside the budget; gives its exit status.
///
/// # Errors
/// Where it cannot be started.
pub(crate) fn run_pipeline(
    command: &Foreign,
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> anyhow::Result<i32> {
    run_task(Task::Other(command), settings, environment, shell)
}

fn run_task(
    task: Task<'_>,
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> anyhow::Result<i32> {
    let hard_limit = RaisedLimit::raise(settings, environment, shell);
    let mut build = match Build::prepare(task, settings, environment, hard_limit) {
        Ok(build) => build,
        Err(error) => {
            shell.warn(format_args!("this build runs without a memory budget: {error:#}"));
            return task.run_plain(environment);
        }
    };
    let mut watch = Watch::new(build.header()?, environment, shell);
    let exit = build.run(&mut watch)?;
    watch.close(shell);
    Ok(exit)
}

/// How long what was told to end may take before it is killed.
const GRACE: Millis = Millis(2000);

/// So often Cargo runs once more for what is not the build's own failure.
const RERUNS: u32 = 3;

/// One build on its way.
struct Build<'a> {
    task: Task<'a>,
    command: Command,
    governor: GovernorLink,
    signals: Signals,
    /// Removed with the rest.
    _scratch: Scratch,
    /// Where one was asked for and could be had. Before the guard: it is taken away first.
    hard_limit: Option<RaisedLimit>,
    /// From the first unit on.
    guard: Option<Guard>,
    /// A shell stands above us that can continue what was stopped.
    job_control: bool,
    may_run_twice: bool,
    /// Somebody asked the build to end.
    interrupted: bool,
    /// What runs is the user's own program: there is nothing to govern any more.
    aside: bool,
}

impl<'a> Build<'a> {
    fn prepare(
        task: Task<'a>,
        settings: &Settings,
        environment: &Environment,
        hard_limit: Option<RaisedLimit>,
    ) -> anyhow::Result<Self> {
        let shims = Shims::find()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(now.as_millis()).unwrap_or_default();
        let jobs = task.job_slots(settings) + 1;
        let scratch = Scratch::make(unix_ms, settings.home.value.as_deref());
        let jobserver = launch::jobserver(jobs, &scratch, environment)
            .or_else(|_| Jobserver::new(jobs))
            .context("cannot make a jobserver")?;
        // The build's processes stay below us even when their parents die: nothing is left behind.
        rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1))
            .context("cannot adopt the build's processes")?;
        let signals = Signals::catch().context("cannot catch signals")?;
        let described = described(task, settings);
        let governor = match join(described.clone(), settings, environment, jobserver) {
            Ok(joined) => GovernorLink::Joined(Box::new(joined)),
            Err(NotJoined { jobserver, why }) => {
                let graph = task.graph(environment);
                let build =
                    BuildOptions { graph, ..BuildOptions::of(described, None, Some(jobserver)) };
                host(build, settings, &scratch, unix_ms, why.notice())?
            }
        };
        let pipe = governor.jobserver().context("no jobserver")?;
        let found = (governor.socket(), pipe);
        let mut command = task.command(environment);
        launch::govern(&mut command, task, settings, environment, &shims, &scratch, found);
        let behind = hard_limit.as_ref().map(|hard_limit| hard_limit.around(&command));
        Ok(Self {
            task,
            command: behind.unwrap_or(command),
            governor,
            signals,
            hard_limit,
            guard: None,
            job_control: plimsoll_host::have_job_control(),
            may_run_twice: task.may_run_twice(settings),
            interrupted: false,
            aside: false,
            _scratch: scratch,
        })
    }

    fn header(&self) -> anyhow::Result<&Header> {
        self.governor.header().context("the build has ended before it began")
    }

    fn run(&mut self, watch: &mut Watch) -> anyhow::Result<i32> {
        let mut exit = self.run_cargo(watch)?;
        for _ in 0..RERUNS {
            let Some(text) = self.reason_to_rerun().filter(|_| exit != 0) else { break };
            self.governor.notice(text, watch);
            self.governor.begin_again();
            exit = self.run_cargo(watch)?;
        }
        let complete = exit == 0 && self.task.kind() == Kind::Builds;
        self.follow_hard_limit(watch);
        self.governor.close(Ending { exit, complete }, watch);
        self.hard_limit = None;
        self.guard = None;
        Ok(exit)
    }

    /// What a person should know where Cargo has failed for something that it puts right by itself when it is asked
    /// again. Not where somebody reads its JSON, which would repeat itself.
    fn reason_to_rerun(&mut self) -> Option<&'static str> {
        let by_oomd = self.hard_limit.as_mut().is_some_and(RaisedLimit::was_emptied_by_oomd);
        if self.interrupted || self.task.json_messages() {
            return None;
        }
        // Whether a test had started, or a unit had failed before, the account's governor could not say any more.
        if by_oomd && self.task.only_compiles() && !self.task.keep_going() && !self.aside {
            return Some(
                "systemd-oomd killed the whole build because memory was short; Cargo runs once more, and finds what is \
                 built",
            );
        }
        match self.governor.wants_rerun()? {
            Rerun::Differs => Some(
                "a crate's metadata changed when it was compiled again; Cargo runs once more to build its dependents \
                 anew",
            ),
            Rerun::ShimLost if self.may_run_twice && !self.aside => Some(
                "somebody killed the process through which Cargo runs a compiler; Cargo runs once more, and finds \
                 what is built",
            ),
            Rerun::ScriptLost if self.may_run_twice && !self.aside => Some(
                "the kernel ran out of memory and killed a build script or its child; Cargo runs once more",
            ),
            Rerun::ShimLost | Rerun::ScriptLost => None,
        }
    }

    fn run_cargo(&mut self, watch: &mut Watch) -> anyhow::Result<i32> {
        if let Some(hard_limit) = &self.hard_limit {
            self.guard =
                Guard::start(watch.has_row(), self.job_control, Some(hard_limit.place())).ok();
        }
        self.follow_hard_limit(watch);
        let program = self.command.get_program().to_owned();
        let cargo = self
            .command
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        if let Some(name) = self.task.unit() {
            self.governor.command(cargo.id(), name);
        }
        let exit = self.follow(&mut Waited(cargo), watch);
        if exit.is_err() {
            self.governor.interrupt();
            self.governor.kill_units();
        }
        exit
    }

    /// Governs until Cargo has ended.
    fn follow(&mut self, cargo: &mut Waited, watch: &mut Watch) -> anyhow::Result<i32> {
        // Raised after Cargo has started, which keeps the limits that it was given.
        plimsoll_host::raise_open_files();
        let pid = rustix::process::Pid::from_child(&cargo.0);
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            .context("cannot watch Cargo")?;
        let mut ending: Option<Millis> = None;
        let status = loop {
            let now = self.governor.now();
            let deadline = ending.map_or(now + Millis(500), |at| at + GRACE);
            let extra = [pidfd.as_fd(), self.signals.as_fd()];
            let wake = self.governor.turn(&extra, deadline, watch)?;
            self.follow_hard_limit(watch);
            if self.guard.is_none() && !self.aside && self.governor.has_seen_units() {
                self.guard = Guard::start(watch.has_row(), self.job_control, None).ok();
            }
            for signal in self.signals.pending() {
                self.react(&signal, &pidfd, watch, &mut ending);
            }
            if wake.ready.contains(&0)
                && let Some(status) = cargo.0.try_wait().context("cannot wait for Cargo")?
            {
                break status;
            }
            if ending.is_some_and(|at| self.governor.now() >= at + GRACE) {
                self.governor.kill_units();
                ending = Some(self.governor.now());
            }
            let runs = self.task.kind() == Kind::BuildsThenRuns && !self.aside;
            if runs && has_become_another(&cargo.0) {
                self.aside = true;
                self.governor.stop_governing();
                self.hard_limit = None;
                self.guard = None;
                watch.step_aside();
            }
        };
        if !status.success() {
            // What its shims' ends tell, before they are told to end.
            self.governor.hear_out(watch)?;
        }
        self.clear_away(status.signal().is_some() || ending.is_some(), watch)?;
        Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)))
    }

    /// Has the hard limit follow the budget.
    fn follow_hard_limit(&mut self, watch: &mut Watch) {
        let Some(hard_limit) = &mut self.hard_limit else { return };
        let (budget, lone) = watch.budget();
        if let Some(news) = hard_limit.follow(self.governor.now(), budget, lone) {
            self.governor.notice(&news, watch);
        }
    }

    fn react(
        &mut self,
        signal: &Signal,
        cargo: &OwnedFd,
        watch: &mut Watch,
        ending: &mut Option<Millis>,
    ) {
        match signal {
            Signal::End { number, from_terminal } => {
                // From a terminal it has reached Cargo and its children already; a second one would
                // be another request. What is stopped must go on to hear it.
                if !from_terminal
                    && let Some(number) = rustix::process::Signal::from_named_raw(*number)
                {
                    let _ = rustix::process::pidfd_send_signal(cargo, number);
                }
                self.governor.interrupt();
                ending.get_or_insert(self.governor.now());
                self.interrupted = true;
            }
            // The kernel lets nobody stop where no shell is there that could continue.
            Signal::Stop if !self.job_control => {}
            Signal::Stop => {
                watch.suspend();
                plimsoll_host::stop_self();
                watch.restore();
                self.governor.suspend_again();
            }
            Signal::Continued => self.governor.suspend_again(),
            Signal::Resized => watch.resize(),
        }
    }

    /// Cargo is gone; whatever of its units still runs ends too, and where Cargo was `killed` or told to
    /// end, everything else that it started: build scripts that nobody has seen yet.
    fn clear_away(&mut self, killed: bool, watch: &mut Watch) -> anyhow::Result<()> {
        self.governor.interrupt();
        let until = self.governor.now() + GRACE;
        while self.governor.has_shims() && self.governor.now() < until {
            self.governor.turn(&[], until, watch)?;
        }
        self.governor.kill_units();
        // Under `cargo run`, what ended was perhaps the user's program: what that leaves is its own.
        if killed && self.task.kind() != Kind::BuildsThenRuns {
            self.governor.kill_rest();
        }
        Ok(())
    }
}

/// What the governor is told of this build, whether it is the account's or the driver's own.
fn described(task: Task<'_>, settings: &Settings) -> Join {
    let noted = |(name, known): (&String, &CrateNote)| Some((name.clone(), known.memory?));
    let target_dir = task.build_dir(settings).and_then(|dir| std::path::absolute(dir).ok());
    Join {
        version: VERSION,
        command: task.name(),
        jobs: task.jobs(settings),
        job_slots: task.job_slots(settings),
        memory: settings.memory.value,
        oversized: settings.oversized.value,
        keep_going: task.keep_going(),
        json_messages: task.json_messages(),
        interactive: std::io::stderr().is_terminal(),
        priority: settings.priority.value,
        target_dir: target_dir.unwrap_or_default(),
        staged: task.is_staged(),
        notes: settings.crates.iter().filter_map(noted).collect(),
    }
}

/// Joins the account's governor, where there is one.
fn join(
    described: Join,
    settings: &Settings,
    environment: &Environment,
    jobserver: Jobserver,
) -> Result<Joined, NotJoined> {
    let in_shell = environment.get(ENABLED).is_some();
    let home = settings.home.value.as_deref();
    let home = home.filter(|home| in_shell || Enabled::file(home).is_file());
    let Some(home) = home else {
        return Err(NotJoined { jobserver, why: Why::Unreachable });
    };
    Joined::open(home, described, jobserver)
}

/// A governor of this build's own; with a notice of what a person should know of that.
fn host(
    build: BuildOptions,
    settings: &Settings,
    scratch: &Scratch,
    unix_ms: u64,
    notice: Option<String>,
) -> anyhow::Result<GovernorLink> {
    let options = Options {
        cores: settings.processors.value,
        memory: settings.memory.value,
        reserve: settings.reserve.value,
        home: settings.home.value.clone().unwrap_or_else(|| scratch.state()),
        workspace_root: crate::plimsoll_toml::workspace_root,
    };
    let root = std::process::id();
    let mut governor = Governor::new(options, root, unix_ms)?;
    let build = governor.open(build, root, unix_ms);
    if let Some(text) = notice {
        governor.notice(build, text);
    }
    Ok(GovernorLink::Own { governor: Box::new(governor), build })
}

/// Cargo, which we outlive even where we fail: it is killed then.
struct Waited(Child);

impl Drop for Waited {
    fn drop(&mut self) {
        // It has been waited for, unless something went wrong.
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Under `cargo run`, Cargo replaces itself by the program that it built.
fn has_become_another(cargo: &Child) -> bool {
    let Ok(program) = std::fs::read_link(format!("/proc/{}/exe", cargo.id())) else { return false };
    let own = std::env::current_exe().is_ok_and(|own| own == program);
    let name = program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    !own && !matches!(name.trim_end_matches(" (deleted)"), "cargo" | "rustup")
}
