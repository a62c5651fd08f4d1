//! What is held and owed while one table is locked: [`Batch`].
//!
//! Invariant: translations that the batch made stale are flushed before its lock is released (row
//! S-24).

use super::Entry;
use super::tables::{Tables, level_shift, level_span};
use crate::addr::Pfn;
use crate::addr::{VirtAddr, VirtRange};
use crate::frame::TableGuard;
use crate::host::Host;
use crate::rule::s;

/// Nothing is stale: the empty range that any other extends.
const FRESH: (u64, u64) = (u64::MAX, 0);

/// A locked table, and the addresses whose translations are stale because of changes to it.
pub(super) struct Batch<'a, H: Host> {
    tables: Tables<'a, H>,
    level: u8,
    /// First address, and end.
    stale: (u64, u64),
    /// Released last: fields are dropped after `drop` has run.
    guard: Option<TableGuard<'a>>,
}

impl<'a, H: Host> Batch<'a, H> {
    /// Locks `table`, which is at `level`.
    #[inline]
    pub(super) fn open(tables: Tables<'a, H>, table: Pfn, level: u8) -> Self {
        Self { tables, level, stale: FRESH, guard: Some(tables.lock(table)) }
    }
    /// The table's level.
    #[inline]
    pub(super) fn level(&self) -> u8 {
        self.level
    }
    /// Notes that translations through `old`, the entry that covered `addr`, are stale.
    #[inline]
    pub(super) fn owe(&mut self, addr: VirtAddr, old: Entry<H::Format>) {
        if old.is_present() {
            let start = addr.align_down(level_shift(self.level)).get();
            let (first, end) = self.stale;
            self.stale = (first.min(start), end.max(start.saturating_add(level_span(self.level))));
        }
    }
    /// Flushes what is owed, before pages that were mapped are given back.
    #[inline]
    pub(super) fn flush(&mut self) {
        if self.flushes_locked() {
            self.flush_now();
        }
    }
    /// Before anything that was mapped is given back, and before the lock is released.
    #[inline]
    fn flushes_locked(&self) -> bool {
        if self.level == 0 { s::S_24.when(true) } else { s::S_25.when(true) && s::S_26.when(true) }
    }
    #[inline]
    fn flush_now(&mut self) {
        let (first, end) = core::mem::replace(&mut self.stale, FRESH);
        if first < end {
            let range = VirtRange::new(VirtAddr::new(first), VirtAddr::new(end));
            self.tables.host.flush_tlb(self.tables.root, range);
        }
    }
}

impl<H: Host> Drop for Batch<'_, H> {
    #[inline]
    fn drop(&mut self) {
        if !self.flushes_locked() {
            self.guard = None;
        }
        self.flush_now();
    }
}
