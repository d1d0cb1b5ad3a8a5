//! `cargo plimsoll doctor --last`, and `doctor` with a log: what killed a build, told of real deaths.

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::until;
use crate::scene::{Done, Scene};

/// The verdict as JSON, and the exit status.
fn verdict(scene: &Scene, command: &mut Command) -> (Value, i32) {
    let done: Done = scene.run(command);
    let verdict = serde_json::from_str(&done.stdout);
    (verdict.unwrap_or_else(|_| panic!("{}{}", done.stdout, done.stderr)), done.code())
}

#[test]
fn doctor_last_names_the_unit_that_was_killed() {
    let scene = Scene::new();
    scene.lib("fine", &[], "").lib("victim", &["fine"], "// fake: sigkill-self\n");
    let built = scene.run(&mut scene.fake("--memory 1GiB build"));
    assert_eq!(built.code(), 101, "{}", built.stderr);

    let (said, status) = verdict(&scene, &mut scene.plimsoll("doctor --last --json"));
    assert_eq!(status, 1, "{said}");
    assert_eq!(said["memory"], true);
    assert_eq!(said["cause"], "killed");
    assert_eq!(said["certainty"], "likely");
    assert_eq!(said["unit"], "victim v0.1.0");
    let evidence = said["evidence"]["text"].as_str().unwrap();
    assert!(evidence.contains("signal 9"), "{evidence}");
    let text = scene.run(&mut scene.plimsoll("doctor --last"));
    assert!(
        text.stdout.contains("     Verdict out of memory (likely): victim v0.1.0 was killed"),
        "{}",
        text.stdout
    );
    // It ran under Plimsoll already: that would be no help.
    assert!(!text.stdout.contains("  cargo plimsoll build\n"), "{}", text.stdout);
    assert!(text.stdout.contains("  cargo plimsoll --memory 60% build\n"), "{}", text.stdout);

    // And by the words of the same build, in a file, by redirection, and through a pipe.
    scene.write("build.log", &built.stderr);
    let log = scene.at("build.log");
    let (of_file, status) = verdict(&scene, scene.plimsoll("doctor --json").arg(&log));
    assert_eq!(status, 1);
    assert_eq!((&of_file["cause"], &of_file["unit"]), (&said["cause"], &Value::from("victim")));
    let line = of_file["evidence"]["line"].as_u64().unwrap();
    let shown = built.stderr.lines().nth(usize::try_from(line).unwrap() - 1).unwrap();
    assert!(shown.contains("signal: 9"), "{shown}");
    let mut redirected = scene.plimsoll("doctor --json");
    redirected.stdin(File::open(&log).unwrap());
    assert_eq!(verdict(&scene, &mut redirected), (of_file.clone(), 1));
    for arguments in ["doctor --json", "doctor --json -"] {
        let mut cat = Command::new("cat").arg(&log).stdout(Stdio::piped()).spawn().unwrap();
        let mut piped = scene.plimsoll(arguments);
        piped.stdin(cat.stdout.take().unwrap());
        assert_eq!(verdict(&scene, &mut piped), (of_file.clone(), 1), "{arguments}");
        cat.wait().unwrap();
    }
}

/// Programs that Cargo itself runs are named by the paths that they have in its build directory.
#[test]
fn a_build_script_and_a_test_that_were_killed_are_named_by_their_paths() {
    let scene = Scene::new();
    let kill = "fn main() { std::process::Command::new(\"sh\")\
        .args([\"-c\", \"kill -9 $PPID\"]).status().unwrap(); }";
    scene.lib("scripted", &[], "").write("ws/scripted/build.rs", kill);
    let test = kill.replace("fn main", "#[test]\nfn ends");
    scene.lib("tested", &[], "").write("ws/tested/tests/it.rs", test);
    for (command, unit) in [
        ("build -p scripted", "scripted (build script)"),
        ("test -p tested --test it", "run of test it"),
    ] {
        let built = scene.run(&mut scene.cargo(command));
        assert_eq!(built.code(), 101, "{}", built.stderr);
        let log = built.stderr.lines().filter(|line| !line.contains("custom build command"));
        scene.write("build.log", log.collect::<Vec<_>>().join("\n"));
        let (said, _) = verdict(&scene, scene.plimsoll("doctor --json").arg(scene.at("build.log")));
        assert_eq!(said["unit"], unit, "{said}\n{}", built.stderr);
    }
}

