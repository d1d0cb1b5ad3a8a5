//! The program itself: what reaches Cargo, what is said, and how it ends.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up stops there")]

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;
use std::process::{Command, Output};

use plimsoll_core::event::{Event, FORMAT, Header, Record};
use plimsoll_core::{BuildId, Bytes, Millis};
use plimsoll_history::EventLog;

/// A home, a working directory, and a Cargo that prints its arguments between brackets.
struct Stage {
    root: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["work", "bin", "path"] {
            std::fs::create_dir(root.path().join(dir)).unwrap();
        }
        let stage = Self { root };
        stage.cargo("bin", "printf '[%s]' \"$@\"; exit 7");
        stage.cargo("path", "printf 'path'; printf '[%s]' \"$@\"; exit 8");
        stage
    }

    /// Written by another process: one that this process had open for writing while a test beside
    /// forks could not be run ("text file busy").
    fn cargo(&self, dir: &str, script: &str) {
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod +x \"$2\"";
        let status = Command::new("/bin/sh")
            .args(["-c", write, "sh", script])
            .arg(self.path(dir).join("cargo"))
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-plimsoll"));
        command
            .env_clear()
            .env("HOME", self.path("home"))
            .env("PATH", self.path("path"))
            .env("CARGO", self.path("bin/cargo"))
            .current_dir(self.path("work"));
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command().args(words).output().unwrap()
    }
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn what_does_not_compile_reaches_cargo_as_it_was_written() {
    let stage = Stage::new();
    let output = stage.run(&["plimsoll", "--memory", "2G", "tree", "-e", "no-dev", "--", "-j4"]);
    assert_eq!(out(&output), "[tree][-e][no-dev][--][-j4]");
    assert_eq!(output.status.code(), Some(7), "Cargo's status is ours");
    assert_eq!(out(&stage.run(&["-v", "--offline", "metadata"])), "[-v][--offline][metadata]");
    assert_eq!(out(&stage.run(&["help", "tree"])), "[help][tree]");
    // Nothing is compiled, so nothing is governed: the `-j` that is ours in a build is Cargo's again.
    let output = stage.run(&["build", "--unit-graph", "--jobs", "4", "--hard"]);
    assert_eq!(out(&output), "[build][-j4][--unit-graph]");

    let odd = OsString::from_vec(b"caf\xe9".to_vec());
    let output = stage.command().arg("tree").arg(&odd).output().unwrap();
    assert_eq!(output.stdout, [b"[tree][", odd.as_bytes(), b"]"].concat());
}

#[test]
fn a_toolchain_is_for_the_cargo_in_path() {
    let stage = Stage::new();
    for words in [["plimsoll", "+nightly", "tree"], ["--quiet", "+nightly", "tree"]] {
        let output = stage.run(&words);
        assert_eq!(out(&output), "path[+nightly][tree]");
        assert_eq!(output.status.code(), Some(8));
    }
}

#[test]
fn a_cargo_that_is_not_there_is_named() {
    let stage = Stage::new();
    let output = stage.command().env("CARGO", "/nowhere/cargo").arg("tree").output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert!(err(&output).contains("cannot start `/nowhere/cargo`"), "{}", err(&output));
}

#[test]
fn what_cannot_be_understood_starts_nothing_and_exits_with_2() {
    let stage = Stage::new();
    for words in [
        &["--memory", "lots", "tree"][..],
        &["build", "--memory=12M"],
        &["--jobs", "3", "build", "-j4"],
        &["--memory", "1G", "build", "--memory", "2G"],
        &["+nightly"],
        &["--memory", "1G"],
        &["disable", "--retry-tests"],
        &["satus"],
    ] {
        let output = stage.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", err(&output));
        assert_eq!(out(&output), "", "{words:?}");
        assert!(!err(&output).is_empty());
    }
    let output = stage.command().env("PLIMSOLL_JOBS", "many").arg("tree").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("PLIMSOLL_JOBS"), "{}", err(&output));
}

