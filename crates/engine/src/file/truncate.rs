//! Truncation and hole punching: pages leave the page cache, and every entry that maps them.
//!
//! A pinned page leaves as well: it belongs to no file any more, keeps its bytes, and is freed with
//! its last pin (rows W-02, F-47). Invariant: size first, then the cache, then the entries; faults
//! hold the mmap lock from their look at the size to their entry, and unmapping takes it for
//! writing, so no entry outlives its page's place in the file.
//! Linux: `truncate_setsize`, `unmap_mapping_range` (mm/truncate.c, mm/memory.c, 6.18).

use super::cache::{File, FileKind, Slot};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, VirtAddr, VirtRange};
use crate::fault::{Zap, zap_range_as};
use crate::frame::{FrameFlags, Owner};
use crate::host::{Host, Memory, ReadMode};
use crate::mm::{Machine, Mm};
use crate::rule::{f, w};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// No address is concerned.
const NOWHERE: VirtAddr = VirtAddr::new(0);

impl<H: Host> File<H> {
    /// Notes that `mm` maps the file, so that truncation finds it. Done by mmap and fork.
    pub fn add_mapper(&self, mm: &Arc<Mm<H>>) {
        let mut mappers = self.mappers.lock();
        mappers.retain(|mapper| mapper.strong_count() > 0);
        let new = Arc::downgrade(mm);
        if !mappers.iter().any(|mapper| mapper.ptr_eq(&new)) {
            mappers.push(new);
        }
    }

    /// Changes the size to `bytes`. Pages past it leave the cache and all mappings, private copies
    /// included; the rest of the last page is zeroed.
    ///
    /// Takes the mmap lock of every address space that maps the file, for writing: the caller holds
    /// none.
    pub fn truncate(&self, machine: &Machine<H>, bytes: u64) {
        let old = self.size();
        self.wait_for_users(machine, bytes.div_ceil(PAGE_SIZE), u64::MAX);
        self.set_size(bytes);
        if bytes >= old {
            return;
        }
        let first = self.size_pages();
        self.split_at(machine, bytes);
        self.discard(first, u64::MAX);
        self.drop_pages(machine, first, u64::MAX);
        self.give_promises_back(first, u64::MAX);
        self.zero_tail(machine, bytes);
        self.unmap(first, u64::MAX, Zap::PAGES);
    }

    /// Drops pages `first..end` (`FALLOC_FL_PUNCH_HOLE`): later reads find zeroes, or the store's
    /// bytes. Private copies stay.
    ///
    /// Takes the mmap lock of every address space that maps the file, for writing: the caller holds
    /// none.
    pub fn punch_hole(&self, machine: &Machine<H>, first: u64, end: u64) {
        self.wait_for_users(machine, first, end);
        self.split_at(machine, first << PAGE_SHIFT);
        self.split_at(machine, end.saturating_mul(PAGE_SIZE));
        self.discard(first, end);
        self.drop_pages(machine, first, end);
        self.give_promises_back(first, end);
        self.unmap(first, end, Zap::FILE_PAGES);
    }

    /// The page cache of a DAX file is the device: its pages cannot leave it while anybody refers
    /// to them, so their users are waited for (row F-50).
    fn wait_for_users(&self, machine: &Machine<H>, first: u64, end: u64) {
        let frames = machine.frames();
        let used = |slot: &Slot| match slot {
            Slot::Page(page) => frames.refs(*page) > frames.folio_mapcount(*page) + 1,
            Slot::Reading(..) | Slot::Swapped(_) => false,
        };
        let busy = || self.pages.lock().range(first..end.max(first)).any(|(_, slot)| used(slot));
        while machine.host().rule(f::F_50, self.kind() == FileKind::Fsdax && busy(), NOWHERE) {
            machine.host().relax();
        }
    }

    /// The store forgets pages `first..end`.
    fn discard(&self, first: u64, end: u64) {
        if let Some(store) = self.store() {
            store.discard(first, end);
        }
    }

