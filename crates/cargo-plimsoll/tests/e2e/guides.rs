//! The guide in both languages: the same commands, settings and figures, and each command runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scene::Scene;
use crate::{fake_rustc, worker};

fn guide(name: &str) -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::read_to_string(docs.join(name)).unwrap()
}

/// The fenced blocks of this language, each without its fences.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// What a row of the table of figures has in numbers.
fn figures(text: &str) -> Vec<Vec<String>> {
    let table =
        text.split("<!-- figures -->").nth(1).unwrap().split("<!-- end -->").next().unwrap();
    let is_number = |cell: &&str| cell.parse::<f64>().is_ok();
    let row =
        |line: &str| line.split('|').map(str::trim).filter(is_number).map(str::to_owned).collect();
    table.lines().map(row).collect()
}

/// What a file of settings says, without comments and texts for people.
fn settings(block: &str) -> Vec<String> {
    let lines = block.lines().map(|line| line.split('#').next().unwrap().trim().to_owned());
    lines.filter(|line| !line.starts_with("note")).collect()
}

#[test]
fn both_languages_name_the_same_commands_settings_and_figures() {
    let (english, portuguese) = (guide("guide.md"), guide("guia.pt-BR.md"));
    assert_eq!(blocks(&english, "sh"), blocks(&portuguese, "sh"));
    let toml = |text: &str| blocks(text, "toml").iter().map(|it| settings(it)).collect::<Vec<_>>();
    assert_eq!(toml(&english), toml(&portuguese));
    assert_eq!(figures(&english), figures(&portuguese));
    assert!(figures(&english).concat().len() >= 12);
    let headings = |text: &str| text.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings(&english), headings(&portuguese));
}

/// A package `cli`, and a Worker with all that it needs.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.lib("core-of-it", &[], "");
    scene.bin("cli", &["core-of-it"], "fn main() {}");
    scene.write(
        "ws/Cargo.toml",
        "[workspace]\nmembers = [\"cli\", \"core-of-it\", \"site\"]\nresolver = \"3\"\n",
    );
    worker::add_site(&scene);
    worker::add_tools(&scene);
    scene
}

#[test]
fn every_command_of_the_guide_runs() {
    let scene = scene();
    for text in [guide("guide.md"), guide("guia.pt-BR.md")] {
        for settings in blocks(&text, "toml") {
            scene.write("ws/plimsoll.toml", settings);
            scene.ok(&mut scene.plimsoll("settings"));
        }
    }
    fs::remove_file(scene.at("ws/plimsoll.toml")).unwrap();
    let own = PathBuf::from(env!("CARGO_BIN_EXE_cargo-plimsoll"));
    let path = std::env::var_os("PATH").unwrap();
    let path: Vec<PathBuf> = [own.parent().unwrap().to_owned(), scene.at("bin")]
        .into_iter()
        .chain(std::env::split_paths(&path))
        .collect();
    for block in blocks(&guide("guide.md"), "sh") {
        // 1 is "there is nothing to show", or a difference.
        let lines = block.lines().map(|line| format!("{line}\n[ $? -le 1 ] || exit 9\n"));
        let mut bash = Command::new("bash");
        scene.prepare(&mut bash);
        scene.with_fake(&mut bash);
        bash.env("RUSTC", scene.at("bin/rustc")).env("E2E_RUSTC", fake_rustc::path());
        bash.env("CARGO_HOME", scene.at("cargo"));
        bash.env("PATH", std::env::join_paths(&path).unwrap());
        scene.ok(bash.args(["-c", &lines.collect::<String>()]));
    }
    scene.assert_clean();
}
