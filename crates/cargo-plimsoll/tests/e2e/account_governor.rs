//! One governor for the account: plain Cargos and drivers share its budget, and outlive it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use plimsoll_testing::cgroup::LimitedCgroup;
use rustix::process::Signal;

use crate::process::{Process, Sampler, is_stopped, process_exists, runs, signal, until};
use crate::scene::Scene;
use crate::terminal::Terminal;

const MIB: u64 = 1 << 20;

/// A workspace on an account that is enabled with this budget.
fn enabled(memory: &str) -> Scene {
    let scene = Scene::new();
    scene.ok(&mut on_account(&scene, scene.plimsoll(&format!("enable --memory {memory}"))));
    scene
}

fn on_account(scene: &Scene, mut command: Command) -> Command {
    command.env("CARGO_HOME", scene.at("cargo"));
    command
}

/// Plain Cargo on the account, with the fake compiler and a target directory of its own.
fn cargo(scene: &Scene, args: &str, target: &str) -> Command {
    let mut command = on_account(scene, scene.fake_cargo(args));
    command.env("CARGO_TARGET_DIR", scene.at(target));
    command
}

/// `a` holds 40 MiB and then, when told, 270; `b` holds 150 from when `a` is there.
fn two_that_do_not_fit(scene: &Scene) {
    scene.lib("a", &[], "// fake: alloc 40MiB in 80ms; touch a-is-up; until grow; alloc 230MiB in 920ms; touch grown; until go\n");
    scene.lib(
        "b",
        &[],
        "// fake: until a-is-up; log run-b; alloc 150MiB in 300ms; touch b-is-up; until go\n",
    );
}

/// `a` holds 130 MiB; `b`, which comes after it, grows beside it until it is stopped, and would cross the budget if
/// it went on.
fn one_is_stopped(scene: &Scene) {
    scene.lib("a", &[], "// fake: alloc 130MiB in 260ms; touch a-is-up; until go\n");
    scene.lib("z", &[], "").lib(
        "b",
        &["z"],
        "// fake: until a-is-up; log run-b; alloc 350MiB in 1400ms\n",
    );
}

fn fresh(scene: &Scene, target: &str, package: &str) {
    let done = scene.ok(&mut cargo(scene, &format!("build -v -p {package}"), target));
    assert!(!done.stderr.contains("Running `"), "not fresh:\n{}", done.stderr);
}

#[test]
fn two_plain_cargos_share_the_budget() {
    let scene = enabled("400MiB");
    two_that_do_not_fit(&scene);
    let sampler = Sampler::start(scene.dir());
    let mut first = cargo(&scene, "build -p a", "target");
    let first = scene.start(first.env("CARGO_BUILD_JOBS", "8"));
    scene.wait_for("a-is-up");
    let second = scene.start(&mut cargo(&scene, "build -p b -j3", "target2"));
    scene.wait_for("b-is-up");
    let governor = scene.governor().expect("one governs");
    scene.write("grow", "");
    scene.wait_for("grown");
    scene.write("go", "");
    for running in [first, second] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    let peak = sampler.peak();
    assert!(peak <= 400 * MIB, "the peak was {} MiB", peak / MIB);
    assert!(peak >= 250 * MIB, "the test did not press: {} MiB", peak / MIB);
    assert!(scene.read("run-b").lines().count() >= 2, "b ran again");
    assert_eq!(scene.governor(), Some(governor), "the same one");
    let headers = scene.logs().into_iter().map(|log| {
        let header: serde_json::Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        (header["jobs"].as_u64().unwrap(), header["memory"].as_str().unwrap().to_owned())
    });
    let mut headers: Vec<(u64, String)> = headers.collect();
    headers.sort();
    let named = "400 MiB".to_owned();
    assert_eq!(headers, [(3, named.clone()), (8, named)], "a log for each, with its Cargo's jobs");
    fresh(&scene, "target", "a");
    fresh(&scene, "target2", "b");
}

