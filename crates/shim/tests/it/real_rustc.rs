//! The shim before the real rustc: artifacts have the same bytes, and a killed one leaves nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use plimsoll_proto::{ToGovernor, ToShim};
use plimsoll_shim::env;

use crate::scene::{Running, Scene};

/// The toolchain's own compiler, for a proxy would start another process first.
fn rustc() -> PathBuf {
    let asked = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    PathBuf::from(String::from_utf8(asked.stdout).unwrap().trim()).join("bin/rustc")
}

fn scene() -> Scene {
    let scene = Scene::new("");
    fs::write(
        scene.at("src.rs"),
        "pub fn shout(words: &[String]) -> String { words.iter().map(|w| w.to_uppercase()).collect() }
         pub fn unused() { let never = 1; }
         #[allow(dead_code)] fn main() { println!(\"{}\", shout(&[\"hi\".to_owned()])); }",
    )
    .unwrap();
    scene
}

fn arguments(kind: &str) -> Vec<&str> {
    let mut args = vec!["--crate-name", "foo", "--edition=2024", "src.rs", "--error-format=json"];
    args.extend(["--json=diagnostic-rendered-ansi,artifacts", "--crate-type", kind]);
    args.extend(["--emit=dep-info,metadata,link", "-Cdebuginfo=2", "-Cmetadata=ab"]);
    args.extend(["-Cextra-filename=-ab", "--out-dir", "out"]);
    args
}

/// All files in the output directory with their bytes.
fn artifacts(scene: &Scene) -> Vec<(String, Vec<u8>)> {
    let read = |name: String| (name.clone(), fs::read(scene.at("out").join(name)).unwrap());
    scene.names("out").into_iter().map(read).collect()
}

#[test]
fn artifacts_and_diagnostics_are_those_of_plain_rustc() {
    for kind in ["lib", "bin", "proc-macro", "cdylib"] {
        let scene = scene();
        if kind == "proc-macro" {
            let source = "#[proc_macro] pub fn m(t: proc_macro::TokenStream) -> proc_macro::TokenStream { t }";
            fs::write(scene.at("src.rs"), format!("extern crate proc_macro; {source}")).unwrap();
        }
        let mut plain = Command::new(rustc());
        scene.prepare(&mut plain);
        let (status, _, said) = Running::start(plain.args(arguments(kind))).end();
        assert!(status.success(), "{said}");
        let expected = artifacts(&scene);
        fs::remove_dir_all(scene.at("out")).unwrap();
        fs::create_dir(scene.at("out")).unwrap();

        let mut command = scene.shim_before(rustc());
        command.args(arguments(kind)).env(env::LINK_DIR, scene.at("tmp/link"));
        let running = Running::start(&mut command);
        let (mut peer, facts) = scene.governor().unit();
        peer.admit();
        peer.started();
        if facts.links {
            let mut link = loop {
                let mut next = scene.governor().accept();
                if let ToGovernor::Link { inputs, .. } = next.hear() {
                    assert!(inputs.0 > 0);
                    break next;
                }
            };
            link.admit_link();
            link.started();
            assert!(link.finished());
        }
        loop {
            match peer.hear() {
                ToGovernor::Announced => {}
                ToGovernor::Finished { ok, .. } => {
                    assert!(ok);
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
        let (status, _, stderr) = running.end();
        assert!(status.success());
        assert_eq!(stderr, said, "{kind}");
        assert_eq!(artifacts(&scene), expected, "{kind}");
    }
}

#[test]
fn a_compiler_killed_while_it_links_leaves_nothing() {
    let scene = scene();
    let mut command = scene.shim_before(rustc());
    command
        .args(arguments("bin"))
        .args(["-Cincremental=inc"])
        .env(env::LINK_DIR, scene.at("tmp/link"));
    let running = Running::start(&mut command);
    let (mut peer, _) = scene.governor().unit();
    peer.admit();
    peer.started();
    let mut link = scene.governor().accept();
    assert!(matches!(link.hear(), ToGovernor::Link { .. }));
    // Its linker waits: objects, the linker's folder and the incremental session are all there.
    assert!(scene.names("out").iter().any(|name| name.starts_with("rustc")));
    peer.say(&ToShim::Retry);
    assert!(link.hangs_up());
    peer.admit();
    loop {
        match peer.hear() {
            ToGovernor::Announced => {}
            ToGovernor::Started { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    let mut link = scene.governor().accept();
    assert!(matches!(link.hear(), ToGovernor::Link { .. }));
    let folders = || scene.names("out").iter().filter(|name| name.starts_with("rustc")).count();
    assert_eq!(folders(), 1, "{:?}", scene.names("out"));
    link.admit_link();
    link.started();
    assert!(link.finished());
    loop {
        match peer.hear() {
            ToGovernor::Finished { ok, .. } => {
                assert!(ok);
                break;
            }
            ToGovernor::Announced => {}
            other => panic!("{other:?}"),
        }
    }
    let (status, _, stderr) = running.end();
    assert!(status.success());
    assert_eq!(
        stderr.matches("unused variable").count(),
        2,
        "once as text, once rendered: {stderr}"
    );
    assert_eq!(scene.names("out"), ["foo-ab", "foo-ab.d", "libfoo-ab.rmeta"]);
    assert_eq!(scene.names("tmp"), ["link"]);
    let of_crate = scene.names("inc").remove(0);
    let sessions = scene.names(&format!("inc/{of_crate}"));
    assert!(!sessions.iter().any(|name| name.ends_with("-working")), "{sessions:?}");
}
