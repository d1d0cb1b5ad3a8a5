//! What `cargo metadata` says, and what other commands do when they are asked.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;
use serde::de::DeserializeOwned;

use crate::environment::Environment;

/// The part `T` of what Cargo says of the workspace around `cwd`: its packages, with neither lock file nor network.
///
/// # Errors
/// Where Cargo finds no workspace or cannot read it; its words are in the error.
pub fn of_workspace<T: DeserializeOwned>(
    environment: &Environment,
    cwd: &Path,
) -> anyhow::Result<T> {
    read(environment, cwd, &[], &["--no-deps", "--offline"])
        .context("Cargo cannot read a workspace here")
}

/// The part `T` of what `cargo <globals> metadata <words>` says in `cwd`.
///
/// # Errors
/// Where Cargo cannot tell, which may need the network; its words are the error.
pub fn read<T: DeserializeOwned>(
    environment: &Environment,
    cwd: &Path,
    globals: &[OsString],
    words: &[&str],
) -> anyhow::Result<T> {
    let cargo = environment.get("CARGO").unwrap_or("cargo".as_ref());
    let mut metadata = Command::new(cargo);
    metadata.args(globals).args(["metadata", "--format-version", "1"]).args(words);
    let said = answer(metadata.current_dir(cwd))?;
    serde_json::from_slice(&said).context("cannot read the output of `cargo metadata`")
}

/// What a command prints.
///
/// # Errors
/// Where it cannot be started, or fails: its words are in the error.
pub fn answer(command: &mut Command) -> anyhow::Result<Vec<u8>> {
    let program = command.get_program().display().to_string();
    let done = command.stdin(Stdio::null()).output();
    let done = done.with_context(|| format!("cannot start `{program}`"))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    // Whoever prints the error writes that word, too.
    anyhow::bail!("{}", said.strip_prefix("error: ").unwrap_or(&said).trim_end())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_word_error_is_not_said_twice() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 'error: could not find it' >&2; exit 1"]);
        assert_eq!(answer(&mut command).unwrap_err().to_string(), "could not find it");
    }
}
