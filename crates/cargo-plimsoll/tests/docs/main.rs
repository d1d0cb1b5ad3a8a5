//! The documents: every link leads somewhere, every path that they name is there, the book's pages are all in it, and the
//! page of settings is the one that the program's own definitions make.
//!
//! Nothing is fetched: addresses of other sites are not tried. Commands are run in `e2e/documents.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod links;
mod messages;
mod reference;

use std::fs;
use std::path::{Path, PathBuf};

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Every document that a person reads, from the repository's root.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md", "bench/NOTES.md"]
            .map(PathBuf::from)
            .to_vec();
    let mut todo = vec![PathBuf::from("docs")];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(root().join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let path = directory.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The README is two screens, and the architecture one story: what is longer belongs on a page of the book.
#[test]
fn readme_and_architecture_stay_short() {
    for (document, most) in [("README.md", 110), ("docs/architecture.md", 300)] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        assert!(text.lines().count() < most, "{document} has {most} lines or more");
        // A row of a table is one line, however long.
        let long = text.lines().find(|line| line.chars().count() > 160 && !line.starts_with('|'));
        assert_eq!(long, None, "{document} has lines of more than 160 columns");
    }
}