/// The governor was started elsewhere, for somebody who is not inside the cgroup limit.
#[test]
fn a_hard_limit_around_some_builds_holds_wherever_the_governor_was_started() {
    let cgroup = LimitedCgroup::new(750 * MIB);
    let scene = enabled("6GiB");
    scene.lib("outside", &[], "// fake: touch outside-is-up; until go\n");
    for name in ["a", "b"] {
        let text = format!(
            "// fake: log run-{name}; touch {name}-is-up; until grow; alloc 400MiB in 1600ms\n"
        );
        scene.lib(name, &[], &text);
    }
    let outside = scene.start(&mut cargo(&scene, "build -p outside", "target"));
    scene.wait_for("outside-is-up");
    let governor = scene.governor().expect("one governs");
    let inside = ["a", "b"].map(|name| {
        let build = cargo(&scene, &format!("build -p {name}"), &format!("target-{name}"));
        let running = scene.start(&mut scene.inside(cgroup.entrance(), &build));
        scene.wait_for(&format!("{name}-is-up"));
        running
    });
    scene.write("grow", "");
    for running in inside {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    assert_eq!(cgroup.kills(), 0, "the kernel has killed something");
    assert_eq!(scene.governor(), Some(governor), "the same one");
    scene.write("go", "");
    assert_eq!(outside.end().code(), 0);
    let logs = fs::read_dir(scene.at("home/logs")).unwrap().flatten();
    let lines = logs.map(|log| {
        let text = fs::read_to_string(log.path()).unwrap();
        let header: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        header["budget"].as_u64().unwrap()
    });
    let (limited, free): (Vec<u64>, Vec<u64>) = lines.partition(|line| *line < 750 * MIB);
    assert_eq!((limited.len(), free.len()), (2, 1), "{limited:?} {free:?}");
    for name in ["a", "b"] {
        fresh(&scene, &format!("target-{name}"), name);
    }
}

#[test]
fn directory_and_socket_are_for_their_owner_only() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n");
    let running = scene.start(&mut cargo(&scene, "build", "target"));
    scene.wait_for("a-is-up");
    let mode = |path: &str| fs::metadata(scene.at(path)).unwrap().mode() & 0o777;
    assert_eq!(mode("home/run"), 0o700);
    let socket = scene.governor().map(|pid| format!("home/run/{pid}.sock")).unwrap();
    assert_eq!(mode(&socket), 0o600);
    // The governor writes it after it has let the compiler run.
    let log = until("there is a log", || fs::read_dir(scene.at("home/logs")).ok()?.next()).unwrap();
    assert_eq!(log.metadata().unwrap().mode() & 0o077, 0, "{log:?}");
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
}

#[test]
fn what_is_stopped_goes_on_when_the_governor_is_killed_and_all_join_the_next() {
    let scene = enabled("400MiB");
    one_is_stopped(&scene);
    let first = scene.start(&mut cargo(&scene, "build -p a", "target"));
    scene.wait_for("a-is-up");
    let second = scene.start(&mut cargo(&scene, "build -p b", "target2"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let killed = scene.governor().expect("one governs");
    signal(killed, Signal::KILL);
    let next = until("another one governs", || scene.governor().filter(|pid| *pid != killed));
    assert!(process_exists(next));
    // They have told it of themselves: one is in the way of the other, is stopped and, because both grow, killed.
    until("one is killed", || {
        let mut logs = fs::read_dir(scene.at("home/logs")).unwrap().flatten();
        let killed = |log: fs::DirEntry| {
            fs::read_to_string(log.path()).unwrap().contains("\"event\":\"killed\"")
        };
        (logs.any(killed) || is_stopped(b)).then_some(())
    });
    scene.write("go", "");
    for running in [first, second] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    fresh(&scene, "target", "a");
    fresh(&scene, "target2", "b");
}

/// It hangs below that shim, which kills everything else there before it starts its compiler anew.
/// Nobody comes after it who would take its socket away.
#[test]
fn a_governor_that_is_killed_when_nobody_needs_it_leaves_no_file_behind() {
    let scene = enabled("400MiB");
    scene.lib("a", &[], "");
    scene.ok(&mut cargo(&scene, "build", "target"));
    let governor = scene.governor().expect("one governs");
    let socket = scene.at(format!("home/run/{governor}.sock"));
    assert!(socket.exists());
    signal(governor, Signal::KILL);
    until("its socket has gone", || (!socket.exists()).then_some(()));
    until("it is not looked for", || scene.governor().is_none().then_some(()));
}

#[test]
fn a_governor_outlives_the_unit_whose_shim_has_started_it() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let running = scene.start(&mut cargo(&scene, "build -p a", "target"));
    scene.wait_for_lines("run-a", 1);
    let killed = scene.governor().expect("one governs");
    signal(killed, Signal::KILL);
    let next = until("another one governs", || scene.governor().filter(|pid| *pid != killed));
    until("the build has joined it", || (builds(&scene).len() == 1).then_some(()));
    signal(scene.wait_for_lines("run-a", 1), Signal::KILL);
    scene.wait_for_lines("run-a", 2);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.governor(), Some(next), "it was killed with the unit");
    assert!(process_exists(next));
}

