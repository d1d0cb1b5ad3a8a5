//! The user's own wrapper, an empty one, environment variables, and names that are not plain words.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::scene::Scene;

fn wrapper(scene: &Scene) -> String {
    let log = "printf '%s\\n' \"$*\" >>$E2E_SCENE/wrapped; exec \"$@\"";
    scene.script("bin/wrapper", log).display().to_string()
}

/// How often the user's wrapper has seen the crates compiled.
fn wrapped(scene: &Scene) -> [usize; 2] {
    let text = scene.read("wrapped");
    ["a", "b"].map(|name| text.matches(&format!("--crate-name {name} ")).count())
}

fn two_crates() -> Scene {
    let scene = Scene::new();
    scene.lib("b", &[], "").bin("a", &["b"], "fn main() {}");
    scene
}

#[test]
fn a_wrapper_in_the_environment_still_sees_every_unit() {
    let scene = two_crates();
    let path = wrapper(&scene);
    scene.ok(scene.plimsoll("--memory 1GiB build").env("RUSTC_WRAPPER", &path));
    assert_eq!(wrapped(&scene), [1, 1]);
    assert_eq!(scene.events("finished"), 2);
    scene.assert_fresh(scene.cargo("build").env("RUSTC_WRAPPER", &path));
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn a_wrapper_in_the_configuration_still_sees_every_unit() {
    let scene = two_crates();
    let path = wrapper(&scene);
    scene.write(".cargo/config.toml", format!("build.rustc-wrapper = \"{path}\"\n"));
    scene.ok(&mut scene.plimsoll("--memory 1GiB build"));
    assert_eq!(wrapped(&scene), [1, 1]);
    assert_eq!(scene.events("finished"), 2);
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn an_empty_wrapper_switches_the_configured_one_off_and_not_us() {
    let scene = two_crates();
    let path = wrapper(&scene);
    scene.write(".cargo/config.toml", format!("build.rustc-wrapper = \"{path}\"\n"));
    scene.ok(scene.plimsoll("--memory 1GiB build").env("RUSTC_WRAPPER", ""));
    assert_eq!(wrapped(&scene), [0, 0]);
    assert_eq!(scene.events("finished"), 2);
    scene.assert_fresh(scene.cargo("build").env("RUSTC_WRAPPER", ""));
}

#[test]
fn a_workspace_wrapper_still_sees_the_members() {
    let scene = two_crates();
    let path = wrapper(&scene);
    scene.ok(scene.plimsoll("--memory 1GiB build").env("RUSTC_WORKSPACE_WRAPPER", &path));
    assert_eq!(wrapped(&scene), [1, 1]);
    scene.assert_fresh(scene.cargo("build").env("RUSTC_WORKSPACE_WRAPPER", &path));
}

/// Build scripts that ask to be run again when what we set changes see no change.
#[test]
fn switching_rebuilds_nothing_for_scripts_that_watch_the_environment() {
    // (Of `MAKEFLAGS` and `CARGO_MAKEFLAGS`, which cannot be told to be unset, no script is known to ask.)
    for given in [None, Some(""), Some("wrapper")] {
        let scene = Scene::new();
        let script = "fn main() {
            for name in [\"RUSTC_WRAPPER\", \"RUSTDOC\"] {
                println!(\"cargo:rerun-if-env-changed={name}\");
            }
        }";
        scene.lib("a", &[], "").write("ws/a/build.rs", script);
        let given = given.map(|word| if word.is_empty() { String::new() } else { wrapper(&scene) });
        let set = |mut command: std::process::Command| {
            command.envs(given.iter().map(|value| ("RUSTC_WRAPPER", value)));
            command
        };
        scene.ok(&mut set(scene.plimsoll("build")));
        scene.assert_fresh(&mut set(scene.cargo("build")));
        scene.write("ws/a/src/lib.rs", "pub fn f() {}");
        scene.ok(&mut set(scene.cargo("build")));
        let done = scene.ok(&mut set(scene.plimsoll("build -v")));
        assert!(!done.stderr.contains("Running `"), "{given:?}: {}", done.stderr);
    }
}

#[test]
fn names_with_spaces_and_without_utf_8_are_names() {
    for prefix in [OsStr::new("a b's \"c\" "), OsStr::from_bytes(b"latin-\xe9-")] {
        let scene = Scene::below(&std::env::temp_dir(), prefix);
        scene.lib("b", &[], "").bin("a", &["b"], "fn main() { println!(\"here\") }");
        // Cargo itself cannot build everywhere: it is the measure.
        let plain = scene.run(&mut scene.cargo("run -q"));
        let ours = scene.run(&mut scene.plimsoll("--memory 1GiB run -q --target-dir other"));
        assert_eq!((plain.code(), &plain.stdout), (ours.code(), &ours.stdout), "{}", ours.stderr);
        let ours = scene.run(&mut scene.plimsoll("--memory 1GiB test -q"));
        let plain = scene.run(&mut scene.cargo("test -q"));
        assert_eq!(plain.code(), ours.code(), "{}", ours.stderr);
    }
}

#[test]
fn settings_can_be_given_by_the_environment() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 150MiB in 300ms\n");
    let mut command = scene.fake("build");
    command
        .env("PLIMSOLL_MEMORY", "123MiB")
        .env("PLIMSOLL_JOBS", "3")
        .env("PLIMSOLL_OVERSIZED", "refuse");
    let done = scene.run(&mut command);
    assert_eq!(done.code(), 101);
    assert!(done.stderr.contains("the memory budget of 123 MiB"), "{}", done.stderr);
    let header: serde_json::Value =
        serde_json::from_str(scene.log().lines().next().unwrap()).unwrap();
    assert_eq!((header["memory"].as_str(), header["jobs"].as_u64()), (Some("123 MiB"), Some(3)));
    let mut command = scene.plimsoll("build");
    let done = scene.ok(command.env("PLIMSOLL_QUIET", "1"));
    assert!(!done.stderr.contains("plimsoll"), "{}", done.stderr);
    let done = scene.run(scene.plimsoll("build").env("PLIMSOLL_MEMORY", "much"));
    assert_eq!(done.code(), 2);
}

/// `/proc` numbers processes as another namespace does: nothing there may be taken for ours.
#[test]
fn where_proc_is_another_namespaces_the_build_has_no_budget() {
    let scene = two_crates();
    let build = scene.plimsoll("--memory 1GiB build");
    let mut build = scene.in_namespaces(&["--pid"], &build);
    let done = scene.ok(&mut build);
    assert!(done.stderr.contains("this build runs without a memory budget"), "{}", done.stderr);
    assert!(done.stderr.contains("--mount-proc"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}
