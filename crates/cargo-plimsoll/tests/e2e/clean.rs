//! `cargo plimsoll clean`: what goes is of no use, and what a build would reuse stays.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use plimsoll_testing::needs;

use crate::process::until;
use crate::scene::{LAYOUT, Scene, below};

/// A workspace that needed another package once, and was built then and since: with a test, and optimised.
fn scene() -> Scene {
    scene_of(|_| ())
}

/// The same by Cargos that are `set`.
fn scene_of(set: impl Fn(&mut Command)) -> Scene {
    let build = |scene: &Scene| {
        for mut command in commands(scene) {
            set(&mut command);
            scene.ok(&mut command);
        }
    };
    let scene = Scene::new();
    scene.lib("old", &[], "pub fn one() -> u8 { 1 }");
    scene.lib("base", &[], "pub fn two() -> u8 { 2 }");
    scene.write("ws/base/build.rs", "fn main() { println!(\"cargo::rerun-if-changed=build.rs\") }");
    scene.write("ws/base/tests/it.rs", "#[test]\nfn is_two() { assert_eq!(base::two(), 2) }\n");
    scene.bin("app", &["old", "base"], "fn main() { println!(\"{}\", old::one() + base::two()) }");
    members(&scene, &["app", "base", "old"]);
    build(&scene);
    scene.bin("app", &["base"], "fn main() { println!(\"{}\", base::two()) }");
    fs::remove_dir_all(scene.at("ws/old")).unwrap();
    scene.lib("new", &[], "");
    members(&scene, &["app", "base", "new"]);
    build(&scene);
    scene
}

fn commands(scene: &Scene) -> [Command; 3] {
    let cargo = |args| in_workspace(scene, scene.cargo(args));
    [cargo("build"), cargo("test --no-run"), cargo("build --release")]
}

/// Names the packages: the target directory is none.
fn members(scene: &Scene, names: &[&str]) {
    let manifest = format!("[workspace]\nmembers = {names:?}\nresolver = \"3\"\n");
    scene.write("ws/Cargo.toml", manifest);
}

/// With the target directory where Cargo has it by itself.
fn in_workspace(scene: &Scene, mut command: Command) -> Command {
    command.env("CARGO_TARGET_DIR", scene.at("ws/target")).env("CARGO_INCREMENTAL", "1");
    command
}

fn clean(scene: &Scene, args: &str) -> Command {
    in_workspace(scene, scene.plimsoll(&format!("clean {args}")))
}

/// The names in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Where Cargo keeps what it built a package's units from, in either layout, and the files of its own library.
fn kept(profile: &Path, package: &str) -> Vec<PathBuf> {
    let of = |directory: &str, beginning: &str| -> Vec<PathBuf> {
        let directory = profile.join(directory);
        let names = names(&directory).into_iter().filter(|name| name.starts_with(beginning));
        names.map(|name| directory.join(name)).collect()
    };
    let mut kept = of(".fingerprint", &format!("{package}-"));
    kept.extend(of(&format!("build/{package}"), ""));
    kept.extend(of("deps", &format!("lib{package}-")));
    kept
}

/// The fingerprints in a profile's directory.
fn fingerprints(profile: &Path) -> Vec<PathBuf> {
    below(profile)
        .into_iter()
        .filter(|path| {
            let mut above = path.ancestors().skip(1);
            above.next().is_some_and(|it| it.ends_with("fingerprint"))
                || above.next().is_some_and(|it| it.ends_with(".fingerprint"))
        })
        .filter(|path| path.extension().is_some_and(|it| it == "json"))
        .collect()
}

/// The incremental sessions of a crate.
fn sessions(profile: &Path, name: &str) -> usize {
    let beginning = format!("{name}-");
    names(&profile.join("incremental")).iter().filter(|name| name.starts_with(&beginning)).count()
}

#[test]
fn what_is_gone_goes_and_nothing_is_built_again() {
    let scene = scene();
    let debug = scene.at("ws/target/debug");
    let (apps, olds) = (kept(&debug, "app").len(), kept(&debug, "old"));
    assert!(!olds.is_empty());
    let shown = scene.ok(&mut clean(&scene, "--dry-run")).stdout;
    for said in [
        "removed packages and old versions",
        "built from removed or old packages",
        "release",
        "today",
    ] {
        assert!(shown.contains(said), "{said}\n{shown}");
    }
    let unasked = scene.run(&mut clean(&scene, ""));
    assert_eq!(unasked.code(), 1, "{}", unasked.stderr);
    assert_eq!(kept(&debug, "old"), olds, "nobody has said yes");
    let kept_all = scene.ok(&mut clean(&scene, "--yes --keep-days 1")).stdout;
    assert!(kept_all.contains("nothing to remove in "), "{kept_all}");

    let live = sessions(&debug, "base") + sessions(&debug, "it");
    assert!(sessions(&debug, "it") > 0);
    let done = scene.ok(&mut clean(&scene, "--yes")).stdout;
    assert!(done.contains("removed "), "{done}");
    for profile in ["debug", "release"] {
        let profile = scene.at("ws/target").join(profile);
        assert_eq!(kept(&profile, "old"), Vec::<PathBuf>::new());
        assert!(!profile.join("build/old").exists());
    }
    assert!(kept(&debug, "app").len() < apps);
    assert_eq!(sessions(&debug, "old"), 0);
    assert_eq!(sessions(&debug, "base") + sessions(&debug, "it"), live);
    for mut command in commands(&scene) {
        scene.assert_fresh(&mut command);
    }
    let again = scene.ok(&mut clean(&scene, "--yes")).stdout;
    assert!(again.contains("nothing to remove in "), "{again}");
}