#[test]
fn settings_say_where_they_came_from() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.path("work/.cargo")).unwrap();
    std::fs::write(stage.path("work/.cargo/config.toml"), "build.jobs = 1").unwrap();
    let output = stage
        .command()
        .env("PLIMSOLL_MEMORY", "50%")
        .env("PLIMSOLL_JOBS", "2")
        .args(["settings", "--oversized", "refuse"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let rows: Vec<Vec<&str>> =
        out(&output).lines().map(|line| line.splitn(3, "  ").map(str::trim).collect()).collect();
    assert_eq!(rows[1][0], "memory");
    assert!(rows[1].concat().contains("50%") && rows[1].concat().contains("PLIMSOLL_MEMORY"));
    assert!(rows[2].concat().contains("build.jobs in") && rows[2].concat().contains('1'));
    let oversized = rows.iter().find(|row| row[0] == "oversized").unwrap();
    let shown = oversized.concat();
    assert!(shown.contains("refuse") && shown.contains("--oversized"), "{shown}");
    assert!(!stage.path("home").exists(), "looking makes no home");
}

#[test]
fn what_is_wrong_with_the_environment_is_said_once() {
    let stage = Stage::new();
    for (name, value) in [("PLIMSOLL_MEMORY", "lots"), ("PLIMSOLL_PROCESSORS", "0")] {
        for command in ["build", "settings", "clean"] {
            let output = stage.command().env(name, value).arg(command).output().unwrap();
            assert_eq!(output.status.code(), Some(2));
            assert_eq!(err(&output).matches(&format!("`{value}`")).count(), 1, "{}", err(&output));
        }
    }
}

#[test]
fn settings_know_the_budget_of_the_account() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.path("kept")).unwrap();
    let record = "enabled\tv=1\tmemory=67108864\tconfig=/c\n";
    std::fs::write(stage.path("kept/enabled"), record).unwrap();
    let settings = |words: &[&str]| {
        let mut command = stage.command();
        let output = command.env("PLIMSOLL_HOME", stage.path("kept")).arg("settings").args(words);
        out(&output.output().unwrap()).to_owned()
    };
    let row = |text: &str, at: usize| text.lines().nth(at).unwrap().to_owned();
    let text = settings(&[]);
    assert!(
        row(&text, 1).contains("64 MiB") && row(&text, 1).contains("enable --memory"),
        "{text}"
    );
    let text = settings(&["--memory", "128MiB"]);
    assert!(row(&text, 1).contains("128 MiB (now 64 MiB)"), "{text}");
    assert!(row(&text, 2).starts_with("account-memory") && row(&text, 2).contains("64 MiB"));
    let json: serde_json::Value = serde_json::from_str(&settings(&["--json"])).unwrap();
    assert_eq!(json["budget_bytes"], 64 << 20);
    assert_eq!(json["settings"][0]["origin"], "account");
}

#[test]
fn colors_are_as_asked_for() {
    let stage = Stage::new();
    let colored = |words: &[&str], variables: &[(&str, &str)]| {
        let output = stage.command().envs(variables.iter().copied()).args(words).output().unwrap();
        err(&output).contains('\u{1b}')
    };
    let always = [("CARGO_TERM_COLOR", "always")];
    assert!(!colored(&["history"], &[]), "a pipe");
    assert!(colored(&["history", "--color", "always"], &[]));
    assert!(colored(&["--color=always", "history"], &[("NO_COLOR", "1")]));
    assert!(colored(&["history"], &always) && colored(&["history"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&["history", "--color", "never"], &always));
}

#[test]
fn cargos_help_is_followed_by_the_options_that_apply() {
    let stage = Stage::new();
    stage.cargo("bin", "printf '[%s]' \"$@\"");
    for words in [["build", "--help"], ["nextest", "-h"], ["help", "build"]] {
        let output = stage.run(&words);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = out(&output);
        assert!(text.starts_with(&format!("[{}][{}]", words[0], words[1])), "{text}");
        assert!(text.contains("--memory") && text.contains("--oversized"), "{text}");
        assert_eq!(text.contains("--quiet"), words[0] == "nextest", "{text}");
    }
    assert!(!out(&stage.run(&["tree", "--help"])).contains("--memory"));
}

#[test]
fn without_words_it_says_what_to_do_next() {
    let stage = Stage::new();
    for words in [&[][..], &["plimsoll"]] {
        let output = stage.run(words);
        assert_eq!((output.status.code(), err(&output)), (Some(0), ""));
        assert_eq!(out(&output).lines().count(), 5);
    }
    assert!(out(&stage.run(&["help", "doctor"])).contains("Usage: cargo plimsoll doctor"));
    for words in [&["satus"][..], &["help", "satus"], &["satus", "--help"]] {
        assert!(err(&stage.run(words)).contains("`cargo plimsoll status`"), "{words:?}");
    }
    assert_eq!(out(&stage.run(&["biuld"])), "[biuld]", "Cargo has a nearer one");
}

#[test]
fn help_and_version_are_answers() {
    let stage = Stage::new();
    for words in [&["--help"][..], &["plimsoll", "help"], &["--version"]] {
        let output = stage.run(words);
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("plimsoll") && err(&output).is_empty());
    }
    let help = stage.run(&["--help"]);
    for said in ["PLIMSOLL_HOME", "--memory", "Exit status", "101"] {
        assert!(out(&help).contains(said), "{said}");
    }
}