    /// Takes a large folio apart that has bytes on both sides of byte `at`; before that, its pages
    /// are unmapped everywhere. One that somebody else refers to stays whole.
    ///
    /// Linux: `truncate_inode_partial_folio()`.
    fn split_at(&self, machine: &Machine<H>, at: u64) {
        let (frames, index) = (machine.frames(), at >> PAGE_SHIFT);
        let page = match self.pages.lock().get(&index) {
            Some(Slot::Page(page)) => *page,
            Some(Slot::Reading(..) | Slot::Swapped(_)) | None => return,
        };
        let head = frames.head(page);
        let first = index - (page.get() - head.get());
        if !frames.is_large(page) || self.kind() != FileKind::Regular || first << PAGE_SHIFT == at {
            return;
        }
        let pages = frames.folio_frames(head);
        let cached = self.pages.lock().range(first..first + pages).count() as u64;
        let expected = u64::from(frames.folio_mapcount(head)) + cached;
        if u64::from(frames.refs(head)) != expected {
            return;
        }
        self.unmap(first, first + pages, Zap::FILE_PAGES);
        #[allow(clippy::cast_possible_truncation, reason = "at most 1 << MAX_ORDER")]
        if frames.freeze(head, cached as u32) {
            let cached = self.pages.lock();
            frames.split(head, |page, _| {
                u32::from(cached.contains_key(&(first + page.get() - head.get())))
            });
        }
    }

    /// Zeroes what the last page holds past the new end.
    fn zero_tail(&self, machine: &Machine<H>, bytes: u64) {
        #[allow(clippy::cast_possible_truncation, reason = "below 4096")]
        let offset = (bytes & (PAGE_SIZE - 1)) as usize;
        let index = bytes >> PAGE_SHIFT;
        if offset == 0 || !self.pages.lock().contains_key(&index) {
            return;
        }
        if let Ok(last) = self.load(machine, index, ReadMode::Block) {
            machine.memory().write(last, offset, &[0; PAGE_SIZE as usize][offset..]);
            machine.put_page(last);
        }
    }

    /// Takes pages `first..end` out of the cache. A large folio goes page by page, and is the
    /// file's until the last.
    pub(super) fn drop_pages(&self, machine: &Machine<H>, first: u64, end: u64) {
        let mut pages = self.pages.lock();
        let gone: Vec<u64> = pages.range(first..end.max(first)).map(|(index, _)| *index).collect();
        for index in gone {
            match pages.remove(&index) {
                Some(Slot::Page(page) | Slot::Reading(page, _)) => {
                    if machine.frames().maybe_pinned(page) {
                        machine.host().decided(f::F_47, VirtAddr::new(0));
                    }
                    if machine.frames().refs(page) > machine.frames().folio_mapcount(page) + 1 {
                        // Somebody holds it: it leaves the file, but keeps frame and bytes.
                        machine.host().decided(w::W_02, VirtAddr::new(0));
                    }
                    if !machine.frames().is_large(page) {
                        machine.frames().set_owner(page, Owner::default());
                        machine.frames().clear(page, FrameFlags::DIRTY);
                        machine.frames().set(page, FrameFlags::TRUNCATED);
                    }
                    machine.put_page(page);
                }
                Some(Slot::Swapped(slot)) => machine.swap().drop_user(machine, slot),
                None => {}
            }
        }
    }

    /// Unmaps pages `first..end` of the file wherever they are mapped.
    fn unmap(&self, first: u64, end: u64, zap: Zap) {
        let mappers: Vec<Arc<Mm<H>>> =
            self.mappers.lock().iter().filter_map(alloc::sync::Weak::upgrade).collect();
        for mm in mappers {
            let map = mm.write();
            for vma in map.iter() {
                let ours =
                    vma.backing.file().is_some_and(|file| core::ptr::eq(&raw const **file, self));
                if !ours {
                    continue;
                }
                let skip = first.saturating_sub(vma.pgoff());
                let stop = end.saturating_sub(vma.pgoff()).min(vma.range().pages());
                if skip < stop {
                    let start = vma.start().saturating_add(skip << PAGE_SHIFT);
                    let end = vma.start().saturating_add(stop << PAGE_SHIFT);
                    // Only anonymous areas and hugetlb have huge pages; hugetlb's go whole.
                    let split = zap_range_as(&mm, vma, VirtRange::new(start, end), zap);
                    debug_assert!(split.is_ok(), "a huge page of a file was cut");
                }
            }
        }
    }
}
