//! The lock bit of a frame: [`TableGuard`] for page tables, [`FolioGuard`] for folios.
//!
//! Both spin. A table's lock covers a handful of entry edits; a folio's lock covers one fault's or
//! one split's work in memory. Neither is held while anything waits for a store: that is what
//! tickets are for, so the wait is bounded by the holder's own few hundred instructions (or its
//! time slice, where a thread holds it). Order: folio lock before table lock. Of two tables, the
//! higher level first; of one level, the lower frame.

use super::flags::FrameFlags;
use super::meta::FrameTable;
use crate::addr::Pfn;
use crate::sync::{AtomicU32, spin_loop};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

const LOCKED: u32 = FrameFlags::LOCKED.bits();
/// So many turns (many seconds) mean that the holder waits for us: debug builds say so instead of
/// hanging.
const DEADLOCK_SPINS: u64 = 1 << 29;

#[inline]
fn try_lock(word: &AtomicU32) -> bool {
    word.fetch_or(LOCKED, Acquire) & LOCKED == 0
}

#[inline]
pub(super) fn lock(word: &AtomicU32, relax: impl FnMut()) {
    if !try_lock(word) {
        lock_contended(word, relax);
    }
}

#[cold]
#[inline(never)]
fn lock_contended(word: &AtomicU32, mut relax: impl FnMut()) {
    let mut spins: u64 = 0;
    loop {
        while word.load(Relaxed) & LOCKED != 0 {
            relax();
            spins += 1;
            debug_assert!(spins < DEADLOCK_SPINS, "deadlock: a frame's lock is never released");
        }
        if try_lock(word) {
            return;
        }
    }
}

#[inline]
pub(super) fn unlock(word: &AtomicU32) {
    word.fetch_and(!LOCKED, Release);
}

/// The right to edit the entries of one page table, until dropped.
#[derive(Debug)]
#[must_use = "dropping the guard unlocks the table at once"]
pub struct TableGuard<'f> {
    word: &'f AtomicU32,
    pfn: Pfn,
}

impl TableGuard<'_> {
    /// The table.
    #[inline]
    pub fn table(&self) -> Pfn {
        self.pfn
    }
}

impl Drop for TableGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        unlock(self.word);
    }
}

/// A folio's lock, until dropped.
#[derive(Debug)]
#[must_use = "dropping the guard unlocks the folio at once"]
pub struct FolioGuard<'f> {
    word: &'f AtomicU32,
    head: Pfn,
}

impl FolioGuard<'_> {
    /// The folio.
    #[inline]
    pub fn folio(&self) -> Pfn {
        self.head
    }
    /// Leaves the folio locked; whoever finishes the work calls [`FrameTable::unlock_folio`].
    pub fn keep_locked(self) {
        core::mem::forget(self);
    }
}

impl Drop for FolioGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        unlock(self.word);
    }
}

impl FrameTable {
    /// Locks the page table in frame `pfn`. Spins.
    #[inline]
    pub fn lock_table(&self, pfn: Pfn) -> TableGuard<'_> {
        self.lock_table_with(pfn, spin_loop)
    }
    /// The same, calling `relax` in each turn of the wait.
    #[inline]
    pub fn lock_table_with(&self, pfn: Pfn, relax: impl FnMut()) -> TableGuard<'_> {
        let word = &self.hot(pfn).word;
        lock(word, relax);
        TableGuard { word, pfn }
    }
    /// Locks the page table in frame `pfn` unless somebody holds it.
    #[inline]
    pub fn try_lock_table(&self, pfn: Pfn) -> Option<TableGuard<'_>> {
        let word = &self.hot(pfn).word;
        try_lock(word).then(|| TableGuard { word, pfn })
    }
    /// Locks the folio of `pfn`. Spins. The caller has a reference.
    #[inline]
    pub fn lock_folio(&self, pfn: Pfn) -> FolioGuard<'_> {
        let head = self.head(pfn);
        let word = &self.hot(head).word;
        lock(word, spin_loop);
        FolioGuard { word, head }
    }
    /// Locks the folio of `pfn` unless somebody holds it. The caller has a reference.
    #[inline]
    pub fn try_lock_folio(&self, pfn: Pfn) -> Option<FolioGuard<'_>> {
        let head = self.head(pfn);
        let word = &self.hot(head).word;
        try_lock(word).then(|| FolioGuard { word, head })
    }
    /// Unlocks a folio that [`FolioGuard::keep_locked`] left locked.
    pub fn unlock_folio(&self, pfn: Pfn) {
        let old = self.head_hot(pfn).word.fetch_and(!LOCKED, Release);
        debug_assert!(old & LOCKED != 0, "unlocked without a lock");
    }
    /// Whether somebody holds the folio's lock.
    #[inline]
    pub fn is_locked(&self, pfn: Pfn) -> bool {
        self.has(pfn, FrameFlags::LOCKED)
    }
}
