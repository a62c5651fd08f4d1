//! One pass over the entries of a range that lets a visitor change them: [`Tables::for_each`], and
//! what is built on it, [`Tables::protect`] and [`Tables::unmap`].
//!
//! Invariants: (1) a table is locked only while its own leaves and swap entries are visited, never
//! while a lower table is; (2) translations that a batch made stale are flushed before its lock is
//! released (row S-24), and a removed entry is handed on only after the flush, so that its frame
//! cannot be reused under a stale translation; (3) empty subtrees cost one read. Absent: freeing of
//! tables, reference counts.
//! Linux: `walk_page_range` (mm/pagewalk.c), `change_pte_range` (mm/mprotect.c), `zap_pte_range`
//! (mm/memory.c), 6.18.

use super::batch::Batch;
use super::tables::{Place, Tables, clip, index_at, level_span};
use super::{Decoded, Entry, Format, Perms, SwapEntry};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::frame::OutOfMemory;
use crate::host::Host;

/// A leaf or swap entry that a visitor is shown. Its table is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit<F> {
    /// The first address that the entry covers, which may lie below the range.
    pub addr: VirtAddr,
    /// Where the entry stands.
    pub place: Place,
    /// The entry, not empty and not a table.
    pub entry: Entry<F>,
    /// How much of the entry is in the range.
    pub part: Part,
}

/// How much of an entry is in the range of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Not all of it; such an entry is huge.
    Some,
}

/// What a visitor wants done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<F> {
    /// Nothing.
    Keep,
    /// Put this in its place. If the hardware marked the entry meanwhile, the visitor is asked
    /// again.
    Replace(Entry<F>),
    /// Empty it, and tell [`Visitor::removed`] what it was once no translation uses it.
    Remove,
    /// Split it one level down, and visit the parts. At level 0: nothing.
    SplitFirst,
    /// Nothing, and visit nothing more.
    Stop,
}

/// Who is shown the entries of a range. Closures that return an [`Action`] are visitors.
pub trait Visitor<F> {
    /// Decides about one entry. Its table is locked: it locks no table and does not sleep.
    fn visit(&mut self, visit: &Visit<F>) -> Action<F>;
    /// The entry that covered `1 << 9 * level` pages from `addr` is gone, and the translations with
    /// it. Its table is still locked.
    #[inline]
    fn removed(&mut self, _addr: VirtAddr, _entry: Entry<F>, _level: u8) {}
}

impl<F, V: FnMut(&Visit<F>) -> Action<F>> Visitor<F> for V {
    #[inline]
    fn visit(&mut self, visit: &Visit<F>) -> Action<F> {
        self(visit)
    }
}

/// Why a pass ended early.
enum Halt {
    Stopped,
    OutOfMemory,
}

impl From<OutOfMemory> for Halt {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// Removed entries are handed on this many at a time, where the range has as many pages.
const GONE: usize = 64;
/// The same for small ranges, where preparing for more would cost more than the pass.
const GONE_FEW: usize = 4;

/// One pass of one visitor.
struct Pass<'a, 'v, H: Host, V> {
    tables: Tables<'a, H>,
    visitor: &'v mut V,
    /// Removed entries of the open batch that the visitor was not told about: address, bits.
    gone: &'v mut [(u64, u64)],
    /// How many of `gone` there are.
    gone_len: usize,
}

impl<'a, H: Host, V: Visitor<H::Format>> Pass<'a, '_, H, V> {
    fn table(&mut self, table: Pfn, level: u8, start: u64, end: u64) -> Result<(), Halt> {
        let mut batch = None;
        let result = if level == 0 {
            // The loop that matters, compiled for itself.
            self.slots(table, 0, start, end, &mut batch)
        } else {
            self.slots(table, level, start, end, &mut batch)
        };
        self.close(&mut batch);
        result
    }

    /// The entries of `table` for `start..end`; `batch` is open while they are leaves.
    #[inline(always)]
    fn slots(
        &mut self,
        table: Pfn,
        level: u8,
        start: u64,
        end: u64,
        batch: &mut Option<Batch<'a, H>>,
    ) -> Result<(), Halt> {
        let span = level_span(level);
        let mut at = start & !(span - 1);
        while at < end {
            let place = Place { table, index: index_at(at, level), level };
            let entry = self.tables.load(place);
            if entry.is_none() {
                at += span;
            } else if entry.is_table(level) {
                self.close(batch);
                self.table(entry.pfn(), level - 1, at.max(start), end.min(at + span))?;
                at += span;
            } else if let Some(open) = batch {
                let part = if at < start || end < at + span { Part::Some } else { Part::Whole };
                let visit = Visit { addr: VirtAddr::new(at), place, entry, part };
                match self.visitor.visit(&visit) {
                    Action::Keep => at += span,
                    Action::Replace(new) => {
                        if self.replace(open, at, place, entry, new) {
                            at += span;
                        }
                    }
                    Action::Remove => {
                        self.remove(open, at, place);
                        at += span;
                    }
                    Action::SplitFirst if level == 0 => at += span,
                    Action::SplitFirst => {
                        self.close(batch);
                        self.tables.split_at(VirtAddr::new(at), place)?;
                    }
                    Action::Stop => return Err(Halt::Stopped),
                }
            } else {
                // Look again with the lock held.
                *batch = Some(Batch::open(self.tables, table, level));
            }
        }
        Ok(())
    }

