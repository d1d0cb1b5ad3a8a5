//! What stands behind the shim where no driver has started it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use plimsoll_core::settings::Memory;
use plimsoll_proto::Enabled;
use plimsoll_shim::env;

use crate::scene::{LIB, Running, Scene};

/// A compiler, a wrapper and a documenter that say so; an account that has enabled Plimsoll.
fn account(wrapper: impl AsRef<Path>, rustdoc: impl AsRef<Path>) -> Scene {
    let mut scene = Scene::new("echo compiled");
    scene.governor = None;
    scene.script("my wrapper", "echo wrapped; exec \"$@\"");
    scene.script("my-rustdoc", "echo documented");
    fs::create_dir(scene.at("home")).unwrap();
    let enabled = Enabled {
        memory: Memory::Auto,
        wrapper: Some(scene.at(wrapper)),
        rustdoc: Some(scene.at(rustdoc)),
        config: "/h/.cargo/config.toml".into(),
    };
    fs::write(Enabled::file(&scene.at("home")), enabled.encode()).unwrap();
    scene
}

#[track_caller]
fn says(command: &mut Command, expected: &str) {
    let (status, stdout, stderr) = Running::start(command).end();
    assert!(status.success(), "{stderr}");
    assert_eq!(stdout, expected);
}

#[test]
fn what_the_account_had_before_is_chained() {
    let scene = account("my wrapper", "my-rustdoc");
    says(&mut scene.shim(LIB), "wrapped\ncompiled\n");
    says(&mut scene.shim(["-vV"]), "wrapped\ncompiled\n");
    let mut rustdoc = Command::new(scene.at("plimsoll-rustdoc"));
    scene.prepare(&mut rustdoc);
    says(rustdoc.arg("src.rs"), "documented\n");
}

#[test]
fn what_a_driver_says_goes_before_the_account() {
    let scene = account("my wrapper", "my-rustdoc");
    says(scene.shim(LIB).env(env::SOCKET, "plimsoll-test-nobody-listens"), "compiled\n");
    says(scene.shim(LIB).env(env::RUSTDOC, "rustdoc"), "compiled\n");
    scene.script("other", "echo other; exec \"$@\"");
    says(scene.shim(LIB).env(env::WRAPPER, scene.at("other")), "other\ncompiled\n");
}

/// It would run itself until there are no processes left.
#[test]
fn a_shim_never_chains_a_shim() {
    let scene = account("plimsoll-rustc", "plimsoll-rustdoc");
    says(&mut scene.shim(LIB), "compiled\n");
    says(scene.shim(LIB).env(env::WRAPPER, "plimsoll-rustc"), "compiled\n");
    // Under another name.
    symlink(env!("CARGO_BIN_EXE_plimsoll-shim"), scene.at("sccache")).unwrap();
    says(scene.shim(LIB).env(env::WRAPPER, scene.at("sccache")), "compiled\n");
    let path = format!("{}:/usr/bin:/bin", scene.dir.path().display());
    says(scene.shim(LIB).env(env::WRAPPER, "sccache").env("PATH", path), "compiled\n");
}

#[test]
fn a_file_that_cannot_be_read_chains_nothing() {
    let scene = account("my wrapper", "my-rustdoc");
    let file = Enabled::file(&scene.at("home"));
    for broken in
        ["", "enabled", "enabled\tv=9\tmemory=auto\twrapper=x\tconfig=c\n", "\u{0}\u{fffd}"]
    {
        fs::write(&file, broken).unwrap();
        says(&mut scene.shim(LIB), "compiled\n");
    }
    fs::remove_file(&file).unwrap();
    says(&mut scene.shim(LIB), "compiled\n");
    fs::create_dir(&file).unwrap();
    says(&mut scene.shim(LIB), "compiled\n");
}
