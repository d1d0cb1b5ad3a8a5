//! `cargo plimsoll disable`: Cargo's own configuration is as it was before `enable`.

use std::path::Path;

use anyhow::Context as _;

use crate::account::{Account, Disabling};
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;
use crate::shims::Shims;

/// Takes the shims out of Cargo's own configuration and says what was done.
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
    let config = config.display();
    let said = match account.disable(&Shims::named()?)? {
        Disabling::Restored => format!("disabled: `{config}` is what it was before"),
        Disabling::TakenOut => format!(
            "disabled: `{config}` has been edited since, so only Plimsoll's entries were taken out of it"
        ),
        Disabling::GoneAlready => format!(
            "disabled: `{config}` did not name Plimsoll any more and was left as it is; its record is removed"
        ),
        Disabling::NotEnabled => {
            "not enabled: plain `cargo` runs without a budget, and nothing was changed".to_owned()
        }
    };
    Ok(shell.answer(said).context(OUT)?)
}
