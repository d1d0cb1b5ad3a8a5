//! `cargo plimsoll env` and the scripts of `init --scripts`, in the shells that people use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use plimsoll_testing::needs;

use crate::scene::Scene;

const SCRIPTS: [&str; 4] =
    ["build-low-memory.sh", "build-incremental.sh", "build-env.sh", "build-cf-worker.sh"];

/// A shell that runs `script` in the workspace, with Plimsoll on its path where `installed`.
fn shell(scene: &Scene, shell: &str, script: &str, installed: bool) -> Command {
    let mut command = Command::new(shell);
    scene.prepare(&mut command);
    scene.with_fake(&mut command);
    let own = PathBuf::from(env!("CARGO_BIN_EXE_cargo-plimsoll"));
    let own = own.parent().unwrap().to_owned();
    let path = std::env::var_os("PATH").unwrap();
    let others = std::env::split_paths(&path).filter(|dir| !dir.join("cargo-plimsoll").exists());
    let path: Vec<PathBuf> = installed.then_some(own).into_iter().chain(others).collect();
    // Where Cargo looks for subcommands before the path.
    command.env("CARGO_HOME", scene.at("cargo"));
    command.env("PATH", std::env::join_paths(path).unwrap()).args(["-c", script]);
    command
}

/// The shells, each when it is its turn; where one is missing the test is ignored after those before it.
fn shells() -> impl Iterator<Item = &'static str> {
    ["sh", "bash", "dash", "zsh"].into_iter().inspect(|shell| needs::program(shell))
}

#[test]
fn plain_cargo_in_a_shell_is_governed_until_the_shell_leaves() {
    for name in shells() {
        let scene = Scene::new();
        scene.lib("a", &[], "");
        let script = "\
            set -eu
            eval \"$(cargo plimsoll --memory 500MiB env)\"
            eval \"$(cargo plimsoll env)\"
            cargo build --jobs 1
            cargo plimsoll settings
            cargo plimsoll status
            plimsoll_leave
            env | grep PLIMSOLL_ENABLED && exit 7
            rm -r \"$CARGO_TARGET_DIR\"
            cargo build
            echo ended";
        let done = scene.ok(&mut shell(&scene, name, script, true));
        assert!(done.stdout.ends_with("ended\n"), "{name}: {}", done.stdout);
        assert!(done.stdout.contains("PLIMSOLL_MEMORY"), "{name}: {}", done.stdout);
        for said in ["in this shell only", "budget    500 MiB", "plain `cargo` keeps to the budget"]
        {
            assert!(done.stdout.contains(said), "{name}: {said}: {}", done.stdout);
        }
        assert_eq!(scene.logs().len(), 1, "{name}: one build was governed");
    }
}

#[test]
fn a_wrapper_that_was_there_before_is_chained() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene
        .write("wrapper", "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/wrapped\"\nexec \"$@\"\n");
    fs::set_permissions(scene.at("wrapper"), fs::Permissions::from_mode(0o755)).unwrap();
    let script = "set -eu; eval \"$(cargo plimsoll env)\"; cargo build; plimsoll_leave; echo \"$RUSTC_WRAPPER\"";
    let mut command = shell(&scene, "sh", script, true);
    let done = scene.ok(command.env("RUSTC_WRAPPER", scene.at("wrapper")));
    assert_eq!(done.stdout.trim_end(), scene.at("wrapper").display().to_string());
    assert!(scene.read("wrapped").contains("--crate-name a"));
    assert_eq!(scene.logs().len(), 1);
}

