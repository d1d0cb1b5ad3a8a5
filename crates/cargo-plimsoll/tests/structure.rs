//! The crates depend on each other as docs/architecture.md says, and on nothing else of the workspace. Inside a crate
//! modules use each other in one direction only.
//!
//! The document's table is the one source: this test reads it and Cargo's own view of the manifests.
#![expect(clippy::unwrap_used, reason = "a test that cannot be set up stops there")]

#[path = "structure/modules.rs"]
mod modules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One row of the table, or one package of the workspace.
#[derive(Debug, PartialEq, Eq)]
struct Crate {
    directory: String,
    depends_on: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The rows of the section `Crates`, and which of them are pure.
fn documented() -> (BTreeMap<String, Crate>, BTreeSet<String>) {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Crates\n")).unwrap();
    let (mut crates, mut pure) = (BTreeMap::new(), BTreeSet::new());
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, directory, nature, _, depends_on] = cells[..] else {
            panic!("a row of the table of crates has not five cells: {row}");
        };
        let name = name.trim_matches('`').to_owned();
        if nature == "pure" {
            pure.insert(name.clone());
        }
        let depends_on =
            depends_on.split_whitespace().map(|word| word.trim_matches('`').to_owned()).collect();
        crates.insert(name, Crate { directory: directory.to_owned(), depends_on });
    }
    (crates, pure)
}

/// The packages of the workspace, with every arrow between them, of tests and build scripts too.
fn built() -> BTreeMap<String, Crate> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let directory = PathBuf::from(text(&package["manifest_path"]));
        let directory = directory.parent().unwrap().strip_prefix(root()).unwrap().to_owned();
        let inside = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["path"].is_string())
            .map(|dependency| text(&dependency["name"]));
        let found = Crate {
            directory: directory.to_str().unwrap().to_owned(),
            depends_on: inside.collect(),
        };
        (text(&package["name"]), found)
    });
    packages.collect()
}

#[test]
fn every_arrow_between_crates_is_in_the_architecture_and_the_other_way_round() {
    let (documented, built) = (documented().0, built());
    for name in documented.keys().chain(built.keys()) {
        assert_eq!(
            documented.get(name),
            built.get(name),
            "`{name}`: docs/architecture.md (left) and its Cargo.toml (right) differ"
        );
    }
}

#[test]
fn pure_crates_depend_on_pure_crates_and_their_clippy_bans_the_rest() {
    let (crates, pure) = documented();
    assert!(pure.contains("plimsoll-core"));
    for name in &pure {
        let known = &crates[name];
        let impure: Vec<_> = known.depends_on.difference(&pure).collect();
        assert!(impure.is_empty(), "{name} is pure but depends on {impure:?}");
        let file = root().join(&known.directory).join("clippy.toml");
        let bans = std::fs::read_to_string(&file).unwrap_or_default();
        for banned in ["std::time::Instant::now", "std::env::var", "std::fs::read"] {
            assert!(bans.contains(banned), "{} does not ban {banned}", file.display());
        }
    }
}

#[test]
fn modules_of_a_crate_do_not_use_each_other_in_a_circle() {
    for (name, known) in built() {
        let source = root().join(&known.directory).join("src");
        let files = ["lib.rs", "main.rs"].map(|file| source.join(file));
        let circles: Vec<String> = files
            .iter()
            .filter(|file| file.is_file())
            .flat_map(|file| modules::Modules::read(file).circles())
            .map(|circle| circle.to_string().replace(&format!("{}/", root().display()), ""))
            .collect();
        assert!(
            circles.is_empty(),
            "{name}: modules use each other in a circle:\n{}",
            circles.join("\n")
        );
    }
}
