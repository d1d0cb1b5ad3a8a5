//! Finished arms, kept one JSON file each: an interrupted run goes on where it stopped.

use plimsoll_rig::report::slug;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::log::Figures;

/// The version of the record's format; others are ignored.
const FORMAT: u32 = 1;

/// How a build ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Exit 0.
    Ok,
    /// Another exit, and the OOM killer was not at work.
    Failed,
    /// The OOM killer was at work and the build failed.
    Died,
    /// Stopped at three times the time that it takes without a cgroup limit.
    Crawled,
}

/// One finished arm.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// See [`FORMAT`].
    pub(crate) format: u32,
    /// What was built.
    pub(crate) workload: String,
    /// How.
    pub(crate) arm: String,
    /// The budget as it was named, where the arm has one.
    #[serde(alias = "line")]
    pub(crate) budget: Option<String>,
    /// The budget.
    #[serde(alias = "line_bytes")]
    pub(crate) budget_bytes: Option<u64>,
    /// The cgroup limit as it was named.
    #[serde(alias = "wall")]
    pub(crate) cgroup_limit: Option<String>,
    /// The cgroup limit.
    #[serde(alias = "wall_bytes")]
    pub(crate) cgroup_limit_bytes: Option<u64>,
    /// Counted from 0.
    pub(crate) repeat: u32,
    /// The command, without paths.
    pub(crate) command: String,
    /// The project's commit.
    pub(crate) commit: String,
    /// Which programs of Plimsoll, for its arms.
    pub(crate) programs: Option<String>,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// 128 + n for a signal; none when it was stopped.
    pub(crate) exit: Option<i32>,
    /// Wall time.
    pub(crate) wall_s: f64,
    /// Processor time.
    pub(crate) cpu_s: Option<f64>,
    /// Peak of anonymous + shared + swapped memory.
    pub(crate) peak_bytes: u64,
    /// When that was.
    pub(crate) peak_at_s: f64,
    /// By the kernel.
    pub(crate) oom_kills: Option<u64>,
    /// Per cent of the wall time.
    pub(crate) psi_full_pct: Option<f64>,
    /// `cgroup v1`, `cgroup v2` or `process tree`.
    pub(crate) sampler: String,
    /// How many samples were taken.
    pub(crate) samples: usize,
    /// Units that cargo compiled, by its own lines.
    pub(crate) compiled: u64,
    /// What Plimsoll says of itself.
    pub(crate) plimsoll: Option<Figures>,
    /// The last lines of standard error, where its summary is, or the reason of a failure. Empty where the record was
    /// read back from what is published.
    #[serde(default)]
    pub(crate) tail: Vec<String>,
}

impl Record {
    /// The current format's number.
    pub(crate) const FORMAT: u32 = FORMAT;

    /// What of it others may read: not what the build printed, which names paths of this machine.
    pub(crate) fn to_publish(&self) -> serde_json::Result<serde_json::Value> {
        let mut record = serde_json::to_value(self)?;
        if let Some(fields) = record.as_object_mut() {
            fields.remove("tail");
        }
        Ok(record)
    }
}

/// The folder of kept records.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    dir: PathBuf,
}

impl Store {
    /// In a state folder.
    pub(crate) fn open(state: &Path) -> Result<Self> {
        let dir = state.join("arms");
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The kept record of a key, if there is one that can be read.
    pub(crate) fn get(&self, key: &str) -> Option<Record> {
        let text = fs::read_to_string(self.path(key, "json")).ok()?;
        serde_json::from_str::<Record>(&text).ok().filter(|record| record.format == FORMAT)
    }

    /// Keeps a record, and its time series beside it. Complete or not at all.
    pub(crate) fn put(&self, key: &str, record: &Record, series: &[(u64, u64)]) -> Result<()> {
        write(&self.path(key, "series"), &serde_json::to_string(series)?)?;
        write(&self.path(key, "json"), &serde_json::to_string_pretty(record)?)
    }

    /// Forgets a record.
    pub(crate) fn forget(&self, key: &str) {
        for kind in ["json", "series"] {
            let _ = fs::remove_file(self.path(key, kind));
        }
    }

    /// Forgets everything that is kept of a workload.
    pub(crate) fn forget_all(&self, workload: &str) -> Result<()> {
        let prefix = slug(&[workload, ""]);
        let entries =
            fs::read_dir(&self.dir).with_context(|| format!("reading {}", self.dir.display()))?;
        for entry in
            entries.flatten().filter(|it| it.file_name().to_string_lossy().starts_with(&prefix))
        {
            fs::remove_file(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
        Ok(())
    }

    fn path(&self, key: &str, kind: &str) -> PathBuf {
        self.dir.join(format!("{key}.{kind}"))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_printed_is_kept_and_not_published() {
        let kept = serde_json::json!({
            "format": FORMAT, "workload": "giant", "arm": "plain-j8", "repeat": 0, "command": "cargo build",
            "commit": "abc", "outcome": "died", "exit": 101, "wall_s": 1.5, "peak_bytes": 7, "peak_at_s": 1.0,
            "sampler": "cgroup v1", "samples": 3, "compiled": 1, "tail": ["error: /home/me/rustc"],
        });
        let record: Record = serde_json::from_value(kept).unwrap();
        assert_eq!(record.tail, ["error: /home/me/rustc"]);
        let published = record.to_publish().unwrap();
        assert_eq!(published["exit"], 101);
        assert!(!published.to_string().contains("/home/me"), "{published}");
        let read_back: Record = serde_json::from_value(published).unwrap();
        assert_eq!((read_back.exit, read_back.tail.len()), (Some(101), 0));
    }
}
