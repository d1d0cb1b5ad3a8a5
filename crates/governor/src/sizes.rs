//! The sizes that the cold model asks for: a crate's sources and its dependencies' files.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_core::Bytes;
use plimsoll_core::forecast::Sizes;
use plimsoll_core::unit::UnitFacts;

/// No crate that we met has more source files below its root; a root of `/` must not cost a second.
const FILES_AT_MOST: usize = 4000;

/// Looks the sizes up. What cannot be read counts as nothing.
pub(crate) fn of(facts: &UnitFacts) -> Sizes {
    let mut source = facts.source.parent().map(rust_below).unwrap_or_default();
    if !facts.out_dir.as_os_str().is_empty() {
        source += rust_below(&facts.out_dir);
    }
    let size =
        |path: &PathBuf| fs::metadata(path).map(|data| Bytes(data.len())).unwrap_or_default();
    Sizes { source, dependencies: facts.externs.iter().map(size).sum() }
}

fn rust_below(directory: &Path) -> Bytes {
    let mut total = Bytes::ZERO;
    let mut left = FILES_AT_MOST;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if left == 0 {
                return total;
            }
            left -= 1;
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() {
                // A package's target directory or tests are not part of the crate.
                if !matches!(entry.file_name().to_str(), Some("target" | ".git")) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                total += entry.metadata().map(|data| Bytes(data.len())).unwrap_or_default();
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rust_sources_below_the_root_count() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut facts = UnitFacts::build_script_run("a".to_owned(), String::new());
        facts.source = here.join("src/lib.rs");
        facts.externs = vec![here.join("Cargo.toml"), here.join("not there")];
        let sizes = of(&facts);
        assert!(sizes.source > Bytes::kib(5), "{}", sizes.source);
        assert!(sizes.dependencies > Bytes(200) && sizes.dependencies < Bytes::kib(8));
    }
}