#[test]
fn the_scripts_build_inside_the_budget_and_without_plimsoll_too() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.bin("b", &["a"], "fn main() {}");
    let said = scene.ok(&mut scene.plimsoll("init --scripts")).stdout;
    assert!(SCRIPTS.iter().all(|name| said.contains(&format!("wrote {name}"))), "{said}");
    assert_eq!(scene.ok(&mut scene.plimsoll("init --scripts --check")).stdout, "");
    let script = "./build-low-memory.sh --release -p a";
    let done = scene.ok(&mut shell(&scene, "sh", script, true));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    assert!(scene.at("target/release/liba.rlib").exists(), "outputs are in the usual folder");
    assert!(!scene.at("target/release/b").exists());

    fs::remove_dir_all(scene.at("target")).unwrap();
    let done = scene.ok(&mut shell(&scene, "sh", "cd /; \"$OLDPWD\"/build-low-memory.sh", false));
    assert!(done.stderr.contains("cargo install --locked --path"), "{}", done.stderr);
    assert!(scene.at("target/debug/b").exists());

    // What is set at the top is honoured and stays.
    let text = scene.read("ws/build-low-memory.sh");
    scene.write("ws/build-low-memory.sh", text.replace("\"auto\"", "\"nonsense\""));
    let refused = scene.run(&mut shell(&scene, "sh", "./build-low-memory.sh", true));
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("nonsense"), "{}", refused.stderr);
    scene.ok(&mut scene.plimsoll("init --scripts"));
    assert!(scene.read("ws/build-low-memory.sh").contains("\"nonsense\""));
    scene.ok(&mut scene.plimsoll("init --undo"));
    let stays = |name: &&str| *name == "build-low-memory.sh";
    assert!(SCRIPTS.iter().all(|name| scene.at("ws").join(name).exists() == stays(name)));
    scene.assert_clean();
}

#[test]
fn the_environment_script_works_in_every_shell_with_and_without_plimsoll() {
    for name in shells() {
        let scene = Scene::new();
        scene.lib("a", &[], "");
        scene.ok(&mut scene.plimsoll("init --scripts"));
        let script = "set -eu; . ./build-env.sh; cargo build --jobs 1; plimsoll_leave";
        scene.ok(&mut shell(&scene, name, script, true));
        assert_eq!(scene.logs().len(), 1, "{name}");
        let script = "set -eu; . ./build-env.sh; cargo build; echo $CARGO_BUILD_JOBS; pwd";
        let done = scene.ok(&mut shell(&scene, name, script, false));
        let expected = format!("1\n{}\n", scene.at("ws").display());
        assert_eq!(done.stdout, expected, "{name}");
        assert!(done.stderr.contains("Plimsoll is not installed"), "{name}");
    }
}

#[test]
fn the_worker_script_finds_the_worker_and_governs_its_build() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.ok(&mut scene.plimsoll("init --scripts"));
    let build = |installed| {
        shell(&scene, "sh", "PATH=\"$PWD/../bin:$PATH\" ./build-cf-worker.sh", installed)
    };
    // With Plimsoll, which says itself what is missing.
    let refused = scene.run(&mut build(true));
    assert_eq!(refused.code(), 2);
    let said = "no package of this workspace can become a Worker";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    // Without it.
    let refused = scene.run(&mut build(false));
    assert_eq!(refused.code(), 2);
    assert!(refused.stderr.contains("no wrangler.toml"), "{}", refused.stderr);
    scene.write("ws/a/wrangler.toml", "name = \"a\"\n");
    scene.script("bin/worker-build", "echo \"in ${PWD##*/}: $*\"; exec cargo build \"$@\"");
    let done = scene.ok(&mut build(false));
    assert_eq!(done.stdout, "in a: --release\n");
    assert!(done.stderr.contains("Plimsoll is not installed"), "{}", done.stderr);
    scene.write("ws/c/wrangler.json", "{}");
    let refused = scene.run(&mut build(false));
    assert_eq!((refused.code(), refused.stderr.contains("several Workers")), (2, true));
}

#[test]
fn the_scripts_are_without_reproach() {
    needs::program("shellcheck");
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.ok(&mut scene.plimsoll("init --scripts"));
    let mut command = Command::new("shellcheck");
    command.arg("--norc").args(SCRIPTS).current_dir(scene.at("ws"));
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
