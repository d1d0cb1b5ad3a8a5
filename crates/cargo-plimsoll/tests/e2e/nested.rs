//! Build scripts: silent ones, those that run Cargo, those that ask the compiler.

use std::process::Command;

use plimsoll_testing::cgroup::{self, LimitedCgroup};
use rustix::process::Signal;

use crate::process::{Sampler, is_stopped, patience, runs, signal, until};
use crate::scene::Scene;

#[test]
fn a_silent_build_script_is_left_alone() {
    let scene = Scene::new();
    let script = "fn main() {
        let at = |name: &str| format!(\"{}/{name}\", std::env::var(\"E2E_SCENE\").unwrap());
        std::fs::write(at(\"run\"), format!(\"{}\\n\", std::process::id())).unwrap();
        while !std::fs::exists(at(\"go\")).unwrap() {
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }";
    scene.lib("a", &[], "").write("ws/a/build.rs", script);
    scene.lib("z", &[], "// fake: log run-z; alloc 150MiB in 1500ms; touch z-is-up; until z-go\n");
    let running = scene.start(&mut scene.fake("--memory 220MiB --jobs 4 build"));
    let pid = scene.wait_for_lines("run", 1);
    scene.wait_for("z-is-up");
    scene.write("z-go", "");
    // Beside a unit that grows it may have been stopped, but not for ever.
    until("the script runs", || runs(pid).then_some(()));
    assert!(!is_stopped(pid));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.events("killed"), 0);
}

/// A package whose build script runs Cargo on a workspace of two packages, `one` and what needs it.
fn with_cargo_inside(text: &str) -> Scene {
    const SCRIPT: &str = "fn main() {
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        let status = std::process::Command::new(std::env::var(\"CARGO\").unwrap())
            .args([\"build\", \"--manifest-path\"]).arg(format!(\"{scene}/inner/Cargo.toml\"))
            .arg(\"--target-dir\").arg(format!(\"{scene}/inner-target\"))
            .status().unwrap();
        assert!(status.success());
    }";
    let scene = Scene::new();
    scene.lib("outer", &[], "").write("ws/outer/build.rs", SCRIPT);
    for name in ["one", "two"] {
        let needs = if name == "two" { "one = { path = \"../one\" }" } else { "" };
        scene.write(
            format!("inner/{name}/Cargo.toml"),
            format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n[dependencies]\n{needs}"),
        );
        scene.write(format!("inner/{name}/src/lib.rs"), text);
    }
    scene.write("inner/Cargo.toml", "[workspace]\nmembers = [\"one\", \"two\"]\n");
    scene
}

/// What is inside never waits for what waits for it: `one` does not fit beside the script that runs its Cargo.
#[test]
fn a_build_script_that_runs_cargo_does_not_wait_for_itself() {
    let scene =
        with_cargo_inside("// fake: log run-inner; alloc 40MiB in 120ms; touch inner-is-up\n");
    scene.lib("other", &[], "// fake: log run-other; alloc 150MiB in 1500ms; until go\n");
    let running = scene.start(&mut scene.fake("--memory 230MiB --jobs 4 build"));
    scene.wait_for_lines("run-other", 1);
    scene.wait_for("inner-is-up");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(scene.log().contains("\"inside\":"), "{}", scene.log());
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// A package whose build script runs `verb` with a jobserver of its own (`-j8`) on a workspace of `inner` packages,
/// all of which have this text; with the script of `deeper` in the first of them.
fn with_own_jobs(verb: &str, inner: usize, text: &str, deeper: Option<&str>) -> Scene {
    let script = |dir: &str| {
        format!(
            "fn main() {{
                let scene = std::env::var(\"E2E_SCENE\").unwrap();
                let status = std::process::Command::new(std::env::var(\"CARGO\").unwrap())
                    .args([\"{verb}\", \"-j8\", \"--manifest-path\"])
                    .arg(format!(\"{{scene}}/{dir}/Cargo.toml\"))
                    .arg(\"--target-dir\").arg(format!(\"{{scene}}/target/{dir}\"))
                    .env_remove(\"MAKEFLAGS\").env_remove(\"CARGO_MAKEFLAGS\")
                    .status().unwrap();
                assert!(status.success());
            }}"
        )
    };
    let scene = Scene::new();
    scene.lib("outer-sys", &[], "").write("ws/outer-sys/build.rs", script("inner"));
    let dirs = ["inner"].into_iter().chain(deeper);
    for (dir, next) in dirs.zip([deeper, None]) {
        for number in 0..inner {
            let name = format!("{dir}{number}");
            let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n");
            scene.write(format!("{dir}/{name}/Cargo.toml"), manifest);
            scene.write(format!("{dir}/{name}/src/lib.rs"), text);
        }
        scene.write(format!("{dir}/Cargo.toml"), "[workspace]\nmembers = [\"*\"]\n");
        if let Some(next) = next {
            scene.write(format!("{dir}/{dir}0/build.rs"), script(next));
        }
    }
    scene
}

const MIB: u64 = 1 << 20;

/// Builds twice what three compilers inside a build script need, 360 MiB beside each other, under a budget of 300 MiB: at
/// first unknown, then known. `sampler` is asked for each build, and its peak of the second is at most `at_most` per cent
/// of the budget.
fn stays_under_the_budget(
    scene: &Scene,
    build: impl Fn() -> Command,
    sampler: impl Fn() -> Sampler,
    at_most: u64,
) {
    let build = |at_most: u64| {
        let sampler = sampler();
        let done = scene.start(&mut build()).end_within(2 * patience());
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(done.stderr.contains("(inside outer-sys)"), "{}", done.stderr);
        let peak = sampler.peak();
        assert!(peak <= 300 * MIB * at_most / 100, "the peak was {} MiB", peak / MIB);
        done
    };
    let first = build(103);
    assert!(
        first.stderr.contains("Paused") || first.stderr.contains("Restarted"),
        "nobody was in the way: {}",
        first.stderr
    );
    // Now it is known what they need.
    std::fs::remove_dir_all(scene.at("target")).unwrap();
    std::fs::create_dir(scene.at("target")).unwrap();
    build(at_most);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

const THREE_GROW: &str = "// fake: alloc 120MiB in 1200ms\n";

fn build_of_four(scene: &Scene) -> Command {
    let mut build = scene.fake("--memory 300MiB --jobs 4 build");
    build.env("PLIMSOLL_PROCESSORS", "4");
    build
}

#[test]
fn the_budget_holds_for_what_a_build_script_builds() {
    for (verb, deeper) in [("build", None), ("build", Some("deep")), ("test", None)] {
        let scene = with_own_jobs(verb, 3, THREE_GROW, deeper);
        // The sampler reads one process after the other while they grow.
        let sampler = || Sampler::start(scene.dir());
        stays_under_the_budget(&scene, || build_of_four(&scene), sampler, 101);
    }
}

/// The same by the kernel's own count, which is one number for all of them at one moment.
#[test]
fn by_the_kernels_count_the_budget_holds_for_what_a_build_script_builds() {
    let cgroup = LimitedCgroup::without_limit();
    for deeper in [None, Some("deep")] {
        let scene = with_own_jobs("build", 3, THREE_GROW, deeper);
        let build = || scene.inside(cgroup.entrance(), &build_of_four(&scene));
        let dir = cgroup.dir().to_owned();
        let sampler = || {
            let dir = dir.clone();
            Sampler::of(move || cgroup::held(&dir))
        };
        stays_under_the_budget(&scene, build, sampler, 100);
    }
}

/// The Cargo of one waits for the lock of the other's, whose units must not wait for that script.
#[test]
fn two_build_scripts_that_run_cargo_in_one_place_end() {
    let text = "// fake: alloc 100MiB in 1000ms\n";
    let scene = with_own_jobs("build", 3, text, None);
    scene.lib("second-sys", &[], "");
    scene.write("ws/second-sys/build.rs", scene.read("ws/outer-sys/build.rs"));
    let running = scene.start(&mut scene.fake("--memory 250MiB --jobs 4 build"));
    let done = running.end_within(2 * patience());
    assert_eq!(done.code(), 0, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// What waits inside leaves with the build, and nothing is left of it.
#[test]
fn nothing_inside_outlives_the_outer_cargo() {
    let text = "// fake: log run-inner; alloc 150MiB in 300ms; until never\n";
    let scene = with_own_jobs("build", 3, text, None);
    let running = scene.start(&mut scene.fake("--memory 250MiB --jobs 4 build"));
    scene.wait_for_lines("run-inner", 1);
    until("another one waits", || (scene.events("registered") >= 5).then_some(()));
    let cargo = scene.wait_for_process("the outer Cargo", |it| {
        it.program == "cargo" && it.parent == running.id()
    });
    signal(cargo.pid, Signal::KILL);
    assert_ne!(running.end().code(), 0);
    scene.assert_clean();
}

/// It runs again when nothing goes on but the build script, which waits for it.
#[test]
fn a_compiler_below_a_build_script_that_somebody_kills_runs_once_more() {
    let scene = with_cargo_inside("// fake: log run-inner; until inner-go\n");
    scene.lib("other", &[], "// fake: log run-other; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB --jobs 4 build"));
    scene.wait_for_lines("run-other", 1);
    signal(scene.wait_for_lines("run-inner", 1), Signal::KILL);
    until("it waits again", || (scene.events("lost") == 1).then_some(()));
    assert_eq!(scene.read("run-inner").lines().count(), 1);
    scene.write("go", "");
    scene.wait_for_lines("run-inner", 2);
    scene.write("inner-go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// As anyhow, serde and autocfg do it: with the wrapper, and failing on purpose.
pub(crate) const PROBE: &str = "fn main() {
    let var = |name: &str| std::env::var_os(name);
    let out = std::path::PathBuf::from(var(\"OUT_DIR\").unwrap());
    let source = out.join(\"probe.rs\");
    std::fs::write(&source, \"pub fn f() { no_such_thing() }\").unwrap();
    let rustc = var(\"RUSTC\").unwrap();
    let mut command = match var(\"RUSTC_WRAPPER\") {
        Some(wrapper) if !wrapper.is_empty() => {
            let mut command = std::process::Command::new(wrapper);
            command.arg(rustc);
            command
        }
        _ => std::process::Command::new(rustc),
    };
    let status = command
        .args([\"--edition=2021\", \"--crate-name=probe\", \"--crate-type=lib\", \"--emit=metadata\"])
        .arg(\"--out-dir\").arg(out).arg(source)
        .stderr(std::process::Stdio::null())
        .status().unwrap();
    assert_eq!(status.code(), Some(1));
    println!(\"cargo:rustc-env=PROBED=no\");
}";

/// A server that a build script starts and leaves behind, as sccache's is: it is nobody's to wait for, and
/// nobody's to end.
#[test]
fn a_build_script_that_leaves_a_process_behind_is_over() {
    let scene = Scene::new();
    let script = "fn main() {
        use std::process::{Command, Stdio};
        let child = Command::new(\"setsid\").args([\"sleep\", \"1000\"])
            .stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        std::fs::write(format!(\"{scene}/left\"), format!(\"{}\\n\", child.id())).unwrap();
        // Long enough to be seen.
        std::thread::sleep(std::time::Duration::from_millis(500));
    }";
    scene.lib("a", &[], "").write("ws/a/build.rs", script);
    // Of what is needed by it one compiler is killed: it waits until nothing else runs.
    scene.lib("b", &["a"], "// fake: log run-b; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB --jobs 4 build"));
    let left = scene.wait_for_lines("left", 1);
    signal(scene.wait_for_lines("run-b", 1), Signal::KILL);
    scene.wait_for_lines("run-b", 2);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(runs(left), "the build has ended what is not its own");
    signal(left, Signal::KILL);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn a_probe_that_fails_fails_nothing_else() {
    let scene = Scene::new();
    scene
        .bin("a", &["z"], "fn main() { println!(env!(\"PROBED\")) }")
        .write("ws/a/build.rs", PROBE);
    scene.lib("z", &[], "");
    let done = scene.ok(&mut scene.plimsoll("run -q"));
    assert_eq!(done.stdout, "no\n");
    assert_eq!(
        scene.log().matches("\"title\":\"probe").count()
            + scene.log().matches("\"inside\":").count().min(1),
        1,
        "{}",
        scene.log()
    );
    scene.assert_fresh(&mut scene.cargo("build"));
}
