//! `--hard`: the kernel's hard limit at the budget. Each driver begins in a cgroup of its own ([`Hard limit::without_limit`]), below which
//! it makes its hard limit; where this user can make no cgroup the test is ignored. (More of version 2: `tests/guest/run.sh`.)

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_testing::cgroup::{self, LimitedCgroup, Version, group_of};
use plimsoll_testing::needs;
use rustix::process::Signal;

use crate::process::{signal, until};
use crate::scene::{Running, Scene};

const MIB: u64 = 1 << 20;

/// The hard limit around the process `pid`, which must be one.
#[track_caller]
fn cgroup_of(pid: u32) -> PathBuf {
    let cgroup = group_of(&pid.to_string()).unwrap();
    assert!(is_hard_limit(&cgroup), "{} is no hard limit", cgroup.display());
    cgroup
}

fn is_hard_limit(dir: &Path) -> bool {
    let name = dir.file_name().unwrap().to_str().unwrap();
    let mut parts = name.split('-');
    parts.next() == Some("plimsoll") && parts.clone().count() == 2 && {
        parts.all(|part| part.parse::<u64>().is_ok())
    }
}

/// How high a hard limit is, in MiB.
fn limit(cgroup: &Path) -> u64 {
    cgroup::limit(cgroup) / MIB
}

/// `command`, begun in the cgroup `home`.
fn at(home: &LimitedCgroup, scene: &Scene, command: &Command) -> Command {
    scene.inside(home.entrance(), command)
}

fn start_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_build_is_inside_a_hard_limit_of_its_own_that_is_gone_afterwards() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n").lib("b", &["a"], "pub use a as c;");
    let running = scene.start(&mut at(&home, &scene, &scene.fake("--memory 640MiB --hard build")));
    let cgroup = cgroup_of(scene.wait_for_lines("run-a", 1));
    assert_eq!(cgroup.parent(), Some(home.dir()), "below the driver's own cgroup");
    let named = format!("plimsoll-{}-{}", running.id(), start_time(running.id()));
    assert_eq!(cgroup.file_name().unwrap(), named.as_str());
    let driver = group_of(&running.id().to_string()).unwrap();
    assert!(!driver.starts_with(&cgroup), "the driver is outside");
    let cargo =
        scene.wait_for_process("cargo", |p| p.program == "cargo" && p.parent == running.id());
    assert_eq!(group_of(&cargo.pid.to_string()), Some(cgroup.clone()));
    assert_eq!(limit(&cgroup), 640 + 5 + 192, "the budget, the kernel's share and room for files");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(!cgroup.exists(), "the hard limit is left");
    assert!(!done.stderr.contains("wall"), "nothing to say: {}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// Two units that together are far above the budget, once the governor is stopped and cannot see to them.
fn two_oversized_units_and_a_blind_governor<'a>(
    home: &LimitedCgroup,
    scene: &'a Scene,
    options: &str,
) -> Running<'a> {
    for name in ["a", "b"] {
        let text = format!(
            "// fake: log run-{name}; until grow; alloc 330MiB; touch {name}-is-up; until go\n"
        );
        scene.lib(name, &[], &text);
    }
    let build = format!("--memory 440MiB --jobs 4 {options} build");
    let running = scene.start(&mut at(home, scene, &scene.fake(&build)));
    scene.wait_for_lines("run-a", 1);
    scene.wait_for_lines("run-b", 1);
    signal(running.id(), Signal::STOP);
    scene.write("grow", "");
    running
}

