//! Tests under the budget: each run is a unit that waits until it fits, and else runs as if we were not there.

use std::fs;

use plimsoll_testing::cgroup::LimitedCgroup;
use rustix::process::Signal;

use crate::process::{Sampler, signal, until};
use crate::scene::Scene;

const MIB: u64 = 1 << 20;

/// A workspace whose package `name` has one test program that does this.
fn testing(name: &str, body: &str) -> Scene {
    let scene = Scene::new();
    scene.lib(name, &[], "");
    let text = format!(
        "fn scene(name: &str) -> String {{ format!(\"{{}}/{{name}}\", std::env::var(\"E2E_SCENE\").unwrap()) }}\n\
         fn hold(mib: usize) -> Vec<Vec<u8>> {{ (0..mib).map(|_| vec![1u8; 1 << 20]).collect() }}\n\
         fn until(name: &str) {{ while !std::path::Path::new(&scene(name)).exists() {{ \
             std::thread::sleep(std::time::Duration::from_millis(3)) }} }}\n\
         {body}"
    );
    scene.write(format!("ws/{name}/tests/it.rs"), format!("#![allow(dead_code)]\n{text}"));
    scene
}

#[test]
fn a_test_run_is_a_unit_and_nothing_else_changes() {
    let scene = testing(
        "app",
        "#[test] fn holds() { let held = hold(60); std::thread::sleep(std::time::Duration::from_millis(700)); \
         println!(\"held {}\", held.len()); }\n\
         #[test] fn fails() { assert_eq!(std::env::args().count(), 0); }",
    );
    let plain = scene.run(&mut scene.cargo("test --test it"));
    let ours = scene.run(&mut scene.plimsoll("--memory 1GiB test --test it"));
    assert_eq!((plain.code(), ours.code()), (101, 101), "{}", ours.stderr);
    assert!(!ours.stderr.contains("Compiling"), "the runner is in no fingerprint: {}", ours.stderr);
    let rest = |text: &str| text.lines().filter(|l| !l.contains("finished in")).count();
    assert_eq!(rest(&plain.stdout), rest(&ours.stdout), "{}", ours.stdout);
    let log = scene.log();
    assert!(log.contains("\"kind\":\"test-run\""), "{log}");
    let finished = log.lines().find(|line| line.contains("\"event\":\"finished\"")).unwrap();
    let finished: serde_json::Value = serde_json::from_str(finished).unwrap();
    assert!(finished["peak"].as_u64().unwrap() >= 60 * MIB, "{finished}");
    scene.assert_fresh(&mut scene.cargo("test --no-run --test it"));
}

/// Three tests that hold as much, and what runs them as nextest does: each as a process of its own, by `script`,
/// in which `run NAME` is one.
fn by_nextest(script: &str) -> Scene {
    let test = |name: &str| {
        format!(
            "#[test] fn {name}() {{ let _held = hold(200); \
             std::thread::sleep(std::time::Duration::from_millis(400)); }}\n"
        )
    };
    let scene = testing("app", &["one", "two", "three"].map(test).concat());
    let script = format!(
        "shift; program=$(cargo test --no-run --test it --message-format=json 2>/dev/null | \
         sed -n 's/.*\"executable\":\"\\([^\"]*\\)\".*/\\1/p' | tail -1)\n\
         runner=$(env | sed -n 's/^CARGO_TARGET_.*_GNU_RUNNER=//p')\n\
         run() {{ $runner \"$program\" --exact $1 --nocapture; }}\n\
         {script}"
    );
    scene.script("bin/cargo-nextest", &script);
    scene
}

fn nextest(scene: &Scene, memory: &str) {
    let mut command = scene.plimsoll(&format!("--memory {memory} nextest run"));
    let path = format!("{}:{}", scene.at("bin").display(), std::env::var("PATH").unwrap());
    scene.ok(command.env("PATH", path));
}

#[test]
fn what_one_test_needed_is_expected_of_the_others_of_its_program() {
    let scene = by_nextest("run one; sleep 1; run two & run three & wait");
    let sampler = Sampler::start(scene.dir());
    nextest(&scene, "400MiB");
    let peak = sampler.peak();
    assert!(peak <= 400 * MIB, "the peak was {} MiB\n{}", peak / MIB, scene.log());
    assert_eq!(scene.log().matches("\"source\":\"related\"").count(), 2, "{}", scene.log());
}

#[test]
fn as_many_tests_run_at_once_as_fit() {
    let scene = by_nextest("run one & run two & wait");
    let run = |memory: &str| nextest(&scene, memory);
    // Nothing is known of them yet; then that both do not fit.
    run("2GiB");
    let sampler = Sampler::start(scene.dir());
    run("400MiB");
    let peak = sampler.peak();
    assert!(peak <= 400 * MIB, "the peak was {} MiB\n{}", peak / MIB, scene.log());
    assert!(peak >= 200 * MIB, "they did not run: {} MiB", peak / MIB);
    assert!(scene.log().contains("run of test it: two"), "{}", scene.log());
}

