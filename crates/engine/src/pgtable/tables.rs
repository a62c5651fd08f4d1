//! The tables of one address space: where an entry stands, lock-free walks, and tables made on the
//! way.
//!
//! *Place*: table, index, level of an entry. *Span*: the bytes one entry covers. A [`Tables`] is a
//! view: a root and what is needed to reach its tables; it owns nothing. Invariants: (1) a walk
//! reads each level once and passes the value on; (2) an entry changes only with its table's lock
//! held; (3) a table's entry becomes something else than that table only through
//! [`Tables::free_tables`] and [`Tables::destroy`]; (4) what the root has beyond the user half is
//! empty; (5) a valid entry becomes another translation by way of [`Tables::break_entry`] where the
//! format demands it; (6) the members of a group ([`super::group`]) are read, and edited, as leaves
//! that stand alone. Absent: edits of ranges ([`super::visit`], [`super::map`]), VMAs. Linux:
//! `__pmd_alloc`, `__pte_alloc` (mm/memory.c), `pgd_offset` and its lower levels
//! (include/linux/pgtable.h), 6.18.

use super::walkers::Reclaim;
use super::{Entry, Format};
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use crate::frame::{AllocFlags, Frames, Kind, OutOfMemory, TableGuard};
use crate::host::{Gap, Host, Memory};
use crate::sync::{Word, fence};
use core::sync::atomic::Ordering;

/// Entries in a table.
pub const ENTRIES: usize = 512;
/// log2 of [`ENTRIES`].
const INDEX_BITS: u32 = 9;

/// log2 of the bytes that one entry at `level` covers.
#[inline]
pub const fn level_shift(level: u8) -> u32 {
    PAGE_SHIFT + INDEX_BITS * level as u32
}

/// Bytes that one entry at `level` covers.
#[inline]
pub const fn level_span(level: u8) -> u64 {
    1 << level_shift(level)
}

/// Base pages that one entry at `level` covers.
#[inline]
pub const fn level_pages(level: u8) -> u64 {
    1 << (INDEX_BITS * level as u32)
}

/// The first address past the user half, which is all that tables of format `F` map.
#[inline]
pub const fn user_end<F: Format>() -> VirtAddr {
    VirtAddr::new(1 << F::USER_BITS)
}

/// The first address that no mapping of `H`'s processes may contain (`TASK_SIZE_MAX`).
#[inline]
pub const fn task_size<H: Host>() -> u64 {
    <H::Format as Format>::TASK_SIZE
}

/// The index of the entry for `addr` in a table at `level`.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "nine bits")]
pub(super) const fn index_at(addr: u64, level: u8) -> usize {
    (addr >> level_shift(level)) as usize % ENTRIES
}

/// The index of the entry for `addr` in the root; if no table maps `addr`, the last one, whose
/// entry is empty (invariant 4) unless the user half fills the root.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "at most 511")]
fn root_index<F: Format>(addr: u64) -> usize {
    (addr >> level_shift(F::LEVELS - 1)).min(ENTRIES as u64 - 1) as usize
}

/// Whether the user half fills the root table, so that no index stands for addresses beyond.
#[inline]
const fn fills_root<F: Format>() -> bool {
    F::USER_BITS == level_shift(F::LEVELS)
}

/// `range` widened to whole pages and cut to the user half: first address and end.
#[inline]
pub(super) fn clip<F: Format>(range: VirtRange) -> (u64, u64) {
    let end = range.end.page_ceil().map_or(u64::MAX, VirtAddr::get).min(user_end::<F>().get());
    (range.start.page_floor().get(), end)
}

/// The end of the part of `at..end` that the entry for `at` at `level` covers. No overflow: `end`
/// is clipped.
#[inline]
pub(super) const fn slot_end(at: u64, end: u64, level: u8) -> u64 {
    let next = (at | (level_span(level) - 1)) + 1;
    if next < end { next } else { end }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The table.
    pub table: Pfn,
    /// Its index there, below 512.
    pub index: usize,
    /// The table's level.
    pub level: u8,
}

/// The lowest entry that a walk reached, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked<F> {
    /// Where it stands.
    pub place: Place,
    /// What was read there.
    pub entry: Entry<F>,
}

impl<F: Format> Walked<F> {
    /// The frame that `addr`, the address walked to, is in, if the entry is a leaf.
    #[inline]
    pub fn frame(&self, addr: VirtAddr) -> Option<Pfn> {
        let level = self.place.level;
        let within = addr.page_number() & (level_pages(level) - 1);
        self.entry.is_leaf(level).then(|| self.entry.pfn().offset(within))
    }
}

/// Why tables could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MakeError {
    /// No frame for a table.
    OutOfMemory,
    /// A leaf or a swap entry stands at a higher level than asked for, here.
    HugeLeaf(Place),
    /// The address is not in the user half, or there is no such level.
    Unaddressable,
}

