//! The hard limit at the budget (`--hard`): the build goes into a cgroup of its own, whose limit follows the budget.
//!
//! ```text
//! can it be made here?  --yes--> raised; Cargo goes behind it before it is Cargo; followed while it runs; taken away
//!        | no
//! can systemd give us a cgroup of our own?  --yes--> this process becomes the same command there, once
//!        | no
//! said in one line, with what would help; the build goes on with its budget alone
//! ```
//! How high it is `plimsoll_core::hard_limit` decides; what there is to make one of, `plimsoll_host::BuildWall`.
//!
//! The driver, and the governor in it, stay outside: they have to see to the build while that is at its hard limit, and it
//! is none of the limits above them. A process goes behind it by itself, as [`ENTER`], and then becomes Cargo: nothing that Cargo starts can be missed, and no other thread's
//! child gets there by mistake.
//!
//! When this process is killed one of the guards ([`super::guard`]) takes the hard limit away after the build, and when that is
//! killed, too, the next driver does.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use plimsoll_core::hard_limit::HardLimit;
use plimsoll_core::{Bytes, Millis};
use plimsoll_host::{CgroupPath, HardLimitCgroup, Limits, NoHardLimit};
use plimsoll_shim::env as private;

use crate::env::Environment;
use crate::settings::Settings;
use crate::shell::Shell;

/// The first argument of the process that goes inside the cgroup limit and becomes what follows.
const ENTER: &str = "__inside-hard-limit";
/// This program in the process that has just been forked, also where its file was replaced meanwhile.
const OURSELVES: &str = "/proc/self/exe";
/// Between the words of the hard limit and those of the command.
const BECOME: &str = "--";

/// The hard limit is looked at this often. Because in so long a build grows by less than what is kept for files.
const EVERY: Millis = Millis(100);

/// A hard limit around one build.
#[derive(Debug)]
pub(super) struct RaisedLimit {
    hard_limit: HardLimitCgroup,
    height: HardLimit,
    looked: Option<Millis>,
    /// The budget and whether there was an oversized unit, when it was last moved.
    heard: (Bytes, bool),
    kills: u64,
    killed_by_oomd: u64,
    /// That it cannot be raised was said.
    stuck: bool,
}

