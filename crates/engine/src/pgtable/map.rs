//! Filling empty entries with leaves of consecutive frames: [`Tables::map`].
//!
//! The largest leaf is used whose alignment fits address, frame and length. Invariant: no entry
//! that says something is overwritten.
//! Linux: `remap_pfn_range` (mm/memory.c), `ioremap_page_range` (mm/vmalloc.c), shape only.

use super::tables::{Place, Tables, index_at, level_pages, level_span, slot_end, user_end};
use super::{Entry, Format, Perms};
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use crate::frame::{OutOfMemory, TableGuard};
use crate::host::Host;

/// Why a range was mapped only up to an address, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// No frame for the tables of this address; what lies below is mapped.
    OutOfMemory(VirtAddr),
    /// The entry of this address is not empty; what lies below is mapped.
    Occupied(VirtAddr),
    /// The range is not made of whole pages of the user half, or an entry has no room for such a
    /// frame number. Nothing is mapped.
    Unaddressable,
}

/// What is mapped where.
struct Plan {
    /// The first address.
    start: u64,
    /// The frame for it.
    first: Pfn,
    perms: Perms,
    max_level: u8,
}

impl Plan {
    fn frame(&self, at: u64) -> Pfn {
        self.first.offset((at - self.start) >> PAGE_SHIFT)
    }
    /// Whether a leaf at `level` may cover `at..end`.
    fn fits(&self, at: u64, end: u64, level: u8) -> bool {
        level <= self.max_level
            && end - at == level_span(level)
            && self.frame(at).get() & (level_pages(level) - 1) == 0
    }
}

impl<'a, H: Host> Tables<'a, H> {
    /// Maps `range` to consecutive frames from `first`, in leaves of at most `max_level`, as large
    /// as alignment allows. Makes tables as needed; they stay if it fails.
    /// # Errors
    /// [`MapError`], which says how far it came.
    pub fn map(
        &self,
        range: VirtRange,
        first: Pfn,
        perms: Perms,
        max_level: u8,
    ) -> Result<(), MapError> {
        let aligned = range.start.page_offset() == 0 && range.end.page_offset() == 0;
        if !aligned || range.end > user_end::<H::Format>() {
            return Err(MapError::Unaddressable);
        }
        if range.start >= range.end {
            return Ok(());
        }
        let last = first.get().checked_add(range.pages() - 1).map(Pfn::new);
        let holds = |pfn| Entry::<H::Format>::leaf(pfn, perms, 0).pfn() == pfn;
        if !last.is_some_and(|last| holds(first) && holds(last)) {
            return Err(MapError::Unaddressable);
        }
        let max_level = max_level.min(H::Format::MAX_LEAF);
        let plan = Plan { start: range.start.get(), first, perms, max_level };
        self.map_table(&plan, self.root, H::Format::LEVELS - 1, range.start.get(), range.end.get())
    }

    fn map_table(
        &self,
        plan: &Plan,
        table: Pfn,
        level: u8,
        start: u64,
        end: u64,
    ) -> Result<(), MapError> {
        let mut guard: Option<TableGuard<'a>> = None;
        let mut at = start;
        while at < end {
            let place = Place { table, index: index_at(at, level), level };
            let stop = slot_end(at, end, level);
            if plan.fits(at, stop, level) {
                let _held = guard.get_or_insert_with(|| self.lock(table));
                let left = (end - at) >> PAGE_SHIFT;
                let pages = self.store_group(place, plan.frame(at), plan.perms, left);
                if pages > 0 {
                    at += pages << PAGE_SHIFT;
                    continue;
                }
                if self.load(place).is_none() {
                    self.store(place, Entry::leaf(plan.frame(at), plan.perms, level));
                    at = stop;
                    continue;
                }
            }
            guard = None;
            let mut entry = self.load(place);
            if entry.is_none() && level > 0 {
                entry = self.install(place).map_err(|OutOfMemory| oom(at))?;
            }
            if !entry.is_table(level) {
                return Err(MapError::Occupied(VirtAddr::new(at)));
            }
            self.map_table(plan, entry.pfn(), level - 1, at, stop)?;
            at = stop;
        }
        Ok(())
    }
}

fn oom(at: u64) -> MapError {
    MapError::OutOfMemory(VirtAddr::new(at))
}