#[test]
fn where_the_governor_is_blind_the_kernel_takes_a_unit_that_runs_again_and_nothing_else() {
    let home = LimitedCgroup::without_limit().and_without_swap();
    let scene = Scene::new();
    let running = two_oversized_units_and_a_blind_governor(&home, &scene, "--hard");
    let cgroup = until("a hard limit stands", || {
        let cargo =
            crate::process::of_scene(scene.dir()).into_iter().find(|p| p.program == "cargo");
        group_of(&cargo?.pid.to_string()).filter(|dir| is_hard_limit(dir))
    });
    if cgroup::version() == Version::V2 {
        // There they are slowed down first, for as long as nobody does anything.
        fs::write(cgroup.join("memory.high"), "max").unwrap();
    }
    until("the kernel has killed for it", || (cgroup::kills(&cgroup) == 1).then_some(()));
    assert!(cgroup::peak(&cgroup) / MIB <= 440 + 4 + 192);
    signal(running.id(), Signal::CONT);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    // The governor, which sees too much memory when it goes on, may be about to kill the same one.
    let again = scene.events("lost") + scene.events("killed");
    assert!(again >= 1, "{}", done.stderr);
    let runs = scene.read("run-a").lines().count() + scene.read("run-b").lines().count();
    assert_eq!(runs, 2 + again, "what was killed ran again");
    assert!(
        done.stderr.contains("the kernel killed 1 process of this build at its hard limit of"),
        "{}",
        done.stderr
    );
    assert!(!cgroup.exists());
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn where_the_kernel_takes_what_a_build_script_has_started_cargo_runs_once_more() {
    needs::linux(6, 15);
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    let script = "fn main() {
        if std::env::var_os(\"GROWS\").is_some() {
            println!(\"{}\", std::hint::black_box(vec![1u8; 700 << 20]).len());
            return;
        }
        let go = format!(\"{}/go\", std::env::var(\"E2E_SCENE\").unwrap());
        while !std::fs::exists(&go).unwrap() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        if std::fs::exists(\"grows\").unwrap() {
            std::fs::remove_file(\"grows\").unwrap();
            let own = std::env::current_exe().unwrap();
            let status = std::process::Command::new(own).env(\"GROWS\", \"1\").status().unwrap();
            assert!(status.success(), \"a compiler of a build script's was ended: {status}\");
        }
        println!(\"cargo::rerun-if-changed=build.rs\");
    }";
    scene.lib("a", &[], "").write("ws/a/build.rs", script);
    scene.write("ws/a/grows", "");
    let running = scene.start(&mut at(
        &home,
        &scene,
        &scene.plimsoll("--memory 200MiB --hard --oversized refuse build"),
    ));
    until("the script is known", || (scene.events("registered") == 2).then_some(()));
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(done.stderr.contains("a compiler of a build script's was ended"), "{}", done.stderr);
    assert!(
        done.stderr.contains("killed a build script or its child; Cargo runs once more"),
        "{}",
        done.stderr
    );
    scene.assert_fresh(&mut scene.cargo("build"));
}

#[test]
fn without_a_hard_limit_a_blind_governor_lets_the_build_take_what_it_wants() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    let running = two_oversized_units_and_a_blind_governor(&home, &scene, "");
    scene.wait_for("a-is-up");
    scene.wait_for("b-is-up");
    signal(running.id(), Signal::CONT);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(scene.events("lost"), 0, "nobody but plimsoll has killed anything");
}

#[test]
fn the_hard_limit_of_a_killed_driver_goes_when_its_build_has_ended() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n").lib("b", &["a"], "");
    let running = scene.start(&mut at(&home, &scene, &scene.fake("--memory 640MiB --hard build")));
    let cgroup = cgroup_of(scene.wait_for_lines("run-a", 1));
    running.signal(Signal::KILL);
    until("the build knows", || scene.read("err.0").contains("goes on without").then_some(()));
    assert!(cgroup.exists(), "what goes on stays inside its cgroup limit");
    scene.write("go", "");
    running.end();
    until("the hard limit is gone", || (!cgroup.exists()).then_some(()));
    scene.assert_clean();
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn a_build_that_is_told_to_end_takes_its_hard_limit_along() {
    let home = LimitedCgroup::without_limit();
    for number in [Signal::INT, Signal::TERM] {
        let scene = Scene::new();
        scene.lib("a", &[], "// fake: log run-a; until go\n");
        let running =
            scene.start(&mut at(&home, &scene, &scene.fake("--memory 640MiB --hard build")));
        let cgroup = cgroup_of(scene.wait_for_lines("run-a", 1));
        signal(running.id(), number);
        running.end();
        assert!(!cgroup.exists(), "{number:?}");
        scene.assert_clean();
    }
}

#[test]
fn what_dead_drivers_left_is_swept_away_and_nothing_else() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    scene.lib("a", &[], "");
    let mut dead = Command::new("true").spawn().unwrap();
    dead.wait().unwrap();
    let (own, start) = (std::process::id(), start_time(std::process::id()));
    let names = [
        (format!("plimsoll-{}-7", dead.id()), false),
        (format!("plimsoll-{own}-{}", start + 1), false),
        (format!("plimsoll-{own}-{start}"), true),
        (format!("plimsoll-e2e-{own}-sweep"), true),
        (format!("other-{}-7", dead.id()), true),
    ];
    let home_dir = home.dir();
    for (name, _) in &names {
        fs::create_dir(home_dir.join(name)).unwrap();
    }
    scene.ok(&mut at(&home, &scene, &scene.fake("--memory 640MiB --hard build")));
    let stay: Vec<bool> = names.iter().map(|(name, _)| home_dir.join(name).exists()).collect();
    for (name, _) in &names {
        let _ = fs::remove_dir(home_dir.join(name));
    }
    for ((name, stays), there) in names.iter().zip(stay) {
        assert_eq!(there, *stays, "{name}");
    }
}

#[test]
fn an_oversized_unit_has_the_hard_limit_raised_for_it() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    scene.lib("giant", &[], "// fake: log run; alloc 900MiB in 2500ms; touch is-up; until go\n");
    let running = scene.start(&mut at(&home, &scene, &scene.fake("--memory 200MiB --hard build")));
    let cgroup = cgroup_of(scene.wait_for_lines("run", 1));
    assert_eq!(limit(&cgroup), 200 + 1 + 192);
    scene.wait_for("is-up");
    assert!(limit(&cgroup) >= 900);
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    // Once more where it crosses the budget by itself, too, and not only with what belongs to no unit.
    assert!((1..=2).contains(&scene.events("lone")), "{}", scene.log());
    assert_eq!(scene.events("lost"), 0, "{}", done.stderr);
    assert_eq!(done.stderr.matches("giant needs").count(), 1, "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

/// A container, as far as the kernel knows.
#[test]
fn in_a_container_where_plain_cargo_dies_a_build_behind_its_own_hard_limit_does_not() {
    let scene = || {
        let scene = Scene::new();
        for name in ["a", "b", "c"] {
            scene.lib(name, &[], "// fake: alloc 300MiB in 900ms; hold 500ms\n");
        }
        scene
    };
    let (one, other) = (LimitedCgroup::new(700 * MIB), LimitedCgroup::new(700 * MIB));
    let plain = scene();
    let done = plain.run(&mut plain.inside(one.entrance(), &plain.fake_cargo("build -j3")));
    assert_ne!(done.code(), 0, "plain Cargo lives: {}", done.stderr);
    assert!(one.kills() > 0, "{}", done.stderr);
    let hard = scene();
    let build = hard.fake("--hard build -j3");
    let done = hard.run(&mut hard.inside(other.entrance(), &build));
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert_eq!(other.kills(), 0);
    hard.assert_fresh(&mut hard.fake_cargo("build"));
}

/// A build that asks for a hard limit where a budget of shell has changed what is mounted, and why it has none.
fn without_a_wall(begin: impl Fn(&Scene, &Command) -> Command, mount: &str, why: &str) {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{mount} && exec \"$@\""), "sh"]);
    let build = scene.inside(shell, &scene.fake("--memory 640MiB --hard build"));
    let build = scene.in_namespaces(&["--mount"], &build);
    let done = scene.ok(&mut begin(&scene, &build));
    assert_eq!(done.stderr.matches("no hard limit at the budget").count(), 1, "{}", done.stderr);
    assert!(done.stderr.contains(why), "{}", done.stderr);
    scene.assert_fresh(&mut scene.fake_cargo("build"));
}

#[test]
fn where_no_cgroups_are_seen_it_says_that_there_is_no_hard_limit_and_the_build_goes_on() {
    let mount = "mount -t tmpfs none /sys/fs/cgroup";
    let begin = |scene: &Scene, build: &Command| scene.inside(Command::new("env"), build);
    without_a_wall(begin, mount, "mount a cgroup file system");
}

#[test]
fn where_no_cgroup_can_be_made_it_says_that_there_is_no_hard_limit_and_the_build_goes_on() {
    let home = LimitedCgroup::without_limit();
    let all = match cgroup::version() {
        Version::V1 => "/sys/fs/cgroup/memory",
        Version::V2 => "/sys/fs/cgroup",
    };
    let mount = format!("mount --bind {all} {all} && mount -o remount,bind,ro {all}");
    let begin = |scene: &Scene, build: &Command| at(&home, scene, build);
    without_a_wall(begin, &mount, "you may not create a cgroup below");
}

#[test]
fn the_program_of_cargo_run_is_not_inside_the_hard_limit() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    let main = "fn main() {
        let at = |name: &str| format!(\"{}/{name}\", std::env::var(\"E2E_SCENE\").unwrap());
        std::fs::write(at(\"run\"), format!(\"{}\\n\", std::process::id())).unwrap();
        while !std::fs::exists(at(\"go\")).unwrap() {
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }";
    scene.bin("a", &[], main);
    let running =
        scene.start(&mut at(&home, &scene, &scene.plimsoll("--memory 640MiB --hard run")));
    let pid = scene.wait_for_lines("run", 1);
    until("it is outside", || group_of(&pid.to_string()).filter(|at| !is_hard_limit(at)));
    scene.write("go", "");
    assert_eq!(running.end().code(), 0);
}

#[test]
fn a_build_that_joins_the_accounts_budget_has_a_hard_limit_of_its_own() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    scene.ok(scene.plimsoll("enable --memory 640MiB").env("CARGO_HOME", scene.at("cargo")));
    let mut build = scene.fake("--hard build");
    build.env("CARGO_HOME", scene.at("cargo"));
    let running = scene.start(&mut at(&home, &scene, &build));
    let cgroup = cgroup_of(scene.wait_for_lines("run-a", 1));
    until("it is where the account's budget is", || {
        (limit(&cgroup) == 640 + 5 + 192).then_some(())
    });
    let governor = scene.governor().expect("one governs");
    assert!(!is_hard_limit(&group_of(&governor.to_string()).unwrap()), "the governor is outside");
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(!cgroup.exists());
}

#[test]
fn a_build_inside_of_a_build_is_inside_the_same_hard_limit() {
    let home = LimitedCgroup::without_limit();
    let scene = Scene::new();
    scene.lib("a", &[], "// fake: log run-a; until go\n");
    let driver = env!("CARGO_BIN_EXE_cargo-plimsoll");
    let build = format!("--memory 640MiB --hard run-under {driver} plimsoll --hard build");
    let running = scene.start(&mut at(&home, &scene, &scene.fake(&build)));
    let cgroup = cgroup_of(scene.wait_for_lines("run-a", 1));
    let outer = format!("plimsoll-{}-{}", running.id(), start_time(running.id()));
    assert_eq!(cgroup.file_name().unwrap(), outer.as_str());
    scene.write("go", "");
    let done = running.end();
    assert_eq!(done.code(), 0, "{}", done.stderr);
    assert!(!done.stderr.contains("no hard limit"), "{}", done.stderr);
}