#[test]
fn with_nothing_to_show_the_status_is_1() {
    let stage = Stage::new();
    for words in [&["report", "--text"][..], &["report", "17"], &["history"], &["history", "serde"]]
    {
        let output = stage.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        assert_eq!(out(&output), "");
        assert!(err(&output).starts_with("error: "), "{}", err(&output));
    }
    assert!(!stage.path("home").exists(), "looking makes no home");
}

/// Records a build, as of a workspace; a nameless one is of a version that did not note it.
fn record(stage: &Stage, started: u64, command: &str, workspace: &str) {
    let header = Header {
        plimsoll_log: FORMAT,
        version: "0.1.0".to_owned(),
        build: BuildId::new(started, 7),
        started_unix_ms: started,
        command: command.to_owned(),
        budget: Bytes::mib(1600),
        memory: "1600MiB".to_owned(),
        jobs: 2,
        processors: 2,
        target_was_empty: None,
        workspace: workspace.to_owned(),
    };
    let (mut log, warning) = EventLog::create(&stage.path("home/.plimsoll/logs"), &header);
    assert_eq!(warning, None);
    let done =
        Event::Done { exit: 0, wall: Millis(1500), peak: Bytes::mib(700), governor_cpu: Millis(5) };
    log.append(&Record { t: Millis(1500), event: done });
    assert_eq!(log.flush(), None);
}

/// Two workspaces of one account, one of two packages.
fn workspaces() -> (Stage, [String; 2]) {
    let stage = Stage::new();
    let package = "[package]\nname = \"p\"\n";
    for (name, text) in [
        ("work/one/Cargo.toml", "[workspace]\nmembers = [\"inner\"]\n"),
        ("work/one/inner/Cargo.toml", package),
        ("work/two/Cargo.toml", package),
    ] {
        std::fs::create_dir_all(stage.path(name).parent().unwrap().join("src")).unwrap();
        std::fs::write(stage.path(name), text).unwrap();
    }
    let root = |name: &str| stage.path(name).canonicalize().unwrap().to_str().unwrap().to_owned();
    let roots = [root("work/one"), root("work/two")];
    (stage, roots)
}

impl Stage {
    /// What is asked in a directory below `work`.
    fn asked(&self, from: &str, words: &str) -> Output {
        let mut command = self.command();
        command.env("PLIMSOLL_HOME", self.path("home/.plimsoll"));
        command.current_dir(self.path("work").join(from));
        command.args(words.split(' ')).output().unwrap()
    }
}

#[test]
fn the_last_build_is_that_of_this_workspace_and_says_so() {
    let (stage, [one, two]) = workspaces();
    record(&stage, 1_000, "check", &one);
    record(&stage, 2_000, "build", &one);
    record(&stage, 3_000, "doc", &two);
    record(&stage, 4_000, "test", "");
    let questions = ["report", "report --text", "doctor --last", "doctor --slow"];
    for (from, options, command, workspace) in [
        ("one", "", "build", &*one),
        ("one/inner/src", "", "build", &*one),
        ("two/src", "", "doc", &*two),
        ("one", " --manifest-path ../two/Cargo.toml", "doc", &*two),
        (".", " --manifest-path one/inner/Cargo.toml", "build", &*one),
        (".", " --all", "test", "an unknown workspace"),
    ] {
        for question in questions {
            let asked = stage.asked(from, &format!("{question}{options}"));
            let said = out(&asked);
            let named = format!("cargo {command} in {workspace}, ");
            assert!(
                said.lines().next().unwrap().contains(&named),
                "{from} {question}: {said}{}",
                err(&asked)
            );
            assert_eq!(err(&asked), "");
        }
    }
    // An id names a build of any workspace.
    assert!(out(&stage.asked("two", "report 0000000001000")).contains("cargo check in"));
    assert!(out(&stage.asked(".", "doctor --last 0000000003")).contains("cargo doc in"));
    let json = |words: &str| -> serde_json::Value {
        serde_json::from_str(out(&stage.asked("one", words))).unwrap()
    };
    for question in ["report --json", "doctor --last --json", "doctor --slow --json"] {
        assert_eq!(json(question)["workspace"], *one, "{question}");
        assert_eq!(json(question)["build"], "0000000002000-7", "{question}");
    }
    assert_eq!(json("doctor --last --all --json")["workspace"], serde_json::Value::Null);
}

