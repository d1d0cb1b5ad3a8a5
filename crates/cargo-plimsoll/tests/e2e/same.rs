//! Every command says and does what plain Cargo says and does.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use plimsoll_testing::needs;

use crate::scene::{Scene, below, in_toolchain};

/// A library with a unit test, a documentation test and a warning, and a program.
fn workspace() -> Scene {
    let scene = Scene::new();
    let lib = "//! Documentation.\n\
        /// Twice.\n///\n/// ```\n/// assert_eq!(b::twice(2), 4);\n/// ```\n\
        pub fn twice(n: u8) -> u8 { let unused = 1; n * 2 }\n\
        #[test]\nfn doubles() { assert_eq!(twice(2), 4) }\n";
    scene.lib("b", &[], lib);
    scene.bin("a", &["b"], "fn main() { println!(\"{}\", b::twice(21)) }");
    scene
}

/// Without the times that differ from run to run.
fn timeless(text: &str) -> String {
    let cut = |line: &str| {
        let line = line.split("; finished in ").next().unwrap_or(line);
        let line = line.split("; merged doctests compilation took").next().unwrap_or(line);
        line.split(" target(s) in ").next().unwrap_or(line).to_owned()
    };
    text.lines()
        .map(cut)
        .filter(|line| !line.starts_with("all doctests ran in"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Runs it both ways, each from nothing, in the same directories.
#[track_caller]
fn same(scene: &Scene, args: &str) {
    let clean = || {
        let _ = std::fs::remove_dir_all(scene.at("target"));
    };
    let plain = scene.run(&mut scene.cargo(args));
    clean();
    let ours = scene.run(&mut scene.plimsoll(&format!("--quiet --jobs 1 {args}")));
    assert_eq!(plain.code(), ours.code(), "{args}: {}", ours.stderr);
    assert_eq!(timeless(&plain.stdout), timeless(&ours.stdout), "{args}");
    assert_eq!(timeless(&plain.stderr), timeless(&ours.stderr), "{args}");
}

#[test]
fn one_job_at_a_time_every_command_says_the_same() {
    let scene = workspace();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let commands = [
        "build -j1".to_owned(),
        "check -j1 --message-format json".to_owned(),
        "build -j1 --message-format json --release".to_owned(),
        "test -j1".to_owned(),
        "doc -j1 --no-deps".to_owned(),
        "run -j1".to_owned(),
        format!("build -j1 --target {target}"),
        "rustc -j1 -p b -- --print crate-name".to_owned(),
        "rustc -j1 -p a --release -- -Copt-level=1".to_owned(),
        "rustdoc -j1 -p b".to_owned(),
        "clippy -j1".to_owned(),
        "metadata --no-deps --format-version 1".to_owned(),
    ];
    for args in commands {
        same(&scene, &args);
    }
    scene.ok(&mut scene.plimsoll("doc --no-deps"));
    scene.assert_fresh(&mut scene.cargo("doc --no-deps"));
}

#[test]
fn doctests_pass_and_go_through_the_shim() {
    let scene = workspace();
    let done = scene.ok(&mut scene.plimsoll("test -p b"));
    assert!(done.stdout.contains("test b/src/lib.rs - twice (line 4) ... ok"), "{}", done.stdout);
    assert!(scene.log().contains("doc-test"), "{}", scene.log());
    scene.assert_fresh(&mut scene.cargo("test -p b --no-run"));
}

#[test]
fn a_toolchain_by_name_is_used() {
    let scene = workspace();
    needs::program("rustup");
    let mut rustup = Command::new("rustup");
    in_toolchain(&mut rustup);
    let said = rustup.args(["show", "active-toolchain"]).output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    let name = text.split_whitespace().next().unwrap().to_owned();
    scene.ok(&mut scene.plimsoll(&format!("+{name} build")));
    scene.assert_fresh(&mut scene.cargo("build"));
    let done = scene.run(&mut scene.plimsoll("+no-such-toolchain build"));
    let plain = scene.run(&mut scene.cargo("+no-such-toolchain build"));
    assert_eq!((done.code(), done.stderr), (plain.code(), plain.stderr));
}

#[test]
fn an_installed_program_works() {
    let scene = workspace();
    let root = scene.at("root");
    let args = format!("install --path a --root {}", root.display());
    let done = scene.ok(&mut scene.plimsoll(&args));
    assert!(done.stderr.contains("Plimsoll peak memory"), "{}", done.stderr);
    let said = Command::new(root.join("bin/a")).output().unwrap();
    assert_eq!(said.stdout, b"42\n");
}

#[test]
fn fixes_are_applied() {
    let scene = Scene::new();
    scene.lib("b", &[], "").lib("a", &["b"], "pub fn f() -> u8 { let mut x = 1; x }\n");
    scene.ok(&mut scene.plimsoll("fix --allow-no-vcs --lib -p a"));
    assert_eq!(scene.events("finished"), 1, "dependencies are governed");
    assert_eq!(scene.read("ws/a/src/lib.rs"), "pub fn f() -> u8 { let x = 1; x }\n");
}

#[test]
fn nextest_runs_the_tests() {
    let scene = workspace();
    needs::success(&mut scene.cargo("nextest --version"), "there is no cargo-nextest");
    let done = scene.ok(&mut scene.plimsoll("--memory 1GiB nextest run"));
    assert!(done.stderr.contains("1 passed"), "{}", done.stderr);
    assert!(scene.events("finished") > 0, "its build was not governed");
}

#[test]
fn the_users_program_has_the_terminal_and_is_not_governed() {
    let scene = Scene::new();
    // It takes more than the line, reads its input and ends as it likes.
    let main = "use std::io::Read;
        fn main() {
            let big = vec![1u8; 300 << 20];
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).unwrap();
            assert!(std::env::args().nth(1).as_deref() == Some(\"-j\"));
            println!(\"{} {}\", text.trim(), big.len());
            std::process::exit(7);
        }";
    scene.bin("a", &[], main);
    let mut command = scene.plimsoll("--memory 200MiB run -q -- -j");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    let said = child.wait_with_output().unwrap();
    assert_eq!(said.status.code(), Some(7));
    assert_eq!(said.stdout, format!("hello {}\n", 300 << 20).as_bytes());
}

/// As an xtask does.
#[test]
fn the_users_program_may_run_cargo() {
    let scene = Scene::new();
    let main = "fn main() {
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        let status = std::process::Command::new(\"cargo\").args([\"build\", \"--manifest-path\"])
            .arg(format!(\"{scene}/inner/Cargo.toml\")).status().unwrap();
        assert!(status.success());
    }";
    scene.bin("xtask", &[], main);
    scene.write(
        "inner/Cargo.toml",
        "[package]\nname = \"inner\"\nedition = \"2021\"\n[workspace]\n[dependencies]\n\
         one = { path = \"one\" }\ntwo = { path = \"two\" }\nthree = { path = \"three\" }\n",
    );
    // Above the line, which is not its line.
    scene.write("inner/src/lib.rs", "// fake: alloc 250MiB in 500ms\n");
    // Build scripts that ask the compiler, as anyhow's does, one beside the other.
    for name in ["one", "two", "three"] {
        scene.write(
            format!("inner/{name}/Cargo.toml"),
            format!("[package]\nname = \"{name}\"\nedition = \"2021\"\n"),
        );
        scene.write(format!("inner/{name}/src/lib.rs"), "");
        scene.write(format!("inner/{name}/build.rs"), crate::nested::PROBE);
    }
    let done = scene.ok(&mut scene.fake("--memory 200MiB run -q"));
    assert!(!done.stderr.contains("by itself"), "{}", done.stderr);
    scene.assert_fresh(scene.fake_cargo("build").current_dir(scene.at("inner")));
}

#[test]
fn three_hundred_compilers_at_once_are_all_heard() {
    let scene = Scene::new();
    for number in 0..300 {
        scene.lib(&format!("m{number}"), &[], "");
    }
    let done = scene.ok(&mut scene.plimsoll("--memory 1GiB --jobs 300 check"));
    assert!(done.stderr.contains("300 units"), "{}", done.stderr);
    scene.assert_fresh(&mut scene.cargo("check"));
}

mod nightly {
    use super::*;

    /// Cargo's own log of builds (`-Zbuild-analysis`) has one session a build, and in it what it has without us.
    #[test]
    fn cargos_own_log_and_its_reports_are_left_intact() {
        needs::toolchain("nightly");
        let scene = workspace();
        let set = |mut command: Command, by_option: bool| {
            command.env("RUSTUP_TOOLCHAIN", "nightly").env("CARGO_HOME", scene.at("cargo"));
            command.args(["-Z", "build-analysis"]);
            if by_option {
                command.args(["--config", "build.analysis.enabled=true"]);
            } else {
                command.env("CARGO_BUILD_ANALYSIS_ENABLED", "true");
            }
            command
        };
        let sessions = || {
            let logs = below(&scene.at("cargo/log")).into_iter();
            let mut logs: Vec<PathBuf> =
                logs.filter(|it| it.extension().is_some_and(|it| it == "jsonl")).collect();
            logs.sort();
            logs
        };
        // What happened, without when.
        let happened = || {
            let text = std::fs::read_to_string(sessions().last().unwrap()).unwrap();
            let mut reasons: Vec<String> = Vec::new();
            for line in text.lines() {
                let said: serde_json::Value = serde_json::from_str(line).unwrap();
                reasons.push(said["reason"].as_str().unwrap().to_owned());
            }
            reasons.sort();
            reasons
        };
        scene.ok(&mut set(scene.cargo("build"), false));
        let plain = happened();
        assert_eq!(sessions().len(), 1, "{plain:?}");
        for (number, by_option) in [(2, false), (3, true)] {
            std::fs::remove_dir_all(scene.at("target")).unwrap();
            // `--staged` waits for the unit graph, for which a Cargo is asked that builds nothing.
            scene.ok(&mut set(scene.plimsoll("build --staged"), by_option));
            assert_eq!(sessions().len(), number, "{:?}", sessions());
            assert_eq!(happened(), plain);
        }
        let mut clean = scene.plimsoll("clean --yes");
        let variables = ["CARGO_UNSTABLE_BUILD_ANALYSIS", "CARGO_BUILD_ANALYSIS_ENABLED"];
        clean.envs(variables.map(|name| (name, "true")));
        clean.env("RUSTUP_TOOLCHAIN", "nightly").env("CARGO_HOME", scene.at("cargo"));
        scene.ok(&mut clean);
        assert_eq!(sessions().len(), 3, "{:?}", sessions());
        let listed = scene.ok(&mut set(scene.cargo("report sessions"), false));
        assert_eq!(listed.stderr.lines().filter(|line| line.starts_with(" - ")).count(), 3);
        let rebuilds = scene.ok(&mut set(scene.cargo("report rebuilds"), false));
        assert!(rebuilds.stderr.contains("new"), "{}", rebuilds.stderr);
        scene.ok(&mut set(scene.cargo("report timings"), false));
        let page = below(&scene.at("target/cargo-timings")).into_iter().next().unwrap();
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("\"a\"") && page.contains("\"b\""), "both units are in the report");
    }
}
