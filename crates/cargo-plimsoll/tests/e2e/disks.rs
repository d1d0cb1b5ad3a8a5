//! Directories that cannot be written, disks that are full, and what we write where there is room.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use plimsoll_testing::needs;

use crate::scene::{Scene, below};

/// Nobody can make anything there, root neither.
const UNWRITABLE: &str = "/proc/nothing";

fn one_crate() -> Scene {
    let scene = Scene::new();
    scene.lib("a", &[], "pub fn f() { let unused = 1; }");
    scene
}

#[test]
fn a_home_that_cannot_be_written_costs_only_the_memory_of_it() {
    let scene = one_crate();
    let done = scene.ok(scene.plimsoll("--memory 1GiB build").env("PLIMSOLL_HOME", UNWRITABLE));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    assert!(done.stderr.contains(UNWRITABLE), "a reason is given: {}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn without_any_home_the_build_goes_on() {
    let scene = one_crate();
    let mut command = scene.plimsoll("--memory 1GiB build");
    let home = std::env::var("HOME").unwrap_or_default();
    let or = |name: &str, below: &str| std::env::var(name).unwrap_or(format!("{home}/{below}"));
    command
        .env("CARGO_HOME", or("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", or("RUSTUP_HOME", ".rustup"));
    command.env_remove("HOME").env_remove("PLIMSOLL_HOME").env_remove("XDG_STATE_HOME");
    let done = scene.ok(&mut command);
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn a_temporary_directory_that_cannot_be_written_stops_nothing() {
    let scene = one_crate();
    let done = scene.ok(scene.plimsoll("--memory 1GiB build").env("TMPDIR", UNWRITABLE));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

/// Plain Cargo builds there, too: GCC and lld turn to `/tmp` by themselves.
#[test]
fn a_temporary_directory_that_does_not_exist_is_not_made() {
    let scene = one_crate();
    let absent = scene.at("absent");
    let done = scene.ok(scene.plimsoll("--memory 1GiB build").env("TMPDIR", &absent));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    assert!(!absent.exists());
    scene.assert_fresh(scene.cargo("build").env("TMPDIR", &absent));
}

/// A command with Plimsoll's home on a small file system of its own, prepared by a budget of shell.
fn on_small_disk(scene: &Scene, options: &str, prepare: &str, command: &Command) -> Command {
    let script = format!(
        "mount -t tmpfs -o size=64k{options} none \"$PLIMSOLL_HOME\" && {{ {prepare}; exec \"$@\"; }}"
    );
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--map-root-user", "--", "sh", "-c", &script, "sh"]);
    scene.inside(inside, command)
}

/// The test is ignored where this kernel does not let us mount.
fn needs_mounts(scene: &Scene) {
    let mut probe = Command::new("true");
    scene.prepare(&mut probe);
    let reason = "this user may not mount a file system in a namespace of its own";
    needs::success(&mut on_small_disk(scene, "", ":", &probe), reason);
}

#[test]
fn a_full_disk_for_history_and_log_costs_only_them() {
    let scene = one_crate();
    needs_mounts(&scene);
    let fill = "cat /dev/zero >\"$PLIMSOLL_HOME/fill\" 2>/dev/null";
    let command = scene.plimsoll("--memory 1GiB build");
    let done = scene.ok(&mut on_small_disk(&scene, "", fill, &command));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    assert!(done.stderr.contains("No space left"), "a reason is given: {}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn a_read_only_home_costs_only_the_memory_of_it() {
    let scene = one_crate();
    needs_mounts(&scene);
    let command = scene.plimsoll("--memory 1GiB build");
    let done = scene.ok(&mut on_small_disk(&scene, ",ro", ":", &command));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn a_damaged_history_is_set_aside() {
    let scene = one_crate();
    scene.ok(&mut scene.plimsoll("--memory 1GiB build"));
    let databases: Vec<_> = below(&scene.at("home"))
        .into_iter()
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3")))
        .collect();
    assert_eq!(databases.len(), 1, "{databases:?}");
    fs::write(&databases[0], vec![7; 8192]).unwrap();
    scene.write("ws/a/src/lib.rs", "pub fn g() {}");
    let done = scene.ok(&mut scene.plimsoll("--memory 1GiB build"));
    assert!(done.stderr.contains("It is kept as"), "a reason is given: {}", done.stderr);
    let known = scene.ok(&mut scene.plimsoll("history"));
    assert!(known.stdout.contains('a'), "{}", known.stdout);
}

#[test]
fn what_we_write_is_for_its_owner_alone() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut scene.fake("build"));
    scene.wait_for_lines("run-a", 1);
    let ours = [below(&scene.at("home")), below(&scene.at("tmp"))].concat();
    assert!(!ours.is_empty());
    for path in ours.iter().filter(|path| !path.is_symlink()) {
        // The build's temporary directory is the outermost of ours there; what is below is shut with it.
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
}
