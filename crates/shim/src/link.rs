//! In the linker's place: waits until the link fits, then runs the real linker.
//!
//! Holding a link back before it starts is the cheapest suspension there is. The linker's standard error is
//! kept to its end, as rustc keeps it anyway, so that a linker that somebody killed can be run again
//! without a trace.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use plimsoll_core::{Bytes, UnitId};
use plimsoll_proto::{ToGovernor, ToShim, VERSION};
use rustix::event::{PollFd, PollFlags};

use crate::child::{Child, Pages, Raise};
use crate::connection::{FromGovernor, GovernorConnection};
use crate::ending::{self, ChildEnding};
use crate::{diagnostic, env, linker, loss, partial_outputs, tree};

/// Links.
pub(crate) fn run(args: &[OsString]) -> ChildEnding {
    let Some(mut governor) = register(args) else {
        return ending::become_command(command(args));
    };
    // Where rustc is killed we go too, and with us the linker.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    tree::adopt_orphans();
    partial_outputs::note_linking(args);
    loop {
        let comes_back = match governor.wait() {
            FromGovernor::Message(ToShim::Admit { again, .. }, _) => again,
            // It explains the death that we have reported.
            FromGovernor::Message(ToShim::Retry, _) => continue,
            FromGovernor::Message(ToShim::Leave | ToShim::Abort, _) => return ChildEnding::FAILED,
            FromGovernor::Message(ToShim::Refuse { text }, _) => {
                diagnostic::plain(&text);
                return ChildEnding::FAILED;
            }
            // Our parent is the compiler: what is said to a person its shim says.
            FromGovernor::Message(ToShim::Ungoverned { .. } | ToShim::Pong, _)
            | FromGovernor::Gone
            | FromGovernor::Silent(_) => return ending::become_command(command(args)),
        };
        match attempt(args, &mut governor) {
            Attempt::Again => {}
            Attempt::Aborted => return ChildEnding::FAILED,
            Attempt::Ended { ending, stderr } => {
                if let Some(signal) = loss::of_linker(ending, &stderr)
                    && comes_back
                {
                    tree::kill_all();
                    remove_temporaries(args);
                    governor.say(&ToGovernor::Lost { signal });
                    continue;
                }
                let _ = std::io::stderr().write_all(&stderr);
                let ok = ending == ChildEnding::Code(0);
                governor.say(&ToGovernor::Finished { ok, differs: false });
                return ending;
            }
        }
    }
}

fn register(args: &[OsString]) -> Option<GovernorConnection> {
    let unit = UnitId(std::env::var(env::UNIT).ok()?.parse().ok()?);
    let mut governor = GovernorConnection::open(&std::env::var_os(env::SOCKET)?)?;
    let inputs = Bytes(linker::inputs(args));
    governor.say(&ToGovernor::Link { version: VERSION, unit, inputs });
    Some(governor)
}

/// The real linker, as rustc would have started it, but for its temporary directory: what a compiler driver that is killed
/// leaves there (gcc's `cc*.res`) goes with rustc's own.
fn command(args: &[OsString]) -> Command {
    let mut command = Command::new(std::env::var_os(env::LINKER).unwrap_or_default());
    command.args(args);
    for name in [env::UNIT, env::LINKER, env::LINK_DIR] {
        command.env_remove(name);
    }
    if let Some(folder) = partial_outputs::linking_folder(args) {
        command.env("TMPDIR", folder);
    }
    command
}

enum Attempt {
    /// The governor has taken it back: wait to be admitted again.
    Again,
    Aborted,
    Ended {
        ending: ChildEnding,
        stderr: Vec<u8>,
    },
}

fn attempt(args: &[OsString], governor: &mut GovernorConnection) -> Attempt {
    let mut command = command(args);
    command.stderr(Stdio::piped());
    let mut child = match Child::start(&mut command, None, Raise::needed(), Pages::Usual) {
        Ok(child) => child,
        // rustc gets the very error that it would have got.
        Err(_) => {
            return Attempt::Ended { ending: ending::become_command(command), stderr: Vec::new() };
        }
    };
    governor.say(&ToGovernor::Started { pid: child.id() });
    let mut pipe = child.take_stderr();
    let mut stderr = Vec::new();
    let mut governed = true;
    // Until the pipe is at its end, as rustc itself would wait; the linker has ended then.
    while let Some(reading) = &mut pipe {
        let mut ready = vec![PollFd::new(reading, PollFlags::IN)];
        if governed {
            ready.push(PollFd::new(governor, PollFlags::IN));
        }
        if rustix::event::poll(&mut ready, None).is_err() {
            continue;
        }
        let ready: Vec<bool> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.get(1) == Some(&true) {
            while let Some(received) = governor.hear() {
                match received {
                    FromGovernor::Message(again @ (ToShim::Retry | ToShim::Abort), _) => {
                        let done = child.kill().is_ok_and(|status| status.success());
                        if done && again == ToShim::Retry {
                            continue;
                        }
                        tree::kill_all();
                        remove_temporaries(args);
                        return if again == ToShim::Retry {
                            Attempt::Again
                        } else {
                            Attempt::Aborted
                        };
                    }
                    FromGovernor::Message(..) => {}
                    FromGovernor::Gone | FromGovernor::Silent(_) => {
                        governed = false;
                        break;
                    }
                }
            }
        }
        if ready[0] {
            let mut bytes = [0; 4096];
            match reading.read(&mut bytes) {
                Ok(0) => pipe = None,
                Ok(read) => stderr.extend_from_slice(&bytes[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => pipe = None,
            }
        }
    }
    let ending = child.wait().map_or(ChildEnding::FAILED, ChildEnding::from);
    Attempt::Ended { ending, stderr }
}

/// Removes what the linker had begun to write under a temporary name beside its output.
fn remove_temporaries(args: &[OsString]) {
    let output = args.iter().position(|arg| arg == "-o").and_then(|at| args.get(at + 1));
    let Some(output) = output.map(PathBuf::from) else { return };
    let (Some(dir), Some(name)) = (output.parent(), output.file_name()) else { return };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    partial_outputs::remove_matching(dir, |file| partial_outputs::is_linkers_temporary(file, name));
}
