//! Which flags the user gives the compiler. Cargo takes them from one place only (cargo 1.95:
//! `core/compiler/build_context/target_info.rs`, `extra_args`): `CARGO_ENCODED_RUSTFLAGS`, else `RUSTFLAGS`, else all
//! that is said for the target, else `build.rustflags`. Reads nothing.

use std::path::{Path, PathBuf};

use toml::Value;

use plimsoll_cargo::Environment;

/// Flags from one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// Where they are given, for a person.
    pub place: String,
    /// The variable, where it is one.
    pub variable: Option<&'static str>,
    /// The flags, each one word of rustc's command line.
    pub words: Vec<String>,
}

impl Flags {
    /// The linker that they name: `-fuse-ld=…`, else `-C linker=…`.
    pub(crate) fn linker(&self) -> Option<&str> {
        let after = |key: &str| {
            let named = |word: &'_ String| Some(word.find(key)? + key.len());
            self.words.iter().rev().find_map(|word| Some(&word[named(word)?..]))
        };
        // The first is asked of whatever the last is.
        after("-fuse-ld=").or_else(|| after("--ld-path=")).or_else(|| after("linker="))
    }

    /// They have to do with linking.
    pub(crate) fn concern_linking(&self) -> bool {
        let is_one = |word: &String| word.contains("link-arg") || word.contains("linker");
        self.words.iter().any(is_one)
    }
}

/// The flags that hold first, then those that they hide. Those that are given and empty hide others, too.
pub(crate) fn find(
    environment: &Environment,
    layers: &[(PathBuf, toml::Table)],
    host: &str,
) -> Vec<Flags> {
    let variable = |name: &'static str, split: fn(&str) -> Vec<String>| {
        let words = split(environment.raw(name)?.to_str()?);
        Some(Flags { place: name.to_owned(), variable: Some(name), words })
    };
    let encoded =
        |text: &str| text.split('\u{1f}').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let spaced = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let mut found = Vec::new();
    found.extend(variable("CARGO_ENCODED_RUSTFLAGS", encoded));
    found.extend(variable("RUSTFLAGS", spaced));
    found.extend(of_target(environment, layers, host));
    found.extend(variable("CARGO_BUILD_RUSTFLAGS", spaced).or_else(|| {
        joined(layers, "build.rustflags", |table| {
            table.get("build").and_then(|it| it.get("rustflags")).into_iter().collect()
        })
    }));
    found
}

/// Said for the target by its name or by a condition that it may meet.
fn of_target(
    environment: &Environment,
    layers: &[(PathBuf, toml::Table)],
    host: &str,
) -> Option<Flags> {
    /// Conditions of other systems.
    const OTHERS: &[&str] = &["windows", "macos", "wasm", "android", "apple", "freebsd"];
    let may_hold = |name: &str| {
        name == host || (name.starts_with("cfg(") && !OTHERS.iter().any(|it| name.contains(it)))
    };
    let in_files = joined(layers, &format!("target.{host}.rustflags"), |table| {
        let targets = table.get("target").and_then(Value::as_table);
        let named = targets.into_iter().flatten().filter(|(name, _)| may_hold(name));
        named.filter_map(|(_, value)| value.get("rustflags")).collect()
    });
    let name = format!("CARGO_TARGET_{}_RUSTFLAGS", host.to_uppercase().replace('-', "_"));
    let by_variable = environment.raw(&name).and_then(|it| it.to_str());
    let more = by_variable.into_iter().flat_map(str::split_whitespace).map(str::to_owned);
    match in_files {
        Some(mut flags) => {
            flags.words.extend(more);
            Some(flags)
        }
        None => by_variable.map(|_| Flags {
            place: name.clone(),
            variable: None,
            words: more.collect(),
        }),
    }
}

/// What all files say of a key, under the name of the highest that says anything.
fn joined<'a>(
    layers: &'a [(PathBuf, toml::Table)],
    key: &str,
    values: impl Fn(&'a toml::Table) -> Vec<&'a Value>,
) -> Option<Flags> {
    let mut place: Option<&Path> = None;
    let mut words = Vec::new();
    for (path, table) in layers {
        for value in values(table) {
            place.get_or_insert(path);
            match value {
                Value::String(text) => words.extend(text.split_whitespace().map(str::to_owned)),
                Value::Array(list) => {
                    words.extend(list.iter().filter_map(|it| it.as_str().map(str::to_owned)));
                }
                _ => {}
            }
        }
    }
    let place = format!("`{key}` in {}", place?.display());
    Some(Flags { place, variable: None, words })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "x86_64-unknown-linux-gnu";

    fn found(variables: &[(&str, &str)], config: &str) -> Vec<(String, String)> {
        let layers = vec![(PathBuf::from("/ws/.cargo/config.toml"), config.parse().unwrap())];
        let environment = variables.iter().copied().collect();
        find(&environment, &layers, HOST)
            .into_iter()
            .map(|it| (it.place, it.words.join("|")))
            .collect()
    }

    #[test]
    fn the_variable_hides_the_target_and_the_target_hides_the_build() {
        let config = "[build]\nrustflags = \"-a -b\"\n[target.x86_64-unknown-linux-gnu]\nrustflags = [\"-c\"]\n\
                      [target.'cfg(unix)']\nrustflags = [\"-d\"]\n[target.'cfg(windows)']\nrustflags = [\"-e\"]\n";
        let all = found(&[("RUSTFLAGS", "-x  -y")], config);
        let words: Vec<&str> = all.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(words, ["-x|-y", "-d|-c", "-a|-b"]);
        assert_eq!(all[0].0, "RUSTFLAGS");
        assert!(all[1].0.contains("/ws/.cargo/config.toml"), "{}", all[1].0);
        assert_eq!(found(&[], ""), []);
        assert_eq!(found(&[("CARGO_ENCODED_RUSTFLAGS", "-a b\u{1f}-c")], "")[0].1, "-a b|-c");
    }

    #[test]
    fn the_last_linker_that_is_named_is_the_one() {
        let linker = |words: &[&str]| {
            let words = words.iter().map(|&it| it.to_owned()).collect();
            Flags { words, ..Flags::default() }.linker().map(str::to_owned)
        };
        assert_eq!(
            linker(&["-Clink-arg=-fuse-ld=bfd", "-C", "link-arg=-fuse-ld=mold"]).unwrap(),
            "mold"
        );
        assert_eq!(linker(&["-C", "linker=clang"]).unwrap(), "clang");
        assert_eq!(linker(&["-Clink-arg=-fuse-ld=mold", "-Clinker=clang"]).unwrap(), "mold");
        assert_eq!(linker(&["-Copt-level=1"]), None);
    }
}
