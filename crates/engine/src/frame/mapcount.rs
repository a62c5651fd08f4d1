//! Mapcounts: how many entries map a page, and a folio.
//!
//! A PTE counts in its page's slot. A large folio has more counts in the slots of its first tails:
//! *total* (every entry of either sort) in the upper half of the first one's word of counts,
//! *entire* (PMD and PUD entries) in its cold index; and in the same places of the next two tails,
//! how often which *mapper* maps it: two address spaces are remembered. The lower halves stay zero:
//! a speculative grab that comes too late, and takes the tail for a head, must find no reference
//! there. Invariants: total = entire + the sum over pages; a slot counts no more than its mapper
//! has. Absent: the entries; the caller holds the lock of the table whose entry it counts.
//! Linux: `page_mapcount`, `folio_mapcount`, `folio_entire_mapcount` (include/linux/mm.h),
//! `folio_add_large_mapcount`, `folio_maybe_mapped_shared` (include/linux/rmap.h, 6.18).

use super::count::CountError;
use super::flags::FrameFlags;
use super::lock::{lock, unlock};
use super::meta::FrameTable;
use crate::addr::Pfn;
use crate::sync::{AtomicU32, AtomicU64, spin_loop};
use core::sync::atomic::Ordering::Relaxed;

/// An address space, as a large folio knows who maps it; no two that live are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mapper(u32);

impl Mapper {
    /// The address space whose root table is in this frame.
    #[allow(clippy::cast_possible_truncation, reason = "frame numbers are below 2^32 - 1")]
    pub const fn of_root(root: Pfn) -> Self {
        Self(root.get() as u32 + 1)
    }
    /// None: whose mapping it is, is not known.
    pub const UNKNOWN: Self = Self(u32::MAX);
}

/// One entry, in the upper half of the word of counts.
const TOTAL: u64 = 1 << 32;
/// In the word of a folio's first tail: several address spaces may map it.
const SHARED: u32 = FrameFlags::PRIVATE.bits();

/// The counts of a large folio as a whole.
struct Large<'f> {
    total: &'f AtomicU64,
    entire: &'f AtomicU32,
    /// The first tail's word: the lock of the slots, and [`SHARED`].
    word: &'f AtomicU32,
    /// Two address spaces that map it: how often, and which; the folios of two pages have none.
    slots: Option<[(&'f AtomicU64, &'f AtomicU32); 2]>,
}

impl Large<'_> {
    #[inline]
    fn total(&self) -> u32 {
        (self.total.load(Relaxed) >> 32) as u32
    }
    #[inline]
    fn entire(&self) -> u32 {
        self.entire.load(Relaxed)
    }
    /// `entries` more of `by` map it.
    fn add(&self, by: Mapper, entries: u64) {
        let Some(slots) = &self.slots else {
            self.total.fetch_add(TOTAL * entries, Relaxed);
            return;
        };
        lock(self.word, spin_loop);
        let total = (self.total.fetch_add(TOTAL * entries, Relaxed) >> 32) + entries;
        let of = |id| slots.iter().find(|(_, slot)| slot.load(Relaxed) == id);
        if let Some((count, _)) = of(by.0) {
            count.fetch_add(TOTAL * entries, Relaxed);
        } else if let Some((count, id)) = of(0) {
            id.store(by.0, Relaxed);
            count.store(TOTAL * entries, Relaxed);
            if total != entries {
                self.word.fetch_or(SHARED, Relaxed);
            }
        }
        unlock(self.word);
    }
    /// `by` has an entry less that maps it. An address space that found no slot is not missed, and
    /// only a slot that has all of the rest shows that nobody else is there.
    fn sub(&self, by: Mapper) {
        let Some(slots) = &self.slots else {
            self.total.fetch_sub(TOTAL, Relaxed);
            return;
        };
        lock(self.word, spin_loop);
        let total = (self.total.fetch_sub(TOTAL, Relaxed) >> 32) - 1;
        let own = slots.iter().find(|(_, id)| id.load(Relaxed) == by.0);
        let left = own.map_or(0, |(count, _)| (count.fetch_sub(TOTAL, Relaxed) >> 32) - 1);
        if left == 0 {
            if let Some((_, id)) = own {
                id.store(0, Relaxed);
            }
            if slots.iter().any(|(count, _)| count.load(Relaxed) >> 32 == total) {
                self.word.fetch_and(!SHARED, Relaxed);
            }
        }
        unlock(self.word);
    }
}

