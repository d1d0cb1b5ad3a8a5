//! The shim in the linker's place.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

use plimsoll_core::Bytes;
use plimsoll_proto::{ToGovernor, ToShim};
use plimsoll_shim::env;
use rustix::process::Signal;

use crate::governor::Peer;
use crate::scene::{Running, Scene, lives, pid_in, signal};

/// A scene in which `ld-script` is the linker, and the command by which rustc would start it.
fn linking(script: &str) -> (Scene, Command) {
    let scene = Scene::new("");
    scene.script("ld-script", script);
    fs::create_dir(scene.at("link")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_plimsoll-shim"), scene.at("link/ld-script"))
        .unwrap();
    let mut command = Command::new(scene.at("link/ld-script"));
    scene.prepare(&mut command);
    command
        .env(env::UNIT, "7")
        .env(env::LINKER, scene.at("ld-script"))
        .env(env::LINK_DIR, scene.at("link"));
    (scene, command)
}

fn asks(scene: &Scene) -> (Peer, Bytes) {
    let mut peer = scene.governor().accept();
    match peer.hear() {
        ToGovernor::Link { unit, inputs, .. } => {
            assert_eq!(unit.0, 7);
            (peer, inputs)
        }
        other => panic!("not a link: {other:?}"),
    }
}

#[test]
fn a_link_waits_and_says_what_it_will_read() {
    let (scene, mut command) = linking("touch ran; echo \"$@\"; echo said >&2; exit 4");
    fs::write(scene.at("a.o"), [0; 100]).unwrap();
    fs::write(scene.at("b c.rlib"), [0; 1000]).unwrap();
    fs::write(scene.at("rest"), "\"b c.rlib\"\n-lm\n").unwrap();
    let running = Running::start(command.args(["a.o", "-lc", "@rest", "-o", "out/foo"]));
    let (mut peer, inputs) = asks(&scene);
    assert_eq!(inputs, Bytes(1100));
    assert!(!scene.at("ran").exists());
    peer.admit_link();
    peer.started();
    assert!(!peer.finished());
    let (status, stdout, stderr) = running.end();
    assert_eq!(status.code(), Some(4));
    assert_eq!((stdout.as_str(), stderr.as_str()), ("a.o -lc @rest -o out/foo\n", "said\n"));
}

#[test]
fn what_a_compiler_driver_leaves_when_it_is_killed_goes_with_rustcs_own_folder() {
    for file in ["symbols.o", "linker-arguments"] {
        let (scene, mut command) = linking("touch \"$TMPDIR/ccAbCdEf.res\"");
        let folder = scene.at("out/rustcAbCdEf");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file), "").unwrap();
        let at = if file == "symbols.o" { "" } else { "@" };
        let word = format!("{at}{}", folder.join(file).display());
        let running = Running::start(command.args([word.as_str(), "-o", "out/foo"]));
        let (mut peer, _) = asks(&scene);
        peer.admit_link();
        peer.started();
        assert!(peer.finished());
        assert!(running.end().0.success());
        assert!(folder.join("ccAbCdEf.res").exists(), "{word}");
    }
}

#[test]
fn a_link_is_killed_and_run_again() {
    let (scene, mut command) = linking(
        "echo again >>runs; if [ $(wc -l <runs) = 1 ]; then
             touch out/foo.tmpf17f59b; sleep 1000 & echo $! >inner; echo wrong >&2; wait
         fi; echo right >&2",
    );
    let running = Running::start(command.args(["-o", "out/foo"]));
    let (mut peer, _) = asks(&scene);
    peer.admit_link();
    let pid = peer.started();
    let inner = pid_in(&scene.at("inner"));
    peer.say(&ToShim::Retry);
    peer.admit_link();
    peer.started();
    assert!(!lives(pid) && !lives(inner));
    assert!(peer.finished());
    let (status, _, stderr) = running.end();
    assert!(status.success());
    assert_eq!(stderr, "right\n");
    assert_eq!(scene.names("out"), [""; 0]);
}

#[test]
fn a_linker_that_somebody_kills_is_run_again_once() {
    for (signal, death) in [
        (9, "kill -9 $$"),
        (9, "echo 'collect2: fatal error: ld terminated with signal 9 [Killed]' >&2; exit 1"),
        (9, "echo 'clang: error: unable to execute command: Killed' >&2; exit 1"),
        (9, "echo 'cc: fatal error: Killed signal terminated program collect2' >&2; exit 1"),
        (15, "kill -15 $$"),
        (15, "echo 'collect2: fatal error: ld terminated with signal 15 [Terminated]' >&2; exit 1"),
    ] {
        let (scene, mut command) =
            linking(&format!("echo again >>runs; [ $(wc -l <runs) -gt 1 ] || {{ {death}; }}"));
        let running = Running::start(&mut command);
        let (mut peer, _) = asks(&scene);
        peer.admit_link();
        peer.started();
        assert_eq!(peer.hear(), ToGovernor::Lost { signal }, "{death}");
        peer.admit_link();
        peer.started();
        assert!(peer.finished(), "{death}");
        let (status, _, stderr) = running.end();
        assert!(status.success());
        assert_eq!(stderr, "");
    }
    let (scene, mut command) = linking("kill -9 $$");
    let running = Running::start(&mut command);
    let (mut peer, _) = asks(&scene);
    for _ in 0..2 {
        peer.admit_link();
        peer.started();
        let word = peer.hear();
        assert!(matches!(word, ToGovernor::Lost { .. } | ToGovernor::Finished { ok: false, .. }));
    }
    assert_eq!(running.end().0.signal(), Some(9));
}

#[test]
fn a_link_goes_on_without_a_governor() {
    let (mut scene, mut command) = linking("echo linked");
    let waiting = Running::start(&mut command);
    let (peer, _) = asks(&scene);
    scene.governor = None;
    drop(peer);
    assert_eq!(waiting.end().1, "linked\n");
    assert_eq!(Running::start(&mut command).end().1, "linked\n");
}

#[test]
fn a_link_ends_with_the_compiler_that_started_it() {
    let (scene, command) = linking("echo here >&2; exec sleep 1000");
    // The compiler: a process that waits for its linker.
    let mut compiler = Command::new("sh");
    scene.prepare(&mut compiler);
    compiler.arg("-c").arg("\"$0\" -o x 2>ld-log; exit $?").arg(scene.at("link/ld-script"));
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            compiler.env(name, value);
        }
    }
    let running = Running::start(&mut compiler);
    let (mut peer, _) = asks(&scene);
    peer.admit_link();
    let pid = peer.started();
    signal(running.id(), Signal::KILL);
    crate::scene::until("the linker is gone", || !lives(pid));
    assert!(peer.hangs_up());
}
