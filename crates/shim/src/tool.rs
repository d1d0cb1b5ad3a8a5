//! Before a program that works on what was compiled: wasm-bindgen, wasm-opt, a bundler.
//!
//! Whoever runs such a tool (`worker-build`, or our own steps) finds a script under the tool's name, which comes here.
//! The tool is a unit: it waits until it fits, is run again where it was killed for want of memory, and is told to need
//! less where it would cross the budget by itself.
//!
//! ```text
//! __tool <name> args…              the program is named by PLIMSOLL_TOOL_<NAME>
//! ```

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use plimsoll_core::oversized::Shrink;
use plimsoll_core::unit::UnitFacts;
use plimsoll_proto::{ToGovernor, ToShim, VERSION};
use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;

use crate::admission::{Answer, answer};
use crate::child::{Child, Pages, Raise};
use crate::connection::{DeathVerdict, FromGovernor, GovernorConnection};
use crate::ending::{self, ChildEnding};
use crate::transport::Transport;
use crate::{diagnostic, env, loss, orphan, tree};

/// The first argument of a program that is to do this.
pub const ARGUMENT: &str = "__tool";

/// Binaryen's own name for the number of its threads (`src/support/threads.cpp`).
const BINARYEN_CORES: &str = "BINARYEN_CORES";

/// esbuild's option by which it may write over what it reads: with it, a second run may find half of that.
const OVERWRITES: &str = "--allow-overwrite";

/// Runs the tool that `args` begins with, and ends as it ended.
#[must_use]
pub fn run(args: &[OsString]) -> ExitCode {
    ending::act(named(args))
}

fn named(args: &[OsString]) -> ChildEnding {
    let found = args.split_first().and_then(|(name, rest)| {
        let program = std::env::var_os(env::tool(name.to_str()?))?;
        Some(ToolRun {
            name: name.to_string_lossy().into_owned(),
            program: program.into(),
            args: rest,
        })
    });
    let Some(tool) = found else {
        diagnostic::plain(
            "this script of Plimsoll works only inside `cargo plimsoll worker build`; run that instead",
        );
        return ChildEnding::Code(2);
    };
    match Transport::find().and_then(|transport| transport.open()) {
        Some((governor, _)) => tool.under(governor),
        None => ending::become_command(tool.command(Shrink::No)),
    }
}

struct ToolRun<'a> {
    name: String,
    program: PathBuf,
    args: &'a [OsString],
}

/// How one run came to its end.
enum Outcome {
    Ended(ChildEnding),
    /// It is to run again, because the governor killed it.
    Retry,
    /// By somebody else's signal.
    Lost(i32),
    Abort,
}

