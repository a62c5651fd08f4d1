//! Mapcounts: how many entries map a page, and a folio.
//!
//! A PTE counts in its page's slot. In a large folio two more counts live in the first tail's word
//! of counts: *entire* (PMD and PUD entries) low, *total* (every entry of either sort) high.
//! Invariant: total = entire + the sum over pages. Absent: who maps; the caller holds the lock of
//! the table whose entry it counts. Linux: `page_mapcount`, `folio_mapcount`,
//! `folio_entire_mapcount` (include/linux/mm.h, 6.18).

use super::meta::FrameTable;
use crate::addr::Pfn;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

const ENTIRE: u64 = 1;
const TOTAL: u64 = 1 << 32;

impl FrameTable {
    /// The first tail's word, if the folio has one.
    #[inline]
    fn large_counts(&self, pfn: Pfn) -> Option<&AtomicU64> {
        let word = self.word(pfn);
        if !word.is_tail() && !word.is_large() {
            return None;
        }
        Some(&self.hot(self.head(pfn).offset(1)).counts)
    }
    /// One more PTE maps the page `pfn`.
    #[inline]
    pub fn map(&self, pfn: Pfn) {
        self.hot(pfn).mapcount.fetch_add(1, Relaxed);
        if let Some(counts) = self.large_counts(pfn) {
            counts.fetch_add(TOTAL, Relaxed);
        }
    }
    /// One PTE less maps the page `pfn`. Answers how many are left.
    #[inline]
    pub fn unmap(&self, pfn: Pfn) -> u32 {
        let Some(left) = decrement(&self.hot(pfn).mapcount) else { return 0 };
        if let Some(counts) = self.large_counts(pfn) {
            counts.fetch_sub(TOTAL, Relaxed);
        }
        left
    }
    /// One more PMD or PUD entry maps the whole folio. A small folio counts it as a PTE.
    pub fn map_huge(&self, head: Pfn) {
        match self.large_counts(head) {
            Some(counts) => drop(counts.fetch_add(ENTIRE | TOTAL, Relaxed)),
            None => self.map(head),
        }
    }
    /// One PMD or PUD entry less maps the whole folio. Answers how many are left.
    pub fn unmap_huge(&self, head: Pfn) -> u32 {
        let Some(counts) = self.large_counts(head) else { return self.unmap(head) };
        let old = counts.load(Relaxed);
        debug_assert!(low(old) != 0, "unmapped more often than mapped");
        if low(old) == 0 {
            return 0;
        }
        low(counts.fetch_sub(ENTIRE | TOTAL, Relaxed)).saturating_sub(1)
    }
    /// Entries that map the page `pfn`: PTEs, and those that map its whole folio.
    #[inline]
    pub fn mapcount(&self, pfn: Pfn) -> u32 {
        self.hot(pfn).mapcount.load(Relaxed).saturating_add(self.entire_mapcount(pfn))
    }
    /// PMD and PUD entries that map the whole folio; 0 for a small one.
    #[inline]
    pub fn entire_mapcount(&self, pfn: Pfn) -> u32 {
        self.large_counts(pfn).map_or(0, |counts| low(counts.load(Relaxed)))
    }
    /// Entries of any sort that map the folio or a page of it.
    #[inline]
    pub fn folio_mapcount(&self, pfn: Pfn) -> u32 {
        match self.large_counts(pfn) {
            Some(counts) => high(counts.load(Relaxed)),
            None => self.hot(pfn).mapcount.load(Relaxed),
        }
    }
    /// Whether any entry maps the folio or a page of it.
    pub fn is_mapped(&self, pfn: Pfn) -> bool {
        self.folio_mapcount(pfn) > 0
    }
}

const fn low(counts: u64) -> u32 {
    (counts & 0xffff_ffff) as u32
}
const fn high(counts: u64) -> u32 {
    (counts >> 32) as u32
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