impl FrameTable {
    /// The counts of the folio as a whole, if it is large.
    #[inline]
    fn large(&self, pfn: Pfn) -> Option<Large<'_>> {
        let word = self.word(pfn);
        if !word.is_tail() && !word.is_large() {
            return None;
        }
        let head = self.head(pfn);
        let tail = head.offset(1);
        let slot = |n| (&self.hot(head.offset(n)).counts, &self.cold(head.offset(n)).index);
        Some(Large {
            total: &self.hot(tail).counts,
            entire: &self.cold(tail).index,
            word: &self.hot(tail).word,
            slots: (self.word(head).order() > 1).then(|| [slot(2), slot(3)]),
        })
    }
    /// Whether several address spaces may map the folio. Of a large one, two are remembered: what a
    /// third one maps makes it shared until one of those two has all that is left (row F-24).
    pub fn maybe_mapped_shared(&self, pfn: Pfn) -> bool {
        match self.large(pfn) {
            Some(large) if large.slots.is_some() => large.word.load(Relaxed) & SHARED != 0,
            _ => self.folio_mapcount(pfn) > 1,
        }
    }
    /// One more PTE of `by` maps the page `pfn`.
    #[inline]
    pub fn map(&self, pfn: Pfn, by: Mapper) {
        self.hot(pfn).mapcount.fetch_add(1, Relaxed);
        if let Some(large) = self.large(pfn) {
            large.add(by, 1);
        }
    }
    /// One more PTE of `by` maps each of the `pages` pages from `first` on, all of one folio.
    pub fn map_each(&self, first: Pfn, pages: u64, by: Mapper) {
        for n in 0..pages {
            self.hot(first.offset(n)).mapcount.fetch_add(1, Relaxed);
        }
        if let Some(large) = self.large(first) {
            large.add(by, pages);
        }
    }
    /// One more PTE maps the small folio `pfn`, whose mappings nobody else counts meanwhile: none
    /// maps it, or one whose table's lock the caller holds.
    #[inline]
    pub fn map_alone(&self, pfn: Pfn) {
        let count = &self.hot(pfn).mapcount;
        let old = count.load(Relaxed);
        debug_assert!(old <= 1 && !self.is_large(pfn), "{pfn:?} is mapped by others: {old}");
        count.store(old + 1, Relaxed);
    }
    /// Shares the page `pfn` with one more PTE, if it is a small anonymous folio that is exclusive
    /// to the PTE whose table's lock the caller holds: after `look`, takes the mark away, a
    /// reference, and counts the mapping. Otherwise does nothing, and says no.
    /// # Errors
    /// [`CountError`]: no reference was to be had; the mark is gone.
    #[inline]
    pub(crate) fn share_exclusive(
        &self,
        pfn: Pfn,
        look: impl FnOnce(),
    ) -> Result<bool, CountError> {
        let hot = self.hot(pfn);
        if !hot.word().is_small_exclusive() {
            return Ok(false);
        }
        look();
        hot.word.fetch_and(!FrameFlags::ANON_EXCLUSIVE.bits(), Relaxed);
        self.get(pfn, 1)?;
        self.map_alone(pfn);
        Ok(true)
    }
    /// One PTE of `by` less maps the page `pfn`. Answers how many are left.
    #[inline]
    pub fn unmap(&self, pfn: Pfn, by: Mapper) -> u32 {
        let Some(left) = decrement(&self.hot(pfn).mapcount) else { return 0 };
        if let Some(large) = self.large(pfn) {
            large.sub(by);
        }
        left
    }
    /// One more PMD or PUD entry of `by` maps the whole folio. A small folio counts it as a PTE.
    pub fn map_huge(&self, head: Pfn, by: Mapper) {
        let Some(large) = self.large(head) else { return self.map(head, by) };
        large.entire.fetch_add(1, Relaxed);
        large.add(by, 1);
    }
    /// One PMD or PUD entry of `by` less maps the whole folio. Answers how many are left.
    pub fn unmap_huge(&self, head: Pfn, by: Mapper) -> u32 {
        let Some(large) = self.large(head) else { return self.unmap(head, by) };
        let Some(left) = decrement(large.entire) else { return 0 };
        large.sub(by);
        left
    }
    /// Entries that map the page `pfn`: PTEs, and those that map its whole folio.
    #[inline]
    pub fn mapcount(&self, pfn: Pfn) -> u32 {
        self.hot(pfn).mapcount.load(Relaxed).saturating_add(self.entire_mapcount(pfn))
    }
    /// PMD and PUD entries that map the whole folio; 0 for a small one.
    #[inline]
    pub fn entire_mapcount(&self, pfn: Pfn) -> u32 {
        self.large(pfn).map_or(0, |large| large.entire())
    }
    /// Entries of any sort that map the folio or a page of it.
    #[inline]
    pub fn folio_mapcount(&self, pfn: Pfn) -> u32 {
        match self.large(pfn) {
            Some(large) => large.total(),
            None => self.hot(pfn).mapcount.load(Relaxed),
        }
    }
    /// Whether any entry maps the folio or a page of it.
    pub fn is_mapped(&self, pfn: Pfn) -> bool {
        self.folio_mapcount(pfn) > 0
    }
}

/// Takes one away, and answers what is left; `None`, and no change, at zero.
#[inline]
fn decrement(count: &AtomicU32) -> Option<u32> {
    let old = count.fetch_sub(1, Relaxed);
    if old == 0 {
        count.fetch_add(1, Relaxed);
        debug_assert!(false, "unmapped more often than mapped");
        return None;
    }
    Some(old - 1)
}
