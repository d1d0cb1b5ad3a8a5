//! What a build leaves: libraries, metadata, shared objects and executables, to be compared byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use crate::programs::fnv1a;

/// Relative path to length and digest.
pub type Manifest = BTreeMap<String, (u64, u64)>;

/// The artifacts in a target folder.
pub fn manifest(target: &Path) -> Result<Manifest> {
    let mut manifest = Manifest::new();
    collect(target, target, &mut manifest)?;
    Ok(manifest)
}

/// Libraries, metadata, shared objects and executables. Incremental state is no artifact.
fn collect(root: &Path, dir: &Path, manifest: &mut Manifest) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let path = entry.with_context(|| format!("reading {}", dir.display()))?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "incremental") {
                collect(root, &path, manifest)?;
            }
            continue;
        }
        let mut bytes = Vec::new();
        let mut file =
            fs::File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let kind = path.extension().and_then(|it| it.to_str());
        let wanted = matches!(kind, Some("rlib" | "rmeta" | "so" | "a"));
        if !wanted {
            let mut magic = [0; 4];
            if file.read_exact(&mut magic).is_err() || magic != *b"\x7fELF" || kind == Some("o") {
                continue;
            }
            bytes.extend(magic);
        }
        file.read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        manifest.insert(
            name,
            (u64::try_from(bytes.len()).unwrap_or(0), fnv1a(0xcbf2_9ce4_8422_2325, &bytes)),
        );
    }
    Ok(())
}

/// Paths whose bytes differ, or that are on one side only.
pub fn differing(one: &Manifest, other: &Manifest) -> Vec<String> {
    let mut paths: Vec<_> = one
        .iter()
        .filter(|(path, it)| other.get(*path) != Some(it))
        .map(|(path, _)| path.clone())
        .collect();
    paths.extend(other.keys().filter(|path| !one.contains_key(*path)).cloned());
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_a_difference() {
        let one = Manifest::from([("a".to_owned(), (1, 1)), ("b".to_owned(), (1, 2))]);
        let other = Manifest::from([("b".to_owned(), (1, 3)), ("c".to_owned(), (1, 1))]);
        assert_eq!(differing(&one, &other), ["a", "b", "c"]);
        assert!(differing(&one, &one).is_empty());
    }
}
