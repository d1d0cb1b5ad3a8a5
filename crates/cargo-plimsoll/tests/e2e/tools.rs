//! What build scripts run: make, ninja, C compilers; all inside Cargo's places.

use plimsoll_testing::ignored;

use crate::scene::Scene;

/// Two recipes that each end only when the other has begun: in sequence they never would.
const MAKEFILE: &str = "all: one two
one two:
\ttouch $(E2E_SCENE)/began-$@
\twhile [ ! -e $(E2E_SCENE)/began-one ] || [ ! -e $(E2E_SCENE)/began-two ]; do sleep 0.01; done
";

#[test]
fn make_in_a_build_script_runs_recipes_side_by_side() {
    let scene = Scene::new();
    let script = "fn main() {
        let status = std::process::Command::new(\"make\")
            .env(\"MAKEFLAGS\", std::env::var_os(\"CARGO_MAKEFLAGS\").unwrap())
            .status().unwrap();
        assert!(status.success());
    }";
    scene.lib("a", &[], "").write("ws/a/build.rs", script).write("ws/a/Makefile", MAKEFILE);
    let done = scene.ok(&mut scene.plimsoll("--memory 1GiB --jobs 2 build -vv"));
    assert!(!done.stderr.contains("jobserver unavailable"), "{}", done.stderr);
    assert!(!done.stderr.contains("warning: -j"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

/// With one place, two recipes at once would be one too many.
#[test]
fn make_with_one_place_runs_one_recipe() {
    let scene = Scene::new();
    let script = "fn main() {
        let status = std::process::Command::new(\"make\")
            .env(\"MAKEFLAGS\", std::env::var_os(\"CARGO_MAKEFLAGS\").unwrap())
            .status().unwrap();
        assert!(status.success());
    }";
    let makefile = "all: one two three
one two three:
\tmkdir $(E2E_SCENE)/busy
\tsleep 0.05
\trmdir $(E2E_SCENE)/busy
";
    scene.lib("a", &[], "").write("ws/a/build.rs", script).write("ws/a/Makefile", makefile);
    scene.ok(&mut scene.plimsoll("--memory 1GiB --jobs 1 build"));
}

#[test]
fn ninja_in_a_build_script_runs_edges_side_by_side() {
    if plimsoll_host::ToolVersions::probe().ninja < Some((1, 13)) {
        ignored("there is no ninja of 1.13 or later");
    }
    let scene = Scene::new();
    let script =
        "fn main() { assert!(std::process::Command::new(\"ninja\").status().unwrap().success()) }";
    let rule = "rule meet\n  command = touch $$E2E_SCENE/began-$out; while [ ! -e $$E2E_SCENE/began-one ] || \
        [ ! -e $$E2E_SCENE/began-two ]; do sleep 0.01; done; touch $out\n\
        build one: meet\nbuild two: meet\n";
    scene.lib("a", &[], "").write("ws/a/build.rs", script);
    scene.write("ws/a/build.ninja", rule);
    scene.ok(&mut scene.plimsoll("--memory 1GiB --jobs 2 build"));
}

/// The `cc` crate takes places for its compilers.
#[test]
fn cc_compiles_side_by_side() {
    let scene = Scene::new();
    let script = "fn main() {
        let files = (0..6).map(|n| format!(\"c{n}.c\"));
        cc::Build::new().files(files).compile(\"six\");
    }";
    scene.bin(
        "a",
        &[],
        "unsafe extern \"C\" { fn f5() -> i32; }\nfn main() { println!(\"{}\", unsafe { f5() }) }",
    );
    scene.write("ws/a/build.rs", script);
    for number in 0..6 {
        scene.write(
            format!("ws/a/c{number}.c"),
            format!("int f{number}(void) {{ return {number}; }}\n"),
        );
    }
    scene.write(
        "ws/a/Cargo.toml",
        "[package]\nname = \"a\"\nedition = \"2021\"\n\
         [build-dependencies]\ncc = { version = \"1\", features = [\"parallel\"] }\n",
    );
    let done = scene
        .run(scene.plimsoll("--memory 1GiB --jobs 2 run -q").env("CARGO_NET_OFFLINE", "false"));
    assert_eq!((done.code(), done.stdout.as_str()), (0, "5\n"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn a_command_that_is_not_cargo_is_measured_stopped_and_given_places() {
    let scene = Scene::new();
    // Three at once are asked for, and one processor is planned for.
    scene.write(
        "ws/Makefile",
        "all: a b c\na b c:\n\t@echo start $@ >>$(E2E_SCENE)/order; sleep 0.2; echo end $@ >>$(E2E_SCENE)/order\n",
    );
    let mut command = scene.plimsoll("--memory 1GiB run-under -- make -j3 all");
    let done = scene.ok(command.env("PLIMSOLL_PROCESSORS", "1"));
    assert!(!done.stderr.contains("jobserver"), "make has something to say of it: {}", done.stderr);
    let order = scene.read("order");
    let lines: Vec<&str> = order.lines().collect();
    assert_eq!(lines.len(), 6, "{order}");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0].replace("start", "end"), pair[1], "{order}");
    }
    let log = scene.log();
    assert!(log.contains("\"title\":\"make (command)\""), "{log}");
    let done = scene.run(&mut scene.plimsoll("run-under -- sh -c \"exit-7\""));
    assert_eq!(done.code(), 127, "{}", done.stderr);
    let done = scene.run(&mut scene.plimsoll("run-under -- no-such-program-anywhere"));
    assert_ne!(done.code(), 0);
    assert!(done.stderr.contains("cannot start `no-such-program-anywhere`"), "{}", done.stderr);
}

#[test]
fn a_cargo_below_another_command_is_governed_and_does_not_wait_for_that() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: alloc 150MiB in 200ms\n").lib("b", &["a"], "");
    scene.write("ws/Makefile", "all:\n\tcargo build\n");
    let mut command = scene.fake("--memory 200MiB run-under -- make");
    let done = scene.ok(&mut command);
    assert!(done.stderr.contains("Compiling a"), "{}", done.stderr);
    let log = scene.log();
    assert!(log.contains("\"title\":\"a v0.1.0\""), "its compilers are units: {log}");
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}
