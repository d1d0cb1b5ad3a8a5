//! `cargo plimsoll uninstall [--yes]`: nothing of Plimsoll's is left on the account but the programs.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use plimsoll_shim::discovery;

use super::disable;
use super::top::account_builds;
use crate::account::Account;
use crate::account::state::{State, users};
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::plimsoll_toml;
use crate::settings::Settings;
use crate::shell::Shell;
use crate::shims::Shims;

/// A governor without a build leaves within ten seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A build that has ended is gone within so long.
const LITTLE: Duration = Duration::from_secs(3);

/// What removes the programs.
const PROGRAMS: &str = "cargo uninstall cargo-plimsoll";

/// Disables the account and removes what Plimsoll keeps. The exit status: 1 where nothing was removed.
///
/// # Errors
/// Where a home is not known, or a file cannot be read, understood, written or removed.
pub fn run(
    yes: bool,
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let home = settings.home.value.as_deref().ok_or(Failure::NoHome)?;
    let account = Account::find(home, environment, cwd).ok_or(Failure::NoCargoHome)?;
    let shims = Shims::named()?;
    if let Some(why) = in_use(home) {
        shell.note(format_args!("nothing was removed: {why}"));
        return Ok(1);
    }
    let state = State::find(home);
    let is_enabled = Account::enabled(home).is_some() || account.names_shims(&shims)?;
    if state.entries.is_empty() && !is_enabled {
        shell
            .answer(format_args!("nothing to remove; to remove the programs: {PROGRAMS}"))
            .context(OUT)?;
        return Ok(0);
    }
    let mut text = String::from("This removes:\n");
    if is_enabled {
        text.push_str(&format!("  Plimsoll's entries in `{}`\n", config(&account, home)));
    }
    text.push_str(&format!("  `{}`: {}\n", home.display(), disable::kept(&state)));
    shell.answer(text).context(OUT)?;
    if !yes && !confirmed(shell)? {
        return Ok(1);
    }
    let disabled = account.disable(&shims)?;
    if is_enabled {
        shell.answer(disable::said(disabled, &config(&account, home))).context(OUT)?;
    }
    if let Some(why) = still_in_use(home) {
        shell.note(format_args!("`{}` stays: {why}", home.display()));
        return Ok(1);
    }
    let is_left = State::find(home).remove(home)?;
    let mut text = format!("removed {} from `{}`\n", state.size, home.display());
    if is_left {
        text.push_str("  the other files there are not Plimsoll's and stay\n");
    }
    if let Some(file) = plimsoll_toml::user_file(environment).filter(|file| file.exists()) {
        text.push_str(&format!("  your settings stay: `{}`\n", file.display()));
    }
    text.push_str(&format!("To remove the programs: {PROGRAMS}\n"));
    shell.answer(text).context(OUT)?;
    Ok(0)
}

/// The configuration that names the shims.
fn config(account: &Account, home: &Path) -> String {
    let named = Account::enabled(home).map(|enabled| enabled.config);
    named.unwrap_or_else(|| account.config.clone()).display().to_string()
}

fn confirmed(shell: &mut Shell) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        shell.note("nothing was removed, because there is no terminal to ask on; --yes removes without asking");
        return Ok(false);
    }
    shell.answer("Remove it? [y/N]").context(OUT)?;
    let mut said = String::new();
    std::io::stdin().lock().read_line(&mut said).context("cannot read the answer")?;
    let yes = matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !yes {
        shell.answer("nothing was removed").context(OUT)?;
    }
    Ok(yes)
}

/// Why nothing can be removed. A governor hears a moment later that a build has ended.
fn in_use(home: &Path) -> Option<String> {
    let until = Instant::now() + LITTLE;
    loop {
        let why = in_use_now(home)?;
        if Instant::now() > until {
            return Some(why);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The same at this moment. A governor without a build is no reason.
fn in_use_now(home: &Path) -> Option<String> {
    let governor = discovery::governing(home).map(|governing| governing.pid);
    match account_builds(home) {
        Ok(builds) if !builds.is_empty() => {
            return Some("a build is running; try again when it has ended".to_owned());
        }
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            let pid = governor.unwrap_or_default();
            return Some(format!(
                "the governor (process {pid}) does not answer; if somebody stopped it, `kill -CONT {pid}` continues it"
            ));
        }
        _ => {}
    }
    let user = users(home).into_iter().find(|pid| Some(*pid) != governor)?;
    Some(format!("process {user} uses `{}`; try again when it has ended", home.display()))
}

/// The same after the governor had the time to leave, which it does unasked.
fn still_in_use(home: &Path) -> Option<String> {
    let until = Instant::now() + PATIENCE;
    loop {
        let user = users(home).first().copied();
        let governor = discovery::governing(home).map(|governing| governing.pid);
        let governor = governor.filter(|pid| Path::new("/proc").join(pid.to_string()).exists());
        let pid = user.or(governor)?;
        if Instant::now() > until {
            return Some(format!("process {pid} still uses it; try again when that has ended"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
