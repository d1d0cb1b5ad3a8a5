//! What stands behind the shim: the wrapper and the documenter that the user had before us.
//!
//! Below a driver the private environment says it. Without a driver, as under plain `cargo` after
//! `cargo plimsoll enable`, it is what `enable` found in Cargo's configuration and wrote into Plimsoll's home.
//! A file that is missing or cannot be read says that nothing is chained.
//!
//! Invariant: nothing that is chained is a shim, so that none runs itself for ever.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use plimsoll_proto::{Enabled, StateHome};

use crate::{env, name, program};

/// The user's own compiler wrapper.
pub(crate) fn wrapper() -> Option<OsString> {
    behind(env::WRAPPER, |enabled| enabled.wrapper)
}

/// The user's own rustdoc.
pub(crate) fn rustdoc() -> Option<OsString> {
    behind(env::RUSTDOC, |enabled| enabled.rustdoc)
}

fn behind(variable: &str, recorded: impl Fn(Enabled) -> Option<PathBuf>) -> Option<OsString> {
    let told = [env::SOCKET, env::WRAPPER, env::RUSTDOC].map(std::env::var_os);
    let program = if told.iter().any(Option::is_some) {
        std::env::var_os(variable)
    } else {
        state_home().and_then(|home| recorded(enabled(&home)?)).map(PathBuf::into_os_string)
    };
    program.filter(|program| !program.is_empty() && !is_shim(program))
}

/// Plimsoll's home, where it is enabled for this account or this shell.
pub(crate) fn home() -> Option<PathBuf> {
    let in_shell = || std::env::var_os(env::ENABLED).is_some_and(|value| value == "1");
    state_home().filter(|home| enabled(home).is_some() || in_shell())
}

/// A relative home is not looked for: Cargo starts us in directories of its own choosing.
fn state_home() -> Option<PathBuf> {
    let home = StateHome::find(|name| std::env::var_os(name))?.path;
    home.is_absolute().then_some(home)
}

/// What `cargo plimsoll enable` wrote.
fn enabled(home: &Path) -> Option<Enabled> {
    Enabled::decode(&fs::read(Enabled::file(home)).ok()?).ok()
}

/// By name, or by being the file that runs now.
fn is_shim(program: &OsStr) -> bool {
    let file = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let same = || {
        let own = file(Path::new("/proc/self/exe"))?;
        Some(file(&program::find(program)?)? == own)
    };
    name::is_shim(Path::new(program)) || same().unwrap_or(false)
}
