//! In the place of Cargo's target runner: a test waits until it fits, then runs as if we were not there.
//!
//! ```text
//! plimsoll-test <program> args…
//! ```
//!
//! The process that waited becomes the test (exec), so that its number, its terminal, its signals and its end are the
//! test's own; the governor sees its memory and its end from outside. Only with `--retry-tests` does this process
//! stay above it: then a test that was killed for want of memory runs once more, with nothing beside it.
//!
//! What it deliberately does not do: stop or kill a test, or say anything about how it went.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use plimsoll_core::unit::UnitFacts;
use plimsoll_proto::{ToGovernor, VERSION};

use crate::admission::{Answer, answer};
use crate::child::{Child, Pages, Raise};
use crate::connection::GovernorConnection;
use crate::ending::{self, ChildEnding};
use crate::transport::Transport;
use crate::{diagnostic, env};

/// Runs the test program that `args` begins with.
pub(crate) fn run(args: &[OsString]) -> ChildEnding {
    let Some(program) = args.first() else {
        diagnostic::plain(
            "`plimsoll-test` is started by Cargo in place of a test; run `cargo plimsoll test`",
        );
        return ChildEnding::Code(2);
    };
    let reached = if only_lists(args) {
        None
    } else {
        Transport::find().and_then(|transport| transport.open())
    };
    let Some((mut governor, _)) = reached else { return ending::become_command(command(args)) };
    let var = |name| std::env::var(name).unwrap_or_default();
    let stem = Path::new(program).file_stem().unwrap_or_default().to_string_lossy();
    let facts =
        UnitFacts::test_run(var("CARGO_PKG_NAME"), var("CARGO_PKG_VERSION"), &stem, case(args));
    let (facts, priority) = (Box::new(facts), None);
    governor.say(&ToGovernor::Hello { version: VERSION, facts, runs: None, priority });
    match answer(&mut governor) {
        Answer::Run { .. } if retries() => return run_below(args, &mut governor),
        Answer::Run { .. } => {
            Raise::needed().raise_own();
            governor.say(&ToGovernor::Becomes);
        }
        Answer::Alone => {}
        Answer::End(ending) => return ending,
    }
    ending::become_command(command(args))
}

/// Stays above the test, and runs it once more where it was killed for want of memory and the governor says so. A
/// signal that ends us (Ctrl-C reaches the whole group) ends the test with us.
fn run_below(args: &[OsString], governor: &mut GovernorConnection) -> ChildEnding {
    const KILLED: i32 = 9;
    loop {
        let Ok(mut child) = Child::start(&mut command(args), None, Raise::needed(), Pages::Usual)
        else {
            return ending::become_command(command(args));
        };
        governor.say(&ToGovernor::Started { pid: child.id() });
        let ending = child.wait().map_or(ChildEnding::FAILED, ChildEnding::from);
        if ending != ChildEnding::Signal(KILLED) {
            governor
                .say(&ToGovernor::Finished { ok: ending == ChildEnding::Code(0), differs: false });
            return ending;
        }
        governor.say(&ToGovernor::Lost { signal: KILLED });
        // It waits again where memory was short, once; else it leaves.
        match answer(governor) {
            Answer::Run { .. } => {}
            Answer::Alone | Answer::End(_) => return ending,
        }
    }
}

/// The test, without what has put us in its place: a Cargo that it runs has runners of its own.
fn command(args: &[OsString]) -> Command {
    let mut command = Command::new(args.first().cloned().unwrap_or_default());
    command.args(&args[1..]);
    let runner = |name: &str| name.starts_with("CARGO_TARGET_") && name.ends_with("_RUNNER");
    for (name, value) in std::env::vars_os() {
        let ours = Path::new(&value).file_name().is_some_and(|name| name == crate::name::TEST);
        if ours && name.to_str().is_some_and(runner) {
            command.env_remove(name);
        }
    }
    command
}

/// A runner's question for what there is to run: nothing runs.
fn only_lists(args: &[OsString]) -> bool {
    args.iter().skip(1).any(|arg| arg == "--list")
}

/// The one test that is to run: nextest starts the program once for each (`--exact name`).
fn case(args: &[OsString]) -> &str {
    let exact = args.iter().any(|arg| arg == "--exact");
    let mut names =
        args.iter().skip(1).filter_map(|arg| arg.to_str()).filter(|arg| !arg.starts_with('-'));
    match (exact, names.next(), names.next()) {
        (true, Some(name), None) => name,
        _ => "",
    }
}

fn retries() -> bool {
    std::env::var_os(env::RETRY_TESTS).is_some_and(|set| set == "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_run_is_read_from_the_words() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        let of = |line: &str| case(&words(line)).to_owned();
        assert_eq!(of("/t/a-0123 --exact a::b --nocapture"), "a::b");
        assert_eq!(of("/t/a-0123 a::b"), "", "a filter");
        assert_eq!(of("/t/a-0123 --exact a b"), "");
        assert!(only_lists(&words("/t/a --list --format terse")));
        assert!(!only_lists(&words("--list")), "that is the program");
    }
}
