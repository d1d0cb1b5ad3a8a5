//! Builds that fail: as plain Cargo's, and no later.

use plimsoll_testing::needs;

use crate::process::{is_stopped, until};
use crate::scene::Scene;

/// `bad` runs and fails on command; `late` waits, because the budget has no room for it beside `bad`.
fn failing() -> Scene {
    let scene = Scene::new();
    let bad = "// fake: log run-bad; alloc 200MiB in 1500ms; touch bad-is-up; until fail\n\
               pub fn f() { let unused = 1; }\ncompile_error!(\"on purpose\");";
    scene.lib("bad", &[], bad);
    // They come after another one, so that `bad` is the oldest.
    scene.lib("y", &[], "").lib("z", &["y"], "// fake: until bad-is-up\n");
    scene.lib("late", &["z"], &long("// fake: log run-late\n"));
    scene
}

/// A source of which so much is expected that there is no room for it beside 200 MiB, however calm those are; and
/// there is for one that is short.
fn long(text: &str) -> String {
    const LINE: &str = "// Nothing to see here, but for somebody who goes by the size of it.\n";
    text.to_owned() + &LINE.repeat((500 << 10) / LINE.len())
}

const TIGHT: &str = "--memory 280MiB --jobs 4";

#[test]
fn what_waits_leaves_when_something_fails() {
    let scene = failing();
    let running = scene.start(&mut scene.fake(&format!("{TIGHT} build")));
    scene.wait_for_units(1, 1, 0);
    scene.write("fail", "");
    let done = running.end();
    assert_eq!(done.code(), 101);
    assert!(!scene.at("run-late").exists(), "it has been compiled although the build had failed");
    let words = ["error: on purpose", "unused variable", "could not compile `bad`"];
    for said in words {
        assert_eq!(done.stderr.matches(said).count(), 1, "{said}: {}", done.stderr);
    }
    let words = "error: the build failed, so the crates that were waiting for memory are not compiled (Cargo reports `could not compile` for each; they have no errors of their own)";
    assert_eq!(done.stderr.matches(words).count(), 1, "{}", done.stderr);
    assert!(!done.stderr.contains("Caused by"), "{}", done.stderr);
    assert!(
        done.stderr.contains("Not built late: still waiting for memory when bad failed"),
        "{}",
        done.stderr
    );
}

