//! `cargo plimsoll clean`: what goes is of no use, and what a build would reuse stays.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::process::until;
use crate::scene::Scene;

/// A workspace that needed another package once, and was built then and since: with a test, and optimised.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.lib("old", &[], "pub fn one() -> u8 { 1 }");
    scene.lib("base", &[], "pub fn two() -> u8 { 2 }");
    scene.bin("app", &["old", "base"], "fn main() { println!(\"{}\", old::one() + base::two()) }");
    members(&scene, &["app", "base", "old"]);
    build(&scene);
    scene.bin("app", &["base"], "fn main() { println!(\"{}\", base::two()) }");
    fs::remove_dir_all(scene.at("ws/old")).unwrap();
    scene.lib("new", &[], "");
    members(&scene, &["app", "base", "new"]);
    build(&scene);
    scene
}

fn commands(scene: &Scene) -> [Command; 3] {
    let cargo = |args| in_workspace(scene, scene.cargo(args));
    [cargo("build"), cargo("test --no-run"), cargo("build --release")]
}

/// Names the packages: the target directory is none.
fn members(scene: &Scene, names: &[&str]) {
    let manifest = format!("[workspace]\nmembers = {names:?}\nresolver = \"3\"\n");
    scene.write("ws/Cargo.toml", manifest);
}

/// With the target directory where Cargo has it by itself.
fn in_workspace(scene: &Scene, mut command: Command) -> Command {
    command.env("CARGO_TARGET_DIR", scene.at("ws/target")).env("CARGO_INCREMENTAL", "1");
    command
}

fn clean(scene: &Scene, args: &str) -> Command {
    in_workspace(scene, scene.plimsoll(&format!("clean {args}")))
}

fn build(scene: &Scene) {
    for mut command in commands(scene) {
        scene.ok(&mut command);
    }
}

/// The files in a directory of the target directory whose names begin so.
fn named(scene: &Scene, directory: &str, beginning: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(scene.at("ws/target").join(directory)).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    let is_named =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(beginning);
    paths.filter(is_named).collect()
}

#[test]
fn what_is_gone_goes_and_nothing_is_built_again() {
    let scene = scene();
    let apps = named(&scene, "debug/.fingerprint", "app-").len();
    assert_eq!(named(&scene, "debug/deps", "libold-").len(), 2);
    let shown = scene.ok(&mut clean(&scene, "--dry-run")).stdout;
    for said in ["versions and packages that are gone", "built from those", "release", "today"] {
        assert!(shown.contains(said), "{said}\n{shown}");
    }
    let unasked = scene.run(&mut clean(&scene, ""));
    assert_eq!(unasked.code(), 1, "{}", unasked.stderr);
    assert_eq!(named(&scene, "debug/deps", "libold-").len(), 2, "nobody has said yes");
    let kept = scene.ok(&mut clean(&scene, "--yes --keep-days 1")).stdout;
    assert!(kept.contains("nothing in "), "{kept}");

    let done = scene.ok(&mut clean(&scene, "--yes")).stdout;
    assert!(done.contains("removed "), "{done}");
    for profile in ["debug", "release"] {
        assert!(named(&scene, &format!("{profile}/deps"), "libold-").is_empty());
        assert!(named(&scene, &format!("{profile}/.fingerprint"), "old-").is_empty());
    }
    assert!(named(&scene, "debug/.fingerprint", "app-").len() < apps);
    assert_eq!(named(&scene, "debug/incremental", "old-").len(), 0);
    for mut command in commands(&scene) {
        scene.assert_fresh(&mut command);
    }
    let again = scene.ok(&mut clean(&scene, "--yes")).stdout;
    assert!(again.contains("nothing in "), "{again}");
}

#[test]
fn what_another_compiler_built_goes() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.lib("b", &["a"], "");
    members(&scene, &["a", "b"]);
    scene.ok(&mut commands(&scene)[0]);
    assert!(scene.ok(&mut clean(&scene, "--yes")).stdout.contains("nothing in "));
    for directory in named(&scene, "debug/.fingerprint", "") {
        let file = named(&scene, directory.to_str().unwrap(), "lib-");
        let file = file.into_iter().find(|path| path.extension().is_some_and(|it| it == "json"));
        let file = file.unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("\"rustc\":", "\"rustc\":1", 1)).unwrap();
    }
    let done = scene.ok(&mut clean(&scene, "--yes")).stdout;
    assert!(done.contains("built by another compiler"), "{done}");
    assert!(named(&scene, "debug/deps", "lib").is_empty());
    scene.ok(&mut commands(&scene)[0]);
}

#[test]
fn a_directory_that_others_use_or_cargo_did_not_make_stays() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.write("other/Cargo.toml", "[package]\nname = \"other\"\nversion = \"0.1.0\"\n");
    scene.write("other/src/lib.rs", "");
    scene.ok(scene.cargo("build").current_dir(scene.at("other")));
    let files = || fs::read_dir(scene.at("target/debug/deps")).unwrap().count();
    let before = files();
    let said = scene.ok(&mut scene.plimsoll("clean --yes"));
    assert!(said.stderr.contains("other workspaces build in"), "{}", said.stderr);
    assert_eq!(files(), before);

    scene.write("mine/debug/.fingerprint/x", "");
    let refused = scene.run(clean(&scene, "--yes").env("CARGO_TARGET_DIR", scene.at("mine")));
    assert_eq!(refused.code(), 101, "{}", refused.stderr);
    assert!(refused.stderr.contains("was not made by Cargo"), "{}", refused.stderr);
}

#[test]
fn it_waits_for_a_build() {
    let scene = scene();
    let lock = File::options().write(true).open(scene.at("ws/target/debug/.cargo-lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let cleaning = scene.start(&mut clean(&scene, "--yes"));
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(named(&scene, "debug/deps", "libold-").len(), 2);
    drop(lock);
    until("the build is over", || named(&scene, "debug/deps", "libold-").is_empty().then_some(()));
    let done = cleaning.end();
    assert!(done.stderr.contains("waiting for the build in"), "{}", done.stderr);
}
