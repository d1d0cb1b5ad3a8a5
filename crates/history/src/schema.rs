//! The tables, as migrations that only append.
//!
//! `PRAGMA user_version` counts how many of [`MIGRATIONS`] a database has had. A released migration is
//! never edited: a change is a new one at the end.

use rusqlite::{Connection, TransactionBehavior};

/// One step each, from nothing to today.
const MIGRATIONS: &[&str] = &[
    // 1: units, what was seen of them, and single numbers that were learned of the machine.
    //
    // `at_least` is what a run that was killed had reached, until a complete run replaces it. `peak_max`
    // outlives the observations that are pruned. Times are Unix seconds and milliseconds, memory is bytes.
    "CREATE TABLE units (
        id            INTEGER PRIMARY KEY,
        key           TEXT    NOT NULL UNIQUE,
        family        TEXT    NOT NULL,
        package       TEXT    NOT NULL,
        version       TEXT    NOT NULL,
        crate         TEXT    NOT NULL,
        kind          TEXT    NOT NULL,
        is_check      INTEGER NOT NULL,
        opt_level     TEXT    NOT NULL,
        debuginfo     INTEGER NOT NULL,
        codegen_units INTEGER NOT NULL,
        lto           INTEGER NOT NULL,
        incremental   INTEGER NOT NULL,
        features      TEXT    NOT NULL,
        runs          INTEGER NOT NULL DEFAULT 0,
        peak_max      INTEGER NOT NULL DEFAULT 0,
        at_least      INTEGER NOT NULL DEFAULT 0,
        tail          INTEGER,
        last_seen     INTEGER NOT NULL
    );
    CREATE INDEX units_family ON units (family, last_seen);
    CREATE INDEX units_last_seen ON units (last_seen);
    CREATE TABLE observations (
        id        INTEGER PRIMARY KEY,
        unit      INTEGER NOT NULL REFERENCES units (id) ON DELETE CASCADE,
        at        INTEGER NOT NULL,
        curve     TEXT    NOT NULL,
        peak      INTEGER NOT NULL,
        cpu       INTEGER NOT NULL,
        wall      INTEGER NOT NULL,
        link_peak INTEGER NOT NULL,
        tokens    INTEGER NOT NULL
    );
    CREATE INDEX observations_unit ON observations (unit, id);
    CREATE TABLE learned (
        name  TEXT PRIMARY KEY,
        value REAL NOT NULL
    ) WITHOUT ROWID;",
    // 2: the threads of the front end; what was recorded before had one, mostly.
    "ALTER TABLE units ADD COLUMN threads INTEGER NOT NULL DEFAULT 1;",
    // 3: how Cargo calls the target, where its kind does not say it (`cdylib`, `example`).
    "ALTER TABLE units ADD COLUMN target_kind TEXT NOT NULL DEFAULT '';",
];

/// The schema's number after all migrations.
pub(crate) const LATEST: u32 = MIGRATIONS.len() as u32;

/// The schema's number of a database; 0 for a new one.
pub(crate) fn version(db: &Connection) -> rusqlite::Result<u32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings a database to [`LATEST`], or leaves it as it was. A newer one is not touched.
///
/// The number is read again under the write lock, so that two builds that start at once migrate once.
pub(crate) fn migrate(db: &mut Connection) -> rusqlite::Result<()> {
    migrate_by(db, MIGRATIONS)
}

fn migrate_by(db: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    if version(db)? as usize >= migrations.len() {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = version(&transaction)? as usize;
    for migration in migrations.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", migrations.len().max(done) as u32)?;
    transaction.commit()
}

/// Makes a database as the first version made it.
#[cfg(test)]
pub(crate) fn first(db: &Connection) {
    db.execute_batch(MIGRATIONS[0]).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(db: &Connection) -> Vec<String> {
        let mut statement = db
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn every_older_version_ends_at_the_same_tables() {
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh).unwrap();
        assert_eq!(version(&fresh).unwrap(), LATEST);
        for older in 0..=MIGRATIONS.len() {
            let mut db = Connection::open_in_memory().unwrap();
            migrate_by(&mut db, &MIGRATIONS[..older]).unwrap();
            assert_eq!(version(&db).unwrap() as usize, older);
            migrate(&mut db).unwrap();
            assert_eq!(version(&db).unwrap(), LATEST);
            assert_eq!(tables(&db), tables(&fresh), "from version {older}");
        }
    }

    #[test]
    fn a_failing_migration_changes_nothing() {
        let mut db = Connection::open_in_memory().unwrap();
        let broken = [MIGRATIONS, &["CREATE TABLE more (x); CREATE TABLE more (x);"]].concat();
        migrate_by(&mut db, &broken).unwrap_err();
        assert_eq!(version(&db).unwrap(), 0);
        assert_eq!(tables(&db), Vec::<String>::new());
    }

    #[test]
    fn a_newer_database_is_left_alone() {
        let mut db = Connection::open_in_memory().unwrap();
        db.pragma_update(None, "user_version", LATEST + 3).unwrap();
        migrate(&mut db).unwrap();
        assert_eq!(version(&db).unwrap(), LATEST + 3);
        assert_eq!(tables(&db), Vec::<String>::new());
    }
}
