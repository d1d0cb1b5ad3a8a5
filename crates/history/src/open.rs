//! Opening the database, whatever state its file is in.
//!
//! ```text
//! writable file --damaged--> set aside, a new one is begun --cannot--> in memory
//!      |------unwritable---> read-only ----------------------cannot--> in memory
//!      `-locked, other version ------------------------------------->  in memory
//! ```
//! Whoever is in the way is waited for at most [`PATIENCE`] in all. A database that another version of
//! Plimsoll wrote is never renamed or changed: that version still wants it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::error::{HistoryError, Trouble};
use crate::schema;

/// The database's file in its directory.
pub(crate) const FILE: &str = "history.sqlite3";

/// How long one statement waits for another process. Writers hold the lock for a few milliseconds, and
/// the governor's loop, which calls us, must not stand still for longer.
pub(crate) const BUSY: Duration = Duration::from_millis(40);

/// How long opening tries again where the file is locked; with the last try's [`BUSY`] it stays under
/// the 200 ms that a person would begin to notice.
const PATIENCE: Duration = Duration::from_millis(120);

/// Between two tries: two builds that begin the first database at once are done in a few milliseconds.
const PAUSE: Duration = Duration::from_millis(10);

/// Where the open database lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In its file, which is read and written.
    File,
    /// In its file, which is only read.
    ReadOnly,
    /// In memory: what is recorded ends with the build.
    Memory,
}

/// An open database, or none where not even memory was to be had.
pub(crate) struct Opened {
    pub(crate) db: Option<Connection>,
    pub(crate) place: Place,
    pub(crate) warning: Option<String>,
}

/// Opens the database in `dir`, which is made where it is missing.
pub(crate) fn open(dir: &Path, unix_now: u64) -> Opened {
    let path = dir.join(FILE);
    let opened = match writable(dir, &path) {
        Ok(db) => Opened { db: Some(db), place: Place::File, warning: None },
        Err(error) => otherwise(dir, &path, &error, unix_now),
    };
    if let Some(db) = &opened.db {
        // SQLite would compile a kept statement again for each key, to look at statistics that this database does not have:
        // that costs more than the statement itself. Without this it only costs more.
        let _ = db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true);
    }
    opened
}

/// What is done where the file cannot be used as it should be, because of `error`.
pub(crate) fn otherwise(dir: &Path, path: &Path, error: &HistoryError, unix_now: u64) -> Opened {
    let (place, db, warning) = match error.trouble() {
        Trouble::Damaged => match set_aside(path, unix_now) {
            Ok(aside) => {
                let begun = format!(
                    "{error}. It is kept as `{}`, and Plimsoll starts a new history without forecasts",
                    aside.display()
                );
                match writable(dir, path) {
                    Ok(db) => (Place::File, Some(db), begun),
                    Err(again) => (Place::Memory, None, format!("{error}; then: {again}")),
                }
            }
            Err(rename) => (
                Place::Memory,
                None,
                format!("{error}, and {rename}. Remove that file; this build runs without history"),
            ),
        },
        Trouble::Unwritable => match read_only(path) {
            Ok(db) => (
                Place::ReadOnly,
                Some(db),
                format!("{error}. Plimsoll reads it, but does not record this build"),
            ),
            Err(_) => (
                Place::Memory,
                None,
                format!(
                    "{error}. This build runs without history; make the directory writable, or set PLIMSOLL_HOME to another"
                ),
            ),
        },
        Trouble::Locked => (
            Place::Memory,
            None,
            format!("{error}. Another process holds it; this build runs without history"),
        ),
        Trouble::OtherVersion => (
            Place::Memory,
            None,
            format!(
                "{error}. This build runs without history; update plimsoll, or set PLIMSOLL_HOME to another directory"
            ),
        ),
    };
    Opened { db: db.or_else(|| in_memory().ok()), place, warning: Some(warning) }
}

