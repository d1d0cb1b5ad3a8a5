//! Killed and run again: nothing that a person or Cargo could see.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;

use plimsoll_proto::{ToGovernor, ToShim};
use rustix::process::Signal;

use crate::scene::{ANNOUNCED, LIB, Running, Scene, lives, pid_in, signal};

/// The first run says two things, writes and announces metadata and waits to be killed.
const TWICE: &str = "
    echo warning >&2; echo printed
    echo METADATA >out/libfoo-ab.rmeta.new; mv out/libfoo-ab.rmeta.new out/libfoo-ab.rmeta
    echo 'ANNOUNCED' >&2
    echo again >>runs
    if [ $(wc -l <runs) = 1 ]; then
        touch out/foo-ab.foo.12-cgu.0.rcgu.o $TMPDIR/left; mkdir out/rmetaAbCd12
        sleep 1000 & echo $! >inner; echo waiting >&2; wait
    fi
    echo 'second warning' >&2";

fn twice(metadata: &str) -> Scene {
    Scene::new(&TWICE.replace("METADATA", metadata).replace("ANNOUNCED", ANNOUNCED))
}

#[test]
fn a_unit_that_is_run_again_says_everything_once_and_leaves_nothing() {
    let scene = twice("same");
    let mut running = Running::start(&mut scene.shim(LIB));
    let (mut peer, pid) = scene.governor().start();
    assert_eq!([running.line(), running.line(), running.line()], ["warning", ANNOUNCED, "waiting"]);
    assert_eq!(peer.hear(), ToGovernor::Announced);
    let inner = pid_in(&scene.at("inner"));
    let before = fs::metadata(scene.at("out/libfoo-ab.rmeta")).unwrap();

    peer.say(&ToShim::Retry);
    peer.admit();
    peer.started();
    assert!(!lives(pid) && !lives(inner));
    assert!(peer.finished());
    let (status, stdout, stderr) = running.end();
    assert!(status.success());
    assert_eq!((&*stdout, &*stderr), ("printed\n", "second warning\n"));
    let after = fs::metadata(scene.at("out/libfoo-ab.rmeta")).unwrap();
    assert_eq!(
        (after.ino(), after.modified().unwrap()),
        (before.ino(), before.modified().unwrap())
    );
    assert_eq!(scene.names("out"), ["libfoo-ab.rmeta"]);
    assert_eq!(scene.names("tmp"), [""; 0]);
}

#[test]
fn metadata_that_comes_out_differently_fails_the_unit_and_says_why() {
    let one = "several front-end threads by default";
    for (option, threads, why) in [
        ("-Zthreads=4", 4, "front end runs 4 threads"),
        ("-Zthreads=1", 1, "because of a procedural macro. Run"),
        ("--jobs=4", 1, one),
    ] {
        metadata_that_differs(option, threads, why);
    }
}

fn metadata_that_differs(option: &str, threads: u32, why: &str) {
    let scene = twice("$(wc -l <runs 2>/dev/null)");
    let mut running = Running::start(scene.shim(LIB).arg("--error-format=json").arg(option));
    let (mut peer, facts) = scene.governor().unit();
    assert_eq!(facts.threads, threads);
    peer.admit();
    peer.started();
    assert_eq!(peer.hear(), ToGovernor::Announced);
    pid_in(&scene.at("inner"));
    while running.line() != "waiting" {}
    peer.say(&ToShim::Retry);
    peer.admit();
    peer.started();
    assert_eq!(peer.hear(), ToGovernor::Finished { ok: false, differs: true });
    let (status, _, stderr) = running.end();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("\"level\":\"error\"") && stderr.contains(why), "{option}: {stderr}");
    assert_eq!(scene.names("out"), ["libfoo-ab.rmeta"]);
}

#[test]
fn the_governor_may_kill_before_its_word_arrives() {
    let scene = twice("same");
    let mut running = Running::start(&mut scene.shim(LIB));
    let (mut peer, pid) = scene.governor().start();
    assert_eq!(peer.hear(), ToGovernor::Announced);
    while running.line() != "waiting" {}
    signal(pid, Signal::KILL);
    peer.say(&ToShim::Retry);
    peer.admit();
    peer.started();
    assert!(peer.finished());
    assert!(running.end().0.success());
}

#[test]
fn a_compiler_that_somebody_kills_is_run_again_once() {
    let scene = Scene::new("echo warning >&2; kill -9 $$");
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, _) = scene.governor().start();
    assert_eq!(peer.hear(), ToGovernor::Lost { signal: 9 });
    peer.admit();
    peer.started();
    assert!(!peer.finished());
    let (status, _, stderr) = running.end();
    assert_eq!((status.signal(), stderr.as_str()), (Some(9), "warning\n"));
}

