//! `cargo plimsoll bench`: every arm is measured, nothing is left behind, and what is done is kept.

use std::ffi::OsStr;

use rustix::process::Signal;
use serde_json::Value;

use crate::scene::Scene;

/// Two packages in a directory with a space and letters that are not ASCII.
fn scene() -> Scene {
    let scene = Scene::below(&std::env::temp_dir(), OsStr::new("às vezes-"));
    scene.lib("b", &[], "pub fn two() -> u8 { 2 }");
    scene.bin("a", &["b"], "fn main() { println!(\"{}\", b::two()) }");
    scene
}

fn runs(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(document["plimsoll_bench"], 1);
    document["runs"].as_array().unwrap().clone()
}

#[test]
fn every_arm_is_measured_and_nothing_is_left() {
    let scene = scene();
    let source = scene.at("ws/a/src/main.rs");
    let written = std::fs::metadata(&source).unwrap().modified().unwrap();
    let done = scene.ok(&mut scene.plimsoll(
        "bench --arms plain,serial,recipe,plimsoll,again,lowmem --rebuild --json - --markdown bench.md --release",
    ));
    let runs = runs(&done.stdout);
    let arms: Vec<&str> = runs.iter().map(|run| run["arm"].as_str().unwrap()).collect();
    assert_eq!(arms, ["plain", "serial", "recipe", "plimsoll", "again", "lowmem"]);
    for run in &runs {
        assert_eq!(run["exit"], 0, "{run}");
        assert!(run["peak_bytes"].as_u64().unwrap() > 10 << 20, "{run}");
        assert!(run["rebuild_ms"].as_u64().is_some(), "{run}");
        assert_eq!(run["out_of_memory"], false);
        let ours = ["plimsoll", "again", "lowmem"].contains(&run["arm"].as_str().unwrap());
        let budget = if ours { runs[2]["peak_bytes"].clone() } else { Value::Null };
        assert_eq!(run["budget_bytes"], budget, "{run}");
    }
    assert_eq!(runs[0]["wall_vs_plain"], 1.0);
    assert_eq!(scene.read("ws/bench.md").lines().count(), 2 + 6);
    assert!(!scene.at("target/plimsoll-bench").exists());
    assert_eq!(std::fs::metadata(&source).unwrap().modified().unwrap(), written, "touched back");
    assert!(!scene.at("home/logs").exists(), "the user's own history is not touched");
}

#[test]
fn an_interrupted_bench_tells_what_is_done() {
    let scene = scene();
    scene.write("ws/b/src/lib.rs", "// fake: log run-b; hold 4000ms\npub fn two() -> u8 { 2 }\n");
    let mut command = scene.fake("bench --arms plain,serial --json bench.json");
    let running = scene.start(&mut command);
    let compiler = scene.wait_for_lines("run-b", 2);
    running.signal(Signal::TERM);
    let done = running.end();
    assert_eq!(done.code(), 128 + 15, "{}", done.stderr);
    let runs = runs(&scene.read("ws/bench.json"));
    assert_eq!(runs.len(), 1, "the first arm is kept: {}", done.stderr);
    assert_eq!(runs[0]["arm"], "plain");
    assert!(done.stdout.contains("plain") && !done.stdout.contains("serial"), "{}", done.stdout);
    assert!(crate::process::Process::read(compiler).is_none(), "nothing runs on");
    assert!(!scene.at("target/plimsoll-bench").exists());
}

#[test]
fn a_build_that_fails_is_told_and_the_others_go_on() {
    let scene = scene();
    scene.write("ws/b/src/lib.rs", "compile_error!(\"of b\");");
    let done = scene.run(&mut scene.plimsoll("bench --arms plain,plimsoll --memory 1GiB"));
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("of b"), "{}", done.stderr);
    assert_eq!(done.stdout.matches("failed (101)").count(), 2, "{}", done.stdout);
    for (args, said) in [
        ("bench -j4", "bench --jobs 4"),
        ("bench --target-dir x", "leave it out"),
        ("bench --no-run", "cargo plimsoll cargo bench"),
        ("bench --arms mine", "there is no arm `mine`"),
    ] {
        let refused = scene.run(&mut scene.plimsoll(args));
        assert_eq!(refused.code(), 2, "{}", refused.stderr);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
}

#[test]
fn cargos_own_bench_is_still_there() {
    let scene = scene();
    let done = scene.ok(&mut scene.plimsoll("--memory 1GiB cargo bench --no-run"));
    assert!(done.stderr.contains("bench") && done.stderr.contains("Executable"), "{}", done.stderr);
}
