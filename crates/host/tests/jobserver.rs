//! The jobserver with the tools that use it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
extern crate plimsoll_testing;

use std::fs;
use std::process::{Command, ExitCode};

use plimsoll_host::{Jobserver, MakeflagsForm, Tokens, ToolVersions};
use plimsoll_testing::ignored;

fn main() -> ExitCode {
    plimsoll_testing::run()
}

#[test]
fn a_jobserver_for_n_jobs_has_one_token_less() {
    for (jobs, tokens) in [(0, 0), (1, 0), (2, 1), (64, 63)] {
        assert_eq!(Jobserver::new(jobs).unwrap().unread(), tokens);
    }
}

#[test]
fn places_are_lent_and_taken_back_without_waiting() {
    let mut jobserver = Jobserver::new(3).unwrap();
    assert!(jobserver.take_back().unwrap());
    assert!(jobserver.take_back().unwrap());
    assert!(!jobserver.take_back().unwrap());
    assert_eq!(jobserver.lend(4).unwrap(), 4);
    assert_eq!(jobserver.audit(), Tokens { issued: 4, unread: 4 });
}

#[test]
fn a_named_pipe_goes_with_its_jobserver() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobs");
    let jobserver = Jobserver::with_fifo(5, &path).unwrap();
    assert_eq!(jobserver.unread(), 4);
    assert_eq!(
        jobserver.fifo_makeflags().unwrap(),
        format!("-j --jobserver-auth=fifo:{}", path.display())
    );
    assert!(Jobserver::with_fifo(5, &path).is_err(), "never somebody else's pipe");
    drop(jobserver);
    assert!(!path.exists());
}

/// A makefile whose two goals each wait until the other has begun: it ends only if they run at once.
const MAKEFILE: &str = "all: a b\n\
    a:\n\t@touch a.on; while [ ! -e b.on ]; do sleep 0.01; done\n\
    b:\n\t@touch b.on; while [ ! -e a.on ]; do sleep 0.01; done\n";

#[test]
fn gnu_make_runs_in_parallel_on_the_inherited_descriptors() {
    let Some(version) = ToolVersions::probe().make else { panic!("this test needs GNU make") };
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("Makefile"), MAKEFILE).unwrap();
    let fifo = dir.path().join("jobs");
    let named = Jobserver::with_fifo(2, &fifo).unwrap();
    let mut offers = vec![(&named, named.cargo_makeflags())];
    let anonymous = Jobserver::new(2).unwrap();
    offers.push((&anonymous, anonymous.cargo_makeflags()));
    if (ToolVersions { make: Some(version), ninja: Some((1, 13)) }).form() == MakeflagsForm::Fifo {
        offers.push((&named, named.fifo_makeflags().unwrap()));
    }
    for (jobserver, makeflags) in offers {
        for on in ["a.on", "b.on"] {
            let _ = fs::remove_file(dir.path().join(on));
        }
        let output = Command::new("timeout")
            .args(["60", "make", "-C"])
            .arg(dir.path())
            .env("MAKEFLAGS", &makeflags)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{makeflags}: {stderr}");
        assert!(!stderr.contains("jobserver unavailable"), "{stderr}");
        assert_eq!(jobserver.audit(), Tokens { issued: 1, unread: 1 }, "it gave its token back");
    }
}

#[test]
fn ninja_takes_its_places_from_the_named_pipe() {
    if ToolVersions::probe().ninja < Some((1, 13)) {
        ignored("there is no ninja of 1.13 or later");
    }
    // With one place nothing may overlap; with two, a and b wait for each other.
    let alone = "mkdir running && sleep 0.05 && rmdir running && touch $out";
    let together =
        "touch $out.on; while [ ! -e a.on -o ! -e b.on ]; do sleep 0.01; done; touch $out";
    for (jobs, command) in [(1, alone), (2, together)] {
        let dir = tempfile::tempdir().unwrap();
        let jobserver = Jobserver::with_fifo(jobs, &dir.path().join("jobs")).unwrap();
        let rules = format!("rule r\n  command = {command}\nbuild a: r\nbuild b: r\n");
        fs::write(dir.path().join("build.ninja"), rules).unwrap();
        let output = Command::new("timeout")
            .args(["60", "ninja", "-C"])
            .arg(dir.path())
            .env("MAKEFLAGS", jobserver.fifo_makeflags().unwrap())
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{jobs}: {stdout}");
        assert_eq!(jobserver.audit(), Tokens { issued: jobs - 1, unread: jobs - 1 });
    }
}
