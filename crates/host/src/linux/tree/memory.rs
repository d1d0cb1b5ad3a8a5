//! What the processes of the tree hold and use, read again and again.
//!
//! Three rates, because the reads differ in price: `statm` (anonymous pages) at every sample, through
//! a descriptor that stays open; `stat` (processor time) five times a second, or twice where it stood still;
//! `status` (shared memory, swap) every second, and only where swap exists or the shared pages moved, or at
//! once where the resident pages fell or the shared ones rose by much. A shim sleeps, and neither its memory
//! nor its time moves: it is looked at every two seconds. What has not called exec since its fork is `forked`'s.

use plimsoll_core::{Bytes, Millis};
use rustix::fs::OFlags;
use rustix::io::Errno;

use std::os::fd::OwnedFd;

use super::forked::Forked;
use super::{ProcessTree, STATUS_PERIOD};
use crate::linux::procfs::{Hidden, Statm, read_statm};
use crate::linux::table::Index;
use crate::process::{Owner, Role};

/// How often processor time is read. Because it is the axis of the memory curves that are remembered, and
/// a unit of a second should leave more than a point or two.
const STAT_PERIOD: Millis = Millis(200);
/// How often it is read where it stood still between two readings: a unit that waits has nothing to add to its curve.
const STILL_PERIOD: Millis = Millis(500);
/// How often a shim is looked at.
const SHIM_PERIOD: Millis = Millis(2_000);
/// Resident pages that fall, or shared ones that rise, by so much are looked into at once: it may be
/// swap, or shared memory that fills.
const LARGE: Bytes = Bytes::mib(16);
/// Shared pages that moved by less than this since `status` was read are the same pages.
const SAME: Bytes = Bytes::mib(1);
/// Descriptors that are kept open, at most. Because the usual limit is 1024, and 300 shims have a
/// connection each; further processes are opened for each reading.
const KEPT: usize = 256;

/// What the last readings of a process were.
#[derive(Debug, Default)]
pub(super) struct Sampled {
    statm: Option<OwnedFd>,
    stat_at: Option<Millis>,
    /// It used no processor between the last two readings of `stat`.
    still: bool,
    hidden: Hidden,
    hidden_at: Option<Millis>,
    /// `statm` when `hidden` was read.
    beside: Statm,
    pub forked: Forked,
    /// The `oom_score_adj` that was set.
    pub oom_score: Option<i32>,
}

impl ProcessTree {
    /// Reads the memory of the given owners' processes again, or of all. `now` is any clock that does
    /// not go back; it only spaces the dearer readings.
    pub fn sample(&mut self, owners: Option<&[Owner]>, now: Millis) {
        let page = rustix::param::page_size() as u64;
        if self.swap_checked.is_none_or(|at| now - at >= STATUS_PERIOD) {
            self.swap_checked = Some(now);
            self.has_swap = self.proc.has_swap();
        }
        let mut kept =
            self.table.living().filter(|(_, n)| n.record.sampled.statm.is_some()).count();
        for at in 0..self.table.end() {
            let Some((index, node)) = self.table.at(at) else { continue };
            if owners.is_none_or(|owners| owners.contains(&node.owner())) {
                self.sample_one(index, now, page, &mut kept);
            }
        }
        self.table.add_up();
    }

    fn sample_one(&mut self, index: Index, now: Millis, page: u64, kept: &mut usize) {
        let Some(node) = self.table.get(index) else { return };
        let shim = matches!(node.claim, Some((_, Role::Shim)));
        let cpu = node.cpu;
        let period = match node.record.sampled.still {
            _ if shim => SHIM_PERIOD,
            true => STILL_PERIOD,
            false => STAT_PERIOD,
        };
        let due = node.record.sampled.stat_at.is_none_or(|at| now - at >= period);
        if shim && !due {
            return;
        }
        if due || !node.settled || node.zombie {
            if self.refresh(index).is_none() {
                return;
            }
            if let Some(node) = self.table.get_mut(index) {
                let sampled = &mut node.record.sampled;
                sampled.still = sampled.stat_at.is_some() && node.cpu == cpu;
                sampled.stat_at = Some(now);
            }
        }
        if self.table.get(index).is_some_and(|node| !node.settled) {
            return self.sample_forked(index, now, page);
        }
        let statm = match self.statm(index, !shim, kept) {
            Ok(statm) => statm,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return,
            Err(_) => return self.bury(index),
        };
        if statm.resident == 0 && self.refresh(index).is_none() {
            return;
        }
        let Some(node) = self.table.get_mut(index) else { return };
        let (pid, sampled) = (node.pid, &mut node.record.sampled);
        if sampled.wants_hidden(now, statm, page, self.has_swap) {
            if let Some(hidden) = self.proc.hidden(pid) {
                sampled.hidden = hidden;
            }
            sampled.hidden_at = Some(now);
            sampled.beside = statm;
        }
        let Hidden { shmem, swap } = sampled.hidden;
        node.memory = statm.anonymous(page) + shmem + swap;
        node.swapped = swap;
    }

    /// Reads `statm`, through a descriptor that stays open if `keep` says so and there are not too many.
    pub(super) fn statm(
        &mut self,
        index: Index,
        keep: bool,
        kept: &mut usize,
    ) -> Result<Statm, Errno> {
        let node = self.table.get_mut(index).ok_or(Errno::SRCH)?;
        if let Some(file) = &node.record.sampled.statm {
            return read_statm(file);
        }
        let file = self.proc.open_file(node.pid, "statm", OFlags::RDONLY)?;
        // The pid may have been given to another process since it was found.
        if self.proc.stat(node.pid).is_none_or(|stat| stat.start != node.start) {
            return Err(Errno::SRCH);
        }
        let statm = read_statm(&file)?;
        if keep && *kept < KEPT {
            *kept += 1;
            node.record.sampled.statm = Some(file);
        }
        Ok(statm)
    }
}

impl Sampled {
    fn wants_hidden(&self, now: Millis, statm: Statm, page: u64, swap: bool) -> bool {
        let Some(at) = self.hidden_at else {
            return statm.shared * page > 0 || statm.resident == 0;
        };
        let fell = self.beside.resident.saturating_sub(statm.resident) * page;
        let rose = statm.shared.saturating_sub(self.beside.shared) * page;
        if fell >= LARGE.0 || rose >= LARGE.0 {
            return true;
        }
        let moved = statm.shared.abs_diff(self.beside.shared) * page;
        now - at >= STATUS_PERIOD && (moved >= SAME.0 || swap)
    }
}
