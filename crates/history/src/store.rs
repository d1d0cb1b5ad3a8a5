//! The history: what was remembered of a unit, and what is to be remembered.
//!
//! Reads go to the database at once; what is recorded waits in memory and is written in transactions of many, so a unit
//! that ends costs the governor's loop next to nothing; the last ones with [`History::flush`]. What waits is seen by
//! reads: the tests of one program, or the builds of five worktrees, learn from each other as they go. Nothing here fails: what
//! cannot be read is unknown, what cannot be written is dropped, and a person is told once.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use plimsoll_core::forecast::Observation;
use plimsoll_core::unit::{UnitFacts, UnitKey};
use plimsoll_core::{Bytes, Millis};
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::{HistoryError, Trouble};
use crate::open::{self, Opened, Place};
use crate::record::{self, Change, KEPT_OBSERVATIONS, KEPT_UNITS, Made, integer, natural};
use crate::related::{self, RelatedCrate};
use crate::rows::{self, Row};
use crate::schema;

/// Related units that are looked at to find the most alike: a crate in more than so many versions and
/// feature sets has enough among the newest.
const ELDERS_SEEN: u32 = 32;

/// So many changes are written together: a transaction of 10 ms, and no more than this is looked through by reads.
const TOGETHER: usize = 256;

/// Changes that wait for a locked database at most, because each holds a kilobyte or two.
const PENDING: usize = 4096;

/// What the history knows of a unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Remembered {
    /// The observations are of this very unit; else of related ones.
    pub exact: bool,
    /// Of this unit: newest first. Of related ones: one of each, the most alike first, as their memory would be with
    /// this unit's threads. At most four. Empty
    /// where only [`Remembered::at_least`] is known. Each carries the bottom level of its unit in the last
    /// complete build.
    pub observations: Vec<Observation>,
    /// What a run of this very unit had reached when it was killed, where no complete run came after;
    /// else zero.
    pub at_least: Bytes,
}

/// What Plimsoll remembers of units, between builds.
pub struct History {
    path: PathBuf,
    db: Option<Connection>,
    place: Place,
    pending: Vec<Change>,
    /// What a person was not told yet.
    warning: Option<String>,
    /// Statements wait for a lock, each for [`open::BUSY`]. After one that waited in vain they do not, until
    /// a write succeeds: what one build may lose to a lock stays under 200 ms.
    patient: bool,
    /// Pruned with the first flush.
    pruned: bool,
    /// A person was told that something was dropped.
    told_dropped: bool,
}

impl History {
    /// Opens the history in the directory `dir`, which is made (for its owner only) where it is missing.
    ///
    /// Never fails and, where others lock it, costs at most about 200 ms. Where the file cannot be used as
    /// it should be there is a warning for a person, in one or two sentences without a prefix: a damaged
    /// file is renamed to `history.sqlite3.damaged-<unix seconds>`, one that cannot be written is read, and
    /// else the history lives in memory until the end of the build.
    #[must_use]
    pub fn open(dir: &Path) -> (Self, Option<String>) {
        let Opened { db, place, warning } = open::open(dir, unix_now());
        let history = Self {
            path: dir.join(open::FILE),
            db,
            place,
            pending: Vec::new(),
            warning: None,
            patient: true,
            pruned: false,
            told_dropped: false,
        };
        (history, warning)
    }

    /// What is known of a unit, or of related ones; `None` where nothing is.
    pub fn forecast(&mut self, facts: &UnitFacts) -> Option<Remembered> {
        let waiting = Waiting::of(facts, &self.pending);
        self.ask(|db| remembered(db, facts, waiting)).flatten()
    }

    /// Remembers a complete run. It replaces what killed runs had reached.
    pub fn record(&mut self, facts: &UnitFacts, observation: &Observation) {
        self.push(Change::Seen(Made::new(facts), observation.clone()));
    }

    /// Remembers that a run which was killed had reached `peak`.
    pub fn record_lower_bound(&mut self, facts: &UnitFacts, peak: Bytes) {
        self.push(Change::AtLeast(Made::new(facts), peak));
    }

    /// Remembers the bottom levels of a complete build. Units that the history does not know are skipped.
    pub fn set_critical_paths(&mut self, critical_paths: &[(UnitKey, Millis)]) {
        for (key, critical_path) in critical_paths {
            self.push(Change::CriticalPath(key.clone(), *critical_path));
        }
    }

    /// A number that was learned of this machine, by its name.
    pub fn learned(&mut self, name: &str) -> Option<f64> {
        let waiting = self.pending.iter().rev().find_map(|change| match change {
            Change::Learned(known, value) if known == name => Some(*value),
            _ => None,
        });
        waiting.or_else(|| {
            let sql = "SELECT value FROM learned WHERE name = ?1";
            self.ask(|db| db.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional())
                .flatten()
        })
    }

