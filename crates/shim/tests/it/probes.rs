//! Questions to the compiler.

use std::fs;
use std::process::Command;

use plimsoll_shim::env;

use crate::scene::{Running, Scene};

const CFG: &[&str] = &["-", "--crate-name", "___", "--print=file-names", "--print=cfg"];

/// Changes how a question is asked.
type Prepare = dyn Fn(&mut Command) -> &mut Command;

/// A toolchain whose compiler counts how often it is asked.
fn toolchain() -> Scene {
    let scene = Scene::new("");
    fs::create_dir_all(scene.at("tc/bin")).unwrap();
    fs::create_dir_all(scene.at("tc/lib/rustlib")).unwrap();
    scene.script("tc/bin/rustc", "echo asked >>asked; echo \"answer $*\"; echo note >&2");
    scene
}

fn ask(
    scene: &Scene,
    args: &[&str],
    prepare: impl Fn(&mut Command) -> &mut Command,
) -> (usize, String, String) {
    let mut command = scene.shim_before(scene.at("tc/bin/rustc"));
    command.args(args).env(env::PROBES, scene.at("probes"));
    prepare(&mut command);
    let (status, stdout, stderr) = Running::start(&mut command).end();
    assert!(status.success());
    let asked = fs::read_to_string(scene.at("asked")).unwrap_or_default().lines().count();
    (asked, stdout, stderr)
}

#[test]
fn the_standard_questions_are_asked_once() {
    let scene = toolchain();
    for (args, asked) in [(&["-vV"][..], 1), (&["-vV"], 1), (CFG, 2), (CFG, 2)] {
        let expected = (asked, format!("answer {}\n", args.join(" ")), "note\n".to_owned());
        assert_eq!(ask(&scene, args, |command| command), expected);
    }
    // Whatever can change the answer asks again.
    assert_eq!(ask(&scene, CFG, |command| command.env("RUSTC_BOOTSTRAP", "1")).0, 3);
    assert_eq!(ask(&scene, &["-vV"], |command| command.current_dir("/")).0, 3);
    scene.script("tc/bin/rustc", "echo asked >>asked; echo 'a newer compiler'");
    assert_eq!(
        ask(&scene, &["-vV"], |command| command),
        (4, "a newer compiler\n".to_owned(), String::new())
    );
    // No question registers with the governor, and none leaves a file half written.
    assert!(
        scene.names("probes").iter().all(|name| name.len() == 16),
        "{:?}",
        scene.names("probes")
    );
}

#[test]
fn whatever_is_odd_is_asked() {
    let scene = toolchain();
    let odd: [(&[&str], &Prepare); 4] = [
        (&["-V"], &|command| command),
        (&["--print", "cfg"], &|command| command),
        (&["-vV"], &|command| command.env(env::PROBES, "/dev/null/nowhere")),
        (&["-vV"], &|command| command.env_remove(env::PROBES)),
    ];
    for (number, (args, prepare)) in odd.into_iter().enumerate() {
        assert_eq!(ask(&scene, args, prepare).0, number * 2 + 1);
        assert_eq!(ask(&scene, args, prepare).0, number * 2 + 2);
    }
    assert!(!scene.at("probes").exists());
    // A damaged answer.
    assert_eq!(ask(&scene, &["-vV"], |command| command).0, 9);
    let kept = scene.at("probes").join(&scene.names("probes")[0]);
    fs::write(&kept, "plimsoll-probe-1 9 9 9\nx").unwrap();
    assert_eq!(
        ask(&scene, &["-vV"], |command| command),
        (10, "answer -vV\n".to_owned(), "note\n".to_owned())
    );
    // A proxy that stands beside no library.
    fs::remove_dir(scene.at("tc/lib/rustlib")).unwrap();
    assert_eq!(ask(&scene, &["-vV"], |command| command).0, 11);
    assert_eq!(ask(&scene, &["-vV"], |command| command).0, 12);
}

#[test]
fn a_question_that_fails_is_not_kept() {
    let scene = toolchain();
    scene.script("tc/bin/rustc", "echo asked >>asked; echo no >&2; exit 3");
    for _ in 0..2 {
        let mut command = scene.shim_before(scene.at("tc/bin/rustc"));
        command.arg("-vV").env(env::PROBES, scene.at("probes"));
        let (status, _, stderr) = Running::start(&mut command).end();
        assert_eq!((status.code(), stderr.as_str()), (Some(3), "no\n"));
    }
    assert!(!scene.at("probes").exists());
}

#[test]
fn the_oldest_answers_are_forgotten() {
    let scene = toolchain();
    for number in 0..70 {
        let name = format!("--cfg=n{number}");
        let args = [CFG, &[name.as_str()]].concat();
        ask(&scene, &args, |command| command);
    }
    assert_eq!(scene.names("probes").len(), 64);
}
