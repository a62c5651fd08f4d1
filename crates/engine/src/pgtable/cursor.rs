//! Walks to neighbouring addresses that read the upper levels once per table: [`Cursor`].
//!
//! While the mmap lock is held, a table of 4 KiB leaves stays where it is: tables are freed, and
//! replaced by huge leaves, only with the lock held for writing. So its place may be remembered;
//! its entries may not, and are read at every walk.
//! Absent: edits.
//! Linux: mm/gup.c walks from the root for each page; the entries read are the same.

use super::tables::{ENTRIES, Place, Tables, Walked, index_at, level_shift};
use crate::addr::{Pfn, VirtAddr};
use crate::host::Host;
use crate::sync::Word;
use core::sync::atomic::Ordering;

/// No table is remembered: no address shifted by [`level_shift`] of 1 is this.
const NOWHERE: u64 = u64::MAX;

/// A place in the tables of one address space, for walks that mostly go on where the last one was.
///
/// To be used while the mmap lock is held without a break: whoever dropped it calls
/// [`Cursor::forget`] before the next walk.
#[derive(Debug)]
pub struct Cursor<'a, H: Host> {
    tables: Tables<'a, H>,
    /// Which 2 MiB of the address space `words` maps, or [`NOWHERE`].
    at: u64,
    table: Pfn,
    words: &'a [Word; ENTRIES],
}

impl<'a, H: Host> Cursor<'a, H> {
    /// A cursor that is nowhere yet.
    pub fn new(tables: Tables<'a, H>) -> Self {
        Self { tables, at: NOWHERE, table: tables.root, words: tables.entries(tables.root) }
    }

    /// As [`Tables::walk`].
    #[inline]
    pub fn walk(&mut self, addr: VirtAddr) -> Walked<H::Format> {
        if addr.get() >> level_shift(1) == self.at {
            let index = index_at(addr.get(), 0);
            let place = Place { table: self.table, index, level: 0 };
            let entry = self.tables.entry_of(place, self.words[index].load(Ordering::Acquire));
            return Walked { place, entry };
        }
        self.walk_from_root(addr)
    }

    /// Remembers nothing: the mmap lock was dropped.
    #[inline]
    pub fn forget(&mut self) {
        self.at = NOWHERE;
    }

    fn walk_from_root(&mut self, addr: VirtAddr) -> Walked<H::Format> {
        let found = self.tables.walk(addr);
        if found.place.level == 0 {
            self.at = addr.get() >> level_shift(1);
            self.table = found.place.table;
            self.words = self.tables.entries(self.table);
        }
        found
    }
}
