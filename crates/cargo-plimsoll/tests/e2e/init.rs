//! `cargo plimsoll init`: what is written into a workspace's own files, what Cargo makes of it, and that it is taken
//! exactly back.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::scene::Scene;

const RELEASE: &str =
    "[profile.release] # of the shop\nlto = 'fat'\t# small\ncodegen-units = 1\n# end\n";

/// A virtual workspace of two packages, in a directory with a space and letters that are not ASCII.
fn scene(more: &str) -> Scene {
    let scene = Scene::below(&std::env::temp_dir(), OsStr::new("início e fim-"));
    scene.lib("b", &[], "pub fn two() -> u8 { 2 }");
    scene.bin("a", &["b"], "fn main() { println!(\"{}\", b::two()) }");
    scene.write("ws/Cargo.toml", manifest(more));
    scene
}

fn manifest(more: &str) -> String {
    format!("# the workspace\n[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"3\"\n{more}")
}

/// The files of the workspace that init may touch.
fn files(scene: &Scene) -> [String; 2] {
    ["ws/Cargo.toml", "ws/.cargo/config.toml"].map(|name| scene.read(name))
}

/// The command, from a directory in the scene.
fn at(scene: &Scene, directory: &str, args: &str) -> std::process::Command {
    let mut command = scene.plimsoll(args);
    command.current_dir(scene.at(directory));
    command
}

#[test]
fn it_writes_what_keeps_outputs_and_takes_it_exactly_back() {
    let scene = scene(RELEASE);
    let before = files(&scene);
    let check = scene.run(&mut scene.plimsoll("init --check"));
    assert_eq!(check.code(), 1, "{}", check.stderr);
    assert!(
        !check.stdout.contains("jobs") && check.stdout.contains("+split-debuginfo = "),
        "{}",
        check.stdout
    );
    assert_eq!(files(&scene), before, "--check changes nothing");

    let said = scene.ok(&mut scene.plimsoll("init")).stdout;
    for setting in [
        "written   profile.dev.split-debuginfo",
        "available profile.release.lto",
        "skipped   profile.release.incremental",
    ] {
        assert!(said.contains(setting), "{setting}:\n{said}");
    }
    let after = files(&scene);
    assert!(after[0].starts_with(&before[0]), "what stood there stays: {}", after[0]);
    assert!(!scene.at("ws/.cargo").exists(), "nothing that depends on this machine is written");
    assert_eq!(scene.ok(&mut scene.plimsoll("init --check")).stdout, "");
    scene.ok(&mut scene.plimsoll("init"));
    assert_eq!(files(&scene), after, "a second time changes nothing");
    assert_eq!(scene.ok(&mut scene.cargo("run -q")).stdout, "2\n");

    scene.ok(&mut scene.plimsoll("init --undo"));
    assert_eq!(files(&scene), before);
    assert!(!scene.at("ws/.cargo").exists());
    let said = scene.ok(&mut scene.plimsoll("init --undo")).stdout;
    assert!(said.contains("nothing to take back"), "{said}");
}

#[test]
fn lowmem_changes_the_profiles_also_from_a_member_and_with_windows_line_ends() {
    let scene = scene("");
    scene.write("ws/Cargo.toml", manifest(RELEASE).replace('\n', "\r\n"));
    let before = files(&scene);
    scene.ok(&mut at(&scene, "ws/a/src", "init --lowmem"));
    let text = files(&scene)[0].clone();
    assert!(!text.replace("\r\n", "").contains('\n'), "{text}");
    let table: toml::Table = text.parse().unwrap();
    let release = &table["profile"]["release"];
    assert_eq!(release["lto"].as_str(), Some("thin"));
    assert_eq!(release["codegen-units"].as_integer(), Some(16));
    assert_eq!(table["profile"]["dev"]["package"]["*"]["debug"].as_bool(), Some(false));
    assert!(text.contains("; was 'fat'\t# small\r\n"), "{text}");
    let said = scene.ok(&mut scene.cargo("build -v --release")).stderr;
    assert!(said.contains("lto=thin") && said.contains("codegen-units=16"), "{said}");
    // Edits around it, and of one value.
    scene.write("ws/Cargo.toml", format!("# new\r\n{}", text.replace("= 16 #", "= 8 #")));
    let undone = scene.ok(&mut at(&scene, "ws/b", "init --undo"));
    assert!(undone.stderr.contains("profile.release.codegen-units"), "{}", undone.stderr);
    let expected = before[0].replace("codegen-units = 1", "codegen-units = 8");
    assert_eq!(files(&scene)[0], format!("# new\r\n{expected}"));
}