impl ToolRun<'_> {
    fn under(&self, mut governor: GovernorConnection) -> ChildEnding {
        let facts = Box::new(self.facts());
        governor.say(&ToGovernor::Hello { version: VERSION, facts, runs: None, priority: None });
        loop {
            let (again, shrink) = match answer(&mut governor) {
                Answer::Run { again, shrink } => (again && self.may_run_twice(), shrink),
                Answer::Alone => return ending::become_command(self.command(Shrink::No)),
                Answer::End(ending) => return ending,
            };
            tree::adopt_orphans();
            let pages = if shrink == Shrink::No { Pages::Usual } else { Pages::Small };
            let mut command = self.command(shrink);
            let child = match Child::start(&mut command, None, Raise::needed(), pages) {
                Ok(child) => child,
                Err(error) => {
                    diagnostic::plain(&format!("cannot run `{}`: {error}", self.program.display()));
                    governor.say(&ToGovernor::Finished { ok: false, differs: false });
                    return ChildEnding::NOT_STARTED;
                }
            };
            governor.say(&ToGovernor::Started { pid: child.id() });
            match self.watch(child, &mut governor, again) {
                Outcome::Ended(ending) => {
                    let ok = ending == ChildEnding::Code(0);
                    governor.say(&ToGovernor::Finished { ok, differs: false });
                    return ending;
                }
                Outcome::Retry => {}
                Outcome::Lost(signal) => governor.say(&ToGovernor::Lost { signal }),
                Outcome::Abort => {
                    governor.say(&ToGovernor::Finished { ok: false, differs: false });
                    return ChildEnding::FAILED;
                }
            }
        }
    }

    /// Stays with the tool until it has ended, and does what the governor says.
    fn watch(&self, mut child: Child, governor: &mut GovernorConnection, again: bool) -> Outcome {
        let mut is_governed = true;
        loop {
            let mut ready = vec![PollFd::from_borrowed_fd(child.descriptor(), PollFlags::IN)];
            if is_governed {
                ready.push(PollFd::new(&*governor, PollFlags::IN));
            }
            let polled = rustix::event::poll(&mut ready, None).is_ok();
            let ended = polled && !ready[0].revents().is_empty();
            while let Some(received) = is_governed.then(|| governor.hear()).flatten() {
                match received {
                    FromGovernor::Message(ToShim::Retry, _) if self.may_run_twice() => {
                        if !child.kill().is_ok_and(|status| status.success()) {
                            tree::kill_all();
                            return Outcome::Retry;
                        }
                    }
                    FromGovernor::Message(ToShim::Abort, _) => {
                        let _ = child.kill();
                        tree::kill_all();
                        return Outcome::Abort;
                    }
                    FromGovernor::Message(..) => {}
                    FromGovernor::Gone | FromGovernor::Silent(_) => {
                        is_governed = false;
                        orphan::carry_on(None);
                    }
                }
            }
            if ended {
                let ending = child.wait().map_or(ChildEnding::FAILED, ChildEnding::from);
                return self.judge(ending, governor, again && is_governed);
            }
        }
    }

    /// Whether an end counts.
    fn judge(
        &self,
        ending: ChildEnding,
        governor: &mut GovernorConnection,
        again: bool,
    ) -> Outcome {
        let Some(signal) = by_somebody(ending) else { return Outcome::Ended(ending) };
        match governor.verdict() {
            Some(DeathVerdict::Retry) => {
                tree::kill_all();
                Outcome::Retry
            }
            Some(DeathVerdict::Abort) => Outcome::Abort,
            None if again => {
                tree::kill_all();
                Outcome::Lost(signal)
            }
            None => Outcome::Ended(ending),
        }
    }

    fn may_run_twice(&self) -> bool {
        !self.args.iter().any(|arg| arg == OVERWRITES)
    }

    fn facts(&self) -> UnitFacts {
        let package = std::env::var(env::PACKAGE).unwrap_or_default();
        let (package, version) = package.split_once(' ').unwrap_or((&package, ""));
        let input = self.args.iter().find(|arg| is_module(arg)).map(PathBuf::from);
        let mut facts = UnitFacts::tool(
            self.name.clone(),
            package.to_owned(),
            version.to_owned(),
            input.and_then(|path| std::path::absolute(path).ok()).unwrap_or_default(),
        );
        facts.retryable = self.may_run_twice();
        facts
    }

    /// The tool with its arguments. One that would cross the budget alone gets one thread, where that is told so.
    fn command(&self, shrink: Shrink) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.args);
        if shrink >= Shrink::SameOutput {
            command.env(BINARYEN_CORES, "1");
        }
        command
    }
}

/// The signal by which somebody else has ended it; also where a script that stands for the tool passes that on, as
/// shells do.
fn by_somebody(ending: ChildEnding) -> Option<i32> {
    let passed_on = |signal: Signal| ending == ChildEnding::Code(128 + signal.as_raw() as u8);
    let passed_on = [Signal::KILL, Signal::TERM].into_iter().find(|signal| passed_on(*signal));
    loss::by_somebody(ending).or(passed_on.map(Signal::as_raw))
}

fn is_module(arg: &OsStr) -> bool {
    let path = Path::new(arg);
    path.extension().is_some_and(|it| it == "wasm") && path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(args: &[OsString]) -> ToolRun<'_> {
        ToolRun { name: "wasm-opt".to_owned(), program: "/bin/true".into(), args }
    }

    #[test]
    fn what_writes_over_its_input_runs_once() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(tool(&words("a.wasm -o b.wasm -O")).may_run_twice());
        assert!(!tool(&words("./shim.js --outfile=index.js --allow-overwrite")).may_run_twice());
    }

    #[test]
    fn its_input_is_the_module_that_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (input, output) = (dir.path().join("a b.wasm"), dir.path().join("out.wasm"));
        std::fs::write(&input, b"\0asm").unwrap();
        let args = ["-o".into(), output.into_os_string(), input.clone().into_os_string()];
        assert_eq!(tool(&args).facts().source, input);
    }

    #[test]
    fn a_signal_is_known_through_a_shell() {
        assert_eq!(by_somebody(ChildEnding::Code(137)), Some(9));
        assert_eq!(by_somebody(ChildEnding::Signal(15)), Some(15));
        for own in [ChildEnding::Code(1), ChildEnding::Code(139), ChildEnding::Signal(11)] {
            assert_eq!(by_somebody(own), None, "{own:?}");
        }
    }
}
