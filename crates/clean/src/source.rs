//! Where a unit's source is: in a package of a registry, in a checkout, or on this machine.

use std::path::Path;

/// Where a source file is.
pub(crate) enum Source<'a> {
    /// A package of a registry: name and version.
    Registry(String, String),
    /// A checkout: the beginning of the commit.
    Git(String),
    /// On this machine.
    Here(&'a Path),
}

impl<'a> Source<'a> {
    /// By the directories in which Cargo keeps what it has downloaded.
    pub(crate) fn of(path: &'a Path) -> Self {
        let words: Vec<&str> = path.iter().filter_map(|word| word.to_str()).collect();
        let after = |pair: [&str; 2]| {
            let at = words.windows(2).position(|words| words == pair)?;
            words.get(at + 3).copied()
        };
        if let Some((name, version)) = after(["registry", "src"]).and_then(name_and_version) {
            return Self::Registry(name.to_owned(), version.to_owned());
        }
        match after(["git", "checkouts"]) {
            Some(commit) => Self::Git(commit.to_owned()),
            None => Self::Here(path),
        }
    }
}

/// `serde-json-1.0.0-rc.1` is `serde-json` and `1.0.0-rc.1`.
fn name_and_version(directory: &str) -> Option<(&str, &str)> {
    let is_version = |at: &usize| directory[at + 1..].starts_with(|c: char| c.is_ascii_digit());
    let dashes: Vec<usize> = directory.match_indices('-').map(|(at, _)| at).collect();
    let has_dots = |at: &usize| {
        let number = directory[at + 1..].split(['-', '+']).next().unwrap_or_default();
        number.split('.').count() == 3
    };
    let at = dashes.into_iter().find(|at| is_version(at) && has_dots(at))?;
    Some((&directory[..at], &directory[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_names_its_package_and_version() {
        assert_eq!(name_and_version("a-2d-b-1.0.0-rc.1"), Some(("a-2d-b", "1.0.0-rc.1")));
        assert_eq!(name_and_version("a"), None);
    }
}