/// The database in its file, migrated; tried again while others lock it.
fn writable(dir: &Path, path: &Path) -> Result<Connection, HistoryError> {
    make_private(dir, path)?;
    let begun = Instant::now();
    loop {
        match writable_once(path) {
            Err(error) if error.trouble() == Trouble::Locked && begun.elapsed() < PATIENCE => {
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn writable_once(path: &Path) -> Result<Connection, HistoryError> {
    let named = || HistoryError::database("open", path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(named())?;
    db.busy_timeout(BUSY).map_err(named())?;
    let found = schema::version(&db).map_err(named())?;
    if found > schema::LATEST {
        return Err(HistoryError::Newer { path: path.to_owned(), found, known: schema::LATEST });
    }
    // Readers and the writer do not lock each other out. No file is forced to the disk before the last
    // connection closes: a power cut may cost the last build's observations, a commit costs no wait.
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA foreign_keys = ON;",
    )
    .map_err(named())?;
    schema::migrate(&mut db).map_err(named())?;
    check_tables(&db).map_err(named())?;
    Ok(db)
}

/// The database in its file, without a byte written beside it. Where SQLite's usual way needs to make a
/// file (the directory is read-only), the database is read as one that nobody changes.
fn read_only(path: &Path) -> Result<Connection, HistoryError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let usual = Connection::open_with_flags(path, flags)
        .and_then(|db| db.busy_timeout(BUSY).and_then(|()| check_tables(&db)).map(|()| db));
    let db = match usual {
        Ok(db) => db,
        Err(_) => {
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            let db = Connection::open_with_flags(immutable_uri(path), flags)
                .map_err(HistoryError::database("open", path))?;
            check_tables(&db).map_err(HistoryError::database("read", path))?;
            db
        }
    };
    let found = schema::version(&db).map_err(HistoryError::database("read", path))?;
    match found.cmp(&schema::LATEST) {
        std::cmp::Ordering::Equal => Ok(db),
        std::cmp::Ordering::Less => Err(HistoryError::Older { path: path.to_owned(), found }),
        std::cmp::Ordering::Greater => {
            Err(HistoryError::Newer { path: path.to_owned(), found, known: schema::LATEST })
        }
    }
}

fn in_memory() -> rusqlite::Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    db.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(&mut db)?;
    Ok(db)
}

/// Whether the tables are what the schema's number says; reads only the schema.
fn check_tables(db: &Connection) -> rusqlite::Result<()> {
    db.prepare("SELECT at_least, tail, last_seen, threads, target_kind FROM units")?;
    db.prepare("SELECT unit, curve, tokens FROM observations")?;
    db.prepare("SELECT value FROM learned").map(|_| ())
}

/// Makes the directory and the file readable by their owner only. Directories and files that exist keep
/// the rights that somebody gave them. SQLite gives its other files the rights of the database.
fn make_private(dir: &Path, path: &Path) -> Result<(), HistoryError> {
    let file = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| HistoryError::File { operation, path, source }
    };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(file("make the directory", dir))?;
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(file("open", path))?;
    Ok(())
}

/// Renames the damaged database out of the way, its journal with it, and says how it is called now.
fn set_aside(path: &Path, unix_now: u64) -> Result<PathBuf, HistoryError> {
    let aside = with_suffix(path, &format!(".damaged-{unix_now}"));
    fs::rename(path, &aside).map_err(|source| HistoryError::File {
        operation: "rename",
        path: path.to_owned(),
        source,
    })?;
    // The journal belongs to the file that was renamed; it may be missing. The index beside it is
    // rebuilt from the journal, and would be wrong for the new database.
    let _ = fs::rename(with_suffix(path, "-wal"), with_suffix(&aside, "-wal"));
    let _ = fs::remove_file(with_suffix(path, "-shm"));
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// `file:…?immutable=1`, see <https://www.sqlite.org/uri.html>.
fn immutable_uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?immutable=1"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_database_is_private_and_leaves_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("plim soll");
        let opened = open(&home, 1);
        assert_eq!((opened.place, opened.warning), (Place::File, None));
        drop(opened.db);
        assert_eq!(names(&home), [FILE]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&home), 0o700);
        assert_eq!(mode(&home.join(FILE)), 0o600);
    }

    #[test]
    fn a_damaged_file_is_set_aside_and_a_new_one_begun() {
        for contents in
            [&b"not a database, but long enough to be taken for one at first sight"[..], &{
                let mut torn = b"SQLite format 3\0".to_vec();
                torn.resize(4096, 0x5a);
                torn
            }]
        {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(FILE), contents).unwrap();
            let opened = open(dir.path(), 77);
            assert_eq!(opened.place, Place::File);
            let warning = opened.warning.unwrap();
            assert!(warning.contains("history.sqlite3.damaged-77"), "{warning}");
            drop(opened.db);
            assert_eq!(names(dir.path()), [FILE, "history.sqlite3.damaged-77"]);
            assert_eq!(fs::read(dir.path().join("history.sqlite3.damaged-77")).unwrap(), contents);
            assert_eq!(open(dir.path(), 78).warning, None);
        }
    }

    #[test]
    fn tables_that_are_not_ours_are_damage() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join(FILE)).unwrap();
        db.execute_batch(&format!("CREATE TABLE x (y); PRAGMA user_version = {}", schema::LATEST))
            .unwrap();
        drop(db);
        let opened = open(dir.path(), 5);
        assert_eq!(opened.place, Place::File);
        assert!(opened.warning.unwrap().contains("no such table"));
    }

    #[test]
    fn a_newer_database_is_neither_used_nor_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let db = Connection::open(dir.path().join(FILE)).unwrap();
        db.pragma_update(None, "user_version", schema::LATEST + 1).unwrap();
        drop(db);
        let before = fs::read(dir.path().join(FILE)).unwrap();
        let opened = open(dir.path(), 5);
        assert_eq!(opened.place, Place::Memory);
        assert!(opened.db.is_some());
        assert!(opened.warning.unwrap().contains("newer plimsoll"));
        assert_eq!(names(dir.path()), [FILE]);
        assert_eq!(fs::read(dir.path().join(FILE)).unwrap(), before);
    }

    #[test]
    fn a_locked_database_is_done_without() {
        let dir = tempfile::tempdir().unwrap();
        let other = Connection::open(dir.path().join(FILE)).unwrap();
        other.execute_batch("CREATE TABLE x (y); BEGIN EXCLUSIVE").unwrap();
        let opened = open(dir.path(), 5);
        assert_eq!(opened.place, Place::Memory);
        assert!(opened.warning.unwrap().contains("locked"));
        other.execute_batch("ROLLBACK").unwrap();
        drop(other);
        assert_eq!(open(dir.path(), 5).warning, None);
    }

    #[test]
    fn a_home_that_cannot_be_made_costs_a_warning() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let opened = open(&dir.path().join("file/home"), 5);
        assert_eq!(opened.place, Place::Memory);
        assert!(opened.db.is_some());
        assert!(opened.warning.unwrap().contains("PLIMSOLL_HOME"));
    }

    #[test]
    fn a_file_that_cannot_be_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("a %41 ?home");
        let db = open(&home, 5).db.unwrap();
        db.execute("INSERT INTO learned VALUES ('x', 4.5)", []).unwrap();
        drop(db);
        let path = home.join(FILE);
        let refused = HistoryError::File {
            operation: "open",
            path: path.clone(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        };
        let opened = otherwise(&home, &path, &refused, 5);
        assert_eq!(opened.place, Place::ReadOnly);
        let read = "SELECT value FROM learned";
        let value: f64 = opened.db.unwrap().query_row(read, [], |row| row.get(0)).unwrap();
        assert_eq!(value, 4.5);
        let db = Connection::open_with_flags(
            immutable_uri(&path),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI,
        )
        .unwrap();
        let value: f64 = db.query_row(read, [], |row| row.get(0)).unwrap();
        assert_eq!(value, 4.5);
    }

    #[test]
    fn many_builds_may_begin_the_first_database_at_once() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            let opening: Vec<_> = (0..4).map(|_| scope.spawn(|| open(dir.path(), 5))).collect();
            for opened in opening {
                let opened = opened.join().unwrap();
                assert_ne!(opened.place, Place::ReadOnly);
                assert!(opened.db.is_some());
            }
        });
        assert_eq!(names(dir.path()), [FILE]);
    }
}
