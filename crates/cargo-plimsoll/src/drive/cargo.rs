//! A Cargo that is driven: its command, how it is asked for its units, and where it builds.
//!
//! What it deliberately does not do: put anything inside the budget ([`super::launch`] does).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use plimsoll_governor::GraphCommand;

use crate::cargo_args::CargoCall;
use crate::env::Environment;
use crate::plain;
use crate::settings::Settings;

/// The variable that names a wrapper and wins over everything.
pub(super) const RUSTC_WRAPPER: &str = "RUSTC_WRAPPER";

/// Cargo's command, with what its fingerprints are to be told.
pub(super) fn command(call: &CargoCall, environment: &Environment) -> Command {
    let mut call = call.clone();
    call.globals.extend(fingerprinted_wrapper(environment));
    plain::cargo(&call, environment)
}

/// Where the user has set `RUSTC_WRAPPER`, it has to be replaced; but what Cargo compares for a build script
/// that watches it is what an `[env]` table says (cargo 1.95: `core/compiler/fingerprint/mod.rs`,
/// `LocalFingerprint::from_env`). The build script itself is told of the wrapper that Cargo uses, ours.
fn fingerprinted_wrapper(environment: &Environment) -> Vec<OsString> {
    let given = environment.raw(RUSTC_WRAPPER).and_then(|given| given.to_str());
    // A string is written in TOML as in JSON.
    let Some(value) = given.and_then(|given| serde_json::to_string(given).ok()) else {
        return Vec::new();
    };
    [format!("value={value}"), "force=true".to_owned()]
        .into_iter()
        .flat_map(|set| ["--config".to_owned(), format!("env.{RUSTC_WRAPPER}.{set}")])
        .map(OsString::from)
        .collect()
}

/// How to ask Cargo for the unit graph of this build, for the subcommands that can tell it.
pub(super) fn graph(call: &CargoCall, environment: &Environment) -> Option<GraphCommand> {
    if !GraphCommand::can_tell(&call.resolved) {
        return None;
    }
    let command = plain::cargo(call, environment);
    let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
    let args = words.into_iter().take_while(|word| word != "--").collect();
    Some(GraphCommand::new(command.get_program().to_owned(), args))
}

/// The directory in which units are built, `build.build-dir` or the target directory, as far as it can be told without
/// asking Cargo, whether it is there or not; where it cannot be told, a directory on what is most likely its file
/// system.
pub(super) fn build_dir(call: &CargoCall, settings: &Settings) -> Option<PathBuf> {
    let manifest = call.manifest_path.as_ref().and_then(|path| path.parent());
    let from = std::path::absolute(manifest.unwrap_or(Path::new("."))).ok()?;
    // Cargo's lock file lies at the workspace's root, and from the first build on it is there.
    let root = from.ancestors().find(|dir| dir.join("Cargo.lock").is_file());
    if let Some(build) = &settings.cargo.build_dir {
        return Some(build.value.resolve(root.unwrap_or(&from)));
    }
    let given = call.target_dir.clone();
    let given = given.or_else(|| settings.cargo.target_dir.as_ref().map(|dir| dir.value.clone()));
    Some(given.unwrap_or_else(|| root.map_or(from.clone(), |root| root.join("target"))))
}
