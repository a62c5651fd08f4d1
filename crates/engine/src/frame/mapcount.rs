//! Mapcounts: how many entries map a page, and a folio.
//!
//! A PTE counts in its page's slot. A large folio has two more counts in the slots of its first
//! tail: *total* (every entry of either sort) in the upper half of the word of counts, *entire*
//! (PMD and PUD entries) in the cold index. The lower half stays zero: a speculative grab that
//! comes too late, and takes the tail for a head, must find no reference there. Invariant: total =
//! entire + the sum over pages. Absent: who maps; the caller holds the lock of the table whose
//! entry it counts.
//! Linux: `page_mapcount`, `folio_mapcount`, `folio_entire_mapcount` (include/linux/mm.h, 6.18).

use super::count::CountError;
use super::flags::FrameFlags;
use super::meta::FrameTable;
use crate::addr::Pfn;
use crate::sync::{AtomicU32, AtomicU64};
use core::sync::atomic::Ordering::Relaxed;

/// One entry, in the upper half of the word of counts.
const TOTAL: u64 = 1 << 32;

/// The counts of a large folio as a whole.
struct Large<'f> {
    total: &'f AtomicU64,
    entire: &'f AtomicU32,
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
}

impl FrameTable {
    /// The counts of the folio as a whole, if it is large.
    #[inline]
    fn large(&self, pfn: Pfn) -> Option<Large<'_>> {
        let word = self.word(pfn);
        if !word.is_tail() && !word.is_large() {
            return None;
        }
        let tail = self.head(pfn).offset(1);
        Some(Large { total: &self.hot(tail).counts, entire: &self.cold(tail).index })
    }
    /// One more PTE maps the page `pfn`.
    #[inline]
    pub fn map(&self, pfn: Pfn) {
        self.hot(pfn).mapcount.fetch_add(1, Relaxed);
        if let Some(large) = self.large(pfn) {
            large.total.fetch_add(TOTAL, Relaxed);
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
    /// One PTE less maps the page `pfn`. Answers how many are left.
    #[inline]
    pub fn unmap(&self, pfn: Pfn) -> u32 {
        let Some(left) = decrement(&self.hot(pfn).mapcount) else { return 0 };
        if let Some(large) = self.large(pfn) {
            large.total.fetch_sub(TOTAL, Relaxed);
        }
        left
    }
    /// One more PMD or PUD entry maps the whole folio. A small folio counts it as a PTE.
    pub fn map_huge(&self, head: Pfn) {
        let Some(large) = self.large(head) else { return self.map(head) };
        large.entire.fetch_add(1, Relaxed);
        large.total.fetch_add(TOTAL, Relaxed);
    }
    /// One PMD or PUD entry less maps the whole folio. Answers how many are left.
    pub fn unmap_huge(&self, head: Pfn) -> u32 {
        let Some(large) = self.large(head) else { return self.unmap(head) };
        let Some(left) = decrement(large.entire) else { return 0 };
        large.total.fetch_sub(TOTAL, Relaxed);
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