/// A build script asks the compiler what it can do, as those of proc-macro2 and thiserror do: "no" is an answer.
#[test]
fn doctor_last_blames_the_type_error_and_not_a_probe_of_a_dependency() {
    const PROBE: &str = "use std::process::{Command, Stdio};
        fn main() {
            let out = std::env::var(\"OUT_DIR\").unwrap();
            let rustc = std::env::var_os(\"RUSTC\").unwrap();
            let wrapper = std::env::var_os(\"RUSTC_WRAPPER\").filter(|it| !it.is_empty());
            let mut command = match wrapper {
                Some(wrapper) => { let mut it = Command::new(wrapper); it.arg(rustc); it }
                None => Command::new(rustc),
            };
            let status = command
                .args([\"--edition=2021\", \"--crate-name=probing\", \"--crate-type=lib\", \"--cap-lints=allow\"])
                .args([\"--emit=dep-info,metadata\", \"--out-dir\", &out, \"src/probe.rs\"])
                .stderr(Stdio::null()).status().unwrap();
            assert!(!status.success());
        }";
    let scene = Scene::new();
    scene.lib("probing", &[], "").write("ws/probing/build.rs", PROBE);
    scene.write("ws/probing/src/probe.rs", "#![feature(of_no_compiler)]\n");
    scene.lib("wrong", &["probing"], "pub fn f() -> u32 { \"nine\" }\n");
    let built = scene.run(&mut scene.plimsoll("--memory 1GiB build"));
    assert_eq!(built.code(), 101, "{}", built.stderr);
    assert!(scene.log().contains("\"inside\":"), "the probe is in the log: {}", scene.log());
    let (said, status) = verdict(&scene, &mut scene.plimsoll("doctor --last --json"));
    assert_eq!(
        (&said["unit"], &said["cause"], status),
        (&"wrong v0.1.0".into(), &"failed".into(), 0)
    );
    assert_eq!(said["workspace"], scene.at("ws").display().to_string());
}

/// What was just done is no advice.
#[test]
fn doctor_says_after_a_refusal_what_runs_the_unit() {
    let scene = Scene::new();
    scene.lib("giant", &[], "// fake: alloc 300MiB in 600ms; until go\n");
    let built = scene.run(&mut scene.fake("--memory 200MiB --oversized refuse build"));
    assert_eq!(built.code(), 101, "{}", built.stderr);
    scene.write("build.log", &built.stderr);
    let mut of_log = scene.plimsoll("doctor --json");
    of_log.arg(scene.at("build.log"));
    for mut question in [scene.plimsoll("doctor --last --json"), of_log] {
        let (said, status) = verdict(&scene, &mut question);
        assert_eq!((&said["cause"], status), (&"refused".into(), 1), "{said}");
        let first = said["remedies"][0]["command"].as_str().unwrap();
        assert_eq!(first, "cargo plimsoll --oversized shrink build");
    }
    scene.write("go", "");
    scene.ok(&mut scene.fake("--memory 200MiB --oversized shrink build"));
}

/// What joins the account's governor, and a plain Cargo after `enable`, are of a workspace, too.
#[test]
fn builds_of_the_account_are_found_by_their_workspace() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.write("other/Cargo.toml", "[package]\nname = \"o\"\nedition = \"2021\"\n[workspace]\n");
    scene.write("other/src/lib.rs", "");
    let on_account = |mut command: Command| {
        command.env("CARGO_HOME", scene.at("cargo"));
        command
    };
    scene.ok(&mut on_account(scene.plimsoll("enable --memory 1GiB")));
    scene.ok(&mut on_account(scene.plimsoll("check")));
    let mut plain = on_account(scene.cargo("build"));
    scene.ok(plain.current_dir(scene.at("other")));
    let last = |directory: &str| {
        let mut asked = on_account(scene.plimsoll("report --list --json"));
        let done = scene.run(asked.current_dir(scene.at(directory)));
        let said: Value =
            serde_json::from_str(&done.stdout).unwrap_or_else(|_| panic!("{}", done.stderr));
        said["builds"].as_array().map(|builds| {
            builds.iter().map(|it| it["command"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        })
    };
    assert_eq!(last("ws"), Some(vec!["check".to_owned()]));
    assert_eq!(last("other/src"), Some(vec!["build".to_owned()]));
    scene.ok(&mut on_account(scene.plimsoll("disable")));
}

#[test]
fn doctor_last_says_when_it_was_not_memory_and_when_nothing_died() {
    let scene = Scene::new();
    scene.lib("wrong", &[], "fn f() -> u32 { \"nine\" }\n");
    let built = scene.run(&mut scene.plimsoll("--memory 1GiB build"));
    assert_eq!(built.code(), 101);
    let (said, status) = verdict(&scene, &mut scene.plimsoll("doctor --last --json"));
    assert_eq!(
        (&said["memory"], &said["unit"], status),
        (&false.into(), &"wrong v0.1.0".into(), 0)
    );
    scene.write("build.log", &built.stderr);
    let mut redirected = scene.plimsoll("doctor");
    redirected.stdin(File::open(scene.at("build.log")).unwrap());
    let done = scene.ok(&mut redirected);
    let said = "not a memory problem (certain): wrong does not compile";
    assert!(done.stdout.contains(said), "{}", done.stdout);

    scene.write("ws/wrong/src/lib.rs", "fn _f() {}\n");
    scene.ok(&mut scene.plimsoll("--memory 1GiB build"));
    let (said, status) = verdict(&scene, &mut scene.plimsoll("doctor --last --json"));
    assert_eq!((&said["cause"], status), (&"succeeded".into(), 0));
}

#[test]
fn a_log_that_is_not_there_is_said_and_a_pipe_without_a_byte_is_no_log() {
    let scene = Scene::new();
    let done = scene.run(&mut scene.plimsoll("doctor nowhere.log"));
    assert_eq!(done.code(), 101);
    assert!(done.stderr.contains("cannot read the log `nowhere.log`"), "{}", done.stderr);
    let done = scene.run(&mut scene.plimsoll("doctor --last"));
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("no build is recorded"), "{}", done.stderr);
    // The question is then whether all is set up well, which is not answered with a verdict.
    let mut nothing = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let mut piped = scene.plimsoll("doctor");
    piped.stdin(nothing.stdout.take().unwrap());
    let done = scene.run(&mut piped);
    assert!(!done.stdout.contains("the build ended"), "{}", done.stdout);
    nothing.wait().unwrap();
    // One that stays open and silent is waited for, and nobody wonders why.
    let mut cat = Command::new("cat");
    let mut silent = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut piped = scene.plimsoll("doctor");
    let running = scene.start(piped.stdin(silent.stdout.take().unwrap()));
    let told = || running.stderr().contains("waiting for a log on standard input");
    until("it says what it waits for", || told().then_some(()));
    drop(silent.stdin.take());
    silent.wait().unwrap();
    let done = running.end();
    assert!(!done.stdout.contains("the build ended"), "{}", done.stdout);
}

#[test]
fn the_status_and_the_json_say_what_the_text_says() {
    let scene = Scene::new();
    let threads = "failed to spawn thread: Os { code: 11, message: \"Resource temporarily unavailable\" }\n\
                   error: could not compile `app` (lib)\n";
    let script = "error: failed to run custom build command for `app v0.1.0`\n\nCaused by:\n  process didn't exit \
                  successfully: `/Users/me/app/target/debug/build/app-0123456789abcdef/build-script-build` (signal: 9, \
                  SIGKILL: kill)\n";
    let large = "memory allocation of 63063237072 bytes failed\n";
    for (log, memory, certainty, words) in [
        (threads, false, "likely", "not a memory problem (likely)"),
        (script, false, "likely", "not a memory problem (likely)"),
        (
            "memory allocation of 9007199254740992 bytes failed\n",
            false,
            "likely",
            "not a memory problem (likely)",
        ),
        (large, true, "possible", "What to do"),
    ] {
        scene.write("build.log", log);
        let file = scene.at("build.log");
        let (said, status) = verdict(&scene, scene.plimsoll("doctor --json").arg(&file));
        assert_eq!(
            (&said["memory"], &said["certainty"]),
            (&memory.into(), &certainty.into()),
            "{said}"
        );
        assert_eq!(status, i32::from(memory), "{said}");
        let text = scene.run(scene.plimsoll("doctor").arg(&file));
        assert_eq!(text.code(), status, "{}", text.stdout);
        assert!(text.stdout.contains(words), "{}", text.stdout);
        assert!(text.stdout.contains(&format!("({certainty})")), "{}", text.stdout);
    }
}
