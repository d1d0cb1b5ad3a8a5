//! Our own commands, beside a build and after it.

use crate::scene::Scene;

#[test]
fn a_running_build_tells_what_it_does() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; alloc 50MiB in 100ms; touch up; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB --jobs 3 build"));
    scene.wait_for("up");
    scene.wait_for_units(1, 0, 0);
    let state = scene.top().unwrap();
    assert_eq!(state["command"], "build");
    assert_eq!(state["budget_bytes"].as_u64(), Some(1 << 30));
    assert_eq!(state["jobs"].as_u64(), Some(3));
    assert!(state["units"][0]["title"].as_str().unwrap().starts_with("a v0.1.0"), "{state}");
    let text = scene.ok(&mut scene.plimsoll("top --once")).stdout;
    assert!(text.contains("a v0.1.0"), "{text}");
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
}

#[test]
fn a_build_that_has_ended_is_reported_and_remembered() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 80MiB in 160ms; hold 500ms\n").lib(
        "b",
        &["a"],
        "// fake: alloc 30MiB in 60ms; hold 500ms\n",
    );
    scene.ok(&mut scene.fake("--memory 1GiB build"));
    let report = scene.ok(&mut scene.plimsoll("report --text")).stdout;
    assert!(report.contains("     1  a\n") && report.contains("     1  b\n"), "{report}");
    assert!(report.contains(&format!("cargo build in {}", scene.at("ws").display())), "{report}");
    let all = scene.ok(&mut scene.plimsoll("history")).stdout;
    assert!(all.contains('a') && all.contains('b'), "{all}");
    let one = scene.ok(&mut scene.plimsoll("history a")).stdout;
    assert!(one.contains("MiB"), "{one}");
    // The second build knows it.
    scene.write("ws/a/src/lib.rs", "// fake: alloc 80MiB in 160ms; hold 500ms\npub fn f() {}\n");
    scene.ok(&mut scene.fake("--memory 1GiB build"));
    assert!(scene.log().contains("\"source\":\"history\""), "{}", scene.log());
}

#[test]
fn a_build_with_nothing_to_do_leaves_and_says_nothing() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.ok(&mut scene.cargo("build"));
    let done = scene.ok(&mut scene.plimsoll("build"));
    assert!(!done.stderr.contains("plimsoll"), "{}", done.stderr);
    assert_eq!(scene.log(), "");
    let done = scene.run(&mut scene.plimsoll("report --text"));
    assert_eq!(done.code(), 1);
}

#[test]
fn where_nothing_runs_top_says_so() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    assert!(scene.top().is_none());
}

#[test]
fn uninstall_waits_for_no_build_and_takes_nothing_from_one() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 50MiB in 100ms; touch up; until go\n");
    let uninstall = || {
        let mut command = scene.plimsoll("uninstall --yes");
        command.env("CARGO_HOME", scene.at("cargo"));
        command
    };
    let running = scene.start(&mut scene.fake("--memory 1GiB build"));
    scene.wait_for("up");
    let refused = scene.run(&mut uninstall());
    assert_eq!(refused.code(), 1);
    assert!(refused.stderr.contains("nothing was removed: process "), "{}", refused.stderr);
    assert!(scene.at("home/logs").exists());
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
    scene.ok(&mut uninstall());
    assert!(!scene.at("home").exists());
}