    /// Remembers a number by its name; one that is not finite is not remembered.
    pub fn set_learned(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.push(Change::Learned(name.to_owned(), value));
        }
    }

    /// Writes what was recorded, in one transaction. Where another process is writing it waits at most
    /// 40 ms and leaves the rest to the next call. Returns what a person should be told, if anything.
    pub fn flush(&mut self) -> Option<String> {
        self.flush_at(integer(unix_now()), KEPT_UNITS);
        self.warning.take()
    }

    /// All units whose package or crate has `crate_filter` in its name, heaviest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    pub fn list(&self, crate_filter: Option<&str>) -> Result<Vec<Row>, HistoryError> {
        match &self.db {
            Some(db) => {
                rows::list(db, crate_filter).map_err(HistoryError::database("read", &self.path))
            }
            None => Ok(Vec::new()),
        }
    }

    fn push(&mut self, change: Change) {
        // What could not be written is tried again with the next so many.
        if !self.pending.is_empty() && self.pending.len().is_multiple_of(TOGETHER) {
            self.write(integer(unix_now()), None);
        }
        if self.place == Place::ReadOnly || self.db.is_none() {
            return;
        }
        if self.pending.len() >= PENDING {
            let path = self.path.display();
            self.dropped(&format!("another process has locked the history `{path}` for too long"));
            return;
        }
        self.pending.push(change);
    }

    /// What is forgotten is so once all of the build is remembered: its units are the newest then.
    fn flush_at(&mut self, unix_now: i64, keep: u32) {
        let prune = (!self.pruned).then_some(keep);
        self.pruned |= self.write(unix_now, prune);
    }

    /// Writes what waits; says whether that went well.
    fn write(&mut self, unix_now: i64, prune: Option<u32>) -> bool {
        let Some(db) = self.db.as_mut().filter(|_| !self.pending.is_empty()) else {
            return false;
        };
        let written = record::write(db, &self.pending, unix_now)
            .and_then(|()| prune.map_or(Ok(()), |keep| record::prune(db, keep, unix_now)));
        match written {
            Ok(()) => {
                self.pending.clear();
                self.wait_for_locks(true);
                true
            }
            Err(source) => {
                self.troubled("write", source);
                false
            }
        }
    }

    fn wait_for_locks(&mut self, patient: bool) {
        if let Some(db) = self.db.as_ref().filter(|_| self.patient != patient) {
            // Cannot fail on an open database; if it did, only the wait would stay as it was.
            let _ = db.busy_timeout(if patient { open::BUSY } else { Duration::ZERO });
            self.patient = patient;
        }
    }

    /// Reads, or learns that it cannot.
    fn ask<T>(&mut self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Option<T> {
        match read(self.db.as_ref()?) {
            Ok(answer) => Some(answer),
            Err(source) => {
                self.troubled("read", source);
                None
            }
        }
    }

    /// Goes on after a failed operation: waits no more, sets a damaged file aside, or stops writing.
    fn troubled(&mut self, operation: &'static str, source: rusqlite::Error) {
        let error = HistoryError::database(operation, &self.path)(source);
        // A newer Plimsoll may migrate while we run: then its tables are not ours, and not damaged.
        let found = self.db.as_ref().and_then(|db| schema::version(db).ok());
        let trouble = match found.is_some_and(|found| found > schema::LATEST) {
            true => Trouble::OtherVersion,
            false => error.trouble(),
        };
        match trouble {
            Trouble::Locked => {
                self.wait_for_locks(false);
            }
            Trouble::Damaged if self.place == Place::File => {
                self.db = None;
                let dir = self.path.parent().unwrap_or(Path::new("."));
                let opened = open::otherwise(dir, &self.path, &error, unix_now());
                (self.db, self.place) = (opened.db, opened.place);
                self.warning = self.warning.take().or(opened.warning);
                self.pruned = false;
            }
            Trouble::Damaged | Trouble::OtherVersion | Trouble::Unwritable => {
                if operation == "write" {
                    self.pending.clear();
                    self.place = Place::ReadOnly;
                    self.dropped(&error.to_string());
                }
            }
        }
    }

    fn dropped(&mut self, why: &str) {
        if !self.told_dropped {
            self.told_dropped = true;
            let text = format!("Plimsoll cannot record all of this build: {why}");
            self.warning = Some(text);
        }
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History")
            .field("path", &self.path)
            .field("place", &self.place)
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

/// What waits to be written, of one unit and of related ones.
#[derive(Default)]
struct Waiting {
    /// Newest first.
    exact: Vec<Observation>,
    /// What a run had reached that was killed after those.
    at_least: Bytes,
    /// One of each.
    related_crates: Vec<RelatedCrate>,
}

impl Waiting {
    fn of(facts: &UnitFacts, pending: &[Change]) -> Self {
        let (key, family) = (facts.key(), facts.family());
        let now = integer(unix_now());
        let mut waiting = Self::default();
        for change in pending.iter().rev() {
            match change {
                Change::Seen(made, seen) if made.key == key => waiting.exact.push(seen.clone()),
                Change::Seen(made, seen)
                    if made.family == family.0
                        && waiting.related_crates.iter().all(|related| related.key != made.key) =>
                {
                    waiting.related_crates.push(RelatedCrate::new(made, seen.clone(), now));
                }
                Change::AtLeast(made, bound) if waiting.exact.is_empty() && made.key == key => {
                    waiting.at_least = waiting.at_least.max(*bound);
                }
                _ => {}
            }
        }
        waiting
    }
}

fn remembered(
    db: &Connection,
    facts: &UnitFacts,
    waiting: Waiting,
) -> rusqlite::Result<Option<Remembered>> {
    let Waiting { exact, mut at_least, mut related_crates } = waiting;
    let unit = db
        .prepare_cached("SELECT id, at_least, tail FROM units WHERE key = ?1")?
        .query_row([facts.key().0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let mut observations = exact;
    if let Some((id, bound, critical_path)) = unit {
        if observations.is_empty() {
            at_least = at_least.max(Bytes(natural(bound)));
        }
        let critical_path =
            Option::<i64>::map(critical_path, |critical_path| Millis(natural(critical_path)));
        observations
            .iter_mut()
            .for_each(|newer| newer.critical_path = newer.critical_path.or(critical_path));
        observations.extend(self::observations(db, id)?);
    }
    observations.truncate(KEPT_OBSERVATIONS as usize);
    if !observations.is_empty() {
        return Ok(Some(Remembered { exact: true, observations, at_least }));
    }
    let newer = related_crates.len();
    for related in self::related_crates(db, facts)? {
        if related_crates[..newer].iter().all(|it| it.key != related.key) {
            related_crates.push(related);
        }
    }
    related::most_alike_first(&mut related_crates, facts);
    let observations: Vec<Observation> = related_crates
        .into_iter()
        .map(|related| related.observation.with_threads(related.threads, facts.threads))
        .take(KEPT_OBSERVATIONS as usize)
        .collect();
    let known = !observations.is_empty() || at_least > Bytes::ZERO;
    Ok(known.then_some(Remembered { exact: false, observations, at_least }))
}

/// The newest observations of one unit, newest first.
fn observations(db: &Connection, id: i64) -> rusqlite::Result<Vec<Observation>> {
    let mut statement = db.prepare_cached(
        "SELECT curve, cpu, wall, link_peak, tokens, tail
         FROM observations JOIN units ON units.id = unit
         WHERE unit = ?1 ORDER BY observations.id DESC LIMIT ?2",
    )?;
    statement.query_map(params![id, KEPT_OBSERVATIONS], observation)?.collect()
}

/// The newest observation of each unit of a family, the newest first.
const ELDERS: &str =
    "SELECT curve, cpu, wall, link_peak, tokens, tail, version, features, debuginfo,
        codegen_units, lto, incremental, last_seen, key, threads
     FROM units JOIN observations ON observations.id =
        (SELECT max(id) FROM observations WHERE unit = units.id)
     WHERE family = ?1 ORDER BY last_seen DESC, units.id DESC LIMIT ?2";

fn related_crates(db: &Connection, facts: &UnitFacts) -> rusqlite::Result<Vec<RelatedCrate>> {
    let mut statement = db.prepare_cached(ELDERS)?;
    let related_crates = statement.query_map(params![facts.family().0, ELDERS_SEEN], |row| {
        Ok(RelatedCrate {
            version: row.get(6)?,
            features: row.get(7)?,
            debuginfo: row.get(8)?,
            codegen_units: row.get(9)?,
            lto: row.get(10)?,
            incremental: row.get(11)?,
            last_seen: row.get(12)?,
            key: UnitKey(row.get(13)?),
            threads: row.get(14)?,
            observation: observation(row)?,
        })
    })?;
    related_crates.collect()
}

/// The observation in the first six columns.
fn observation(row: &rusqlite::Row<'_>) -> rusqlite::Result<Observation> {
    let curve: String = row.get(0)?;
    let curve = serde_json::from_str(&curve).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Observation {
        curve,
        cpu: Millis(natural(row.get(1)?)),
        wall: Millis(natural(row.get(2)?)),
        link_peak: Bytes(natural(row.get(3)?)),
        tokens: row.get(4)?,
        critical_path: row
            .get::<_, Option<i64>>(5)?
            .map(|critical_path| Millis(natural(critical_path))),
    })
}

/// Seconds since the Unix epoch; a clock before it counts as the epoch.
fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since_epoch| since_epoch.as_secs())
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
