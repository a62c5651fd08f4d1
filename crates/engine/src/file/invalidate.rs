//! Dropping clean pages of the cache that nobody needs: `posix_fadvise(DONTNEED)`, `drop_caches`.
//!
//! Invariant: a page leaves only with its last reference in hand, and is asked whether it is dirty
//! after that (row F-49).
//! Absent: pages that are mapped, and memory that is its own store: both stay.
//! Linux: `mapping_evict_folio`, `invalidate_mapping_pages` (mm/truncate.c, 6.18).

use super::cache::{File, FileKind, Slot};
use crate::addr::{Pfn, VirtAddr};
use crate::frame::{FrameFlags, Owner};
use crate::host::Host;
use crate::mm::Machine;
use crate::rule::f;
use alloc::vec::Vec;

/// No address is concerned.
const NOWHERE: VirtAddr = VirtAddr::new(0);

impl<H: Host> File<H> {
    /// Drops pages `first..end` from the cache, those that are clean, mapped nowhere, and referred
    /// to by nobody else (row F-48). Answers how many stayed.
    pub fn invalidate(&self, machine: &Machine<H>, first: u64, end: u64) -> usize {
        let mut pages = self.pages.lock();
        let cached = pages.range(first..end.max(first)).filter_map(|(index, slot)| match slot {
            Slot::Page(page) => Some((*index, *page)),
            Slot::Reading(..) | Slot::Swapped(_) => None,
        });
        let cached: Vec<(u64, Pfn)> = cached.collect();
        let mut stayed = 0;
        for (index, page) in cached {
            if self.is_its_own_store() || !freeze_clean(machine, page) {
                stayed += 1;
                continue;
            }
            pages.remove(&index);
            machine.frames().set_owner(page, Owner::default());
            machine.frames().unfreeze(page, 1);
            machine.put_page(page);
        }
        stayed
    }

    fn is_its_own_store(&self) -> bool {
        match self.kind() {
            FileKind::Regular => false,
            FileKind::NoWriteback
            | FileKind::Fsdax
            | FileKind::Shmem
            | FileKind::Hugetlb(_)
            | FileKind::Secret => true,
        }
    }
}

/// Takes the cache's reference to the page away, if that is its only one and the page is clean.
fn freeze_clean<H: Host>(machine: &Machine<H>, page: Pfn) -> bool {
    let (host, frames) = (machine.host(), machine.frames());
    let alone = !frames.is_large(page) && !frames.is_mapped(page) && frames.freeze(page, 1);
    if host.rule(f::F_48, !alone, NOWHERE) {
        return false;
    }
    if host.rule(f::F_49, frames.has(page, FrameFlags::DIRTY), NOWHERE) {
        frames.unfreeze(page, 1);
        return false;
    }
    true
}
