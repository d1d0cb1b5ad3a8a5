//! `--hard`: a real wall at the line, made, moved and taken away, whoever dies.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::process::until;
use crate::scene::Scene;

const MIB: u64 = 1 << 20;

/// Our own memory cgroup (v1), where this user may make others below it.
fn own_group() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|it| it == "memory").then(|| fields.next())?
    });
    let dir =
        Path::new("/sys/fs/cgroup/memory").join(path.unwrap_or("none").trim_start_matches('/'));
    let probe = dir.join(format!("plimsoll-e2e-{}-probe", std::process::id()));
    if fs::create_dir(&probe).is_err() {
        eprintln!("SKIPPED: this user may make no memory cgroup");
        return None;
    }
    fs::remove_dir(probe).unwrap();
    Some(dir)
}

/// The walls of this driver.
fn walls(dir: &Path, driver: u32) -> Vec<PathBuf> {
    let of_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(&format!("plimsoll-{driver}-"))
    };
    fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()).filter(of_it).collect()
}

fn limit(wall: &Path) -> u64 {
    let text = fs::read_to_string(wall.join("memory.limit_in_bytes")).unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn a_wall_stands_at_the_line_with_room_for_files_and_is_gone_afterwards() {
    let Some(dir) = own_group() else { return };
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run; alloc 100MiB in 200ms; touch up; until go\n");
    let running = scene.start(&mut scene.fake("--memory 300MiB --hard build"));
    let compiler = scene.wait_for_lines("run", 1);
    scene.wait_for("up");
    let walls = walls(&dir, running.id());
    let [wall] = walls.as_slice() else { panic!("{walls:?}") };
    assert!((400 * MIB..600 * MIB).contains(&limit(wall)), "{}", limit(wall));
    let inside = fs::read_to_string(wall.join("cgroup.procs")).unwrap();
    assert!(inside.lines().any(|pid| pid == compiler.to_string()), "{inside}");
    assert!(!inside.lines().any(|pid| pid == running.id().to_string()), "the driver is outside");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(!wall.exists());
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// What nobody could foresee, and nobody can stop: a compiler that takes all at once.
#[test]
fn what_bursts_through_the_line_is_stopped_at_the_wall_at_the_latest_and_runs_again() {
    let Some(_) = own_group() else { return };
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; alloc 100MiB in 200ms; touch a-is-up; until go\n");
    scene.lib("z", &[], "").lib(
        "b",
        &["z"],
        "// fake: until a-is-up; log run-b; once spawn-child-alloc 900MiB; hold 100ms\n",
    );
    let running = scene.start(&mut scene.fake("--memory 300MiB --hard --jobs 4 build"));
    let ended = || scene.events("killed") + scene.events("lost") > 0;
    until("b was killed", || ended().then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.read("run-b").lines().count(), 2, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn a_wall_goes_with_the_build_when_the_driver_is_killed() {
    let Some(dir) = own_group() else { return };
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run; touch up; until go\n");
    let running = scene.start(&mut scene.fake("--memory 300MiB --hard build"));
    scene.wait_for("up");
    let driver = running.id();
    let wall = walls(&dir, driver).pop().unwrap();
    running.signal(Signal::KILL);
    until("the wall is open", || (limit(&wall) > 1 << 40).then_some(()));
    scene.write("go", "");
    until("the wall is gone", || (!wall.exists()).then_some(()));
    let _ = running.end();
}

#[test]
fn where_no_wall_can_be_made_the_build_says_why_and_goes_on() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    // No memory controller can be seen in a mount namespace without /sys/fs/cgroup.
    let mut hidden = std::process::Command::new("unshare");
    hidden.args(["--mount", "sh", "-c", "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"", "sh"]);
    let can = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    if !can.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: this user may make no mount namespace");
        return;
    }
    let build = scene.fake("--memory 300MiB --hard build");
    let done = scene.run(&mut scene.inside(hidden, &build));
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("there is no wall at the line: "), "{}", done.stderr);
}
