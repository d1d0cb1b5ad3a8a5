//! The budget holds: units wait, are stopped, or are killed and run again, and nobody can tell afterwards.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::process::{Sampler, is_stopped, until};
use crate::scene::Scene;

const MIB: u64 = 1 << 20;

/// `a` is there first and grows late, `b` stands in its way.
fn in_the_way(b: &str) -> Scene {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 40MiB in 80ms; touch a-is-up; until grow; alloc 230MiB in 920ms; until go\n");
    scene.lib("z", &[], "").lib("b", &["z"], b);
    scene.lib("c", &["a", "b"], "pub fn g() { b::f() }");
    scene
}

#[test]
fn a_unit_in_the_way_is_killed_and_run_again_without_a_trace() {
    let scene = in_the_way(
        "// fake: until a-is-up; log run-b; alloc 150MiB in 300ms; touch b-is-up; until go\n\
         pub fn f() { let unused = 1; }",
    );
    let sampler = Sampler::start(scene.dir());
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    scene.wait_for("b-is-up");
    scene.write("grow", "");
    until("b was killed", || (scene.events("killed") > 0).then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let peak = sampler.peak();
    assert!(peak <= 400 * MIB, "the peak was {} MiB\n{}", peak / MIB, done.stderr);
    assert!(peak >= 300 * MIB, "the test did not press: {} MiB", peak / MIB);
    assert_eq!(done.stderr.matches("unused variable").count(), 1, "{}", done.stderr);
    assert!(scene.read("run-b").lines().count() >= 2);
    assert!(done.stderr.contains("Restarted 1 unit to stay within the budget"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn metadata_that_was_announced_survives_a_second_run() {
    let scene = in_the_way(
        "// fake: until a-is-up; log run-b\n\
         // fake: compile; alloc 150MiB in 300ms; touch b-is-up; until go\n\
         pub fn f() { let unused = 1; }",
    );
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    scene.wait_for("b-is-up");
    let rmeta = crate::scene::below(&scene.at("target"))
        .into_iter()
        .find(|path| {
            path.to_string_lossy().contains("libb-")
                && path.extension().is_some_and(|e| e == "rmeta")
        })
        .unwrap();
    let (bytes, before) = (fs::read(&rmeta).unwrap(), fs::metadata(&rmeta).unwrap());
    scene.write("grow", "");
    until("b was killed", || (scene.events("killed") > 0).then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(done.stderr.matches("unused variable").count(), 1, "{}", done.stderr);
    let after = fs::metadata(&rmeta).unwrap();
    assert!(bytes == fs::read(&rmeta).unwrap());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(before.ino(), after.ino());
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn a_unit_that_grows_near_the_budget_is_stopped_and_goes_on_later() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 130MiB in 260ms; touch a-is-up; until go\n");
    scene.lib("z", &[], "").lib(
        "b",
        &["z"],
        "// fake: until a-is-up; log run-b; alloc 250MiB in 1000ms\n",
    );
    let sampler = Sampler::start(scene.dir());
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let peak = sampler.peak();
    assert!(peak <= 400 * MIB, "the peak was {} MiB\n{}", peak / MIB, done.stderr);
    assert!(done.stderr.contains("Paused 1 unit to stay within the budget: b"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn an_oversized_unit_runs_alone_and_is_named() {
    let scene = Scene::new();
    scene.lib("giant", &[], "// fake: log run; alloc 300MiB in 600ms; until go\n");
    scene.lib("small", &["giant"], "");
    let running = scene.start(&mut scene.fake("--memory 200MiB build"));
    until("it is said to be alone", || (scene.events("lone") > 0).then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("Oversized giant needs 3"), "{}", done.stderr);
}

#[test]
fn an_oversized_unit_is_refused_where_that_is_asked_for() {
    let scene = Scene::new();
    scene.lib("giant", &[], "// fake: log run; alloc 300MiB in 600ms; until go\n");
    for _ in 0..2 {
        let done = scene.run(&mut scene.fake("--memory 200MiB --oversized refuse build"));
        assert_eq!(done.code(), 101, "{}", done.stderr);
        assert!(done.stderr.contains("giant v0.1.0 needs "), "{}", done.stderr);
        assert!(done.stderr.contains("`--oversized refuse` refuses it"), "{}", done.stderr);
        assert!(done.stderr.contains("could not compile `giant`"), "{}", done.stderr);
        scene.assert_clean();
    }
    scene.write("go", "");
    scene.ok(&mut scene.fake("--memory 600MiB --oversized refuse build"));
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// A server that a build script has started is nobody's: what it holds is told by its name, and no unit is refused for it.
#[test]
fn what_a_build_script_leaves_behind_is_no_units_need() {
    // It ends when the test says so, or is over.
    let script = "use std::{env, path::Path, process, thread, time::Duration};
        fn main() {
            let scene = env::var(\"E2E_SCENE\").unwrap();
            let end = Path::new(&scene).join(\"end\");
            if env::args().count() > 1 {
                let held = vec![1u8; 300 << 20];
                std::fs::write(Path::new(&scene).join(\"held\"), \"\").unwrap();
                while Path::new(&scene).exists() && !end.exists() {
                    thread::sleep(Duration::from_millis(20));
                }
                drop(held);
                return;
            }
            let mut server = process::Command::new(env::current_exe().unwrap());
            let null = process::Stdio::null;
            server.arg(\"serve\").stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
            while !Path::new(&scene).join(\"held\").exists() && !end.exists() {
                thread::sleep(Duration::from_millis(20));
            }
        }";
    let scene = Scene::new();
    scene.lib("serves", &[], "").write("ws/serves/build.rs", script);
    scene.lib("small", &["serves"], "// fake: log run; alloc 130MiB in 100ms; until go\n");
    // What it needs is known from a build without a server.
    scene.write("end", "").write("go", "");
    scene.ok(&mut scene.fake("--memory 2GiB build"));
    for file in ["end", "go"] {
        fs::remove_file(scene.at(file)).unwrap();
    }
    fs::remove_dir_all(scene.at("target")).unwrap();
    let _ = fs::remove_file(scene.at("held"));
    let running = scene.start(&mut scene.fake("--memory 420MiB --oversized refuse build"));
    until("it crosses the budget", || (scene.events("lone") > 0).then_some(()));
    scene.write("go", "");
    let done = running.end();
    scene.write("end", "");
    assert_eq!(done.code(), 0, "{}", done.stderr);
    let said = done.stderr.lines().find(|line| line.contains("more than the budget of 420 MiB"));
    let said = said.unwrap_or_else(|| panic!("{}", done.stderr));
    assert!(said.contains("of the build's other processes (build-script-build 30"), "{said}");
    assert!(said.contains("   Oversized small 1"), "{said}");
    assert!(!done.stderr.contains(" needs "), "{}", done.stderr);
    scene.assert_clean();
}

#[test]
fn a_target_directory_in_memory_is_counted() {
    let Ok(shm) = tempfile::tempdir_in("/dev/shm") else {
        panic!("this test needs /dev/shm");
    };
    let scene = Scene::new();
    scene.write("ws/a/big.bin", vec![7u8; 64 << 20]);
    let script = "fn main() {
        let out = std::env::var(\"OUT_DIR\").unwrap();
        std::fs::copy(\"big.bin\", format!(\"{out}/big.bin\")).unwrap();
        std::fs::write(format!(\"{}/written\", std::env::var(\"E2E_SCENE\").unwrap()), \"\").unwrap();
    }";
    scene.lib("a", &[], "// fake: log run; until go\n").write("ws/a/build.rs", script);
    let mut command = scene.fake("--memory 2GiB build");
    let running = scene.start(command.env("CARGO_TARGET_DIR", shm.path()));
    scene.wait_for("written");
    scene.wait_for_lines("run", 1);
    let used = || scene.top()?["used_bytes"].as_u64().filter(|used| *used > 64 * MIB);
    until("the build's memory includes the file's", used);
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
}
