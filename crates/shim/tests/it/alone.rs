//! Without a governor, and when it goes.

use std::fs;
use std::process::Command;

use plimsoll_shim::env;
use rustix::process::Signal;

use crate::scene::{LIB, Running, Scene, signal, state, until};

const PLAIN: &str = "echo ${CARGO_MAKEFLAGS-none} $TMPDIR";

#[test]
fn without_a_governor_the_compiler_runs_as_if_we_were_not_there() {
    for socket in [None, Some("plimsoll-test-nobody-listens")] {
        let mut scene = Scene::new(&format!("{PLAIN}; echo said >&2; exit 3"));
        scene.governor = None;
        let mut command = scene.shim(LIB);
        command.env("CARGO_MAKEFLAGS", "cargo's").env("TMPDIR", "/t");
        if let Some(socket) = socket {
            command.env(env::SOCKET, socket);
        }
        let (status, stdout, stderr) = Running::start(&mut command).end();
        assert_eq!((status.code(), stdout.as_str()), (Some(3), "cargo's /t\n"));
        assert_eq!(stderr, "said\n");
    }
}

#[test]
fn a_governor_that_goes_while_we_wait_is_not_waited_for() {
    let mut scene = Scene::new(PLAIN);
    // Somebody has said it: it is not to be said to whoever runs this test.
    fs::write(scene.at("tmp/governor-is-gone"), "").unwrap();
    let mut command = scene.shim(LIB);
    command.env("CARGO_MAKEFLAGS", "cargo's").env("TMPDIR", "/t");
    let running = Running::start(&mut command);
    let (peer, _) = scene.governor().unit();
    scene.governor = None;
    drop(peer);
    let (status, stdout, stderr) = running.end();
    assert!(status.success());
    assert_eq!((stdout.as_str(), stderr.as_str()), ("cargo's /t\n", ""));
    assert!(!scene.at("tmp").exists(), "the orphaned directory is taken away");
}

#[test]
fn a_governor_that_speaks_another_language_is_none() {
    let scene = Scene::new(PLAIN);
    let running = Running::start(scene.shim(LIB).env_remove(env::TMP));
    let (mut peer, _) = scene.governor().unit();
    peer.say_bytes(b"dance\n");
    assert!(running.end().0.success());
}

/// The shim below a "cargo" whose standard error is not the shim's own.
fn below_cargo(scene: &Scene, name: &str) -> Command {
    let mut command = Command::new("sh");
    scene.prepare(&mut command);
    let script = format!("sh -c 'exec ./plimsoll-rustc \"$@\" 2>log-{name}' sh \"$@\"; exit $?");
    command
        .args(["-c", &script, "cargo"])
        .arg(scene.at("rustc"))
        .args(LIB)
        .env("GATE", scene.gate(name));
    command
}

#[test]
fn units_go_on_when_the_governor_dies_and_one_says_so() {
    let mut scene = Scene::new(
        "echo own >&2; read line <$GATE; r=${CARGO_MAKEFLAGS##*auth=}; r=${r%,*}
         n=$(getconf _NPROCESSORS_ONLN)
         [ $n -lt 2 ] || head -c1 /proc/self/fd/$r | wc -c",
    );
    let mut running: Vec<_> =
        ["1", "2"].map(|name| Running::start(&mut below_cargo(&scene, name))).into();
    let (mut a, first) = scene.governor().unit();
    let (mut b, _) = scene.governor().unit();
    assert!(first.retryable);
    let pipes = (a.admit(), b.admit());
    let pids = [a.started(), b.started()];
    for pid in pids {
        signal(pid, Signal::STOP);
        until("the compiler is stopped", || state(pid) == Some('T'));
    }
    scene.governor = None;
    drop((a, b, pipes));
    for pid in pids {
        until("the compiler goes on", || state(pid) != Some('T'));
    }
    for gate in ["1", "2"] {
        fs::write(scene.at(gate), "\n").unwrap();
    }
    let said: Vec<_> = running.drain(..).map(Running::end).collect();
    for (status, stdout, _) in &said {
        assert!(status.success());
        assert!(stdout.is_empty() || stdout.trim() == "1", "{stdout}");
    }
    let notices =
        said.iter().filter(|(_, _, stderr)| stderr.contains("without a memory budget")).count();
    assert_eq!(notices, 1, "{said:?}");
    for log in ["log-1", "log-2"] {
        assert_eq!(fs::read_to_string(scene.at(log)).unwrap(), "own\n");
    }
    assert!(!scene.at("tmp").exists(), "the last one takes the directory away");
}
