//! Plain Cargo after `cargo plimsoll enable`: it goes through the shims, chains what stood there, and rebuilds nothing.

use std::process::Command;

use crate::scene::Scene;

/// A workspace, and a Cargo home of the account's own whose configuration names a wrapper that keeps a list.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.lib("b", &[], "pub fn two() -> u8 { 2 }");
    scene.bin("a", &["b"], "fn main() { println!(\"{}\", b::two()) }");
    scene.write(
        "ws/b/build.rs",
        "fn main() { println!(\"cargo:rerun-if-env-changed=RUSTC_WRAPPER\") }",
    );
    let wrapper = scene.script("my wrapper", "echo \"$*\" >>\"$E2E_SCENE/wrapped\"; exec \"$@\"");
    scene.write("cargo/config.toml", CONFIG.replace("WRAPPER", wrapper.to_str().unwrap()));
    scene
}

const CONFIG: &str = "# of this account\n[build]\nrustc-wrapper = 'WRAPPER' # a cache\n";

/// A shim that was gone past would leave no other trace: its own name, and what Cargo says that it runs.
const THROUGH: &str = "plimsoll-rustc";

fn on_account(scene: &Scene, mut command: Command) -> Command {
    command.env("CARGO_HOME", scene.at("cargo"));
    command
}

/// How many units the wrapper has seen.
fn wrapped(scene: &Scene) -> usize {
    scene
        .read("wrapped")
        .lines()
        .filter(|line| line.contains("--crate-name") && !line.contains("___"))
        .count()
}

#[test]
fn plain_cargo_goes_through_the_shims_and_nothing_is_built_twice() {
    let scene = scene();
    let cargo = |args: &str| on_account(&scene, scene.cargo(args));
    let config = scene.read("cargo/config.toml");
    scene.ok(&mut cargo("build"));
    let units = wrapped(&scene);
    assert_eq!(units, 3, "two crates and a build script");

    scene.ok(&mut on_account(&scene, scene.plimsoll("enable")));
    scene.assert_fresh(&mut cargo("build"));
    let done = scene.ok(&mut cargo("check -v"));
    assert!(done.stderr.contains(THROUGH), "{}", done.stderr);
    let checked = wrapped(&scene) - units;
    assert!(checked > 0, "the wrapper is still called");
    let done = scene.ok(&mut cargo("run -q"));
    assert_eq!(done.stdout, "2\n");
    // A driver's build puts one shim before the wrapper, not two.
    scene.write("ws/a/src/main.rs", "fn main() { println!(\"{}\", b::two() + 1) }");
    let before = wrapped(&scene);
    let ours = scene.ok(&mut on_account(&scene, scene.plimsoll("--memory 1GiB run -q")));
    assert_eq!((ours.stdout.as_str(), wrapped(&scene) - before), ("3\n", 1), "{}", ours.stderr);
    scene.assert_fresh(&mut cargo("build"));
    for args in ["check", "doc --no-deps"] {
        scene.ok(&mut cargo(args));
    }

    scene.ok(&mut on_account(&scene, scene.plimsoll("disable")));
    assert_eq!(scene.read("cargo/config.toml"), config);
    for args in ["build", "check", "doc --no-deps"] {
        scene.assert_fresh(&mut cargo(args));
    }
    let done = scene.ok(&mut cargo("build --release -v"));
    assert!(!done.stderr.contains(THROUGH), "{}", done.stderr);
}

#[test]
fn without_a_wrapper_of_ones_own_cargo_compiles_and_documents_through_the_shims() {
    let scene = scene();
    scene.write("cargo/config.toml", "");
    scene.ok(&mut on_account(&scene, scene.plimsoll("enable --memory 1GiB")));
    let done = scene.ok(&mut on_account(&scene, scene.cargo("doc --no-deps -v")));
    assert!(done.stderr.contains("plimsoll-rustdoc"), "{}", done.stderr);
    let ours = scene.ok(&mut on_account(&scene, scene.plimsoll("build")));
    assert!(ours.stderr.contains("Plimsoll peak memory"), "{}", ours.stderr);
    scene.assert_fresh(&mut on_account(&scene, scene.cargo("build")));
    assert_eq!(wrapped(&scene), 0);
    // The program that is configured may go; the record may not be there: the compiler runs.
    std::fs::remove_dir_all(scene.at("home")).unwrap();
    scene.ok(&mut on_account(&scene, scene.cargo("check")));
}

/// It is configured with the outer one's shim, which would chain itself.
#[test]
fn a_driver_below_a_driver_chains_what_that_chains() {
    const SCRIPT: &str = "fn main() {
        let scene = std::env::var(\"E2E_SCENE\").unwrap();
        let status = std::process::Command::new(std::env::var(\"DRIVER\").unwrap())
            .args([\"build\", \"--manifest-path\"]).arg(format!(\"{scene}/inner/Cargo.toml\"))
            .arg(\"--target-dir\").arg(format!(\"{scene}/inner-target\"))
            .status().unwrap();
        assert!(status.success());
    }";
    for enabled in [false, true] {
        let scene = scene();
        scene.write("ws/b/build.rs", SCRIPT);
        scene.write(
            "inner/Cargo.toml",
            "[package]\nname = \"inner\"\nedition = \"2021\"\n[workspace]\n",
        );
        scene.write("inner/src/lib.rs", "");
        if enabled {
            scene.ok(&mut on_account(&scene, scene.plimsoll("enable")));
        }
        let mut command = on_account(&scene, scene.plimsoll("--memory 1GiB build"));
        scene.ok(command.env("DRIVER", env!("CARGO_BIN_EXE_cargo-plimsoll")));
        let inner =
            scene.read("wrapped").lines().filter(|line| line.contains("name inner")).count();
        assert_eq!((wrapped(&scene), inner), (4, 1), "enabled: {enabled}");
    }
}

#[test]
fn uninstall_lets_the_governor_leave_and_gives_everything_back() {
    let scene = scene();
    let config = scene.read("cargo/config.toml");
    scene.ok(&mut on_account(&scene, scene.plimsoll("enable")));
    scene.ok(&mut on_account(&scene, scene.cargo("build")));
    let status = scene.ok(&mut on_account(&scene, scene.plimsoll("status"))).stdout;
    assert!(status.contains("governor  process "), "{status}");
    let done = scene.ok(&mut on_account(&scene, scene.plimsoll("uninstall --yes"))).stdout;
    assert!(done.contains("is what it was before `enable`"), "{done}");
    assert_eq!(scene.read("cargo/config.toml"), config);
    assert!(!scene.at("home").exists(), "{done}");
    scene.assert_fresh(&mut on_account(&scene, scene.cargo("build")));
    scene.assert_clean();
}
