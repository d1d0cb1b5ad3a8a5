//! What is written: changes that wait in memory, and the one transaction that writes them all.

use plimsoll_core::forecast::Observation;
use plimsoll_core::invocation::Emit;
use plimsoll_core::unit::{UnitFacts, UnitKey};
use plimsoll_core::{Bytes, Millis};
use rusqlite::{Connection, Statement, TransactionBehavior, params};

/// Observations kept of one unit. Memory of one unit varies by a few per cent between runs, mostly with
/// its tokens: four tell the spread, more only grow the file.
pub(crate) const KEPT_OBSERVATIONS: u32 = 4;

/// Units that were not built for so long are forgotten: half a year is four releases of most crates.
const FORGOTTEN_AFTER_SECONDS: i64 = 180 * 24 * 3600;

/// Units kept in all: about 50 MB, forty workspaces as large as any that we met.
pub(crate) const KEPT_UNITS: u32 = 50_000;

/// One thing that is to be remembered.
pub(crate) enum Change {
    /// A complete run.
    Seen(Box<Made>, Observation),
    /// A run that was killed had reached this much.
    AtLeast(Box<Made>, Bytes),
    /// The bottom level of a unit in a complete build.
    CriticalPath(UnitKey, Millis),
    /// A number by its name.
    Learned(String, f64),
}

/// How a unit was made: what is kept of its facts.
pub(crate) struct Made {
    pub(crate) key: UnitKey,
    pub(crate) family: String,
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) crate_name: String,
    pub(crate) kind: &'static str,
    pub(crate) target_kind: String,
    pub(crate) is_check: bool,
    pub(crate) opt_level: String,
    pub(crate) debuginfo: u8,
    pub(crate) codegen_units: u32,
    pub(crate) threads: u32,
    pub(crate) lto: bool,
    pub(crate) incremental: bool,
    pub(crate) features: String,
}

impl Made {
    pub(crate) fn new(facts: &UnitFacts) -> Box<Self> {
        Box::new(Self {
            key: facts.key(),
            family: facts.family().0,
            package: facts.package.clone(),
            version: facts.version.clone(),
            crate_name: facts.crate_name.clone(),
            kind: facts.kind.as_str(),
            target_kind: facts.target_kind.clone(),
            is_check: facts.emit == Emit::Check,
            opt_level: facts.opt_level.clone(),
            debuginfo: facts.debuginfo,
            codegen_units: facts.codegen_units,
            threads: facts.threads,
            lto: facts.lto,
            incremental: facts.incremental,
            features: facts.features.clone(),
        })
    }
}

/// Writes all changes, or none of them. `unix_now` in seconds.
pub(crate) fn write(
    db: &mut Connection,
    changes: &[Change],
    unix_now: i64,
) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut unit = transaction.prepare_cached(
            "INSERT INTO units (key, family, package, version, crate, kind, is_check, opt_level,
                 debuginfo, codegen_units, lto, incremental, features, runs, peak_max, at_least,
                 tail, last_seen, threads, target_kind)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)
             ON CONFLICT (key) DO UPDATE SET
                 runs = runs + excluded.runs,
                 peak_max = max(peak_max, excluded.peak_max),
                 at_least = CASE excluded.runs WHEN 0 THEN max(at_least, excluded.at_least) ELSE 0 END,
                 tail = coalesce(excluded.tail, tail),
                 last_seen = max(last_seen, excluded.last_seen),
                 target_kind = excluded.target_kind
             RETURNING id",
        )?;
        let mut observation = transaction.prepare_cached(
            "INSERT INTO observations (unit, at, curve, peak, cpu, wall, link_peak, tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let mut forget = transaction.prepare_cached(
            "DELETE FROM observations WHERE unit = ?1 AND id NOT IN
                 (SELECT id FROM observations WHERE unit = ?1 ORDER BY id DESC LIMIT ?2)",
        )?;
        let mut critical_path =
            transaction.prepare_cached("UPDATE units SET tail = ?2 WHERE key = ?1")?;
        let mut learned = transaction
            .prepare_cached("INSERT OR REPLACE INTO learned (name, value) VALUES (?1, ?2)")?;
        for change in changes {
            match change {
                Change::Seen(made, seen) => {
                    let peak = integer(seen.curve.peak().0);
                    let id = upsert(&mut unit, made, 1, peak, 0, seen.critical_path, unix_now)?;
                    observation.execute(params![
                        id,
                        unix_now,
                        serde_json::to_string(&seen.curve).unwrap_or_default(),
                        peak,
                        integer(seen.cpu.0),
                        integer(seen.wall.0),
                        integer(seen.link_peak.0),
                        seen.tokens,
                    ])?;
                    forget.execute(params![id, KEPT_OBSERVATIONS])?;
                }
                Change::AtLeast(made, peak) => {
                    upsert(&mut unit, made, 0, 0, integer(peak.0), None, unix_now)?;
                }
                Change::CriticalPath(key, millis) => {
                    critical_path.execute(params![key.0, integer(millis.0)])?;
                }
                Change::Learned(name, value) => {
                    learned.execute(params![name, value])?;
                }
            }
        }
    }
    transaction.commit()
}

/// Forgets units that were not built for long, and the oldest of too many.
pub(crate) fn prune(db: &Connection, keep: u32, unix_now: i64) -> rusqlite::Result<()> {
    let since = unix_now.saturating_sub(FORGOTTEN_AFTER_SECONDS);
    db.execute("DELETE FROM units WHERE last_seen < ?1", [since])?;
    db.execute(
        "DELETE FROM units WHERE id IN
             (SELECT id FROM units ORDER BY last_seen DESC, id DESC LIMIT -1 OFFSET ?1)",
        [keep],
    )?;
    Ok(())
}

fn upsert(
    unit: &mut Statement<'_>,
    made: &Made,
    runs: u32,
    peak: i64,
    at_least: i64,
    critical_path: Option<Millis>,
    unix_now: i64,
) -> rusqlite::Result<i64> {
    unit.query_row(
        params![
            made.key.0,
            made.family,
            made.package,
            made.version,
            made.crate_name,
            made.kind,
            made.is_check,
            made.opt_level,
            made.debuginfo,
            made.codegen_units,
            made.lto,
            made.incremental,
            made.features,
            runs,
            peak,
            at_least,
            critical_path.map(|millis| integer(millis.0)),
            unix_now,
            made.threads,
            made.target_kind,
        ],
        |row| row.get(0),
    )
}

/// SQLite's integers are signed.
pub(crate) fn integer(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Back from [`integer`]; a negative number is not ours.
pub(crate) fn natural(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}
