//! `cargo plimsoll init`: what would make this workspace's builds smaller, written into its own files.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use plimsoll_init::figures::Figures;
use plimsoll_init::plan::{Finding, Group, Lowmem, Verdict};
use plimsoll_init::workspace::Workspace;
use plimsoll_init::{edit, plan, scripts};

use crate::cli::InitOptions;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// Writes what is proposed, shows the difference, or takes it back. The exit status: 1 where `--check` finds a
/// difference.
///
/// # Errors
/// Where there is no workspace, or a file cannot be read, understood or written.
pub fn run(
    options: &InitOptions,
    settings: &Settings,
    environment: &Environment,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let find = || Workspace::find(environment, cwd, settings.processors.value);
    let workspace = find()?;
    if let Some(unread) = &workspace.unread {
        shell.warn(format_args!(
            "both `{}` and `{}` exist; Cargo and init read only the first",
            workspace.config.path.display(),
            unread.display()
        ));
    }
    let mut findings = Vec::new();
    let edits = if options.undo {
        let mut taken = edit::take_back(&workspace)?;
        scripts::take_back(&workspace.root, &mut taken)?;
        for (key, file) in taken.edited {
            let key = key.map(|key| format!("`{key}` in ")).unwrap_or_default();
            shell.note(format_args!("{key}`{}` stays, because it was edited", file.display()));
        }
        taken.edits
    } else if options.scripts {
        scripts::propose(&workspace.root)?
    } else {
        let figures = figures(settings, &workspace, shell);
        findings = plan::plan(&workspace, &lowmem(options), &figures);
        edit::propose(&workspace, &mut findings)?
    };
    if options.check {
        for edit in &edits {
            shell.answer(edit.diff(&workspace.root)).context(OUT)?;
        }
        return Ok(i32::from(!edits.is_empty()));
    }
    // Cargo has the last word on what was written.
    edit::apply(&edits, || {
        find().map(drop).context("Cargo refuses the new settings; nothing changed")
    })?;
    if options.scripts {
        scripts::make_executable(&edits)?;
    } else if !options.undo {
        shell.answer(text(&workspace, &findings, options)).context(OUT)?;
    }
    for edit in &edits {
        let name = edit.file.path.strip_prefix(&workspace.root).unwrap_or(&edit.file.path);
        let done = match (options.undo, &edit.new, &edit.file.text) {
            (_, None, _) => "removed",
            (true, Some(_), _) => "restored",
            (false, _, None) => "wrote",
            (false, ..) => "edited",
        };
        shell.answer(format_args!("{done} {}\n", name.display())).context(OUT)?;
    }
    if edits.is_empty() {
        let nothing = if options.undo { "nothing to take back\n" } else { "nothing to write\n" };
        shell.answer(nothing).context(OUT)?;
    } else if !options.undo {
        shell.answer("`cargo plimsoll init --undo` takes it back\n").context(OUT)?;
    }
    Ok(0)
}

/// What recorded builds know of this workspace; nothing is no error.
pub(crate) fn figures(settings: &Settings, workspace: &Workspace, shell: &mut Shell) -> Figures {
    let Some(home) = settings.home.value.as_deref().filter(|home| home.is_dir()) else {
        return Figures::default();
    };
    let (history, warning) = plimsoll_history::History::open(home);
    if let Some(warning) = warning {
        shell.warn(warning);
    }
    match history.list(None) {
        Ok(rows) => Figures::new(rows, &workspace.packages),
        Err(error) => {
            shell.warn(format_args!(
                "cannot read your recorded builds, so measured figures are missing: {error}"
            ));
            Figures::default()
        }
    }
}

/// What may change the programs that are built.
fn lowmem(options: &InitOptions) -> Lowmem {
    match &options.profile {
        Some(name) => Lowmem::Profile {
            name: name.clone(),
            inherits: options.inherits.clone().unwrap_or_else(|| "release".to_owned()),
        },
        None if options.lowmem => Lowmem::InPlace,
        None => Lowmem::Offered,
    }
}

fn text(workspace: &Workspace, findings: &[Finding], options: &InitOptions) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let mut text = format!(
        "{}: {}, {}\n",
        workspace.root.display(),
        count(workspace.members.len(), "package"),
        count(workspace.programs, "program"),
    );
    let changing = if options.lowmem || options.profile.is_some() {
        "These settings change your programs; you asked for them:"
    } else {
        "These settings change your programs; --lowmem writes them, --profile NAME writes them into a new profile:"
    };
    let machine = format!(
        "These settings depend on the machine, so init does not write them (here: {}, {}):",
        workspace.memory,
        count(workspace.processors as usize, "processor")
    );
    for (group, title) in [
        (Group::Preserving, "These settings do not change your programs:"),
        (Group::Changing, changing),
        (Group::Machine, &machine),
    ] {
        let _ = writeln!(text, "\n{title}");
        for finding in findings.iter().filter(|it| it.group == group) {
            let setting = &finding.setting;
            let (word, value) = match &finding.verdict {
                Verdict::Write(change) => ("written", Some(&change.literal)),
                Verdict::Offer(change) => ("available", Some(&change.literal)),
                Verdict::Advise => ("advice", None),
                Verdict::Stands => ("already", None),
                Verdict::Kept => ("yours", None),
                Verdict::No => ("skipped", None),
            };
            let value = value.map(|value| format!(" = {value}")).unwrap_or_default();
            let _ = writeln!(text, "  {word:<9} {setting}{value}");
            let _ = writeln!(text, "            {}", finding.why);
            if let Some(figure) = &finding.figure {
                let _ = writeln!(text, "            ({figure})");
            }
        }
    }
    text.push('\n');
    text
}
