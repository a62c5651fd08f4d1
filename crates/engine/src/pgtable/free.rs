//! Freeing tables: those of a range that nothing else can use, and all of them.
//!
//! The mmap lock is held for writing, so nobody else edits here; lock-free walks may still be
//! inside a table, which is why each goes through [`Tables::retire_table`]. Invariants: (1) a table
//! is unlinked, and the walk caches are flushed, before it is freed; (2) a table with an entry in
//! it is kept. Linux: `free_pgtables`, `free_pgd_range` and below (mm/memory.c), `exit_mmap`
//! (mm/mmap.c), 6.18.

use super::batch::Batch;
use super::tables::{Place, Tables, clip, index_at, level_span};
use super::{Entry, Format};
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::host::Host;
use core::sync::atomic::Ordering;

impl<H: Host> Tables<'_, H> {
    /// Frees the empty tables of `range` that cover no address outside `floor..ceiling`: what is
    /// left when the areas in `range` are unmapped and their neighbours end at `floor` and begin at
    /// `ceiling`. Returns how many.
    ///
    /// The mmap lock is held for writing. The root stays.
    pub fn free_tables(&self, range: VirtRange, floor: VirtAddr, ceiling: VirtAddr) -> u64 {
        let (start, end) = clip::<H::Format>(range);
        let keep = (floor.get(), ceiling.get());
        self.free_below(self.root, H::Format::LEVELS - 1, (start, end), keep)
    }

    /// Frees every table, the root too. Returns how many. Nobody uses the address space any more;
    /// its entries are gone ([`Tables::unmap`]), or their frames' references are the caller's.
    pub fn destroy(&self) -> u64 {
        let below = self.destroy_below(self.root, H::Format::LEVELS - 1);
        self.retire_table(self.root);
        below + 1
    }

    fn free_below(&self, table: Pfn, level: u8, range: (u64, u64), outer: (u64, u64)) -> u64 {
        let span = level_span(level);
        let mut freed = 0;
        let mut base = range.0 & !(span - 1);
        while base < range.1 {
            let place = Place { table, index: index_at(base, level), level };
            let entry = self.load(place);
            let end = base + span;
            if entry.is_table(level) {
                let part = (range.0.max(base), range.1.min(end));
                freed += self.free_below(entry.pfn(), level - 1, part, outer);
                if outer.0 <= base && end <= outer.1 && self.is_empty(entry.pfn()) {
                    self.unlink(place, VirtAddr::new(base), entry);
                    freed += 1;
                }
            }
            base = end;
        }
        freed
    }

    fn unlink(&self, place: Place, base: VirtAddr, entry: Entry<H::Format>) {
        let mut batch = Batch::open(*self, place.table, place.level);
        self.store(place, Entry::NONE);
        batch.owe(base, entry);
        drop(batch);
        self.retire_table(entry.pfn());
    }

    fn is_empty(&self, table: Pfn) -> bool {
        self.entries(table).iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    fn destroy_below(&self, table: Pfn, level: u8) -> u64 {
        if level == 0 {
            return 0;
        }
        let mut freed = 0;
        for word in self.entries(table) {
            let entry: Entry<H::Format> = Entry::from_raw(word.load(Ordering::Acquire));
            if entry.is_table(level) {
                freed += 1 + self.destroy_below(entry.pfn(), level - 1);
                self.retire_table(entry.pfn());
            }
        }
        freed
    }
}