/// A build script has no shim to say that it failed (the kernel tells how Cargo's child ended), and another unit is not
/// done yet.
#[test]
fn what_waits_leaves_when_a_build_script_fails() {
    needs::linux(6, 15);
    let scene = Scene::new();
    scene.lib("scripted", &[], "");
    scene.write(
        "ws/scripted/build.rs",
        "fn main() {
            let at = |name: &str| std::path::Path::new(&std::env::var_os(\"E2E_SCENE\").unwrap()).join(name);
            std::fs::write(at(\"script-is-up\"), \"\").unwrap();
            while !at(\"fail\").exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            std::process::exit(3);
        }",
    );
    let busy = "// fake: until script-is-up; alloc 200MiB in 1500ms; touch busy-is-up; until go\n";
    scene.lib("busy", &[], busy).lib("y", &[], "").lib("z", &["y"], "// fake: until busy-is-up\n");
    scene.lib("late", &["z"], &long("// fake: log run-late\n"));
    let running = scene.start(&mut scene.fake(&format!("{TIGHT} build")));
    scene.wait_for("script-is-up");
    scene.wait_for("busy-is-up");
    scene.wait_for_units(2, 1, 0);
    scene.write("fail", "");
    scene.wait_for_units(1, 0, 0);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 101);
    assert!(!scene.at("run-late").exists(), "it has been compiled although the build had failed");
    let words = "failed to run custom build command for `scripted";
    assert_eq!(done.stderr.matches(words).count(), 1, "{}", done.stderr);
    let words = "Not built late: still waiting for memory when scripted (build) failed";
    assert!(done.stderr.contains(words), "{}", done.stderr);
}

#[test]
fn what_is_stopped_does_not_hold_the_end_up() {
    let scene = Scene::new();
    let bad = "// fake: alloc 130MiB in 260ms; touch bad-is-up; until fail\ncompile_error!(\"on purpose\");";
    scene.lib("bad", &[], bad);
    scene.lib("z", &[], "");
    scene.lib(
        "late",
        &["z"],
        "// fake: until bad-is-up; log run-late; alloc 400MiB in 800ms; until never\n",
    );
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    let late = scene.wait_for_lines("run-late", 1);
    until("it is stopped", || is_stopped(late).then_some(()));
    scene.write("fail", "");
    let done = running.end();
    assert_eq!(done.code(), 101);
    assert!(done.stderr.contains("could not compile `bad`"), "{}", done.stderr);
    assert!(!done.stderr.contains("Caused by"), "{}", done.stderr);
}

/// An editor is not told of errors that are none.
#[test]
fn what_leaves_says_nothing_in_json() {
    let scene = failing();
    let args = format!("{TIGHT} build --message-format json");
    let running = scene.start(&mut scene.fake(&args));
    scene.wait_for_units(1, 1, 0);
    scene.write("fail", "");
    let done = running.end();
    assert_eq!(done.code(), 101);
    assert!(done.stdout.contains("on purpose") && !done.stdout.contains("waiting for memory"));
    let late = done.stdout.lines().filter(|line| line.contains("/ws/late"));
    assert_eq!(late.count(), 0, "{}", done.stdout);
}

#[test]
fn with_keep_going_what_waits_is_built() {
    let scene = failing();
    let running = scene.start(&mut scene.fake(&format!("{TIGHT} build --keep-going")));
    scene.wait_for_units(1, 1, 0);
    scene.write("fail", "");
    let done = running.end();
    assert_eq!(done.code(), 101);
    assert!(scene.at("run-late").exists(), "{}", done.stderr);
    assert!(done.stderr.contains("could not compile `bad`"), "{}", done.stderr);
}

/// Diagnostics in plain Cargo's words and order, byte for byte.
#[test]
fn diagnostics_are_plain_cargos() {
    let scene = Scene::new();
    scene.lib("a", &[], "pub fn f() { let unused = 1; }\npub fn g() -> u8 { \"text\" }");
    let plain = scene.run(&mut scene.cargo("build"));
    let ours = scene.run(&mut scene.plimsoll("--quiet build"));
    assert_eq!((plain.code(), ours.code()), (101, 101));
    assert_eq!(plain.stderr, ours.stderr);
    assert_eq!(plain.stdout, ours.stdout);
}

#[test]
fn a_compiler_that_crashes_is_reported_once_and_not_run_again() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; abort\n");
    let done = scene.run(&mut scene.fake("build"));
    assert_eq!(done.code(), 101);
    assert!(done.stderr.contains("signal: 6"), "{}", done.stderr);
    assert_eq!(scene.read("run-a").lines().count(), 1);
}

#[test]
fn cargos_own_refusals_and_exit_codes_are_ours() {
    let scene = Scene::new();
    scene.bin("a", &[], "fn main() { std::process::exit(7) }");
    scene.bin("b", &[], "fn main() { std::process::abort() }");
    scene.lib("c", &[], "#[test] fn t() { panic!() }");
    let refused = ["build -p nothing", "build --no-such-option", "no-such-command", "build -j0"];
    for args in refused.into_iter().chain(["run -q -p a", "test -q -p c"]) {
        let plain = scene.run(&mut scene.cargo(args));
        let ours = scene.run(&mut scene.plimsoll(args));
        assert_eq!(plain.code(), ours.code(), "{args}: {}", ours.stderr);
    }
    let ours = scene.run(&mut scene.plimsoll("run -q -p b"));
    assert_eq!(ours.code(), 128 + 6, "{}", ours.stderr);
}

/// What fails for one crate says nothing of the next.
#[test]
fn failed_doctests_do_not_end_those_of_other_crates() {
    let scene = Scene::new();
    let doctest =
        |result: &str| format!("/// ```\n/// assert_eq!(1, {result});\n/// ```\npub fn f() {{}}");
    scene.lib("a", &[], &doctest("2")).lib("b", &[], &doctest("1")).lib("c", &[], &doctest("2"));
    let args = "test --doc --no-fail-fast";
    let ours = scene.run(&mut scene.plimsoll(&format!("--memory 2GiB {args}")));
    let plain = scene.run(&mut scene.cargo(args));
    assert_eq!(ours.code(), plain.code(), "{}", ours.stderr);
    for word in ["test result: ok", "test result: FAILED"] {
        let count = |text: &str| text.matches(word).count();
        assert_eq!(count(&ours.stdout), count(&plain.stdout), "{}{}", ours.stdout, ours.stderr);
    }
}

/// As trybuild does: of two Cargos below one program the first fails, as it should.
#[test]
fn the_failure_of_one_cargo_is_not_anothers() {
    let scene = Scene::new();
    let test = "#[test] fn builds() {
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        let build = |name: &str| std::process::Command::new(\"cargo\")
            .args([\"check\", \"--manifest-path\"]).arg(format!(\"{scene}/{name}/Cargo.toml\"))
            .arg(\"--target-dir\").arg(format!(\"{scene}/{name}-target\")).status().unwrap();
        assert!(!build(\"bad\").success());
        assert!(build(\"good\").success());
    }";
    scene.lib("a", &[], test);
    for (name, text) in [("bad", "compile_error!(\"on purpose\");"), ("good", "")] {
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n[workspace]\n");
        scene.write(format!("{name}/Cargo.toml"), manifest);
        scene.write(format!("{name}/src/lib.rs"), text);
    }
    scene.ok(&mut scene.plimsoll("--memory 2GiB test --lib"));
}