#[test]
fn builds_are_listed_the_newest_first() {
    let (stage, [one, two]) = workspaces();
    record(&stage, 1_000, "check", &one);
    record(&stage, 2_000, "build", &one);
    record(&stage, 3_000, "doc", &two);
    record(&stage, 4_000, "test", "");
    let commands = |from: &str, words: &str| -> Vec<String> {
        let asked = stage.asked(from, words);
        let word = |line: &str| {
            let words = ["check", "build ", "doc", "test"];
            words
                .into_iter()
                .find(|word| line.contains(&format!("  {word}")))
                .unwrap()
                .trim()
                .to_owned()
        };
        out(&asked).lines().skip(1).map(word).collect()
    };
    assert_eq!(commands("one", "report --list"), ["build", "check"]);
    assert_eq!(commands("two", "report --list"), ["doc"]);
    assert_eq!(commands(".", "report --list --all"), ["test", "doc", "build", "check"]);
    let all = stage.asked(".", "report --list --all");
    assert!(out(&all).contains("0000000003000-7") && out(&all).contains("finished"));
    assert!(out(&all).contains("700 MiB") && out(&all).contains("1.50s"), "{}", out(&all));
    assert!(out(&all).lines().nth(1).unwrap().ends_with("  unknown"), "{}", out(&all));
    let json = stage.asked("two", "report --list --json");
    let json: serde_json::Value = serde_json::from_str(out(&json)).unwrap();
    assert_eq!(json["builds"][0]["peak_bytes"], 700 << 20);
}

#[test]
fn where_no_build_of_this_workspace_is_recorded_that_is_said() {
    let (stage, [one, _]) = workspaces();
    record(&stage, 1_000, "build", &one);
    for question in ["report", "report --list", "report --json", "doctor --last", "doctor --slow"] {
        let none = stage.asked("two", question);
        assert_eq!((none.status.code(), out(&none)), (Some(1), ""), "{question}");
        assert!(err(&none).contains("/work/two` is recorded yet"), "{}", err(&none));
        assert!(err(&none).contains("`--all`"), "{}", err(&none));
        let outside = stage.asked(".", question);
        assert_eq!((outside.status.code(), out(&outside)), (Some(1), ""), "{question}");
        assert!(err(&outside).contains("is not in a Cargo workspace"), "{}", err(&outside));
        assert!(err(&outside).contains("`--all`"), "{}", err(&outside));
    }
    for (words, said) in [
        ("report --manifest-path nowhere/Cargo.toml", "does not exist"),
        ("report --all --manifest-path one/Cargo.toml", "cannot be used with"),
        ("report --list 17", "cannot be used with"),
        ("doctor --all", "--last"),
    ] {
        let refused = stage.asked(".", words);
        assert_eq!(refused.status.code(), Some(2), "{words}");
        assert!(err(&refused).contains(said), "{}", err(&refused));
    }
    let unknown = stage.asked("one", "report 99");
    assert_eq!(unknown.status.code(), Some(1));
    assert!(err(&unknown).contains("begins with `99`"), "{}", err(&unknown));
}

/// A build of no workspace (`cargo install`, `run-under -- make`) is of the directory in which it ran.
#[test]
fn a_build_outside_of_any_workspace_is_found_where_it_ran() {
    let (stage, _) = workspaces();
    let work = stage.path("work").canonicalize().unwrap();
    record(&stage, 1_000, "install", work.to_str().unwrap());
    assert!(out(&stage.asked(".", "report")).contains("cargo install in"));
    assert_eq!(stage.asked("one", "report").status.code(), Some(1));
}

#[test]
fn a_report_is_in_cargos_colours_where_they_are_wanted() {
    let (stage, [one, _]) = workspaces();
    record(&stage, 1_000, "build", &one);
    let coloured = |name: &str, value: &str| {
        let mut command = stage.command();
        command.env("PLIMSOLL_HOME", stage.path("home/.plimsoll")).env(name, value);
        let output = command.current_dir(stage.path("work/one")).arg("report").output().unwrap();
        out(&output).contains('\u{1b}')
    };
    assert!(coloured("CLICOLOR_FORCE", "1"));
    assert!(!coloured("NO_COLOR", "1"));
    assert!(!coloured("LANG", "C"), "a pipe");
}
