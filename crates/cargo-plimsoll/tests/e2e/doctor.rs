//! `cargo plimsoll doctor`: what is found in a workspace that does everything wrong, what is applied and taken back, and
//! why real builds were slow.

use std::process::Command;

use serde_json::Value;

use crate::scene::Scene;
use crate::terminal::Terminal;

const HOST: &str = "x86_64-unknown-linux-gnu";

/// A workspace with fat LTO, one codegen unit, few jobs, a wrapper, and a linker that `RUSTFLAGS` would hide.
/// Its library takes the compiler long enough to be measured, on a machine that is busy, too.
fn scene() -> Scene {
    let scene = Scene::new();
    let text = "pub const N: u32 = { let mut i = 0; while i < 1_000_000 { i += 1 } i };
        pub fn two() -> u8 { 2 }";
    scene.lib("b", &[], text);
    scene.bin("a", &["b"], "fn main() { println!(\"{}\", b::two()) }");
    scene.write(
        "ws/Cargo.toml",
        "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"3\"\n[profile.release]\nlto = true # all\ncodegen-units = 1\n",
    );
    scene
}

fn heavy() -> Scene {
    let scene = scene();
    let wrapper = scene.script("wrap/wrapper", "exec \"$@\"");
    scene.write(
        "ws/.cargo/config.toml",
        format!(
            "[build]\njobs = 64 # many\nrustc-wrapper = {:?}\n[target.{}]\nrustflags = [\"-Clink-arg=-fuse-ld=bfd\"]\n",
            wrapper.display().to_string(),
            host()
        ),
    );
    scene
}

fn host() -> String {
    let said = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(said.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or(HOST).to_owned()
}

fn files(scene: &Scene) -> [String; 2] {
    ["ws/Cargo.toml", "ws/.cargo/config.toml"].map(|name| scene.read(name))
}

/// The findings, or causes, of a topic.
fn of<'a>(said: &'a Value, list: &str, topic: &str) -> Vec<&'a Value> {
    let list = said[list].as_array().unwrap();
    list.iter().filter(|it| it["topic"] == topic).collect()
}

fn json(scene: &Scene, mut command: Command) -> (i32, Value) {
    let done = scene.run(&mut command);
    let value = serde_json::from_str(&done.stdout);
    (done.code(), value.unwrap_or_else(|_| panic!("{}\n{}", done.stdout, done.stderr)))
}

#[test]
fn a_workspace_that_does_everything_wrong_is_told_all_of_it() {
    let scene = heavy();
    let mut command = scene.plimsoll("doctor --json");
    command.env("RUSTFLAGS", "-Cdebug-assertions");
    let (code, said) = json(&scene, command);
    assert_eq!(code, 1);
    assert!(said["problems"].as_u64().unwrap() >= 1);
    let one = |topic: &str| of(&said, "findings", topic)[0].clone();
    let flags = one("rustflags");
    assert_eq!(flags["severity"], "problem", "{flags}");
    assert!(flags["what"].as_str().unwrap().contains("-fuse-ld=bfd"), "{flags}");
    assert!(flags["fix"]["command"].as_str().unwrap().starts_with("unset RUSTFLAGS"), "{flags}");
    let lto = one("lto");
    assert!(lto["what"].as_str().unwrap().contains("fat LTO and one codegen unit"), "{lto}");
    assert!(lto["fix"]["command"].as_str().unwrap().contains("init --lowmem"), "{lto}");
    assert_eq!(lto["fix"]["by"], "you", "it changes programs");
    let wrapper = one("wrapper");
    assert!(wrapper["what"].as_str().unwrap().contains("wrap/wrapper"), "{wrapper}");
    let jobs = one("jobs");
    assert!(jobs["what"].as_str().unwrap().contains("is 64, and this machine has"), "{jobs}");
    let linker = of(&said, "findings", "linker");
    assert_eq!(linker.len(), 1, "{linker:?}");

    // As text, and without what hides the linker.
    let text = scene.run(&mut scene.plimsoll("doctor")).stdout;
    assert!(text.contains("profile `release` has fat LTO and one codegen unit"), "{text}");
    assert!(text.contains("the linker is bfd, which your flags choose"), "{text}");
    assert!(!text.contains("RUSTFLAGS overrides"), "{text}");
    assert!(text.contains(" checks passed (-v lists them)"), "{text}");
    // Nothing was touched.
    assert!(files(&scene)[1].contains("jobs = 64 # many"));
}

