//! `cargo plimsoll report [ID]`: a build from its event log, or a list of them.

use std::path::Path;

use anyhow::Context as _;
use plimsoll_view::{Outline, list, list_json, report};

use super::recorded;
use crate::cli::ReportOptions;
use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// Prints the report of the last build of this workspace, or of the one that is named; or the list of builds.
///
/// # Errors
/// Where there is no such build, or it cannot be read or the report not be written.
pub fn run(
    options: &ReportOptions,
    settings: &Settings,
    cwd: &Path,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let now = recorded::now();
    if options.list {
        let builds = recorded::list(&options.which, settings, cwd)?;
        let builds: Vec<Outline> = builds
            .iter()
            .map(|build| Outline::new(&build.header, &build.records, build.runs()))
            .collect();
        let said = if options.json { list_json(&builds).to_string() } else { list(&builds, now) };
        return Ok(shell.answer(said).context(OUT)?);
    }
    let build = recorded::find(options.id.as_deref(), &options.which, settings, cwd)?;
    if options.json {
        let outline = Outline::new(&build.header, &build.records, build.runs());
        return Ok(shell.answer(outline.as_json()).context(OUT)?);
    }
    let columns = recorded::columns();
    let blocks = report(&build.header, &build.records, now, build.runs(), columns);
    Ok(shell.blocks(&blocks, columns).context(OUT)?)
}
