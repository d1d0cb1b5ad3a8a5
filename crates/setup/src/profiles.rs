//! The profiles of a workspace, as far as they make builds large. Reads nothing.
//!
//! Highest first: `CARGO_PROFILE_<NAME>_<KEY>`, Cargo's configuration, the manifest; a profile has what it does not
//! say from the one that it inherits, at last from `release` or `dev`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use toml::Value;

use super::facts::{Facts, Here};

/// What of a profile matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// Its name.
    pub(super) name: String,
    /// The whole program is optimized at once (`lto = true`, `"fat"`).
    pub(super) fat: bool,
    /// `codegen-units`, where it is said.
    pub(super) codegen_units: Option<i64>,
    /// Own crates have debug info.
    pub(super) debug: bool,
    /// So have dependencies.
    pub(super) dependencies_debug: bool,
    /// `incremental`, where it is said.
    pub(super) incremental: Option<bool>,
}

/// All that are named anywhere, and `dev` and `release`.
pub(super) fn all(facts: &Facts) -> Vec<Profile> {
    let Some(here) = &facts.here else { return Vec::new() };
    let manifest = here.workspace.manifest.text().parse().unwrap_or_default();
    let layers: Vec<&toml::Table> =
        here.workspace.layers.iter().map(|(_, table)| table).chain([&manifest]).collect();
    let tables = layers.iter().filter_map(|table| table.get("profile")?.as_table());
    let named = tables.flat_map(toml::Table::keys).map(String::as_str);
    let names: BTreeSet<&str> = named.chain(["dev", "release"]).collect();
    let reader = Reader { layers: &layers, variables: &facts.variables };
    names.into_iter().map(|name| reader.profile(name)).collect()
}

/// Since then Cargo compiles nothing incrementally in a CI where neither `CARGO_INCREMENTAL` nor `build.incremental` says
/// so (Cargo 1.99: `workspace/profiles.rs`).
const OFF_IN_CI: (u64, u64) = (1, 99);

/// Where incremental compilation is switched off, for a person; nothing where it is as Cargo has it.
pub(super) fn incremental_off(facts: &Facts, here: &Here) -> Option<String> {
    if let Some(value) = facts.variables.get("CARGO_INCREMENTAL") {
        return (value == "0").then(|| "CARGO_INCREMENTAL=0".to_owned());
    }
    let by_build = |(path, table): &(PathBuf, toml::Table)| {
        let on = table.get("build")?.get("incremental")? != &Value::Boolean(false);
        Some((!on).then(|| format!("`build.incremental` in {}", path.display())))
    };
    if let Some(given) = here.workspace.layers.iter().find_map(by_build) {
        return given;
    }
    if facts.is_ci() && here.workspace.compiler.version >= OFF_IN_CI {
        return Some("Cargo's default in a CI since 1.99".to_owned());
    }
    let dev = all(facts).into_iter().find(|profile| profile.name == "dev")?;
    (dev.incremental == Some(false)).then(|| "`profile.dev.incremental`".to_owned())
}

struct Reader<'a> {
    layers: &'a [&'a toml::Table],
    variables: &'a BTreeMap<String, String>,
}

impl Reader<'_> {
    fn profile(&self, name: &str) -> Profile {
        let optimized = self.ancestors(name).iter().any(|it| it == "release" || it == "bench");
        let debug = self.of(name, &[], "debug").map_or(!optimized, |value| is_debug(&value));
        let below = self.of(name, &["package", "*"], "debug");
        let lto = self.of(name, &[], "lto");
        Profile {
            fat: lto.is_some_and(|lto| lto == Value::Boolean(true) || lto.as_str() == Some("fat")),
            codegen_units: self.of(name, &[], "codegen-units").and_then(|it| it.as_integer()),
            dependencies_debug: below.map_or(debug, |value| is_debug(&value)),
            incremental: self.of(name, &[], "incremental").and_then(|it| it.as_bool()),
            name: name.to_owned(),
            debug,
        }
    }

    fn of(&self, profile: &str, below: &[&str], key: &str) -> Option<Value> {
        self.ancestors(profile).iter().find_map(|profile| self.own(profile, below, key))
    }

    /// What one profile says, without those that it inherits.
    fn own(&self, profile: &str, below: &[&str], key: &str) -> Option<Value> {
        let upper = |text: &str| text.to_uppercase().replace('-', "_");
        let variable = format!("CARGO_PROFILE_{}_{}", upper(profile), upper(key));
        if let Some(text) = self.variables.get(&variable).filter(|_| below.is_empty()) {
            let number = text.parse().map(Value::Integer);
            let other =
                || text.parse().map_or_else(|_| Value::String(text.clone()), Value::Boolean);
            return Some(number.unwrap_or_else(|_| other()));
        }
        let of = |table: &toml::Table| -> Option<Value> {
            let mut value = table.get("profile")?.get(profile)?;
            for part in below {
                value = value.get(part)?;
            }
            value.get(key).cloned()
        };
        self.layers.iter().find_map(|table| of(table))
    }

    /// The profile and those that it inherits, the nearest first.
    fn ancestors(&self, profile: &str) -> Vec<String> {
        let mut all = vec![profile.to_owned()];
        while let Some(last) = all.last() {
            let next = self.own(last, &[], "inherits");
            match next.as_ref().and_then(Value::as_str) {
                Some(next) if !all.iter().any(|it| it == next) => all.push(next.to_owned()),
                _ => break,
            }
        }
        // Two of Cargo's own profiles inherit others.
        match all.last().map(String::as_str) {
            Some("bench") => all.push("release".to_owned()),
            Some("test") => all.push("dev".to_owned()),
            _ => {}
        }
        all
    }
}

fn is_debug(value: &Value) -> bool {
    match value {
        Value::Boolean(on) => *on,
        Value::Integer(level) => *level > 0,
        Value::String(level) => !matches!(level.as_str(), "none" | "0" | "false"),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_init::workspace::{TextFile, Workspace};

    fn profile(manifest: &str, config: &str, variables: &[(&str, &str)], name: &str) -> Profile {
        let workspace = Workspace {
            manifest: TextFile { path: "/ws/Cargo.toml".into(), text: Some(manifest.to_owned()) },
            layers: vec![("/ws/.cargo/config.toml".into(), config.parse().unwrap())],
            ..Workspace::default()
        };
        let variables = variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let here = Some(Here { workspace, ..Here::default() });
        let facts = Facts { here, variables, ..Facts::default() };
        all(&facts).into_iter().find(|it| it.name == name).unwrap()
    }

    #[test]
    fn a_profile_has_what_it_inherits_and_configuration_and_variables_stand_above() {
        let manifest = "[profile.release]\nlto = true\ncodegen-units = 1\n[profile.dist]\ninherits = 'release'\ndebug = 1\n";
        let dist = profile(manifest, "", &[], "dist");
        assert!(dist.fat && dist.debug && dist.dependencies_debug, "{dist:?}");
        assert_eq!(dist.codegen_units, Some(1));
        let release = profile(manifest, "[profile.release]\nlto = 'thin'\n", &[], "release");
        assert!(!release.fat && !release.debug, "{release:?}");
        let variables =
            [("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")];
        let release = profile(manifest, "", &variables, "release");
        assert_eq!((release.fat, release.codegen_units), (false, Some(16)));
        let dev = profile("[profile.dev.package.'*']\ndebug = false\n", "", &[], "dev");
        assert!(dev.debug && !dev.dependencies_debug, "{dev:?}");
    }
}