#[test]
fn a_profile_of_its_own_builds_beside_the_others() {
    let scene = scene(RELEASE);
    let before = files(&scene);
    scene.ok(&mut scene.plimsoll("init --profile small"));
    assert!(files(&scene)[0].starts_with(&before[0]));
    let said = scene.ok(&mut scene.cargo("build -v --profile small")).stderr;
    assert!(said.contains("lto=thin"), "{said}");
    let said = scene.ok(&mut scene.cargo("build -v --release")).stderr;
    assert!(said.contains("lto=fat") || said.contains("-C lto "), "{said}");
    scene.ok(&mut scene.plimsoll("init --undo"));
    assert_eq!(files(&scene), before);
    for args in [
        "init --profile a.b",
        "init --profile x --lowmem",
        "init --inherits dev",
        "init --undo --lowmem",
    ] {
        assert_eq!(scene.run(&mut scene.plimsoll(args)).code(), 2, "{args}");
    }
    // Cargo has the last word.
    let refused = scene.run(&mut scene.plimsoll("init --profile build"));
    assert_eq!(refused.code(), 101);
    assert!(refused.stderr.contains("nothing changed"), "{}", refused.stderr);
    assert_eq!(files(&scene), before);
}

/// An earlier `init` wrote this machine's number of jobs into a file that is committed.
#[test]
fn jobs_that_an_earlier_init_wrote_are_taken_out_again() {
    const OLD: &str = "# Made by `cargo plimsoll init`; `cargo plimsoll init --undo` takes it back.\n\
        [build] # plimsoll init\njobs = 2 # plimsoll init wrote 2: for plain cargo\n";
    for command in ["init", "init --undo"] {
        let scene = scene("");
        scene.write("ws/.cargo/config.toml", OLD);
        let said = scene.ok(&mut scene.plimsoll(command)).stdout;
        assert!(said.contains("removed .cargo/config.toml"), "{said}");
        assert!(!scene.at("ws/.cargo").exists());
        // What a person has edited since is theirs.
        scene.write("ws/.cargo/config.toml", OLD.replace("jobs = 2 #", "jobs = 3 #"));
        scene.ok(&mut scene.plimsoll(command));
        assert_eq!(scene.read("ws/.cargo/config.toml"), "[build]\njobs = 3\n");
        let said = scene.ok(&mut scene.plimsoll("init")).stdout;
        assert!(said.contains("yours     build.jobs"), "{said}");
    }
}

#[test]
fn a_script_that_a_person_has_edited_stays() {
    let scene = scene("");
    scene.ok(&mut scene.plimsoll("init --scripts"));
    let name = "ws/build-low-memory.sh";
    let text = scene.read(name);
    assert!(!text.contains("cargo install cargo-plimsoll"), "{text}");
    assert!(text.contains("cargo install --locked --path crates/cargo-plimsoll"), "{text}");
    let edited = text.replace("MEMORY_LIMIT=\"auto\"", "MEMORY_LIMIT=\"3G\"");
    scene.write(name, &edited);
    let undone = scene.ok(&mut scene.plimsoll("init --undo"));
    assert_eq!(scene.read(name), edited);
    assert!(
        undone.stderr.contains("build-low-memory.sh` stays, because it was edited"),
        "{}",
        undone.stderr
    );
    assert!(!scene.at("ws/build-env.sh").exists());
}