impl RaisedLimit {
    /// Raises it where it is asked for; says it where it cannot be had. Before anything else is started: where it can
    /// only be had in a cgroup of systemd's making this process becomes the same command in one, and does not come
    /// back.
    pub(super) fn raise(
        settings: &Settings,
        environment: &Environment,
        shell: &mut Shell,
    ) -> Option<Self> {
        if !settings.hard.value {
            return None;
        }
        match HardLimitCgroup::raise(Path::new("/"), std::process::id()) {
            Ok(hard_limit) => Some(Self {
                hard_limit,
                height: HardLimit::new(settings.oversized.value.refuses()),
                looked: None,
                heard: (Bytes::ZERO, false),
                kills: 0,
                killed_by_oomd: 0,
                stuck: false,
            }),
            Err(NoHardLimit::Behind) => None,
            Err(why) => {
                if environment.get(private::SCOPED).is_none() {
                    become_scoped(environment);
                }
                shell.warn(refusal(&why));
                None
            }
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> &CgroupPath {
        self.hard_limit.place()
    }

    /// The command, as it goes inside the cgroup limit.
    pub(super) fn around(&self, command: &Command) -> Command {
        let mut behind = Command::new(OURSELVES);
        behind.arg(ENTER).args(self.place().words()).arg(BECOME);
        behind.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => behind.env(name, value),
                None => behind.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            behind.current_dir(dir);
        }
        behind
    }

    /// Moves it to where it is to be: for a build that is under this `line`, in which a `lone` oversized unit may run. Gives
    /// what a person should know.
    pub(super) fn follow(&mut self, now: Millis, budget: Bytes, lone: bool) -> Option<String> {
        let heard = std::mem::replace(&mut self.heard, (budget, lone));
        if heard != self.heard || self.looked.is_none_or(|at| now - at >= EVERY) {
            self.looked = Some(now);
            let before = self.height.clone();
            let height = self.height.follow(now, budget, lone, &self.hard_limit.look());
            if let Some(height) = height
                && let Err(error) = self.hard_limit.set(height)
            {
                // v1 lowers no limit below what it cannot drop at once: that is tried again.
                let sinks = height.limit < before.limit();
                self.height = before;
                if !sinks && !std::mem::replace(&mut self.stuck, true) {
                    return Some(format!(
                        "the hard limit cannot be moved: {error}: {}",
                        error.source
                    ));
                }
            }
        }
        let kills = self.hard_limit.kills();
        let new = kills - std::mem::replace(&mut self.kills, kills).min(kills);
        (new > 0).then(|| {
            let processes = if new == 1 { "1 process" } else { &format!("{new} processes") };
            format!(
                "the kernel killed {processes} of this build at its hard limit of {}; a compiler or linker among them runs \
                 again by itself",
                self.height.limit()
            )
        })
    }

    /// Whether systemd-oomd has killed all that was behind it since this was last asked.
    pub(super) fn was_emptied_by_oomd(&mut self) -> bool {
        let killed = self.hard_limit.killed_by_oomd();
        killed > std::mem::replace(&mut self.killed_by_oomd, killed)
    }
}

/// Whoever is still behind it goes on where the driver began: the user's own program under `cargo run`, a server that
/// the build has started.
impl Drop for RaisedLimit {
    fn drop(&mut self) {
        // What stays the next driver sweeps away.
        let _ = self.hard_limit.place().remove();
    }
}

fn refusal(why: &NoHardLimit) -> String {
    format!("no hard limit at the budget: {why}. This build has its budget alone")
}

/// Where this process is to go inside a cgroup limit: does so, and becomes the command. Gives an exit code where it cannot.
pub(crate) fn main() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != ENTER {
        return None;
    }
    let place: Vec<OsString> = args.by_ref().take_while(|word| word != BECOME).collect();
    let program = args.next()?;
    let mut shell = Shell::of_process();
    let entered = CgroupPath::from_words(&place).map(|place| place.enter());
    if !matches!(entered, Some(Ok(()))) {
        shell.warn("Cargo cannot go inside the cgroup limit: this build has its budget alone");
    }
    let error = Command::new(&program).args(args).exec();
    let failed = anyhow::Error::new(error).context(format!("cannot start `{}`", program.display()));
    shell.error(failed.as_ref());
    Some(ExitCode::from(101))
}

/// Becomes this command in a scope of systemd's, the user's own or, for root, the system's. Not where some limit is
/// above us: a scope elsewhere would be without it.
fn become_scoped(environment: &Environment) {
    let limited = Limits::discover(Path::new("/")).map(|limits| !limits.read().cgroups.is_empty());
    let bus = environment.get("XDG_RUNTIME_DIR").map(|dir| Path::new(dir).join("bus"));
    let has_bus = bus.is_some_and(|bus| bus.exists());
    let is_root = rustix::process::geteuid().is_root();
    let has_system = is_root && Path::new("/run/systemd/system").is_dir();
    if limited.unwrap_or(true) || !(has_bus || has_system) {
        return;
    }
    let manager = if is_root && has_system { "--system" } else { "--user" };
    let scope = |command: &OsStr| {
        let mut scope = Command::new("systemd-run");
        let delegated = [manager, "--scope", "--quiet", "--collect", "--property=Delegate=yes"];
        scope.args(delegated).arg(BECOME).arg(command);
        scope
    };
    // Once it is this process there is no way back, so it is tried first.
    let mut trial = scope("true".as_ref());
    trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(own) = std::env::current_exe() else { return };
    if trial.status().is_ok_and(|status| status.success()) {
        let mut whole = scope(own.as_os_str());
        // It keeps this process: `systemd-run --scope` makes the scope around itself and becomes the command.
        drop(whole.args(std::env::args_os().skip(1)).env(private::SCOPED, "1").exec());
    }
}
