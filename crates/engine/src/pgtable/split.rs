//! Splitting: a huge leaf, or a huge swap entry, becomes a table of 512 equal parts one level down.
//!
//! The parts allow and remember what the whole did. Invariant: the table is whole before anything
//! points to it, so that a lock-free walk sees the leaf or its parts, never less, except nothing
//! where the format wants a break before it ([`Format::BREAK_BEFORE_MAKE`]). Absent: counts and
//! exclusivity of the folio behind, which are the caller's.
//! Linux: `__split_huge_pmd_locked` (`mm/huge_memory.c`), 6.18.

use super::batch::Batch;
use super::tables::{ENTRIES, Place, Tables, level_pages, level_shift};

use super::{Decoded, Entry, Format, Perms};
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::frame::OutOfMemory;
use crate::host::Host;
use core::sync::atomic::Ordering;

/// What became of an offered table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// It holds the parts now.
    Done,
    /// Nothing huge stands there, or it is not to be split; the table is where it was.
    NotHuge,
    /// No table was put aside for it.
    NoTable,
}

/// Where the table for the parts comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spare {
    /// This one, to which nothing points.
    Given(Pfn),
    /// One that was put aside for the huge entry.
    Deposited,
}

/// What the parts map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parts {
    /// Each its own part of what the whole maps.
    OfTheWhole,
    /// All this frame.
    Same(Pfn),
}

impl<H: Host> Tables<'_, H> {
    /// Splits the huge leaf, or huge swap entry, that covers `addr` one level down. Returns the new
    /// table, or `None` if nothing huge is there.
    /// # Errors
    /// [`OutOfMemory`]: no frame for the table; nothing changed.
    pub fn split(&self, addr: VirtAddr) -> Result<Option<Pfn>, OutOfMemory> {
        let found = self.walk(addr);
        if found.place.level == 0 || found.entry.is_none() {
            return Ok(None);
        }
        self.split_at(addr, found.place)
    }

    /// Splits the huge entry that covers `addr`, as [`Tables::split`] does, into a table that was
    /// allocated earlier: for callers that must not fail.
    pub fn split_into(&self, addr: VirtAddr, place: Place, spare: Pfn) -> Split {
        self.split_with(addr, place, Spare::Given(spare), |_| Some(Parts::OfTheWhole))
    }

    /// The same, for who keeps counts of what entries map: `prepare` is shown the entry, whose
    /// table is locked until the parts are in its place, and counts them, or refuses.
    ///
    /// Nobody but the hardware changes the entry meanwhile. `prepare` locks no table.
    pub fn split_with(
        &self,
        addr: VirtAddr,
        place: Place,
        spare: Spare,
        prepare: impl FnOnce(Entry<H::Format>) -> Option<Parts>,
    ) -> Split {
        if place.level == 0 {
            return Split::NotHuge;
        }
        let mut batch = Batch::open(*self, place.table, place.level);
        let seen = self.load(place);
        if seen.is_none() || seen.is_table(place.level) {
            return Split::NotHuge;
        }
        let (table, deposited) = match spare {
            Spare::Given(table) => (Some(table), false),
            Spare::Deposited => (self.withdraw(place.table), true),
        };
        let Some(table) = table else { return Split::NoTable };
        let parts = prepare(seen);
        let split = parts.map_or(Split::NotHuge, |parts| {
            self.split_locked(addr, place, table, parts, &mut batch)
        });
        if deposited && split != Split::Done {
            self.deposit(place.table, table);
        }
        split
    }

    /// Puts `spare`, filled with `parts` of it, in the place of the huge entry at `place`.
    fn split_locked(
        &self,
        addr: VirtAddr,
        place: Place,
        spare: Pfn,
        parts: Parts,
        batch: &mut Batch<'_, H>,
    ) -> Split {
        let mut seen = self.load(place);
        if H::Format::BREAK_BEFORE_MAKE && seen.is_leaf(place.level) {
            let whole = self.break_entry(addr, place);
            self.fill(spare, place.level - 1, whole, parts);
            self.store(place, Entry::table(spare));
            return Split::Done;
        }
        while !seen.is_none() && !seen.is_table(place.level) {
            self.fill(spare, place.level - 1, seen, parts);
            match self.compare_exchange(place, seen, Entry::table(spare)) {
                Ok(()) => {
                    batch.owe(addr, seen);
                    return Split::Done;
                }
                // The hardware marked the leaf meanwhile.
                Err(now) => seen = now,
            }
        }
        Split::NotHuge
    }

    /// Splits the huge entries that `range` begins or ends inside of, down to pages, so that an
    /// edit of `range` has nothing left to split and cannot fail.
    /// # Errors
    /// [`OutOfMemory`]: no frame for a table. Nothing but splits has happened.
    /// # Linux
    /// `vma_adjust_trans_huge()`, which cannot fail: there each huge leaf has a table put aside.
    pub fn split_borders(&self, range: VirtRange) -> Result<(), OutOfMemory> {
        for border in [range.start, range.end] {
            loop {
                let found = self.walk(border);
                let inside = !border.is_aligned(level_shift(found.place.level));
                if !inside || self.split(border)?.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// As [`Tables::split`], for the entry at `place`, whose table's lock is not held.
    pub(super) fn split_at(
        &self,
        addr: VirtAddr,
        place: Place,
    ) -> Result<Option<Pfn>, OutOfMemory> {
        let spare = self.spare_table()?;
        match self.split_into(addr, place, spare) {
            Split::Done => Ok(Some(spare)),
            Split::NotHuge | Split::NoTable => {
                self.discard(spare);
                Ok(None)
            }
        }
    }

    /// Writes the parts of `whole`, an entry one level up, into `table`, which nothing points to.
    fn fill(&self, table: Pfn, level: u8, whole: Entry<H::Format>, parts: Parts) {
        let words = self.entries(table);
        match whole.decode(level + 1) {
            Decoded::None | Decoded::Table(_) => {}
            Decoded::Leaf(pfn, perms) => {
                let perms = match parts {
                    Parts::OfTheWhole => perms,
                    // As an entry that is made for it.
                    Parts::Same(_) => Perms { young: true, ..perms.timeless() },
                };
                for (n, word) in (0..ENTRIES as u64).zip(words) {
                    let frame = match parts {
                        Parts::OfTheWhole => pfn.offset(n * level_pages(level)),
                        Parts::Same(page) => page,
                    };
                    let part: Entry<H::Format> = Entry::leaf(frame, perms, level);
                    word.store(part.raw(), Ordering::Relaxed);
                }
            }
            Decoded::Swap(entry) => {
                for (n, word) in (0..ENTRIES as u64).zip(words) {
                    let part: Entry<H::Format> = Entry::swap(entry.offset(n * level_pages(level)));
                    word.store(part.raw(), Ordering::Relaxed);
                }
            }
        }
    }
}