/// earlyoom's first word, and a CI's.
#[test]
fn a_compiler_that_somebody_tells_to_end_is_run_again() {
    let scene = Scene::new(
        "echo warning >&2; echo again >>runs
         if [ $(wc -l <runs) = 1 ]; then touch out/foo-ab.foo.12-cgu.0.rcgu.o; kill -15 $$; fi",
    );
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, _) = scene.governor().start();
    assert_eq!(peer.hear(), ToGovernor::Lost { signal: 15 });
    peer.admit();
    peer.started();
    assert!(peer.finished());
    let (status, _, stderr) = running.end();
    assert!(status.success());
    assert_eq!(stderr, "warning\n");
    assert_eq!(scene.names("out"), [""; 0]);
}

/// The shim hears of both at once: it stands still meanwhile.
#[test]
fn a_compiler_that_is_told_to_end_with_its_build_is_not_run_again() {
    let scene = Scene::new("echo $$ >inner; while :; do sleep 0.01; done");
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, pid) = scene.governor().start();
    pid_in(&scene.at("inner"));
    signal(running.id(), Signal::STOP);
    signal(pid, Signal::TERM);
    peer.say(&ToShim::Abort);
    signal(running.id(), Signal::CONT);
    assert!(!peer.finished());
    assert_eq!(running.end().0.code(), Some(1));
}

#[test]
fn a_compiler_that_finds_no_memory_is_run_again_and_nobody_reads_of_it() {
    let scene = Scene::new(
        "echo warning >&2; echo again >>runs
         if [ $(wc -l <runs) = 1 ]; then
             echo 'memory allocation of 4096 bytes failed' >&2; kill -6 $$
         fi",
    );
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, _) = scene.governor().start();
    assert_eq!(peer.hear(), ToGovernor::Lost { signal: 6 });
    peer.admit();
    peer.started();
    assert!(peer.finished());
    let (status, _, stderr) = running.end();
    assert!(status.success());
    assert_eq!(stderr, "warning\n");
}

#[test]
fn a_crash_of_its_own_is_the_compilers_failure() {
    for death in ["echo 'internal compiler error' >&2; kill -6 $$", "echo crashed >&2; kill -11 $$"]
    {
        let scene = Scene::new(&format!("echo again >>runs; {death}"));
        let running = Running::start(&mut scene.shim(LIB));
        let (mut peer, _) = scene.governor().start();
        assert!(!peer.finished(), "{death}");
        let (status, _, stderr) = running.end();
        assert!(status.signal().is_some() && !stderr.is_empty(), "{death}");
        assert_eq!(fs::read_to_string(scene.at("runs")).unwrap(), "again\n");
    }
}

#[test]
fn a_late_word_explains_a_loss() {
    let scene = Scene::new("echo again >>runs; [ $(wc -l <runs) -gt 2 ] || kill -9 $$");
    let running = Running::start(&mut scene.shim(LIB));
    let (mut peer, _) = scene.governor().start();
    assert_eq!(peer.hear(), ToGovernor::Lost { signal: 9 });
    peer.say(&ToShim::Retry);
    peer.admit();
    peer.started();
    assert_eq!(peer.hear(), ToGovernor::Lost { signal: 9 });
    peer.admit();
    peer.started();
    assert!(peer.finished());
    assert!(running.end().0.success());
}

#[test]
fn what_cannot_be_run_again_is_lost_as_it_is_without_us() {
    let scene = Scene::new("");
    scene.script("cargo", "kill -9 $$");
    let running = Running::start(scene.shim_before(scene.at("cargo")).args(LIB));
    let (mut peer, _) = scene.governor().start();
    assert!(!peer.finished());
    assert_eq!(running.end().0.signal(), Some(9));
}

#[test]
fn a_unit_that_waits_to_run_again_goes_on_when_the_governor_dies() {
    let mut scene = twice("same");
    let mut running = Running::start(&mut scene.shim(LIB));
    let (mut peer, pid) = scene.governor().start();
    assert_eq!(peer.hear(), ToGovernor::Announced);
    while running.line() != "waiting" {}
    peer.say(&ToShim::Retry);
    crate::scene::until("the compiler is gone", || !lives(pid));
    scene.governor = None;
    drop(peer);
    let (status, _, stderr) = running.end();
    assert!(status.success());
    assert_eq!(stderr, "second warning\n");
    assert_eq!(scene.names("out"), ["libfoo-ab.rmeta"]);
}