    /// Puts `new` in the place of `seen`; `false` if it was marked meanwhile.
    #[inline]
    fn replace(
        &self,
        batch: &mut Batch<'a, H>,
        at: u64,
        place: Place,
        seen: Entry<H::Format>,
        new: Entry<H::Format>,
    ) -> bool {
        let addr = VirtAddr::new(at);
        if H::Format::BREAK_BEFORE_MAKE && moves(seen, new) {
            let old = self.tables.break_entry(addr, place);
            self.tables.store(place, if old == seen { new } else { old });
            return old == seen;
        }
        let done = self.tables.compare_exchange(place, seen, new).is_ok();
        if done {
            batch.owe(addr, seen);
        }
        done
    }

    fn remove(&mut self, batch: &mut Batch<'a, H>, at: u64, place: Place) {
        let old = self.tables.swap(place, Entry::NONE);
        batch.owe(VirtAddr::new(at), old);
        if self.gone_len == self.gone.len() {
            self.hand_on(batch);
        }
        if let Some(slot) = self.gone.get_mut(self.gone_len) {
            *slot = (at, old.raw());
            self.gone_len += 1;
        }
    }

    fn hand_on(&mut self, batch: &mut Batch<'a, H>) {
        batch.flush();
        for &(addr, raw) in &self.gone[..self.gone_len] {
            self.visitor.removed(VirtAddr::new(addr), Entry::from_raw(raw), batch.level());
        }
        self.gone_len = 0;
    }

    fn close(&mut self, batch: &mut Option<Batch<'a, H>>) {
        if let Some(mut open) = batch.take() {
            self.hand_on(&mut open);
        }
    }
}

impl<H: Host> Tables<'_, H> {
    /// Shows `visitor` every leaf and swap entry that covers an address of `range`, lowest first,
    /// each table locked while its entries are shown, and does what it answers. Empty subtrees are
    /// skipped whole.
    /// # Errors
    /// [`OutOfMemory`]: an entry was to be split, and there is no frame for the table. Lower
    /// entries are done.
    /// # Linux
    /// `walk_page_range()`.
    pub fn for_each(
        &self,
        range: VirtRange,
        visitor: &mut impl Visitor<H::Format>,
    ) -> Result<(), OutOfMemory> {
        let (start, end) = clip::<H::Format>(range);
        if start >= end {
            return Ok(());
        }
        let (mut few, mut many);
        let gone: &mut [_] = if end - start <= GONE_FEW as u64 * PAGE_SIZE {
            few = [(0, 0); GONE_FEW];
            &mut few
        } else {
            many = [(0, 0); GONE];
            &mut many
        };
        let mut pass = Pass { tables: *self, visitor, gone, gone_len: 0 };
        match pass.table(self.root, H::Format::LEVELS - 1, start, end) {
            Ok(()) | Err(Halt::Stopped) => Ok(()),
            Err(Halt::OutOfMemory) => Err(OutOfMemory),
        }
    }

    /// Changes the permissions of every leaf in `range` by `change`, which may be asked more than
    /// once about a leaf. A huge leaf that is only partly in `range`, and would change, is split.
    ///
    /// A page under migration that was writable stays so only if `change` leaves a writable leaf
    /// writable.
    /// # Errors
    /// [`OutOfMemory`]: no frame for a split; lower leaves are changed.
    /// # Linux
    /// `change_protection()`, without its userfaultfd and NUMA modes.
    pub fn protect(
        &self,
        range: VirtRange,
        mut change: impl FnMut(Perms) -> Perms,
    ) -> Result<(), OutOfMemory> {
        self.for_each(range, &mut |visit: &Visit<H::Format>| {
            let new = changed(visit.entry, visit.place.level, &mut change);
            match visit.part {
                _ if new == visit.entry => Action::Keep,
                Part::Whole => Action::Replace(new),
                Part::Some => Action::SplitFirst,
            }
        })
    }

    /// Empties every leaf and swap entry in `range`, and tells `removed` each one's first address,
    /// the entry and its level, after its translations are flushed and while its table is still
    /// locked. A huge entry that is only partly in `range` is split. Tables stay:
    /// [`Tables::free_tables`].
    /// # Errors
    /// [`OutOfMemory`]: no frame for a split; lower entries are gone.
    /// # Linux
    /// `unmap_page_range()`.
    pub fn unmap(
        &self,
        range: VirtRange,
        removed: impl FnMut(VirtAddr, Entry<H::Format>, u8),
    ) -> Result<(), OutOfMemory> {
        self.for_each(range, &mut Unmap(removed))
    }
}

/// Whether both map memory, and not the same.
#[inline]
fn moves<F: Format>(seen: Entry<F>, new: Entry<F>) -> bool {
    seen.is_present() && new.is_present() && seen.pfn() != new.pfn()
}

/// The entry, `entry` at `level`, with permissions as `change` wants them.
#[inline]
fn changed<F: Format>(
    entry: Entry<F>,
    level: u8,
    change: &mut impl FnMut(Perms) -> Perms,
) -> Entry<F> {
    match entry.decode(level) {
        Decoded::Leaf(_, perms) => entry.with_perms(change(perms), level),
        Decoded::Swap(SwapEntry::Migration { pfn, write: true, exclusive }) => {
            let write = change(Perms { write: true, ..Perms::default() }).write;
            Entry::swap(SwapEntry::Migration { pfn, write, exclusive })
        }
        Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => entry,
    }
}

/// The visitor of [`Tables::unmap`].
struct Unmap<R>(R);

impl<F: Format, R: FnMut(VirtAddr, Entry<F>, u8)> Visitor<F> for Unmap<R> {
    #[inline]
    fn visit(&mut self, visit: &Visit<F>) -> Action<F> {
        match visit.part {
            Part::Whole => Action::Remove,
            Part::Some => Action::SplitFirst,
        }
    }
    #[inline]
    fn removed(&mut self, addr: VirtAddr, entry: Entry<F>, level: u8) {
        (self.0)(addr, entry, level);
    }
}
