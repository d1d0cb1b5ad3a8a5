//! SIGKILL to one of the build's processes: the driver, a shim, Cargo, a compiler, a linker.

use std::fs::File;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{is_stopped, of_scene, runs, signal, until};
use crate::scene::Scene;

/// One unit that runs, one that is stopped because it grows, and one that waits: under a budget of 400 MiB.
fn crowded() -> Scene {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; alloc 130MiB in 260ms; touch a-is-up; until go\n");
    // It comes after another one, so that `a` is the oldest.
    scene.lib("z", &[], "").lib(
        "b",
        &["z"],
        "// fake: until a-is-up; log run-b; alloc 400MiB in 800ms; until go\n",
    );
    scene.lib("c", &["a"], "");
    scene
}

#[test]
fn a_killed_driver_leaves_a_build_that_goes_on() {
    let scene = crowded();
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    running.signal(Signal::KILL);
    until("b goes on", || runs(b).then_some(()));
    scene.write("go", "");
    assert_eq!(running.end().code(), 137);
    scene.assert_clean();
    assert!(
        scene.read("err.0").contains("goes on without a memory budget"),
        "{}",
        scene.read("err.0")
    );
    assert!(scene.read("err.0").contains("Finished"), "{}", scene.read("err.0"));
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn units_that_wait_when_the_driver_is_killed_run_and_fail_as_they_would_have() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; alloc 200MiB in 1500ms; touch a-is-up; until go\n");
    scene.lib("y", &[], "").lib("z", &["y"], "// fake: until a-is-up\n");
    scene.lib(
        "b",
        &["z"],
        "// fake: log run-b\nfn f() { let unused = 1; }\ncompile_error!(\"b\");",
    );
    // The budget has room for one only.
    let running = scene.start(&mut scene.fake("--memory 240MiB --jobs 4 build"));
    scene.wait_for_lines("run-a", 1);
    scene.wait_for_units(1, 1, 0);
    running.signal(Signal::KILL);
    scene.wait_for_lines("run-b", 1);
    scene.write("go", "");
    running.end();
    scene.assert_clean();
    let stderr = scene.read("err.0");
    assert!(stderr.contains("error: b") && stderr.contains("could not compile `b`"), "{stderr}");
}