#[test]
fn what_a_test_compiles_does_not_wait_for_the_test() {
    let scene = testing(
        "app",
        "#[test] fn compiles() { let _held = hold(250); let ws = scene(\"ws\"); \
         let done = std::process::Command::new(\"cargo\").args([\"build\", \"-p\", \"other\"]).current_dir(ws)\
         .env(\"CARGO_TARGET_DIR\", scene(\"inner\")).status().unwrap(); assert!(done.success()); }",
    );
    scene.lib("other", &[], "// fake: alloc 200MiB in 300ms\n");
    let done = scene.run(&mut scene.fake("--memory 300MiB test -p app --test it"));
    assert_eq!(done.code(), 0, "{}\n{}", done.stdout, done.stderr);
}

#[test]
fn a_runner_of_the_users_own_stays() {
    let scene = testing("app", "#[test] fn passes() {}");
    let runner = scene.script("runner", "echo run >>\"$E2E_SCENE/ran\"; exec \"$@\"");
    let config = format!("[target.'cfg(all())']\nrunner = '{}'\n", runner.display());
    scene.write(".cargo/config.toml", config);
    scene.ok(&mut scene.plimsoll("--memory 1GiB test --test it"));
    assert_eq!(scene.read("ran"), "run\n");
    assert!(!scene.log().contains("test-run"), "{}", scene.log());
}

/// The process that a test has written into the file `test`.
fn test_process(scene: &Scene) -> u32 {
    scene.wait_for_lines("test", 1)
}

const HOLDS: &str = "#[test] fn holds() { let _held = hold(80); \
    std::fs::write(scene(\"test\"), format!(\"{}\\n\", std::process::id())).unwrap(); until(\"go\"); }";

#[test]
fn a_test_that_somebody_kills_ends_as_it_would_without_us_and_is_told_from_one_that_failed() {
    let scene = testing("app", HOLDS);
    let running = scene.start(&mut scene.plimsoll("--memory 1GiB test --test it"));
    let test = test_process(&scene);
    until("it was measured", || scene.log().contains("\"units\":[[").then_some(()));
    signal(test, Signal::KILL);
    let done = running.end();
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert!(done.stderr.contains("signal: 9"), "{}", done.stderr);
    let log = scene.log();
    // Older kernels do not say how another's child ended.
    if log.contains("\"ok\":false") {
        assert!(log.contains("did not fail: it was killed"), "{log}");
    }
}

#[test]
fn a_test_of_another_signal_ends_so_and_retries_change_nothing_of_that() {
    let scene = testing("app", "#[test] fn aborts() { std::process::abort() }");
    for options in ["", "--retry-tests"] {
        let done =
            scene.run(&mut scene.plimsoll(&format!("--memory 1GiB {options} test --test it")));
        assert_eq!(done.code(), 101, "{}", done.stderr);
        assert!(done.stderr.contains("signal: 6"), "{}", done.stderr);
    }
    let plain = fs::read_dir(scene.at("home/logs")).unwrap().count();
    assert!(plain >= 1);
}

/// A test that writes a budget into `ran` whenever it begins, and holds more than the cgroup limit allows, `times` times.
fn too_large(times: usize) -> Scene {
    testing(
        "app",
        &format!(
            "#[test] fn holds() {{ let ran = scene(\"ran\"); \
             let before = std::fs::read_to_string(&ran).unwrap_or_default(); \
             std::fs::write(&ran, format!(\"{{before}}{{}}\\n\", std::process::id())).unwrap(); \
             if before.lines().count() < {times} {{ let _held = hold(500); }} }}"
        ),
    )
}

#[test]
fn a_test_that_the_kernel_killed_for_memory_runs_once_more_only_where_that_is_allowed() {
    for (options, times, runs, code) in
        [("", 1, 1, 101), ("--retry-tests", 1, 2, 0), ("--retry-tests", 9, 2, 101)]
    {
        let cgroup = LimitedCgroup::new(350 * MIB);
        let scene = too_large(times);
        scene.ok(&mut scene.plimsoll("--memory 1GiB test --no-run --test it"));
        let test = scene.plimsoll(&format!("{options} test --test it"));
        let done = scene.run(&mut scene.inside(cgroup.entrance(), &test));
        assert_eq!(done.code(), code, "{options} {times}: {}", done.stderr);
        assert_eq!(scene.read("ran").lines().count(), runs, "{options} {times}: {}", done.stderr);
        assert!(cgroup.kills() >= 1, "the kernel killed nothing: {}", done.stderr);
        let told = scene.log().contains("did not fail: it was killed");
        assert_eq!(told, code != 0, "{options} {times}: {}", scene.log());
    }
}

#[test]
fn doctests_are_compiled_under_the_budget() {
    let scene = Scene::new();
    scene.lib(
        "app",
        &[],
        "/// ```\n/// assert_eq!(app::two(), 2);\n/// ```\npub fn two() -> u8 { 2 }",
    );
    let done = scene.ok(&mut scene.plimsoll("--memory 1GiB test --doc"));
    assert!(done.stdout.contains("1 passed"), "{}", done.stdout);
    assert!(scene.log().contains("\"kind\":\"doc-test\""), "{}", scene.log());
}