impl From<OutOfMemory> for MakeError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// The tables of one address space. A view: cheap to make and to copy.
#[derive(Debug)]
pub struct Tables<'a, H: Host> {
    /// Where the memory is.
    pub host: &'a H,
    /// Where tables are allocated and locked.
    pub frames: &'a Frames<H>,
    /// The root table.
    pub root: Pfn,
    /// Who walks them without the mmap lock.
    pub walkers: &'a H::Reclaim,
}

impl<H: Host> Clone for Tables<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<H: Host> Copy for Tables<'_, H> {}

impl<'a, H: Host> Tables<'a, H> {
    /// Allocates an empty root table. [`Tables::destroy`] frees it.
    /// # Errors
    /// No frame is free, or the host injected that.
    pub fn new_root(host: &'a H, frames: &'a Frames<H>) -> Result<Pfn, OutOfMemory> {
        new_table(host, frames)
    }

    /// The entries of `table`.
    #[inline]
    pub fn entries(&self, table: Pfn) -> &'a [Word; ENTRIES] {
        self.host.memory().table(table)
    }

    /// The entry at `place`, now.
    #[inline]
    pub fn load(&self, place: Place) -> Entry<H::Format> {
        self.entry_of(place, self.word(place).load(Ordering::Acquire))
    }

    /// The entry at `place`, whose word was read as `raw`.
    #[inline]
    pub fn entry_of(&self, place: Place, raw: u64) -> Entry<H::Format> {
        if H::Format::is_grouped(raw) {
            return self.load_member(place, raw);
        }
        Entry::from_raw(raw)
    }

    /// Writes the entry at `place`, whose table's lock is held.
    #[inline]
    pub fn store(&self, place: Place, entry: Entry<H::Format>) {
        self.ungroup(place);
        self.word(place).store(entry.raw(), Ordering::Release);
    }

    /// Writes the entry at `place`, whose table's lock is held, and returns what it was.
    #[inline]
    pub fn swap(&self, place: Place, entry: Entry<H::Format>) -> Entry<H::Format> {
        self.ungroup(place);
        let word = self.word(place);
        if H::HARDWARE_WALKS {
            return Entry::from_raw(word.swap(entry.raw(), Ordering::AcqRel));
        }
        // The lock keeps everybody else from writing.
        let old = word.load(Ordering::Relaxed);
        word.store(entry.raw(), Ordering::Release);
        Entry::from_raw(old)
    }

    /// Empties the entry at `place`, which covers `range` and whose table's lock is held, and
    /// forgets its translations; returns what it was.
    ///
    /// A full barrier follows: who counted a page because of the entry, and will not look at it
    /// again, is seen from now on (row F-54).
    pub(crate) fn empty(&self, place: Place, range: VirtRange) -> Entry<H::Format> {
        let old = self.swap(place, Entry::NONE);
        self.host.flush_tlb(self.root, range);
        fence(Ordering::SeqCst);
        self.host.gap(Gap::Emptied);
        old
    }

    /// Writes the entry at `place`, whose table's lock is held, if it is still `seen`.
    /// # Errors
    /// It was something else, which is returned.
    #[inline]
    pub fn compare_exchange(
        &self,
        place: Place,
        seen: Entry<H::Format>,
        entry: Entry<H::Format>,
    ) -> Result<(), Entry<H::Format>> {
        self.ungroup(place);
        let word = self.word(place);
        if !H::HARDWARE_WALKS {
            // The lock keeps everybody else from writing, so what was seen under it is still there.
            let now = word.load(Ordering::Relaxed);
            if now != seen.raw() {
                return Err(Entry::from_raw(now));
            }
            word.store(entry.raw(), Ordering::Release);
            return Ok(());
        }
        match word.compare_exchange(seen.raw(), entry.raw(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(raw) => Err(Entry::from_raw(raw)),
        }
    }

    /// Empties the entry at `place`, which covers `addr` and whose table's lock is held, and
    /// flushes its translations, so that another may be installed. Returns what it was.
    ///
    /// A walk without the lock finds nothing meanwhile, as if the page had been reclaimed.
    /// # Linux
    /// `ptep_clear_flush`, `pmdp_invalidate`.
    pub fn break_entry(&self, addr: VirtAddr, place: Place) -> Entry<H::Format> {
        let old = self.swap(place, Entry::NONE);
        if old.is_present() {
            let start = addr.align_down(level_shift(place.level));
            let end = start.saturating_add(level_span(place.level));
            self.host.flush_tlb(self.root, VirtRange::new(start, end));
        }
        old
    }

    /// Locks `table`, so that its entries may be changed, until the guard is dropped.
    #[inline]
    pub fn lock(&self, table: Pfn) -> TableGuard<'a> {
        self.host.gap(Gap::Lock);
        self.frames.lock_table_with(table, || self.host.gap(Gap::Contended))
    }
    /// Locks two tables of one level, which may be one and the same, lower frame first.
    pub fn lock_both(&self, a: Pfn, b: Pfn) -> (TableGuard<'a>, Option<TableGuard<'a>>) {
        let first = self.lock(a.min(b));
        (first, (a != b).then(|| self.lock(a.max(b))))
    }

    /// Begins walks without the mmap lock: tables that can be reached stay tables until the guard
    /// is dropped. Under the mmap lock, for reading or writing, there is no need of it.
    #[inline]
    pub fn enter(&self) -> <H::Reclaim as Reclaim>::Inside<'a> {
        self.walkers.enter(self.host.walker())
    }

    /// Walks to `addr` without locks: stops at an empty entry, a leaf, or a swap entry. Allocates
    /// nothing.
    ///
    /// An address outside the user half finds nothing.
    #[inline]
    pub fn walk(&self, addr: VirtAddr) -> Walked<H::Format> {
        self.walk_to(addr, 0)
    }

    /// As [`Tables::walk`], but goes no lower than `level`, where the entry may point to a table.
    #[inline(always)]
    pub fn walk_to(&self, addr: VirtAddr, lowest: u8) -> Walked<H::Format> {
        let mut place = self.root_place(addr);
        if fills_root::<H::Format>() && addr >= user_end::<H::Format>() {
            return Walked { place, entry: Entry::NONE };
        }
        // Bounds that the compiler knows, so that it lays the levels out one after another.
        for level in (1..H::Format::LEVELS).rev() {
            let entry = self.load(place);
            if level <= lowest || !entry.is_table(level) {
                return Walked { place, entry };
            }
            place = Place {
                table: entry.pfn(),
                index: index_at(addr.get(), level - 1),
                level: level - 1,
            };
        }
        Walked { place, entry: self.load(place) }
    }

    /// The table of 4 KiB leaves that covers `addr`, if there is one, with its frame.
    #[inline]
    pub fn leaf_table(&self, addr: VirtAddr) -> Option<(Pfn, &'a [Word; ENTRIES])> {
        let found = self.walk_to(addr, 1);
        found.entry.is_table(found.place.level).then(|| {
            let table = found.entry.pfn();
            (table, self.entries(table))
        })
    }

    /// Where the entry for `addr` at `level` stands; makes the tables that are missing above it.
    ///
    /// Takes and drops the lock of a table that it adds to. The tables made stay, also when a later
    /// one fails.
    /// # Errors
    /// - [`MakeError::OutOfMemory`]: no frame for a table;
    /// - [`MakeError::HugeLeaf`]: a leaf or a swap entry is in the way;
    /// - [`MakeError::Unaddressable`]: no table can map `addr`.
    pub fn make(&self, addr: VirtAddr, level: u8) -> Result<Place, MakeError> {
        if addr >= user_end::<H::Format>() || level >= H::Format::LEVELS {
            return Err(MakeError::Unaddressable);
        }
        let mut place = self.root_place(addr);
        while place.level > level {
            let mut entry = self.load(place);
            if entry.is_none() {
                entry = self.install(place)?;
            }
            if !entry.is_table(place.level) {
                return Err(MakeError::HugeLeaf(place));
            }
            place = below(place, entry, addr);
        }
        Ok(place)
    }

    /// Puts a new table into the empty entry at `place`, and returns the entry; whoever came first
    /// wins.
    pub(super) fn install(&self, place: Place) -> Result<Entry<H::Format>, OutOfMemory> {
        let spare = self.spare_table()?;
        let guard = self.lock(place.table);
        let seen = self.load(place);
        if !seen.is_none() {
            drop(guard);
            self.discard(spare);
            return Ok(seen);
        }
        let entry = Entry::table(spare);
        self.store(place, entry);
        Ok(entry)
    }

    /// A table that nothing points to yet.
    pub(super) fn spare_table(&self) -> Result<Pfn, OutOfMemory> {
        new_table(self.host, self.frames)
    }

    /// Frees a table that nothing ever pointed to.
    pub(super) fn discard(&self, spare: Pfn) {
        self.frames.put_and_free(spare, 1);
    }

    #[inline]
    pub(super) fn word(&self, place: Place) -> &'a Word {
        // `%` costs one `and`, and leaves no index that could be out of bounds.
        &self.entries(place.table)[place.index % ENTRIES]
    }

    #[inline]
    fn root_place(&self, addr: VirtAddr) -> Place {
        let level = H::Format::LEVELS - 1;
        Place { table: self.root, index: root_index::<H::Format>(addr.get()), level }
    }
}

/// Where `addr` is in the table that `entry`, at `place`, points to.
#[inline]
fn below<F: Format>(place: Place, entry: Entry<F>, addr: VirtAddr) -> Place {
    let level = place.level - 1;
    Place { table: entry.pfn(), index: index_at(addr.get(), level), level }
}

fn new_table<H: Host>(host: &H, frames: &Frames<H>) -> Result<Pfn, OutOfMemory> {
    let table = frames.alloc(host, 0, Kind::Table, AllocFlags::empty())?;
    host.memory().zero(table, 1);
    Ok(table)
}
