//! The account's governor was stopped (a debugger, a SIGSTOP), and with it nothing else.

use std::process::Command;

use rustix::process::Signal;

use crate::process::{Process, is_stopped, runs, signal, until};
use crate::scene::{Running, Scene};

fn enabled(memory: &str) -> Scene {
    let scene = Scene::new();
    let mut enable = scene.plimsoll(&format!("enable --memory {memory}"));
    scene.ok(enable.env("CARGO_HOME", scene.at("cargo")));
    scene
}

fn build(scene: &Scene, package: &str) -> Command {
    let mut build = scene.fake_cargo(&format!("build -p {package}"));
    build.env("CARGO_HOME", scene.at("cargo"));
    build.env("CARGO_TARGET_DIR", scene.at(format!("target-{package}")));
    build
}

/// A build that keeps a governor, which is then stopped.
fn one_is_stopped<'a>(scene: &'a Scene, package: &str) -> (Running<'a>, u32) {
    let running = scene.start(&mut build(scene, package));
    scene.wait_for(&format!("{package}-is-up"));
    let governor = scene.governor().expect("one governs");
    signal(governor, Signal::STOP);
    until("the governor stands still", || is_stopped(governor).then_some(()));
    (running, governor)
}

fn status(scene: &Scene) -> String {
    let mut command = scene.plimsoll("status");
    scene.ok(command.env("CARGO_HOME", scene.at("cargo"))).stdout
}

#[test]
fn a_build_goes_on_without_a_governor_that_stands_still_says_so_once_and_joins_it_again() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n");
    scene.lib("x", &[], "").lib("y", &["x"], "").lib("b", &["y"], "");
    scene.lib("c", &[], "// fake: touch c-is-up; until go\n");
    let (first, governor) = one_is_stopped(&scene, "a");
    let done = scene.ok(&mut build(&scene, "b"));
    let said = format!("governor (process {governor}) does not answer");
    assert_eq!(done.stderr.matches(&said).count(), 1, "{}", done.stderr);
    // Cargo keeps what a compiler says, and says it again: that was not the compiler's.
    let again = scene.ok(&mut build(&scene, "b"));
    assert!(!again.stderr.contains("does not answer"), "{}", again.stderr);
    assert!(status(&scene).contains(&format!("process {governor} does not answer")));
    let top = scene.run(&mut scene.plimsoll("top --once"));
    assert!(top.stderr.contains(&said), "{}", top.stderr);
    // A second build's user is told, too.
    let done = scene.ok(build(&scene, "b").env("CARGO_TARGET_DIR", scene.at("target-other")));
    assert_eq!(done.stderr.matches(&said).count(), 1, "{}", done.stderr);
    signal(governor, Signal::CONT);
    let third = scene.start(&mut build(&scene, "c"));
    scene.wait_for("c-is-up");
    until("both builds are governed", || status(&scene).contains(": 2 builds use ").then_some(()));
    scene.write("go", "");
    for running in [first, third] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(!done.stderr.contains("does not answer"), "{}", done.stderr);
    }
    assert_eq!(scene.governor(), Some(governor), "the same one");
}

#[test]
fn a_unit_that_waits_when_its_governor_is_stopped_goes_on_and_fails_nothing() {
    let scene = enabled("400MiB");
    scene.lib("a", &[], "// fake: alloc 300MiB in 300ms; touch a-is-up; until go\n");
    scene.lib("b", &[], "// fake: log run-b; alloc 300MiB in 300ms\n");
    scene.lib("c", &["b"], "");
    scene.ok(build(&scene, "b").env("CARGO_TARGET_DIR", scene.at("target-known")));
    let first = scene.start(&mut build(&scene, "a"));
    scene.wait_for("a-is-up");
    let second = scene.start(&mut build(&scene, "c"));
    until("b waits", || status(&scene).contains(", 1 waiting").then_some(()));
    let governor = scene.governor().expect("one governs");
    signal(governor, Signal::STOP);
    scene.wait_for_lines("run-b", 2);
    // It hears that b has gone on by itself, which is no failure.
    signal(governor, Signal::CONT);
    scene.write("go", "");
    end_well([first, second]);
}

fn end_well(builds: [Running; 2]) {
    for running in builds {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
}

#[test]
fn what_a_governor_has_stopped_goes_on_while_that_stands_still_itself() {
    what_is_stopped_goes_on(false);
}

#[test]
fn what_a_governor_has_stopped_goes_on_also_where_its_watchdog_is_dead() {
    what_is_stopped_goes_on(true);
}

fn what_is_stopped_goes_on(without_watchdog: bool) {
    let scene = enabled("400MiB");
    scene.lib("a", &[], "// fake: alloc 130MiB in 260ms; touch a-is-up; until go\n");
    scene.lib("z", &[], "").lib(
        "b",
        &["z"],
        "// fake: until a-is-up; log run-b; alloc 350MiB in 1400ms; touch b-is-up; until go\n",
    );
    let first = scene.start(&mut build(&scene, "a"));
    scene.wait_for("a-is-up");
    let second = scene.start(&mut build(&scene, "b"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let governor = scene.governor().expect("one governs");
    signal(governor, Signal::STOP);
    if without_watchdog {
        signal(Process::read(governor).unwrap().parent, Signal::KILL);
    }
    until("b goes on", || runs(b).then_some(()));
    scene.wait_for("b-is-up");
    signal(governor, Signal::CONT);
    scene.write("go", "");
    end_well([first, second]);
}

#[test]
fn a_driver_keeps_a_line_of_its_own_where_the_accounts_governor_stands_still() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n");
    scene.lib("b", &[], "");
    let (first, governor) = one_is_stopped(&scene, "a");
    let mut driven = scene.fake("--memory 500MiB build -p b");
    driven.env("CARGO_HOME", scene.at("cargo")).env("CARGO_TARGET_DIR", scene.at("target-b"));
    let done = scene.ok(&mut driven);
    assert!(done.stderr.contains("of 500 MiB"), "{}", done.stderr);
    let said = format!("governor (process {governor}) does not answer");
    assert_eq!(done.stderr.matches(&said).count(), 1, "{}", done.stderr);
    signal(governor, Signal::CONT);
    scene.write("go", "");
    let done = first.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}