/// Cargo starts build scripts, so no shim is there to continue one.
#[test]
fn a_stopped_build_script_goes_on_when_the_driver_is_killed() {
    let scene = Scene::new();
    let wait = |name: &str, mib: u32| {
        format!(
            "use std::{{env, fs, process, thread, time::Duration}};
            fn main() {{
                let at = |name: &str| format!(\"{{}}/{{name}}\", env::var(\"E2E_SCENE\").unwrap());
                fs::write(at(\"run-{name}\"), format!(\"{{}}\\n\", process::id())).unwrap();
                let mut all = Vec::new();
                for _ in 0..{mib} {{
                    all.push(vec![1u8; 1 << 20]);
                    thread::sleep(Duration::from_millis(2));
                }}
                while !fs::exists(at(\"go\")).unwrap() {{ thread::sleep(Duration::from_millis(3)); }}
                drop(all);
            }}"
        )
    };
    for name in ["a", "b"] {
        scene.lib(name, &[], "").write(format!("ws/{name}/build.rs"), wait(name, 300));
    }
    let running = scene.start(&mut scene.plimsoll("--memory 400MiB --jobs 4 build"));
    let (a, b) = (scene.wait_for_lines("run-a", 1), scene.wait_for_lines("run-b", 1));
    let stopped = until("one is stopped", || [a, b].into_iter().find(|pid| is_stopped(*pid)));
    running.signal(Signal::KILL);
    until("it goes on", || runs(stopped).then_some(()));
    scene.write("go", "");
    running.end();
    scene.assert_clean();
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn a_killed_shim_takes_its_compiler_along_and_cargo_runs_once_more() {
    for (command, fresh) in [("build", "build"), ("test -p b --lib", "test -p b --lib --no-run")] {
        let scene = Scene::new();
        scene.lib("a", &[], "// fake: log run-a; until go\n").lib("b", &["a"], "");
        let running = scene.start(&mut scene.fake(&format!("--memory 1GiB {command}")));
        let compiler = scene.wait_for_lines("run-a", 1);
        let shim = scene.wait_for_process("the shim", |p| p.program == "plimsoll-rustc");
        signal(shim.pid, Signal::KILL);
        assert_ne!(scene.wait_for_lines("run-a", 2), compiler);
        scene.write("go", "");
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(done.stderr.contains("Cargo runs once more"), "{}", done.stderr);
        scene.assert_clean();
        scene.assert_fresh(&mut scene.fake_cargo(fresh));
    }
}

#[test]
fn tests_never_run_twice_for_a_killed_shim() {
    let scene = Scene::new();
    let text = "//! ```\n//! while !std::path::Path::new(env!(\"E2E_SCENE\")).join(\"go\").exists() {}\n//! ```\n\
                #[test] fn f() { std::fs::write(concat!(env!(\"E2E_SCENE\"), \"/tested\"), \"\").unwrap() }";
    scene.lib("a", &[], text);
    let running = scene.start(&mut scene.plimsoll("--memory 1GiB test"));
    let shim = scene.wait_for_process("rustdoc's shim", |p| {
        p.program == "plimsoll-rustdoc" && scene.at("tested").exists()
    });
    std::fs::remove_file(scene.at("tested")).unwrap();
    signal(shim.pid, Signal::KILL);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert!(!scene.at("tested").exists(), "{}", done.stderr);
}

#[test]
fn a_killed_shim_fails_its_unit_where_cargo_may_not_say_everything_twice() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n").lib("b", &["a"], "");
    let running = scene.start(&mut scene.fake("--memory 1GiB build --message-format=json"));
    scene.wait_for_lines("run-a", 1);
    let shim = scene.wait_for_process("the shim", |p| p.program == "plimsoll-rustc");
    signal(shim.pid, Signal::KILL);
    let done = running.end();
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert!(done.stderr.contains("signal: 9"), "{}", done.stderr);
    scene.assert_clean();
    scene.write("go", "");
    scene.ok(&mut scene.fake("--memory 1GiB build"));
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn a_killed_cargo_leaves_nothing_that_runs() {
    let scene = crowded();
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let driver = running.id();
    let cargo = scene.wait_for_process("cargo", |p| {
        p.program == "cargo"
            && p.parent == driver
            && !p.args.iter().any(|arg| arg == "--unit-graph")
    });
    signal(cargo.pid, Signal::KILL);
    assert_eq!(running.end().code(), 137);
    scene.assert_clean();
}

/// As under a CI that runs each command in a pid namespace: session and group have the number 0 there.
#[test]
fn a_killed_cargo_leaves_nothing_where_the_session_began_outside_the_namespace() {
    let scene = crowded();
    let build = scene.fake("--memory 400MiB --jobs 4 build");
    let mut build = scene.in_namespaces(&["--pid", "--mount-proc"], &build);
    let running = scene.start(&mut build);
    let b =
        scene.wait_for_process("b", |p| p.program == "rustc" && p.args.iter().any(|a| a == "b"));
    until("b is stopped", || is_stopped(b.pid).then_some(()));
    let cargo = scene.wait_for_process("cargo", |p| {
        p.program == "cargo" && !p.args.iter().any(|arg| arg == "--unit-graph")
    });
    signal(cargo.pid, Signal::KILL);
    assert_eq!(running.end().code(), 137);
    scene.assert_clean();
}

#[test]
fn a_build_script_does_not_outlive_a_killed_cargo() {
    let scene = Scene::new();
    let script = "fn main() {
        let at = |name: &str| format!(\"{}/{name}\", std::env::var(\"E2E_SCENE\").unwrap());
        std::fs::write(at(\"run\"), \"1\\n\").unwrap();
        std::process::Command::new(\"sleep\").arg(\"1000\").status().unwrap();
    }";
    scene.lib("a", &[], "").write("ws/a/build.rs", script);
    let running = scene.start(&mut scene.plimsoll("--memory 1GiB build"));
    scene.wait_for_process("the script's child", |p| p.args[0] == "sleep");
    let driver = running.id();
    let cargo = scene.wait_for_process("cargo", |p| {
        p.program == "cargo"
            && p.parent == driver
            && !p.args.iter().any(|arg| arg == "--unit-graph")
    });
    signal(cargo.pid, Signal::KILL);
    assert_eq!(running.end().code(), 137);
    scene.assert_clean();
}

#[test]
fn a_compiler_that_somebody_kills_runs_once_more() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\npub fn f() { let unused = 1; }");
    scene.lib("b", &["a"], "pub fn g() { a::f() }");
    let running = scene.start(&mut scene.fake("--memory 1GiB build"));
    let first = scene.wait_for_lines("run-a", 1);
    signal(first, Signal::KILL);
    scene.wait_for_lines("run-a", 2);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(done.stderr.matches("unused variable").count(), 1, "{}", done.stderr);
    assert!(
        done.stderr.contains("Restarted 1 unit killed by the kernel or another program"),
        "{}",
        done.stderr
    );
    assert_eq!(scene.events("lost"), 1);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// As earlyoom does first.
#[test]
fn a_compiler_that_somebody_tells_to_end_runs_once_more() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB build"));
    signal(scene.wait_for_lines("run-a", 1), Signal::TERM);
    scene.wait_for_lines("run-a", 2);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(
        done.stderr.contains("Restarted 1 unit terminated by another program (SIGTERM"),
        "{}",
        done.stderr
    );
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// Whoever tells a whole build to end is not taken for an earlyoom: by its process group, and by the driver alone.
#[test]
fn a_build_that_is_told_to_end_runs_nothing_again() {
    for whole_group in [true, false] {
        let scene = Scene::new();
        scene.lib("a", &[], "// fake: log run-a; until go\n");
        let running = scene.start(&mut scene.fake("--memory 1GiB build"));
        scene.wait_for_lines("run-a", 1);
        if whole_group {
            running.signal_group(Signal::TERM);
        } else {
            running.signal(Signal::TERM);
        }
        let code = running.end().code();
        assert_eq!(code, 143);
        assert_eq!(scene.read("run-a").lines().count(), 1);
        assert_eq!(scene.events("lost"), 0);
        scene.assert_clean();
    }
}

/// The kernel takes what is stopped as well: what runs in its place must not be stopped, too.
#[test]
fn a_stopped_compiler_that_somebody_kills_runs_once_more() {
    let scene = crowded();
    let running = scene.start(&mut scene.fake("--memory 400MiB --jobs 4 build"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    signal(b, Signal::KILL);
    until("it waits again", || (scene.events("lost") == 1).then_some(()));
    scene.write("go", "");
    scene.wait_for_lines("run-b", 2);
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// Somebody kills at random, while there is memory enough.
#[test]
fn a_compiler_that_is_killed_now_and_again_gets_there() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut scene.fake("--memory 1GiB build"));
    for nth in 1..=3 {
        signal(scene.wait_for_lines("run-a", nth), Signal::KILL);
    }
    scene.wait_for_lines("run-a", 4);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.events("lost"), 3);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn a_compiler_that_never_survives_fails_as_it_does_without_us() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: sigkill-self\n");
    let done = scene.start(&mut scene.fake("--memory 1GiB build")).end();
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert!(done.stderr.contains("signal: 9"), "{}", done.stderr);
    assert_eq!(scene.events("lost"), 20);
}

/// `ld` below `cc`, as the kernel takes it.
/// A linker that says that it runs, and waits for the file `go`; and the flags with which rustc takes it.
fn slow_linker(scene: &Scene) -> String {
    let ld = "echo $$ >>$E2E_SCENE/run-ld
        while [ ! -e $E2E_SCENE/go ]; do sleep 0.01; done
        exec /usr/bin/ld \"$@\"";
    scene.script("bin/ld", ld);
    // On x86-64 rustc brings its own linker along, and finds it first.
    let lld = if cfg!(target_arch = "x86_64") { "-Clinker-features=-lld " } else { "" };
    format!("{lld}-Clink-arg=-B{}", scene.at("bin").display())
}

#[test]
fn a_linker_that_somebody_kills_runs_once_more() {
    let scene = Scene::new();
    let flags = slow_linker(&scene);
    scene.bin("a", &[], "fn main() { println!(\"linked\") }");
    let mut command = scene.plimsoll("--memory 1GiB build");
    let running = scene.start(command.env("RUSTFLAGS", &flags));
    signal(scene.wait_for_lines("run-ld", 1), Signal::KILL);
    scene.wait_for_lines("run-ld", 2);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.events("lost"), 1);
    scene.assert_fresh(scene.cargo("build").env("RUSTFLAGS", &flags));
    let said = scene.ok(scene.cargo("run -q").env("RUSTFLAGS", &flags));
    assert_eq!(said.stdout, "linked\n");
}

#[test]
fn a_unit_whose_link_shim_somebody_kills_runs_once_more() {
    let scene = Scene::new();
    let flags = slow_linker(&scene);
    scene.bin("a", &[], "fn main() {}");
    let mut command = scene.plimsoll("--memory 1GiB build");
    let running = scene.start(command.env("RUSTFLAGS", &flags));
    scene.wait_for_lines("run-ld", 1);
    let shim = scene.wait_for_process("the link shim", |p| {
        p.program == "plimsoll-rustc" && !p.args.iter().any(|arg| arg == "--crate-name")
    });
    signal(shim.pid, Signal::KILL);
    // A linker below the compiler driver that started a moment ago may not be known as the unit's yet: it
    // ends by itself, as it does where somebody kills its `cc`.
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(!done.stderr.contains("signal: 9"), "{}", done.stderr);
    assert_eq!(scene.events("lost"), 1);
    scene.wait_for_lines("run-ld", 2);
    until("nothing runs", || of_scene(scene.dir()).is_empty().then_some(()));
    scene.assert_clean();
    scene.assert_fresh(scene.cargo("build").env("RUSTFLAGS", &flags));
}

#[test]
fn a_link_that_waits_when_the_driver_is_killed_goes_on() {
    let scene = Scene::new();
    // An object as large as what makes a linker need 350 MiB, and nothing in it.
    let object = scene.at("large.o");
    let mut cc = Command::new("cc");
    cc.args(["-c", "-x", "c", "/dev/null", "-o"]).arg(&object);
    assert!(cc.status().unwrap().success());
    File::options().write(true).open(&object).unwrap().set_len(1 << 30).unwrap();
    let flags = format!("-Clink-arg={}", object.display());
    scene.lib("a", &[], "// fake: log run-a; alloc 130MiB in 260ms; touch a-is-up; until go\n");
    scene.bin("b", &[], "// fake: until a-is-up\nfn main() {}");
    let mut command = scene.fake("--memory 400MiB --jobs 4 build");
    let running = scene.start(command.env("RUSTFLAGS", &flags));
    until("the link waits", || (scene.events("link-asked") == 1).then_some(()));
    assert_eq!(scene.events("link-admitted"), 0);
    running.signal(Signal::KILL);
    until("it links", || scene.at("target/debug/b").exists().then_some(()));
    scene.write("go", "");
    running.end();
    scene.assert_clean();
    scene.assert_fresh(scene.fake_cargo("build").env("RUSTFLAGS", &flags));
}
