//! The memory controller's files of one cgroup, v1 and v2
//! (Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst).
//!
//! What a cgroup holds that cannot be dropped is, in v2, its charge without file pages and reclaimable
//! slabs; so all kernel memory, sockets and whatever a later kernel charges are in it. In v1 the parts
//! of kernel memory are not told apart: the machine's own share of what cannot be reclaimed is taken.

use std::path::Path;

use plimsoll_core::Bytes;
use plimsoll_core::budget::CgroupMemory;

use super::kept::{KeptFile, field};
use super::mounts::Version;

/// A limit from here on is none: v1 writes the largest multiple of the page size.
pub(super) const UNLIMITED: u64 = 1 << 60;
/// Larger than any `memory.stat` (about 2 KiB in v2 of Linux 6.18).
const STAT_SIZE: usize = 8 << 10;

/// One cgroup above us, its files kept open.
#[derive(Debug)]
pub(super) struct CgroupFiles {
    version: Version,
    /// v2 `memory.max`, v1 `memory.limit_in_bytes`.
    limit: Option<KeptFile>,
    /// v2 `memory.high`: above it the kernel slows the members down until they crawl.
    high: Option<KeptFile>,
    /// v2 `memory.current`, v1 `memory.kmem.usage_in_bytes`.
    charge: Option<KeptFile>,
    stat: KeptFile,
    /// v2 `memory.swap.max`, v1 `memory.memsw.limit_in_bytes` (memory and swap together).
    swap_limit: Option<KeptFile>,
    /// v2 `memory.swap.current`, v1 `memory.memsw.usage_in_bytes`.
    swap_usage: Option<KeptFile>,
}

/// What one reading of a cgroup's files says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CgroupReading {
    /// The cgroup, where it has a limit.
    pub limited: Option<CgroupMemory>,
    /// What it holds that cannot be dropped.
    pub held: Bytes,
    /// File-backed pages that were read again soon after they were dropped, in all.
    pub refaulted: u64,
}

impl CgroupFiles {
    /// `None` where the directory has no memory controller.
    pub(super) fn open(version: Version, dir: &Path) -> Option<Self> {
        let open = |name: &str| KeptFile::open(&dir.join(name));
        let stat = open("memory.stat")?;
        Some(match version {
            Version::V2 => Self {
                version,
                limit: open("memory.max"),
                high: open("memory.high"),
                charge: open("memory.current"),
                stat,
                swap_limit: open("memory.swap.max"),
                swap_usage: open("memory.swap.current"),
            },
            Version::V1 => Self {
                version,
                limit: open("memory.limit_in_bytes"),
                high: None,
                charge: open("memory.kmem.usage_in_bytes"),
                stat,
                swap_limit: open("memory.memsw.limit_in_bytes"),
                swap_usage: open("memory.memsw.usage_in_bytes"),
            },
        })
    }

    /// Reads what it holds now. `pinned_share` is the part of the machine's kernel memory that cannot be
    /// reclaimed, for v1.
    pub(super) fn read(&self, pinned_share: f64) -> CgroupReading {
        let mut buffer = [0; STAT_SIZE];
        let stat = self.stat.read(&mut buffer);
        let of = |key: &str| field(stat, key).unwrap_or(0);
        let number = |file: &Option<KeptFile>| file.as_ref().and_then(KeptFile::number);
        let limit = |file: &Option<KeptFile>| number(file).unwrap_or(u64::MAX);
        let (limit, held, swap_free, refaulted) = match self.version {
            Version::V2 => {
                let dropped = of("active_file") + of("inactive_file") + of("slab_reclaimable");
                let known = of("anon") + of("shmem");
                let held = number(&self.charge)
                    .map_or(known, |all| all.saturating_sub(dropped).max(known));
                let swap =
                    limit(&self.swap_limit).saturating_sub(number(&self.swap_usage).unwrap_or(0));
                // Before Linux 5.9 one counter for both kinds of pages.
                let refaulted = field(stat, "workingset_refault_file")
                    .unwrap_or_else(|| of("workingset_refault"));
                (limit(&self.limit).min(limit(&self.high)), held, swap, refaulted)
            }
            Version::V1 => {
                let known = of("total_rss") + of("total_shmem");
                let kernel = Bytes(number(&self.charge).unwrap_or(0)).scale(pinned_share).0;
                // The limit in force, also where a cgroup that we cannot see sets it.
                let bound = field(stat, "hierarchical_memory_limit").unwrap_or(u64::MAX);
                let both =
                    limit(&self.swap_limit).saturating_sub(number(&self.swap_usage).unwrap_or(0));
                let refaulted = field(stat, "total_workingset_refault_file")
                    .unwrap_or_else(|| of("total_workingset_refault"));
                (limit(&self.limit).min(bound), known + kernel, both, refaulted)
            }
        };
        let cgroup =
            CgroupMemory { limit: Bytes(limit), held: Bytes(held), swap_free: Bytes(swap_free) };
        let limited = Some(cgroup).filter(|_| limit < UNLIMITED);
        CgroupReading { limited, held: cgroup.held, refaulted }
    }
}