#[test]
fn a_governor_without_its_watchdog_leaves_and_another_takes_over() {
    let scene = enabled("400MiB");
    one_is_stopped(&scene);
    let first = scene.start(&mut cargo(&scene, "build -p a", "target"));
    scene.wait_for("a-is-up");
    let second = scene.start(&mut cargo(&scene, "build -p b", "target2"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let left = scene.governor().expect("one governs");
    signal(Process::read(left).unwrap().parent, Signal::KILL);
    until("another one governs", || scene.governor().filter(|pid| *pid != left));
    until("the first is gone", || (!process_exists(left)).then_some(()));
    scene.write("go", "");
    for running in [first, second] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
}

#[test]
fn six_builds_go_on_and_join_the_next_when_the_governor_is_killed() {
    let scene = enabled("400MiB");
    one_is_stopped(&scene);
    let small = ["c", "d", "e", "f"];
    for name in small {
        scene.lib(
            name,
            &[],
            &format!("// fake: alloc 5MiB in 10ms; touch {name}-is-up; until go\n"),
        );
    }
    let start = |name: &str| {
        scene.start(&mut cargo(&scene, &format!("build -p {name}"), &format!("target-{name}")))
    };
    let mut running = vec![start("a")];
    scene.wait_for("a-is-up");
    running.extend(small.map(start));
    small.iter().for_each(|name| scene.wait_for(&format!("{name}-is-up")));
    running.push(start("b"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let killed = scene.governor().expect("one governs");
    signal(killed, Signal::KILL);
    until("another one governs", || scene.governor().filter(|pid| *pid != killed));
    assert!(!scene.at(format!("home/run/{killed}.sock")).exists(), "its socket is left");
    until("all six have joined it", || (builds(&scene).len() == 6).then_some(()));
    scene.write("go", "");
    for running in running {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    for name in ["a", "b", "c", "d", "e", "f"] {
        fresh(&scene, &format!("target-{name}"), name);
    }
}

#[test]
fn a_shim_that_a_stranger_stops_holds_nobody_else_up() {
    let scene = enabled("400MiB");
    one_is_stopped(&scene);
    scene.lib("c", &[], "");
    let first = scene.start(&mut cargo(&scene, "build -p a", "target"));
    scene.wait_for("a-is-up");
    let second = scene.start(&mut cargo(&scene, "build -p b", "target2"));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let shim = Process::read(b).unwrap().parent;
    assert_eq!(Process::read(shim).unwrap().program, "plimsoll-rustc");
    signal(shim, Signal::STOP);
    let third = scene.start(&mut cargo(&scene, "build -p c", "target3"));
    scene.write("go", "");
    for running in [first, third] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    // What needs the whole budget comes after it, too.
    scene.lib("d", &[], "// fake: alloc 300MiB in 300ms\n");
    let fourth = scene.start(&mut cargo(&scene, "build -p d", "target4"));
    until("b's compiler has ended, or stands for d", || (!runs(b) || is_stopped(b)).then_some(()));
    signal(shim, Signal::CONT);
    for running in [second, fourth] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    fresh(&scene, "target2", "b");
}

/// As Ctrl-Z does it: Cargo and its compilers stand still with all that they hold, until `fg`.
#[test]
fn a_build_that_its_terminal_has_stopped_holds_no_other_up() {
    let scene = enabled("400MiB");
    scene.lib("a", &[], "// fake: alloc 250MiB in 250ms; touch a-is-up; until go\n");
    scene.lib("b", &[], "// fake: log run-b; alloc 250MiB in 250ms\n");
    scene.ok(&mut cargo(&scene, "build -p b", "target3"));
    let first = scene.start(&mut cargo(&scene, "build -p a", "target"));
    scene.wait_for("a-is-up");
    first.signal_group(Signal::STOP);
    let done = scene.start(&mut cargo(&scene, "build -p b", "target2")).end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    scene.wait_for_lines("run-b", 2);
    first.signal_group(Signal::CONT);
    scene.write("go", "");
    let done = first.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    fresh(&scene, "target", "a");
}

/// A build script that says its process in a file and holds so much, until the file `go` is there.
fn holding_script(scene: &Scene, package: &str, mib: usize) {
    scene.lib(package, &[], "");
    let script = "fn main() {
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        let pid = format!(\"{}\\n\", std::process::id());
        std::fs::write(format!(\"{scene}/PACKAGE-script\"), pid).unwrap();
        let mut held = Vec::new();
        while !std::path::Path::new(&format!(\"{scene}/go\")).exists() {
            if held.len() < MIB {
                held.push(vec![1u8; 1 << 20]);
            } else {
                std::fs::write(format!(\"{scene}/PACKAGE-holds\"), \"\").unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }";
    let script = script.replace("PACKAGE", package).replace("MIB", &mib.to_string());
    scene.write(format!("ws/{package}/build.rs"), script);
}

#[test]
fn a_stopped_build_script_goes_on_when_the_governor_is_killed() {
    let scene = enabled("500MiB");
    holding_script(&scene, "large", 300);
    holding_script(&scene, "late", 280);
    let first = scene.start(&mut cargo(&scene, "build -p large", "target"));
    scene.wait_for("large-holds");
    let second = scene.start(&mut cargo(&scene, "build -p late", "target2"));
    let script = scene.wait_for_lines("late-script", 1);
    until("the script is stopped", || is_stopped(script).then_some(()));
    signal(scene.governor().expect("one governs"), Signal::KILL);
    until("the script goes on", || runs(script).then_some(()));
    scene.write("go", "");
    for running in [first, second] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
}

/// Nobody is left who knows that it is stopped. The next governor, which a shim of the same build starts, finds it so.
#[test]
fn a_stopped_build_script_goes_on_when_governor_and_watchdog_are_killed_together() {
    let scene = enabled("500MiB");
    holding_script(&scene, "large", 300);
    holding_script(&scene, "late", 280);
    scene.lib("c", &[], "// fake: touch c-is-up; until go\n");
    let first = scene.start(&mut cargo(&scene, "build -p large", "target"));
    scene.wait_for("large-holds");
    let second = scene.start(&mut cargo(&scene, "build -p late -p c", "target2"));
    scene.wait_for("c-is-up");
    let script = scene.wait_for_lines("late-script", 1);
    until("the script is stopped", || is_stopped(script).then_some(()));
    let governor = scene.governor().expect("one governs");
    let watchdog = Process::read(governor).unwrap().parent;
    signal(watchdog, Signal::STOP);
    signal(governor, Signal::KILL);
    signal(watchdog, Signal::KILL);
    until("another one governs", || scene.governor().filter(|pid| *pid != governor));
    scene.write("go", "");
    for running in [first, second] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
}

#[test]
fn a_newer_program_takes_over_and_no_build_notices() {
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n").lib("b", &["a"], "");
    scene.lib("c", &[], "// fake: touch c-is-up; until go\n");
    let install = |name: &str| {
        let from = std::path::Path::new(env!("CARGO_BIN_EXE_cargo-plimsoll"));
        let fresh = scene.program(from.with_file_name(name), &format!("bin/{name}.fresh"));
        fs::rename(fresh, scene.at(format!("bin/{name}"))).unwrap();
    };
    let all = ["cargo-plimsoll", "plimsoll-rustc", "plimsoll-rustdoc"];
    all.iter().for_each(|name| install(name));
    let mut enable = Command::new(scene.at("bin/cargo-plimsoll"));
    scene.prepare(&mut enable);
    scene.ok(on_account(&scene, enable).args(["plimsoll", "enable"]));
    let first = scene.start(&mut cargo(&scene, "build -p b", "target"));
    scene.wait_for("a-is-up");
    let old = scene.governor().expect("one governs");
    all.iter().for_each(|name| install(name));
    let second = scene.start(&mut cargo(&scene, "build -p c", "target2"));
    scene.wait_for("c-is-up");
    let new = scene.governor().expect("one governs");
    assert!(new != old && process_exists(old), "the old one sees its build to the end");
    scene.write("go", "");
    for running in [first, second] {
        let done = running.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
    }
    until("the old one has left", || (!process_exists(old)).then_some(()));
    fresh(&scene, "target", "b");
}

#[test]
fn a_driver_joins_with_a_line_of_its_own_and_says_how_it_went() {
    let scene = enabled("2GiB");
    scene.lib("a", &[], "// fake: alloc 30MiB in 60ms; touch a-is-up; until go\n");
    let mut command = on_account(&scene, scene.fake("--memory 400MiB build"));
    let running = scene.start(&mut command);
    scene.wait_for("a-is-up");
    assert!(scene.governor().is_some(), "the account's");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("400 MiB"), "{}", done.stderr);
    let log = scene.log();
    assert!(log.contains("\"memory\":\"400 MiB\"") || log.contains("\"memory\":\"400.0"), "{log}");
    assert_eq!(scene.events("done"), 1);
    let done = scene.ok(&mut on_account(&scene, scene.fake("build")));
    assert!(!done.stderr.contains("Compiling"), "{}", done.stderr);
}

#[test]
fn a_driver_outlives_the_governor_and_joins_the_next() {
    let scene = enabled("400MiB");
    one_is_stopped(&scene);
    let running = scene.start(&mut on_account(&scene, scene.fake("build --jobs 4")));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    let killed = scene.governor().expect("one governs");
    signal(killed, Signal::KILL);
    until("another one governs", || scene.governor().filter(|pid| *pid != killed));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(!done.stderr.contains("without a memory budget"), "{}", done.stderr);
}

#[test]
fn a_build_goes_on_when_its_driver_is_killed() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n").lib(
        "b",
        &["a"],
        "// fake: touch b-is-up\n",
    );
    let running = scene.start(&mut on_account(&scene, scene.fake("build")));
    scene.wait_for("a-is-up");
    signal(running.id(), Signal::KILL);
    running.end();
    scene.write("go", "");
    scene.wait_for("b-is-up");
}

#[test]
fn an_interrupted_driver_leaves_nothing() {
    let scene = enabled("400MiB");
    one_is_stopped(&scene);
    let running = scene.start(&mut on_account(&scene, scene.fake("build --jobs 4")));
    let b = scene.wait_for_lines("run-b", 1);
    until("b is stopped", || is_stopped(b).then_some(()));
    running.signal(Signal::TERM);
    let done = running.end();
    assert_ne!(done.code(), 0);
    until("b is gone", || (!process_exists(b)).then_some(()));
}

#[test]
fn a_flood_of_nonsense_and_of_silence_is_survived() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n").lib("b", &["a"], "");
    let running = scene.start(&mut cargo(&scene, "build", "target"));
    scene.wait_for("a-is-up");
    let pid = scene.governor().expect("one governs");
    let socket = scene.at(format!("home/run/{pid}.sock"));
    let connect = || UnixStream::connect(&socket).unwrap();
    let silent: Vec<UnixStream> = (0..1000).map(|_| connect()).collect();
    for nonsense in [
        b"hello\n".to_vec(),
        b"hello\tv=2".to_vec(),
        b"\n\n\n".to_vec(),
        b"started\tpid=1\nfinished\tok=1\n".to_vec(),
        b"leave\texit=0\nretry\nadmit\n".to_vec(),
        b"join\tv=2\tcommand=x\tjobs=0\tmemory=auto\tpriority=low\ttarget=\n".to_vec(),
        b"link\tv=2\tunit=1\tinputs=99999999999999\n".to_vec(),
        vec![b'x'; 1 << 20],
        (0..=255).cycle().take(100_000).collect(),
    ] {
        for _ in 0..20 {
            let mut stream = connect();
            // It may be closed before all of it is taken.
            let _ = stream.write_all(&nonsense);
        }
    }
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.governor(), Some(pid), "it lives");
    drop(silent);
}

#[test]
fn a_governor_that_stood_still_for_a_while_goes_on_where_it_was() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n").lib("b", &["a"], "");
    let running = scene.start(&mut cargo(&scene, "build", "target"));
    scene.wait_for("a-is-up");
    let pid = scene.governor().expect("one governs");
    // As when the machine slept.
    signal(pid, Signal::STOP);
    scene.write("go", "");
    std::thread::sleep(Duration::from_secs(2));
    signal(pid, Signal::CONT);
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
}

#[test]
fn it_leaves_when_nobody_needs_it_and_comes_back() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "").lib("b", &[], "");
    scene.ok(&mut cargo(&scene, "build -p a", "target"));
    let first = scene.governor().expect("it stays for a while");
    until("it has left", || (!process_exists(first)).then_some(()));
    assert_eq!(scene.governor(), None);
    scene.ok(&mut cargo(&scene, "build -p b", "target"));
    assert!(scene.governor().is_some_and(|next| next != first));
}

/// A shell may live as long as the machine, and have started anything. A build script that is killed leaves its probes to
/// whoever adopts orphans.
#[test]
fn a_compiler_that_no_cargo_has_started_belongs_to_no_build_and_says_so_once() {
    let scene = enabled("400MiB");
    scene.write("one.rs", "pub fn f() {}");
    let shim = Path::new(env!("CARGO_BIN_EXE_plimsoll-rustc")).display().to_string();
    let script = format!(
        "for time in 1 2; do '{shim}' rustc --crate-name one --crate-type lib --emit=metadata \
         --out-dir \"$E2E_SCENE\" \"$E2E_SCENE/one.rs\"; done 2>\"$E2E_SCENE/said\"; touch \"$E2E_SCENE/compiled\"; \
         while [ ! -e \"$E2E_SCENE/go\" ]; do sleep 0.01; done; touch \"$E2E_SCENE/ended\""
    );
    let mut shell = Command::new("sh");
    scene.prepare(&mut shell);
    // An orphan: no Cargo that runs these tests is above it.
    scene.ok(shell.args(["-c", "sh -c \"$0\" &", &script]));
    scene.wait_for("compiled");
    assert!(scene.at("libone.rmeta").exists());
    let governor = scene.governor().expect("one governs");
    scene.ok(&mut on_account(&scene, scene.plimsoll("disable")));
    until("the governor has left", || (!process_exists(governor)).then_some(()));
    scene.write("go", "");
    scene.wait_for("ended");
    assert!(scene.logs().is_empty(), "{:?}", scene.logs());
    assert_eq!(
        scene.read("said").matches("finds no Cargo process").count(),
        1,
        "{}",
        scene.read("said")
    );
}

#[test]
fn who_speaks_a_newer_protocol_is_left_alone_and_the_build_goes_on() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "");
    fs::create_dir_all(scene.at("home/run")).unwrap();
    fs::set_permissions(scene.at("home/run"), fs::Permissions::from_mode(0o700)).unwrap();
    let line =
        "governor\tv=1\tprotocol=99\tversion=9.0.0\tprogram=/p\tstamp=1\tpid=1\tsocket=1.sock\n";
    scene.write("home/run/governor", line);
    scene.ok(&mut cargo(&scene, "build", "target"));
    assert_eq!(scene.read("home/run/governor"), line);
    fs::remove_file(scene.at("home/run/governor")).unwrap();
}

/// The builds of the scene's governor, as it tells them.
fn builds(scene: &Scene) -> Vec<serde_json::Value> {
    let Some(pid) = scene.governor() else { return Vec::new() };
    let Ok(mut stream) = UnixStream::connect(scene.at(format!("home/run/{pid}.sock"))) else {
        return Vec::new();
    };
    stream.write_all(b"status\tv=2\n").unwrap();
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let lines = lines.take_while(|line| !line.is_empty());
    lines.map(|line| serde_json::from_str(&line).unwrap()).collect()
}

fn say(scene: &Scene, message: &str) {
    let pid = scene.governor().expect("one governs");
    let mut stream = UnixStream::connect(scene.at(format!("home/run/{pid}.sock"))).unwrap();
    stream.write_all(message.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, "\n");
}

#[test]
fn what_a_terminal_shows_is_awaited_and_so_is_who_holds_its_lock() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: touch a-is-up; until go\n").lib("b", &[], "");
    let first = scene.start(&mut cargo(&scene, "build -p a", "target"));
    scene.wait_for("a-is-up");
    let first_build = until("it is governed", || builds(&scene).pop());
    assert_eq!(first_build["awaited"], false, "it writes into a file");
    // It waits for the build directory, and has no unit yet.
    let second = Terminal::start(&scene, &mut cargo(&scene, "build -p b", "target"));
    until("the first is lifted", || {
        let builds = builds(&scene);
        (builds.len() == 1 && builds[0]["awaited"] == true).then_some(())
    });
    scene.write("go", "");
    assert_eq!(first.end().code(), 0);
    let screen = second.end();
    assert!(screen.contains("status 0"), "{screen}");
}

#[test]
fn a_build_is_paused_and_given_a_priority_from_outside() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let mut command = cargo(&scene, "build", "target");
    let running = scene.start(command.env("PLIMSOLL_PRIORITY", "low"));
    let a = scene.wait_for_lines("run-a", 1);
    let build = &until("it is governed", || builds(&scene).pop());
    assert_eq!((&build["priority"], &build["paused"]), (&"low".into(), &false.into()));
    let id = build["build"].as_str().unwrap().to_owned();
    say(&scene, &format!("set-priority\tbuild={id}\tpriority=high\n"));
    assert_eq!(builds(&scene)[0]["priority"], "high");
    say(&scene, &format!("pause\tbuild={id}\ton=1\n"));
    until("its compiler stands still", || is_stopped(a).then_some(()));
    say(&scene, &format!("pause\tbuild={id}\ton=0\n"));
    until("its compiler goes on", || runs(a).then_some(()));
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
}

/// It has no driver that could: its governor does.
#[test]
fn a_plain_cargos_build_that_is_paused_says_so_in_its_own_terminal() {
    let scene = enabled("1GiB");
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let terminal = Terminal::start(&scene, &mut cargo(&scene, "build", "target"));
    scene.wait_for_lines("run-a", 1);
    let build = &until("it is governed", || builds(&scene).pop());
    let id = build["build"].as_str().unwrap().to_owned();
    say(&scene, &format!("pause\tbuild={id}\ton=1\n"));
    terminal.shows("      Paused from `cargo plimsoll top`; press p there to continue\r\n", 1);
    say(&scene, &format!("pause\tbuild={id}\ton=0\n"));
    terminal.shows("   Continued from `cargo plimsoll top`\r\n", 1);
    scene.write("go", "");
    let screen = terminal.end();
    assert!(screen.contains("status 0"), "{screen}");
}

#[test]
fn two_hundred_shims_at_once_are_served() {
    let scene = enabled("1GiB");
    let shim = Path::new(env!("CARGO_BIN_EXE_plimsoll-rustc"));
    scene.write("empty.rs", "");
    // What is compiled needs no memory to speak of, and no compiler: it is the shims that are tried. A shell stands
    // in for the Cargo that starts them.
    scene.program("/bin/sh", "bin/cargo");
    let script = format!(
        "for n in $(seq 200); do '{}' true --crate-name empty --crate-type lib -Cmetadata=$n '{}' || touch '{}' & done; wait",
        shim.display(),
        scene.at("empty.rs").display(),
        scene.at("failed").display(),
    );
    let mut command = on_account(&scene, Command::new(scene.at("bin/cargo")));
    scene.prepare(&mut command);
    scene.ok(command.args(["-c", &script]));
    assert!(!scene.at("failed").exists());
    until("all were seen", || (scene.events("finished") == 200).then_some(()));
    assert!(scene.governor().is_some());
}

#[test]
fn what_waits_leaves_with_a_word_when_a_plain_cargo_has_failed() {
    let scene = enabled("400MiB");
    let a = "// fake: alloc 250MiB in 300ms; touch a-is-up; until go\npub fn f() { nonsense }";
    scene.lib("a", &[], a);
    scene.lib("z", &[], "// fake: until a-is-up\n");
    scene.lib("b", &["z"], "// fake: alloc 250MiB in 300ms\n");
    // What b needs is known from a build before, into another directory.
    scene.write("a-is-up", "");
    scene.ok(&mut cargo(&scene, "build -p b", "known"));
    fs::remove_file(scene.at("a-is-up")).unwrap();
    let mut command = cargo(&scene, "build -p a -p b", "target");
    let running = scene.start(&mut command);
    scene.wait_for("a-is-up");
    until("b waits", || builds(&scene).iter().any(|it| it["waiting_units"] == 1).then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 101, "{}", done.stderr);
    assert!(
        done.stderr.contains("the build failed, so the crates that were waiting"),
        "{}",
        done.stderr
    );
    assert!(!done.stderr.contains("process didn't exit"), "{}", done.stderr);
}