#[test]
fn what_is_safe_is_applied_and_taken_exactly_back() {
    for scene in [scene(), heavy()] {
        let before = files(&scene);
        let unasked = scene.run(&mut scene.plimsoll("doctor --fix"));
        assert_eq!(unasked.code(), 1);
        assert!(unasked.stderr.contains("no terminal to ask on"), "{}", unasked.stderr);
        assert_eq!(files(&scene), before);

        let done = scene.run(&mut scene.plimsoll("doctor --fix --yes"));
        assert!(done.stdout.contains("wrote to "), "{}\n{}", done.stdout, done.stderr);
        let after = files(&scene);
        assert!(after[0].contains("split-debuginfo = \"unpacked\""), "{}", after[0]);
        assert!(after[0].contains("lto = true # all"), "programs stay as they are: {}", after[0]);
        assert_eq!(scene.ok(&mut scene.cargo("run -q")).stdout, "2\n");
        assert_eq!(
            scene.ok(&mut scene.plimsoll("init --check")).stdout,
            "",
            "all that init writes"
        );
        assert!(!scene.at("home/enabled").exists(), "the account is asked for, never taken");

        let (_, said) = json(&scene, scene.plimsoll("doctor --fix --yes --json"));
        assert_eq!(said["applied"].as_array().unwrap().len(), 0, "a second time there is nothing");
        scene.ok(&mut scene.plimsoll("init --undo"));
        assert_eq!(files(&scene), before);
    }
}

#[test]
fn a_person_is_asked_and_only_what_is_wanted_is_written() {
    for wanted in [false, true] {
        let scene = scene();
        let before = files(&scene);
        let mut terminal = Terminal::start(&scene, &mut scene.plimsoll("doctor --fix"));
        terminal.shows("Apply it? [y/N]", 1);
        terminal.press(if wanted { b'y' } else { b'n' });
        terminal.press(b'\n');
        let screen = terminal.end();
        assert_eq!(
            screen.contains("wrote to Cargo.toml: profile.dev.split-debuginfo"),
            wanted,
            "{screen}"
        );
        assert_eq!(files(&scene)[0] != before[0], wanted);
        scene.ok(&mut scene.plimsoll("init --undo"));
        assert_eq!(files(&scene), before);
    }
}

#[test]
fn a_plimsoll_toml_with_an_error_is_a_finding_and_stops_only_what_needs_it() {
    let scene = scene();
    scene.write("ws/plimsoll.toml", "memroy = \"1G\"\n");
    let (code, said) = json(&scene, scene.plimsoll("doctor --json"));
    assert_eq!(code, 1);
    let first = &said["findings"][0];
    assert_eq!((&first["topic"], &first["severity"]), (&"plimsoll.toml".into(), &"problem".into()));
    assert!(first["what"].as_str().unwrap().contains("did you mean `memory`"), "{first}");
    for command in ["tree", "init", "metadata --format-version 1 --no-deps"] {
        let done = scene.ok(&mut scene.plimsoll(command));
        assert!(done.stderr.contains("ignores a file with an error"), "{command}: {}", done.stderr);
    }
    for command in ["build", "settings", "check"] {
        assert_eq!(scene.run(&mut scene.plimsoll(command)).code(), 2, "{command}");
    }
}

#[test]
fn a_wrapper_that_is_gone_is_a_problem_and_outside_a_workspace_the_machine_is_looked_at() {
    let scene = Scene::new();
    let mut command = scene.plimsoll("doctor --json");
    command.current_dir(scene.at("tmp")).env("RUSTC_WRAPPER", scene.at("gone"));
    let (code, said) = json(&scene, command);
    assert_eq!(code, 1);
    assert_eq!(of(&said, "findings", "wrapper")[0]["severity"], "problem");
    assert!(
        of(&said, "findings", "workspace")[0]["what"]
            .as_str()
            .unwrap()
            .contains("no workspace here")
    );
    assert_eq!(of(&said, "findings", "memory").len(), 1);
}

#[test]
fn a_limit_of_address_space_is_found() {
    let scene = scene();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -v 16000000; exec \"$0\" \"$@\""]);
    let (code, said) = json(&scene, scene.inside(shell, &scene.plimsoll("doctor --json")));
    assert_eq!(code, 1);
    let found = of(&said, "findings", "ulimit");
    assert!(found[0]["what"].as_str().unwrap().contains("RLIMIT_AS"), "{found:?}");
}