#[test]
fn a_package_without_a_workspace_and_one_below_another_are_written_at_their_root() {
    let scene = scene("exclude = ['alone']\n");
    scene.package("alone", &[], "src/main.rs", "fn main() {}");
    scene.ok(&mut at(&scene, "ws/alone/src", "init"));
    assert!(scene.read("ws/alone/Cargo.toml").contains("split-debuginfo"));
    assert!(!scene.at("ws/.cargo").exists());
    scene.ok(&mut at(&scene, "ws/alone", "build -q"));
    scene.ok(&mut at(&scene, "ws/alone", "init --undo"));
    assert!(!scene.at("ws/alone/.cargo").exists());
}

#[test]
fn configuration_in_two_files_and_by_include_is_read_as_cargo_does() {
    let scene = scene("");
    scene.write("ws/.cargo/config", "include = ['more.toml']\n");
    scene.write("ws/.cargo/config.toml", "# not read\n");
    scene.write("ws/.cargo/more.toml", "[build]\njobs = 3\n");
    let done = scene.ok(&mut scene.plimsoll("init"));
    assert!(done.stderr.contains("read only the first"), "{}", done.stderr);
    assert!(
        done.stdout.contains("you set 3 in") && done.stdout.contains("more.toml;"),
        "{}",
        done.stdout
    );
    assert_eq!(scene.read("ws/.cargo/config.toml"), "# not read\n");
    assert_eq!(scene.read("ws/.cargo/config"), "include = ['more.toml']\n");
}

#[test]
fn what_cannot_be_read_or_written_is_named_and_nothing_is_changed() {
    let scene = scene("");
    scene.write("ws/.cargo/config.toml", "[build\n");
    let refused = scene.run(&mut scene.plimsoll("init"));
    assert_eq!(refused.code(), 101);
    assert!(refused.stderr.contains("config.toml"), "{}", refused.stderr);
    assert_eq!(files(&scene), [manifest(""), "[build\n".to_owned()]);

    fs::remove_file(scene.at("ws/.cargo/config.toml")).unwrap();
    fs::set_permissions(scene.at("ws/Cargo.toml"), fs::Permissions::from_mode(0o444)).unwrap();
    let refused = scene.run(&mut scene.plimsoll("init"));
    assert_eq!(refused.code(), 101);
    assert!(
        refused.stderr.contains("Cargo.toml") && refused.stderr.contains("writable"),
        "{}",
        refused.stderr
    );
    assert_eq!(files(&scene), [manifest(""), String::new()], "neither file");

    let refused = scene.run(&mut at(&scene, "tmp", "init"));
    assert_eq!(refused.code(), 101);
    assert!(refused.stderr.contains("could not find `Cargo.toml`"), "{}", refused.stderr);

    // An inline table has no budget for a comment.
    fs::set_permissions(scene.at("ws/Cargo.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    let inline = format!("profile.dev = {{ opt-level = 0 }}\n{}", manifest(""));
    scene.write("ws/Cargo.toml", &inline);
    let said = scene.ok(&mut scene.plimsoll("init")).stdout;
    assert!(said.contains("yours     profile.dev.split-debuginfo"), "{said}");
    assert!(said.contains("by hand"), "{said}");
    assert_eq!(files(&scene)[0], inline);
}

#[test]
fn figures_of_recorded_builds_are_told() {
    let scene = scene("");
    scene.write(
        "ws/b/src/lib.rs",
        "// fake: alloc 80MiB in 160ms; hold 500ms\npub fn two() -> u8 { 2 }\n",
    );
    scene.ok(&mut scene.fake("--memory 1GiB build"));
    let said = scene.ok(&mut scene.plimsoll("init")).stdout;
    assert!(said.contains("largest compiler in your recorded builds: b with"), "{said}");
}
