//! What a process holds that has not called exec since its fork: it shows pages that its parent has as well.
//!
//! Each such page is counted once, with the parent. A vfork's child (posix_spawn's) runs in its parent's memory and has
//! nothing of its own; of a fork's child only those pages count that nobody else has mapped, which are the ones that either of
//! the two has written to since. Cargo forks for each unit, and where the machine is busy the exec comes late.

use plimsoll_core::{Bytes, Millis};

use super::ProcessTree;
use super::STATUS_PERIOD;
use crate::linux::procfs::{Own, Statm};
use crate::linux::table::Index;

/// How long a child is given until its exec, before its page tables are walked. Because nearly all have called it by then.
const FORKED: Millis = Millis(300);

/// What is known of a process that has not called exec.
#[derive(Debug, Default)]
pub(super) struct Forked {
    seen_at: Option<Millis>,
    /// It runs in its parent's memory, and does so until its exec.
    borrows: bool,
    /// What was its own when the page tables were walked last, what it showed then, and when that was.
    walked: Option<(Own, Bytes, Millis)>,
}

impl ProcessTree {
    /// Reads its memory again.
    pub(super) fn sample_forked(&mut self, index: Index, now: Millis, page: u64) {
        let own = self.own_of_forked(index, now, page).unwrap_or_default();
        if let Some(node) = self.table.get_mut(index) {
            node.memory = own.memory + own.swap;
            node.swapped = own.swap;
        }
    }

    fn own_of_forked(&mut self, index: Index, now: Millis, page: u64) -> Option<Own> {
        let node = self.table.get_mut(index)?;
        let (pid, forked) = (node.pid, &mut node.record.sampled.forked);
        if forked.borrows {
            return None;
        }
        let young = now - *forked.seen_at.get_or_insert(now) < FORKED;
        let walked = forked.walked;
        if walked.is_none() && self.borrows(index) {
            self.table.get_mut(index)?.record.sampled.forked.borrows = true;
            return None;
        }
        if young {
            return None;
        }
        let shown = self.statm_once(index)?.anonymous(page);
        let known = walked.filter(|(_, _, at)| now - *at < STATUS_PERIOD);
        let (own, before, _) = known.unwrap_or_else(|| {
            // Where nobody tells, all of it may be its own.
            let whole = Own { memory: shown, swap: Bytes::ZERO };
            (self.proc.own(pid).unwrap_or(whole), shown, now)
        });
        if known.is_none() {
            self.table.get_mut(index)?.record.sampled.forked.walked = Some((own, shown, now));
        }
        Some(Own { memory: own.memory + (shown - before), swap: own.swap })
    }

    /// Its parent has exactly the pages that it has: they are the same. (Of files a fork's child has none at first, because
    /// page tables of files are not copied.)
    fn borrows(&mut self, index: Index) -> bool {
        let Some(parent) = self.table.parent(index) else { return false };
        let mut look = |index| self.statm_once(index);
        let (before, own, after) = (look(parent), look(index), look(parent));
        match (before, own, after) {
            (Some(before), Some(own), Some(after)) => own.is_between(before, after),
            _ => false,
        }
    }

    fn statm_once(&mut self, index: Index) -> Option<Statm> {
        self.statm(index, false, &mut 0).ok()
    }
}
