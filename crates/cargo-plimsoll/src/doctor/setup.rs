//! Whether this machine and workspace are set up well.
//!
//! [`read`] looks, [`findings`] judges without reading anything (what is the machine's in `machine`, what is Cargo's
//! and the workspace's in `building`), [`text`] says it, and [`fix`] applies what `init` would write by itself.

mod building;
mod facts;
mod findings;
mod fix;
mod flags;
mod machine;
mod profiles;
mod read;
mod text;

use std::collections::BTreeSet;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;

use anyhow::Context as _;
use plimsoll_init::workspace::Workspace;

use self::facts::Facts;
use self::findings::{Finding, Severity};
use self::fix::Candidate;
pub(super) use self::text::wrapped;
use crate::cli::DoctorOptions;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::plimsoll_toml::BadFile;
use crate::settings::Settings;
use crate::shell::Shell;

/// Says what was found, and with `--fix` applies what is safe. The exit status: 1 where something is a problem, or
/// where nobody could be asked.
pub(crate) fn run(
    options: &DoctorOptions,
    settings: &Settings,
    bad_files: &[BadFile],
    (environment, cwd): (&Environment, &Path),
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let mut facts = read::facts(settings, environment, cwd, shell)?;
    facts.bad_files = bad_files.iter().map(ToString::to_string).collect();
    let findings = findings::judge(&facts);
    if !options.json {
        let stdout = std::io::stdout();
        let columns = rustix::termios::tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
        let said = text::text(&findings, options.verbose, usize::from(columns));
        shell.answer(said).context(OUT)?;
    }
    let mut unasked = false;
    let mut applied = Vec::new();
    if options.fix {
        let candidates = fix::candidates(&findings);
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
        shell.answer(text::as_json(&findings, &applied)).context(OUT)?;
    }
    let problem = |finding: &Finding| finding.severity == Severity::Problem;
    Ok(i32::from(unasked || findings.iter().any(problem)))
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
    let files = fix::apply(here, &wanted, || {
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
