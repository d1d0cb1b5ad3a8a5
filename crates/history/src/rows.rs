//! The history as a person reads it: one row a unit.

use plimsoll_core::invocation::UnitKind;
use plimsoll_core::{Bytes, Millis};
use rusqlite::Connection;

use crate::record::natural;

/// What is known of one unit, for `cargo plimsoll history`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Cargo's package name.
    pub package: String,
    /// The package's version, empty where unknown.
    pub version: String,
    /// The crate's name.
    pub crate_name: String,
    /// What is made, as Cargo calls the target: `lib`, `cdylib`, `example`, …
    pub kind: String,
    /// What was asked of the compiler: `check`, `-O0 -g2`, `-O3 lto cgu=1`.
    pub profile: String,
    /// Complete runs that were ever seen.
    pub runs: u32,
    /// Peak tree memory of the last complete run, without its linker; zero where none was complete.
    pub peak_last: Bytes,
    /// The highest peak of all complete runs, also of those that are forgotten by now.
    pub peak_max: Bytes,
    /// What a run that was killed had reached, where no run was complete since; else zero.
    pub at_least: Bytes,
    /// Processor time of the last complete run.
    pub cpu: Millis,
    /// Wall time of the last complete run.
    pub wall: Millis,
    /// Peak tree memory of the linker in the last complete run, zero where nothing was linked.
    pub link_peak: Bytes,
    /// When it was last built, in seconds since the Unix epoch.
    pub last_seen_unix: u64,
}

/// All units whose package or crate has `filter` in its name (`-` and `_` are the same), heaviest first.
pub(crate) fn list(db: &Connection, filter: Option<&str>) -> rusqlite::Result<Vec<Row>> {
    let mut statement = db.prepare(
        "SELECT package, version, crate, kind, is_check, opt_level, debuginfo, codegen_units, lto,
             incremental, runs, coalesce(peak, 0), peak_max, at_least, coalesce(cpu, 0),
             coalesce(wall, 0), coalesce(link_peak, 0), last_seen, threads, target_kind
         FROM units LEFT JOIN observations ON observations.id =
             (SELECT max(id) FROM observations WHERE unit = units.id)
         WHERE instr(replace(package, '-', '_'), ?1) OR instr(replace(crate, '-', '_'), ?1)
         ORDER BY max(coalesce(peak, 0), coalesce(link_peak, 0), at_least) DESC,
             package, version, crate, kind, key",
    )?;
    let wanted = filter.unwrap_or_default().replace('-', "_");
    let mut rows = statement.query([wanted])?;
    let mut list = Vec::new();
    while let Some(row) = rows.next()? {
        // A kind that this version does not know is left out.
        if let Some(kind) = UnitKind::parse(&row.get::<_, String>(3)?) {
            let target_kind: String = row.get(19)?;
            list.push(read(
                row,
                if target_kind.is_empty() { kind.as_str().to_owned() } else { target_kind },
            )?);
        }
    }
    Ok(list)
}

fn read(row: &rusqlite::Row<'_>, kind: String) -> rusqlite::Result<Row> {
    let bytes = |column: usize| row.get(column).map(|n| Bytes(natural(n)));
    let millis = |column: usize| row.get(column).map(|n| Millis(natural(n)));
    Ok(Row {
        package: row.get(0)?,
        version: row.get(1)?,
        crate_name: row.get(2)?,
        kind,
        profile: profile(row)?,
        runs: row.get(10)?,
        peak_last: bytes(11)?,
        peak_max: bytes(12)?,
        at_least: bytes(13)?,
        cpu: millis(14)?,
        wall: millis(15)?,
        link_peak: bytes(16)?,
        last_seen_unix: natural(row.get(17)?),
    })
}

/// How the compiler was told to work, in rustc's own terms.
fn profile(row: &rusqlite::Row<'_>) -> rusqlite::Result<String> {
    let opt_level: String = row.get(5)?;
    let debuginfo: u8 = row.get(6)?;
    let codegen_units: u32 = row.get(7)?;
    let threads: u32 = row.get(18)?;
    let mut words = Vec::new();
    if row.get(4)? {
        words.push("check".to_owned());
    }
    words.push(format!("-O{opt_level}"));
    if debuginfo > 0 {
        words.push(format!("-g{debuginfo}"));
    }
    if row.get(8)? {
        words.push("lto".to_owned());
    }
    if codegen_units > 0 {
        words.push(format!("cgu={codegen_units}"));
    }
    if threads > 1 {
        words.push(format!("threads={threads}"));
    }
    if row.get(9)? {
        words.push("incremental".to_owned());
    }
    Ok(words.join(" "))
}