#[test]
fn what_another_compiler_built_goes() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.lib("b", &["a"], "");
    members(&scene, &["a", "b"]);
    scene.ok(&mut commands(&scene)[0]);
    assert!(scene.ok(&mut clean(&scene, "--yes")).stdout.contains("nothing to remove in "));
    let debug = scene.at("ws/target/debug");
    let all = fingerprints(&debug);
    assert_eq!(all.len(), 2, "{all:?}");
    for file in all {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("\"rustc\":", "\"rustc\":1", 1)).unwrap();
    }
    let done = scene.ok(&mut clean(&scene, "--yes --keep-toolchains current")).stdout;
    assert!(done.contains("built by other toolchains"), "{done}");
    assert_eq!(fingerprints(&debug), Vec::<PathBuf>::new());
    assert!(kept(&debug, "a").is_empty() && kept(&debug, "b").is_empty());
    scene.ok(&mut commands(&scene)[0]);
}

#[test]
fn without_rustup_what_other_compilers_built_stays_unless_that_is_asked_for() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    members(&scene, &["a"]);
    scene.ok(&mut commands(&scene)[0]);
    let debug = scene.at("ws/target/debug");
    for file in fingerprints(&debug) {
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("\"rustc\":", "\"rustc\":1", 1)).unwrap();
    }
    let programs = |program: &str| {
        let found = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
        Path::new(String::from_utf8(found.stdout).unwrap().trim()).join("bin").join(program)
    };
    let without = |args: &str| {
        let mut command = clean(&scene, args);
        command.env("RUSTUP_HOME", scene.at("none")).env("RUSTC", programs("rustc"));
        command.env("CARGO", programs("cargo"));
        command
    };
    let done = scene.ok(&mut without("--yes"));
    assert!(
        done.stderr.contains("Plimsoll cannot list the installed toolchains"),
        "{}",
        done.stderr
    );
    assert_eq!(fingerprints(&debug).len(), 1);
    let done = scene.ok(&mut without("--yes --keep-toolchains current"));
    assert!(done.stdout.contains("built by other toolchains"), "{}", done.stdout);
    let refused = scene.run(&mut clean(&scene, "--yes --keep-toolchains none-such"));
    assert_eq!(refused.code(), 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("toolchain `none-such` is not installed"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_directory_that_others_use_or_cargo_did_not_make_stays() {
    let scene = Scene::new();
    scene.lib("a", &[], "");
    scene.write("other/Cargo.toml", "[package]\nname = \"other\"\nversion = \"0.1.0\"\n");
    scene.write("other/src/lib.rs", "");
    scene.ok(scene.cargo("build").current_dir(scene.at("other")));
    let before = below(&scene.at("target"));
    let said = scene.ok(&mut scene.plimsoll("clean --yes"));
    assert!(said.stderr.contains("other workspaces build in"), "{}", said.stderr);
    let locks = |path: &PathBuf| path.extension().is_none() && path.ends_with(".cargo-build-lock");
    let after: Vec<PathBuf> = below(&scene.at("target"))
        .into_iter()
        .filter(|it| before.contains(it) || !locks(it))
        .collect();
    assert_eq!(after.len(), before.len());

    scene.write("mine/debug/.fingerprint/x", "");
    let refused = scene.run(clean(&scene, "--yes").env("CARGO_TARGET_DIR", scene.at("mine")));
    assert_eq!(refused.code(), 101, "{}", refused.stderr);
    assert!(refused.stderr.contains("is not a target directory of Cargo's"), "{}", refused.stderr);
}

#[test]
fn what_is_in_no_known_layout_is_said_and_stays() {
    let scene = scene();
    let (debug, release) = (scene.at("ws/target/debug"), scene.at("ws/target/release"));
    let olds = kept(&debug, "old");
    scene.write("ws/target/debug/build/app/unit-7/output/app.o", "");
    let done = scene.ok(&mut clean(&scene, "--yes"));
    assert!(done.stderr.contains("build/app/unit-7` is, so everything in"), "{}", done.stderr);
    assert_eq!(kept(&debug, "old"), olds);
    assert!(kept(&release, "old").is_empty(), "what is known there is cleaned");
    let again = scene.ok(&mut clean(&scene, "--yes")).stdout;
    assert!(again.contains("nothing else to remove in "), "{again}");
    fs::remove_dir_all(debug.join("build/app/unit-7")).unwrap();

    // A Cargo that keeps nothing where it is known.
    let cargo = "cargo \"$@\" || exit\nfor word in \"$@\"; do\n\
        if [ \"$before\" = --target-dir ]; then rm -rf \"$word\"/debug/build \"$word\"/debug/.fingerprint; fi\n\
        before=$word\ndone";
    let cargo = scene.script("bin/unknown-cargo", cargo);
    let refused = scene.run(clean(&scene, "--yes").env("CARGO", cargo));
    assert_eq!(refused.code(), 101, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("a directory layout that this version of Plimsoll does not know"),
        "{}",
        refused.stderr
    );
    assert_eq!(kept(&debug, "old"), olds);
}

/// Whatever a Cargo of today or of yesterday holds while it builds is waited for, and that is said.
/// A workspace inside another one that builds in the same directory, and a directory of several workspaces' to which a link
/// inside this one leads.
#[test]
fn what_another_workspace_has_built_stays_also_where_the_directory_is_inside_this_one() {
    let another = |scene: &Scene, dir: &str| {
        let manifest = "[package]\nname = \"fuzzes\"\nedition = \"2021\"\n[workspace]\n";
        scene.write(format!("{dir}/Cargo.toml"), manifest);
        scene.write(format!("{dir}/src/lib.rs"), "pub mod deep;");
        scene.write(format!("{dir}/src/deep.rs"), "");
        let mut build = in_workspace(scene, scene.cargo("build"));
        build.current_dir(scene.at(dir));
        build
    };
    for linked in [false, true] {
        let scene = Scene::new();
        scene.lib("app", &[], "");
        members(&scene, &["app"]);
        if linked {
            fs::create_dir(scene.at("everybodys")).unwrap();
            std::os::unix::fs::symlink(scene.at("everybodys"), scene.at("ws/target")).unwrap();
        }
        let mut build = another(&scene, if linked { "other" } else { "ws/fuzz" });
        scene.ok(&mut build);
        scene.ok(&mut in_workspace(&scene, scene.cargo("build")));
        let done = scene.ok(&mut clean(&scene, "--yes"));
        assert!(done.stdout.starts_with("nothing else to remove in "), "{}", done.stdout);
        assert!(done.stderr.contains("other workspaces build in `"), "{}", done.stderr);
        scene.assert_fresh(&mut build);
    }
}

/// It would be seen twice, and wait for itself.
#[test]
fn a_link_to_a_profile_is_none() {
    let scene = Scene::new();
    scene.lib("app", &[], "");
    members(&scene, &["app"]);
    let mut build = in_workspace(&scene, scene.cargo("build"));
    scene.ok(&mut build);
    std::os::unix::fs::symlink("debug", scene.at("ws/target/now")).unwrap();
    let done = scene.ok(&mut clean(&scene, "--yes"));
    assert!(done.stdout.starts_with("nothing to remove in "), "{}", done.stdout);
    scene.assert_fresh(&mut build);
}

#[test]
fn it_waits_for_a_build() {
    for (apart, lock) in [
        (false, "ws/target/debug/.cargo-lock"),
        (false, "ws/target/debug/.cargo-build-lock"),
        (true, "ws/target/debug/.cargo-lock"),
        (true, "ws/apart/debug/.cargo-build-lock"),
        (true, "ws/apart/debug/.cargo-lock"),
    ] {
        let scene = Scene::new();
        scene.lib("old", &[], "");
        scene.lib("app", &[], "");
        members(&scene, &["app", "old"]);
        let set = |mut command: Command| {
            if apart {
                command.env("CARGO_BUILD_BUILD_DIR", "{workspace-root}/apart");
            }
            command
        };
        let debug = scene.at(if apart { "ws/apart/debug" } else { "ws/target/debug" });
        scene.ok(&mut set(in_workspace(&scene, scene.cargo("build"))));
        members(&scene, &["app"]);
        fs::remove_dir_all(scene.at("ws/old")).unwrap();
        scene.ok(&mut set(in_workspace(&scene, scene.cargo("build"))));
        assert!(!kept(&debug, "old").is_empty());

        let held = File::options().create(true).append(true).open(scene.at(lock)).unwrap();
        flock(&held, FlockOperation::LockShared).unwrap();
        let cleaning = scene.start(&mut set(clean(&scene, "--yes")));
        until("the wait is said", || {
            cleaning.stderr().contains("waiting for the build in").then_some(())
        });
        assert!(!kept(&debug, "old").is_empty(), "{lock}");
        drop(held);
        let done = cleaning.end();
        assert_eq!(done.code(), 0, "{}", done.stderr);
        assert!(kept(&debug, "old").is_empty(), "{lock}: {}", done.stdout);
        scene.assert_fresh(&mut set(in_workspace(&scene, scene.cargo("build"))));
    }
}

/// What two Cargos with the same compiler, or with another one, have built in one directory.
mod nightly {
    use super::*;

    fn in_layout(command: &mut Command, newer: bool) -> &mut Command {
        command.env(LAYOUT, if newer { "true" } else { "false" })
    }

    fn nightly(command: &mut Command) -> &mut Command {
        command.env("RUSTUP_TOOLCHAIN", "nightly")
    }

    fn newer(command: &mut Command) {
        in_layout(nightly(command), true);
    }

    /// A stable Cargo; one of 1.100 has the older layout where it is asked for it.
    fn older(command: &mut Command) {
        let asked = ("__CARGO_TEMPORARY_BUILD_DIR_NEW_LAYOUT_OPT_OUT", "1");
        command.envs([asked]).env("RUSTUP_TOOLCHAIN", "stable");
    }

    #[test]
    fn what_a_cargo_that_is_set_otherwise_uses_stays_and_is_said() {
        needs::toolchain("nightly");
        let scene = scene_of(|command| _ = in_layout(nightly(command), false));
        for newer in [true, false] {
            for mut command in commands(&scene) {
                scene.ok(in_layout(nightly(&mut command), newer));
            }
        }
        let debug = scene.at("ws/target/debug");
        for newer in [true, false] {
            let done = scene.ok(in_layout(nightly(&mut clean(&scene, "--yes")), newer));
            let layout = if newer { "older" } else { "newer" };
            assert!(
                done.stderr.contains(&format!("in Cargo's {layout} directory layout")),
                "{}",
                done.stderr
            );
            assert_eq!(
                done.stdout.contains("removed "),
                newer,
                "the first removes all: {}",
                done.stdout
            );
            assert!(kept(&debug, "old").is_empty());
        }
        for newer in [true, false] {
            for mut command in commands(&scene) {
                scene.assert_fresh(in_layout(nightly(&mut command), newer));
            }
        }
    }

    #[test]
    fn what_an_older_cargo_left_in_its_layout_goes_and_the_other_way_round() {
        needs::toolchain("nightly");
        needs::toolchain("stable");
        for newer_remains in [true, false] {
            let scene = Scene::new();
            scene.lib("base", &[], "pub fn two() -> u8 { 2 }");
            scene.bin("app", &["base"], "fn main() { println!(\"{}\", base::two()) }");
            scene.write(
                "ws/base/build.rs",
                "fn main() { println!(\"cargo::rerun-if-changed=build.rs\") }",
            );
            scene.write("ws/app/tests/it.rs", "#[test]\nfn runs() {}\n");
            members(&scene, &["app", "base"]);
            let [first, then] = if newer_remains { [older, newer] } else { [newer, older] };
            for set in [first, then] {
                for mut command in commands(&scene) {
                    set(&mut command);
                    scene.ok(&mut command);
                }
            }
            let debug = scene.at("ws/target/debug");
            let of_both = fingerprints(&debug).len();
            let live = sessions(&debug, "app") + sessions(&debug, "it");
            // Both are installed, so both stay, unless that is asked for.
            let mut cleaning = clean(&scene, "--yes");
            then(&mut cleaning);
            let done = scene.ok(&mut cleaning);
            assert!(!done.stdout.contains("built by other toolchains"), "{}", done.stdout);
            assert_eq!(fingerprints(&debug).len(), of_both);
            for set in [first, then] {
                for mut command in commands(&scene) {
                    set(&mut command);
                    scene.assert_fresh(&mut command);
                }
            }
            let mut cleaning = clean(&scene, "--yes --keep-toolchains current");
            then(&mut cleaning);
            let done = scene.ok(&mut cleaning);
            assert!(done.stdout.contains("built by other toolchains"), "{}", done.stdout);
            assert_eq!(fingerprints(&debug).len() * 2, of_both);
            assert_eq!(names(&debug.join(".fingerprint")).is_empty(), newer_remains);
            assert_eq!(debug.join("build/app").exists(), newer_remains);
            assert_eq!((sessions(&debug, "app") + sessions(&debug, "it")) * 2, live);
            for mut command in commands(&scene) {
                then(&mut command);
                scene.assert_fresh(&mut command);
            }
        }
    }
}
