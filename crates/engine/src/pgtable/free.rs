//! Freeing tables: those of a range that nothing else can use, and all of them.
//!
//! The mmap lock is held for writing, so nobody else edits here. Lock-free walks may still be
//! inside a table, so its frame is given back only after they have left ([`super::Walkers`]).
//! Invariants: (1) a table is unlinked, the walk caches are flushed, and walkers have left, before
//! its frame is given back; (2) a table with an entry in it is kept.
//! Linux: `free_pgtables`, `free_pgd_range` and below (mm/memory.c), `exit_mmap` (mm/mmap.c),
//! 6.18.

use super::batch::Batch;
use super::tables::{Place, Tables, clip, index_at, level_span};
use super::walkers::Reclaim;
use super::{Entry, Format};
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::frame::Owner;
use crate::host::{Gap, Host};
use crate::rule::{f, s};
use core::sync::atomic::Ordering;

impl<H: Host> Tables<'_, H> {
    /// Frees the empty tables of `range` that cover no address outside `floor..ceiling`: what is
    /// left when the areas in `range` are unmapped and their neighbours end at `floor` and begin at
    /// `ceiling`. Returns how many.
    ///
    /// The mmap lock is held for writing. The root stays.
    pub fn free_tables(&self, range: VirtRange, floor: VirtAddr, ceiling: VirtAddr) -> u64 {
        let outer = Outer { floor: floor.get(), ceiling: ceiling.get(), highest: u8::MAX };
        self.free_in(range, outer)
    }

    /// Frees the empty tables of 4 KiB leaves that lie in `range` whole. Returns how many.
    ///
    /// The mmap lock is held for writing.
    /// # Linux
    /// `try_to_free_pte()` (`mm/pt_reclaim.c`).
    pub fn free_leaf_tables(&self, range: VirtRange) -> u64 {
        let outer = Outer { floor: range.start.get(), ceiling: range.end.get(), highest: 1 };
        self.free_in(range, outer)
    }

    fn free_in(&self, range: VirtRange, outer: Outer) -> u64 {
        let (start, end) = clip::<H::Format>(range);
        let mut retired = Retired::default();
        self.free_below(self.root, H::Format::LEVELS - 1, (start, end), outer, &mut retired);
        self.give_back(&retired)
    }

    /// Frees every table, the root too. Returns how many. Nobody uses the address space any more;
    /// its entries are gone ([`Tables::unmap`]), or their frames' references are the caller's.
    pub fn destroy(&self) -> u64 {
        let mut retired = Retired::default();
        self.destroy_below(self.root, H::Format::LEVELS - 1, &mut retired);
        self.retire_table(self.root, &mut retired);
        self.give_back(&retired)
    }

    fn free_below(
        &self,
        table: Pfn,
        level: u8,
        range: (u64, u64),
        outer: Outer,
        retired: &mut Retired,
    ) {
        let span = level_span(level);
        let mut base = range.0 & !(span - 1);
        while base < range.1 {
            let place = Place { table, index: index_at(base, level), level };
            let entry = self.load(place);
            let end = base + span;
            if entry.is_table(level) {
                let part = (range.0.max(base), range.1.min(end));
                self.free_below(entry.pfn(), level - 1, part, outer, retired);
                let goes = outer.floor <= base && end <= outer.ceiling && level <= outer.highest;
                if goes && self.is_empty(entry.pfn()) {
                    self.unlink(place, VirtAddr::new(base), entry);
                    self.retire_table(entry.pfn(), retired);
                }
            }
            base = end;
        }
    }

    fn destroy_below(&self, table: Pfn, level: u8, retired: &mut Retired) {
        if level == 0 {
            return;
        }
        for word in self.entries(table) {
            let entry: Entry<H::Format> = Entry::from_raw(word.load(Ordering::Acquire));
            if entry.is_table(level) {
                self.destroy_below(entry.pfn(), level - 1, retired);
                self.retire_table(entry.pfn(), retired);
            }
        }
    }

    fn unlink(&self, place: Place, base: VirtAddr, entry: Entry<H::Format>) {
        let mut batch = Batch::open(*self, place.table, place.level);
        self.store(place, Entry::NONE);
        batch.owe(base, entry);
    }

    fn is_empty(&self, table: Pfn) -> bool {
        self.entries(table).iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    /// Waits until walks without the lock that have begun are over: what was unlinked is nobody's
    /// any more.
    ///
    /// The mmap lock is held for writing, no table's.
    pub(crate) fn wait_for_walkers(&self) {
        let nowhere = VirtAddr::new(0);
        let waits = self.host.rule(f::F_56, true, nowhere);
        let waits = self.host.rule(s::S_21, true, nowhere) && waits;
        self.host.gap(Gap::Unlinked);
        if waits {
            self.walkers.wait(|| self.host.relax());
        }
        self.host.gap(Gap::Left);
    }

    /// Puts a table that nothing points to any more with the others. Tables that were put aside for
    /// its entries are not needed any more.
    fn retire_table(&self, table: Pfn, retired: &mut Retired) {
        while let Some(spare) = self.withdraw(table) {
            self.discard(spare);
        }
        // Frame numbers are below 2^32, and a table's owner is nobody's business but ours.
        let next = Owner { owner: retired.first.get() as u32, index: 0 };
        self.frames.set_owner(table, next);
        retired.first = table;
        retired.count += 1;
    }

    /// Frees the retired tables, once nobody walks them. Returns how many they were.
    fn give_back(&self, retired: &Retired) -> u64 {
        if retired.count > 0 {
            self.wait_for_walkers();
        }
        let mut table = retired.first;
        for _ in 0..retired.count {
            let next = self.frames.owner(table).owner;
            self.frames.put_and_free(table, 1);
            table = Pfn::new(u64::from(next));
        }
        retired.count
    }
}

/// Which tables may be freed.
#[derive(Clone, Copy)]
struct Outer {
    /// Those that cover nothing below.
    floor: u64,
    /// And nothing from here on.
    ceiling: u64,
    /// The highest level that an entry for one may stand at.
    highest: u8,
}

/// Unlinked tables that walkers may still be in, each with the number of the next in its metadata.
#[derive(Default)]
struct Retired {
    first: Pfn,
    count: u64,
}
