//! `cargo plimsoll enable [--memory AMOUNT]`: plain `cargo` goes through the shims from now on.

use std::path::Path;

use anyhow::Context as _;
use plimsoll_cargo::CargoConfig;

use super::status;
use crate::account::{Account, Enabling};
use crate::env::{Environment, HOME};
use crate::exit::{Failure, OUT};
use crate::settings::{Asked, Origin, Settings};
use crate::shell::Shell;
use crate::shims::Shims;

/// Puts the shims into Cargo's own configuration and says what was done, and what goes past them here.
///
/// # Errors
/// Where a home is not known, the shims are not installed, or a file cannot be read, understood or written.
pub fn run(
    asked: &Asked,
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
    warn_of_variable(settings, environment, shell)?;
    let account = Account::find(home, environment, cwd).ok_or(Failure::NoCargoHome)?;
    let shims = Shims::find()?;
    let (done, enabled) = account.enable(asked.memory, &shims)?;
    if let Some(unread) = &account.unread {
        shell.warn(format_args!(
            "both `{}` and `{}` exist; Cargo reads only the first",
            account.config.display(),
            unread.display()
        ));
    }
    let said = match done {
        Enabling::Done => {
            "enabled: plain `cargo`, and every tool that runs it, now shares one memory budget"
        }
        Enabling::Updated => "already enabled; updated",
        Enabling::Already => "already enabled; nothing changed",
    };
    let mut text = format!("{said}\n  budget  {}\n", enabled.memory);
    text.push_str(&format!("  file    {}\n", enabled.config.display()));
    for (tool, program) in [("rustc", &enabled.wrapper), ("rustdoc", &enabled.rustdoc)] {
        if let Some(program) = program {
            text.push_str(&format!("  runs    `{}` for {tool}, as before\n", program.display()));
        }
    }
    text.push_str("  undo    cargo plimsoll disable\n");
    shell.answer(text).context(OUT)?;
    // What was read before the file was edited says nothing any more.
    let now = CargoConfig::read(environment, cwd, cwd, &[]);
    for obstacle in status::obstacles(&now, Some(&enabled), &shims) {
        shell.warn(format_args!("{}; {}", obstacle.what, obstacle.advice));
    }
    Ok(())
}

/// A home that only this shell knows is not the one that shims below an editor look into.
fn warn_of_variable(
    settings: &Settings,
    environment: &Environment,
    shell: &mut Shell,
) -> anyhow::Result<()> {
    let Origin::Variable(name) = settings.home.origin else { return Ok(()) };
    let relative = environment.get(HOME).filter(|home| Path::new(home).is_relative());
    anyhow::ensure!(
        relative.is_none(),
        "PLIMSOLL_HOME is a relative path, but Cargo starts compilers in other directories; set an absolute path"
    );
    shell.warn(format_args!(
        "only this shell sets {name}: a program without it, such as an editor, finds no memory budget; set it for \
         your whole session"
    ));
    Ok(())
}
