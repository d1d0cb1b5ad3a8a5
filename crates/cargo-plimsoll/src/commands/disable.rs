//! `cargo plimsoll disable`: Cargo's own configuration is as it was before `enable`.

use std::path::Path;

use anyhow::Context as _;
use plimsoll_core::Bytes;

use crate::account::state::State;
use crate::account::{Account, Disabling};
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;
use crate::shims::Shims;

/// Takes the shims out of Cargo's own configuration and says what was done, and what stays.
///
/// # Errors
/// Where a home is not known, or a file cannot be read, understood or written.
pub fn run(
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
    let account = Account::find(home, environment, cwd).ok_or(Failure::NoCargoHome)?;
    let config = Account::enabled(home).map_or(account.config.clone(), |enabled| enabled.config);
    let done = account.disable(&Shims::named()?)?;
    let mut text = said(done, &config.display().to_string());
    let state = State::find(home);
    if done != Disabling::NotEnabled && state.entries.iter().any(|path| !path.ends_with("run")) {
        text.push_str(&format!(
            "`{}` stays: {}; `cargo plimsoll uninstall` removes it\n",
            home.display(),
            kept(&state)
        ));
    }
    Ok(shell.answer(text).context(OUT)?)
}

/// What was done to the configuration, in a line.
pub(super) fn said(done: Disabling, config: &str) -> String {
    match done {
        Disabling::Restored => format!("disabled: `{config}` is what it was before `enable`\n"),
        Disabling::TakenOut => format!(
            "disabled: removed Plimsoll's entries from `{config}`; your later edits of the file stay\n"
        ),
        Disabling::GoneAlready => {
            format!("disabled: `{config}` no longer named Plimsoll, so it stays as it is\n")
        }
        Disabling::NotEnabled => {
            "not enabled: plain `cargo` has no memory budget, and nothing changed\n".to_owned()
        }
    }
}

/// What is kept, for a person.
pub(super) fn kept(state: &State) -> String {
    let logs = match state.logs {
        0 => String::new(),
        1 => ", the log of 1 build".to_owned(),
        logs => format!(", the logs of {logs} builds"),
    };
    if state.size == Bytes::ZERO && state.logs == 0 {
        return "nothing is recorded in it yet".to_owned();
    }
    format!("{} (what is known of your crates{logs})", state.size)
}