/// Why the last build was slow.
fn slow(scene: &Scene) -> (i32, Value) {
    json(scene, scene.plimsoll("doctor --slow --json"))
}

#[test]
fn a_build_after_one_with_other_flags_says_so() {
    let scene = scene();
    let none = scene.run(&mut scene.plimsoll("doctor --slow"));
    assert_eq!(none.code(), 1);
    assert!(none.stderr.contains("no build is recorded"), "{}", none.stderr);
    scene.ok(&mut scene.plimsoll("build"));
    let (_, first) = slow(&scene);
    assert_eq!(first["compared_with"], Value::Null);
    assert_eq!(of(&first, "causes", "flags").len(), 0, "{first}");

    let mut other = scene.plimsoll("build");
    scene.ok(other.env("RUSTFLAGS", "-Cdebug-assertions"));
    let (code, said) = slow(&scene);
    assert_eq!(code, 1);
    let flags = of(&said, "causes", "flags");
    assert!(flags[0]["what"].as_str().unwrap().starts_with("2 of 2 units"), "{said}");
    assert_eq!(said["compared_with"], first["build"]);
    let text = scene.run(&mut scene.plimsoll("doctor --slow")).stdout;
    assert!(text.contains("RUSTFLAGS") && text.contains("2 units with other flags"), "{text}");
    // The first is still there to be asked about.
    let id = first["build"].as_str().unwrap();
    let (_, again) = json(&scene, scene.plimsoll(&format!("doctor --slow {id} --json")));
    assert_eq!(again["build"], first["build"]);
}

#[test]
fn a_build_after_a_clean_another_profile_or_an_edit_says_which() {
    let scene = scene();
    scene.ok(&mut scene.plimsoll("build"));
    scene.ok(&mut scene.cargo("clean"));
    scene.ok(&mut scene.plimsoll("build"));
    let (code, said) = slow(&scene);
    assert_eq!(code, 1);
    let lost = of(&said, "causes", "lost");
    assert!(lost[0]["what"].as_str().unwrap().contains("target directory was empty"), "{said}");

    scene.lib("b", &[], "pub fn two() -> u8 { 1 + 1 }");
    scene.ok(&mut scene.plimsoll("build"));
    let (_, said) = slow(&scene);
    assert_eq!(of(&said, "causes", "lost").len(), 0, "an edit: {said}");

    scene.ok(&mut scene.plimsoll("build --release"));
    let (_, said) = slow(&scene);
    assert_eq!(of(&said, "causes", "profile").len(), 1, "{said}");
}

#[test]
fn a_build_directory_of_its_own_is_what_was_emptied() {
    let scene = scene();
    let set = |mut command: Command| {
        command.env("CARGO_BUILD_BUILD_DIR", "{workspace-root}/../apart");
        command
    };
    scene.ok(&mut set(scene.plimsoll("build")));
    std::fs::remove_dir_all(scene.at("apart")).unwrap();
    scene.ok(&mut set(scene.plimsoll("build")));
    let (_, said) = slow(&scene);
    let lost = of(&said, "causes", "lost");
    assert!(lost[0]["what"].as_str().unwrap().contains("target directory was empty"), "{said}");
    scene.assert_fresh(&mut set(scene.cargo("build")));
}

#[test]
fn a_line_that_binds_is_told_with_one_that_would_not() {
    let scene = Scene::new();
    // Together they are above the budget, so one waits until the other has ended.
    for name in ["a", "b"] {
        scene.lib(name, &[], "// fake: alloc 150MiB in 300ms; hold 1500ms\n");
    }
    let mut first = scene.fake("--jobs 2 build");
    scene.ok(first.env("PLIMSOLL_PROCESSORS", "2"));
    std::fs::remove_dir_all(scene.at("target")).unwrap();
    let mut second = scene.fake("--memory 260MiB --jobs 2 build");
    scene.ok(second.env("PLIMSOLL_PROCESSORS", "2"));
    let (code, said) = slow(&scene);
    assert_eq!(code, 1);
    let line = of(&said, "causes", "budget");
    assert_eq!(line.len(), 1, "{said}");
    assert!(line[0]["what"].as_str().unwrap().contains("260 MiB"), "{said}");
    let advice = line[0]["advice"].as_str().unwrap();
    let size = advice.split("--memory ").nth(1).unwrap().split("MiB").next().unwrap();
    let size: u32 = size.parse().unwrap();
    assert!((300..700).contains(&size), "{advice}");
}
