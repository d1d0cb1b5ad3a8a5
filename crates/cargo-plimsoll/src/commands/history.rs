//! `cargo plimsoll history [CRATE]`: what crates needed in past builds, heaviest first.

use anyhow::Context as _;
use plimsoll_core::Bytes;
use plimsoll_history::{History, Row};
use plimsoll_view::{Align, table};
use serde_json::{Value, json};

use crate::exit::{Failure, OUT};
use crate::settings::Settings;
use crate::shell::Shell;

/// Prints the units whose crate has `name` in its name, or all.
///
/// # Errors
/// Where there is nothing, or it cannot be read or written.
pub fn run(
    settings: &Settings,
    name: Option<&str>,
    json: bool,
    shell: &mut Shell,
) -> Result<(), Failure> {
    let home = settings.home.value.as_ref().ok_or(Failure::NoHome)?;
    let nothing = || Failure::NoHistory(name.map(str::to_owned));
    if !home.is_dir() {
        // Looking must not make one.
        return Err(nothing());
    }
    let (history, warning) = History::open(home);
    if let Some(warning) = warning {
        shell.warn(warning);
    }
    let rows = history.list(name).map_err(anyhow::Error::from)?;
    if rows.is_empty() {
        return Err(nothing());
    }
    let said = if json { as_json(&rows).to_string() } else { text(&rows) };
    Ok(shell.answer(said).context(OUT)?)
}

/// The form of the JSON; the number changes where a reader would misunderstand it.
const FORMAT: u32 = 1;

fn as_json(rows: &[Row]) -> Value {
    let unit = |row: &Row| {
        json!({
            "package": row.package,
            "version": row.version,
            "kind": row.kind,
            "profile": row.profile,
            "runs": row.runs,
            "peak_bytes": row.peak_last,
            "highest_bytes": row.peak_max,
            "at_least_bytes": row.at_least,
            "linker_bytes": row.link_peak,
            "cpu_ms": row.cpu,
            "wall_ms": row.wall,
        })
    };
    json!({ "plimsoll_history": FORMAT, "units": rows.iter().map(unit).collect::<Vec<_>>() })
}

fn text(rows: &[Row]) -> String {
    let cells: Vec<_> = rows.iter().map(cells).collect();
    let columns = [
        ("crate", Align::Left),
        ("kind", Align::Left),
        ("profile", Align::Left),
        ("runs", Align::Right),
        ("peak", Align::Right),
        ("highest", Align::Right),
        ("linker", Align::Right),
        ("cpu", Align::Right),
        ("time", Align::Right),
    ];
    table(columns, &cells)
}

fn cells(row: &Row) -> [String; 9] {
    let some = |bytes: Bytes| if bytes == Bytes::ZERO { String::new() } else { bytes.to_string() };
    let peak = if row.peak_last == Bytes::ZERO && row.at_least > Bytes::ZERO {
        format!(">= {}", row.at_least)
    } else {
        some(row.peak_last)
    };
    let title = if row.version.is_empty() {
        row.package.clone()
    } else {
        format!("{} {}", row.package, row.version)
    };
    [
        title,
        row.kind.clone(),
        row.profile.clone(),
        row.runs.to_string(),
        peak,
        some(row.peak_max),
        some(row.link_peak),
        row.cpu.to_string(),
        row.wall.to_string(),
    ]
}
