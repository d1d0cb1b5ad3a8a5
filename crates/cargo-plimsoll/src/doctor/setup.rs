//! Whether this machine and workspace are set up well: looking, saying what was found, and applying what is safe.
//!
//! What is looked at and what it means is `plimsoll-setup`'s.

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use anyhow::Context as _;
use plimsoll_init::workspace::Workspace;
use plimsoll_setup::{Candidate, Facts, Finding, Own, Severity};

use crate::account::Account;
use crate::cli::DoctorOptions;
use crate::commands;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::plimsoll_toml::BadFile;
use crate::settings::{Origin, Settings};
use crate::shell::Shell;
use crate::shims::Shims;

/// Says what was found, and with `--fix` applies what is safe. The exit status: 1 where something is a problem, or
/// where there is no terminal to ask on.
pub(crate) fn run(
    options: &DoctorOptions,
    settings: &Settings,
    bad_files: &[BadFile],
    (environment, cwd): (&Environment, &Path),
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let mut facts = plimsoll_setup::look(own(settings)?, environment, cwd, &mut |workspace| {
        commands::init::figures(settings, workspace, shell)
    })?;
    facts.bad_files = bad_files.iter().map(ToString::to_string).collect();
    let findings = plimsoll_setup::judge(&facts);
    if !options.json {
        let stdout = std::io::stdout();
        let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
        let said = plimsoll_setup::text(&findings, options.verbose, usize::from(columns));
        shell.answer(said).context(OUT)?;
    }
    let mut unasked = false;
    let mut applied = Vec::new();
    if options.fix {
        let candidates = plimsoll_setup::candidates(&findings);
        let asks = !options.yes;
        // Questions would stand in the JSON.
        unasked =
            asks && !candidates.is_empty() && (options.json || !std::io::stdin().is_terminal());
        if unasked {
            shell.note("nothing was applied, because there is no terminal to ask on; --yes applies without asking");
        } else {
            applied = accepted(candidates, asks, shell)?;
            apply(&facts, &applied, (environment, cwd), options.json, shell)?;
        }
    }
    if options.json {
        shell.answer(plimsoll_setup::as_json(&findings, &applied)).context(OUT)?;
    }
    let problem = |finding: &Finding| finding.severity == Severity::Problem;
    Ok(i32::from(unasked || findings.iter().any(problem)))
}

/// What the doctor needs to know of Plimsoll itself.
fn own(settings: &Settings) -> anyhow::Result<Own> {
    let shims = Shims::named()?;
    let enabled = settings.home.value.as_deref().and_then(Account::enabled);
    let wrapper = settings.cargo.rustc_wrapper.as_ref();
    Ok(Own {
        processors: settings.processors.value,
        jobs: matches!(settings.jobs.origin, Origin::Variable(_) | Origin::File(_))
            .then(|| (settings.jobs.origin.to_string(), settings.jobs.value)),
        obstacles: commands::status::obstacles(&settings.cargo, enabled.as_ref(), &shims),
        wrapper_is_ours: wrapper.is_some_and(|given| shims.include(&given.value)),
        enabled: enabled.is_some(),
        cargo: settings.cargo.clone(),
    })
}

/// Those that the user wants.
fn accepted(
    candidates: Vec<Candidate>,
    asks: bool,
    shell: &mut Shell,
) -> Result<Vec<String>, Failure> {
    let mut accepted = Vec::new();
    for Candidate { setting, question } in candidates {
        if !asks || ask(&question, shell)? {
            accepted.push(setting);
        }
    }
    Ok(accepted)
}

fn ask(question: &str, shell: &mut Shell) -> Result<bool, Failure> {
    shell.answer(format_args!("\n{question}\nApply it? [y/N]")).context(OUT)?;
    let mut said = String::new();
    std::io::stdin().lock().read_line(&mut said).context("cannot read the answer")?;
    Ok(matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn apply(
    facts: &Facts,
    applied: &[String],
    (environment, cwd): (&Environment, &Path),
    quiet: bool,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let (Some(here), false) = (&facts.here, applied.is_empty()) else {
        if !quiet {
            shell
                .answer("\nNothing was applied. The fixes above are commands that you can run.")
                .context(OUT)?;
        }
        return Ok(());
    };
    let wanted: BTreeSet<String> = applied.iter().cloned().collect();
    let files = plimsoll_setup::apply(here, &wanted, || {
        let found = Workspace::find(environment, cwd, facts.machine.processors);
        found.map(drop).context("Cargo refuses the new settings; nothing changed")
    })?;
    if !quiet {
        let files = files.join(" and ");
        let said = format!(
            "\nwrote to {files}: {}\n`cargo plimsoll init --undo` takes it back",
            applied.join(", ")
        );
        shell.answer(said).context(OUT)?;
    }
    Ok(())
}
