//! `--staged`: which stages a build has, before it begins.

use anyhow::Context as _;
use plimsoll_governor::GraphCommand;
use plimsoll_view::{Align, table};

use super::cargo;
use crate::cargo_args::CargoCall;
use crate::env::Environment;
use crate::exit::{Failure, OUT};
use crate::shell::Shell;

/// How to ask Cargo for what stages are made of.
///
/// # Errors
/// Where Cargo has no answer for this subcommand.
pub(crate) fn question(
    call: &CargoCall,
    environment: &Environment,
) -> Result<GraphCommand, Failure> {
    let name = || call.resolved.to_string_lossy().into_owned();
    cargo::graph(call, environment).ok_or_else(|| Failure::NotStaged(name()))
}

/// Prints the stages.
///
/// # Errors
/// Where Cargo cannot tell them, or stdout not be written.
pub(crate) fn list(
    call: &CargoCall,
    environment: &Environment,
    shell: &mut Shell,
) -> Result<i32, Failure> {
    let stages = question(call, environment)?.stages();
    let stages = stages.context(
        "Cargo does not say how this build's units depend on each other; see the message above",
    )?;
    let rows: Vec<[String; 4]> = (1..)
        .zip(stages.list())
        .map(|(number, stage)| {
            let (name, packages) = (stage.name.clone(), stage.packages.join(", "));
            [number.to_string(), name, stage.units.to_string(), packages]
        })
        .collect();
    let columns = [
        ("stage", Align::Right),
        ("name", Align::Left),
        ("units", Align::Right),
        ("packages", Align::Left),
    ];
    shell.answer(table(columns, &rows)).context(OUT)?;
    Ok(0)
}
