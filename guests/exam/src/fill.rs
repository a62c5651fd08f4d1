//! Random tables: leaves of all sizes, groups, swap entries, splits and holes, made by the engine's
//! own edits.

use crate::host::{Bare, Layout};
use crate::random::Random;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::host::Memory;
use gup::pgtable::{
    Action, Entry, Format, Part, Perms, SwapEntry, Tables, Touch, Visit, level_pages,
};

/// Pages of the window of small leaves.
const SMALL: u64 = 256;
/// 2 MiB leaves of their window.
const HUGE: u64 = 2;

/// The windows that the tables of one address space map: where each starts.
pub(crate) struct Windows {
    /// The program's instructions, one page.
    pub(crate) program: u64,
    small: u64,
    huge: u64,
    /// 1 GiB, in the largest leaves there are.
    giant: u64,
}

/// What to fill tables with.
pub(crate) struct Filler<'a> {
    pub(crate) layout: &'a Layout,
    /// The level of the largest leaves.
    pub(crate) largest: u8,
    /// What no leaf may have.
    pub(crate) never: Perms,
}

pub(crate) fn range(start: u64, pages: u64) -> VirtRange {
    VirtRange::from_len(VirtAddr::new(start), pages * PAGE_SIZE).expect("no overflow")
}

impl Windows {
    /// Anywhere in the user half, each in a GiB of its own.
    pub(crate) fn random<F: Format>(random: &mut Random) -> Self {
        let slots = (1 << (F::USER_BITS - 30)) / 4;
        let mut next = |quarter: u64| (quarter * slots + 1 + random.below(slots - 2)) << 30;
        Self { program: next(0), small: next(1), huge: next(2), giant: next(3) }
    }
    /// An address in one of them that maps a data frame if it is mapped; or beside them.
    pub(crate) fn access(&self, layout: &Layout, align: u64, random: &mut Random) -> (u64, Touch) {
        let in_giant = layout.data.start % level_pages(2);
        let frames = layout.data.end - layout.data.start;
        let page = match random.below(16) {
            0..8 => self.small + random.below(SMALL) * PAGE_SIZE,
            8..12 => self.huge + random.below(HUGE * level_pages(1)) * PAGE_SIZE,
            12..15 => self.giant + (in_giant + random.below(frames)) * PAGE_SIZE,
            _ => self.small.wrapping_sub((1 + random.below(1 << 18)) * PAGE_SIZE),
        };
        let (touch, offset) = (random.touch(), random.below(PAGE_SIZE));
        let within = if touch == Touch::Execute { offset - offset % align } else { offset };
        (page + within, touch)
    }
}

impl Filler<'_> {
    fn perms(&self, random: &mut Random) -> Perms {
        let perms = random.perms();
        Perms { uffd_wp: perms.uffd_wp && !self.never.uffd_wp, ..perms }
    }

    /// Fills all windows but the program's.
    pub(crate) fn fill<M: Memory + 'static, F: Format>(
        &self,
        tables: &Tables<'_, Bare<M, F>>,
        at: &Windows,
        random: &mut Random,
    ) {
        self.small_leaves(tables, at, random);
        for block in 0..HUGE {
            let blocks = (self.layout.data.end - self.layout.data.start) / level_pages(1);
            let frame = self.layout.data.start + random.below(blocks) * level_pages(1);
            let leaf = range(at.huge + (block << 21), level_pages(1));
            tables.map(leaf, Pfn::new(frame), self.perms(random), 1).expect("room");
        }
        if random.one_in(2) {
            let first = self.layout.data.start & !(level_pages(2) - 1);
            let (all, perms) = (range(at.giant, level_pages(2)), self.perms(random));
            tables.map(all, Pfn::new(first), perms, self.largest).expect("room");
            if random.one_in(3) {
                let in_giant = self.layout.data.start - first;
                let start = at.giant + (in_giant + random.below(600)) * PAGE_SIZE;
                let some = range(start, 1 + random.below(400));
                tables.protect(some, |perms| Perms { exec: !perms.exec, ..perms }).expect("room");
            }
        }
        if random.one_in(2) {
            let some = range(at.huge + random.below(900) * PAGE_SIZE, 1 + random.below(100));
            tables.protect(some, |perms| Perms { write: !perms.write, ..perms }).expect("room");
        }
    }

    fn small_leaves<M: Memory + 'static, F: Format>(
        &self,
        tables: &Tables<'_, Bare<M, F>>,
        at: &Windows,
        random: &mut Random,
    ) {
        let mut page = 0;
        while page < SMALL {
            // As long, and as aligned, as a group must be, every other time.
            let unit = if random.one_in(2) { 16 } else { 1 };
            page = page.next_multiple_of(unit);
            let count = (unit * (1 + random.below(40 / unit))).min(SMALL.saturating_sub(page));
            let frames = self.layout.data.end - self.layout.data.start - count;
            let first = self.layout.data.start + random.below(frames) / unit * unit;
            if count > 0 && !random.one_in(4) {
                let run = range(at.small + page * PAGE_SIZE, count);
                tables.map(run, Pfn::new(first), self.perms(random), 0).expect("room");
            }
            page += count;
        }
        for _ in 0..random.below(8) {
            let start = at.small + random.below(SMALL - 24) * PAGE_SIZE;
            let part = range(start, 1 + random.below(24));
            let (write, protnone) = (random.one_in(2), random.one_in(4));
            match random.below(3) {
                0 => tables.unmap(part, |_, _, _| ()).expect("nothing to split"),
                1 => {
                    tables.protect(part, |perms| Perms { write, protnone, ..perms }).expect("room");
                }
                _ => swap_out(tables, part),
            }
        }
    }
}

fn swap_out<M: Memory + 'static, F: Format>(tables: &Tables<'_, Bare<M, F>>, part: VirtRange) {
    let mut visitor = |visit: &Visit<F>| match visit.part {
        Part::Some => Action::SplitFirst,
        Part::Whole => {
            let slot = visit.entry.pfn().get();
            let (exclusive, uffd_wp, soft_dirty) =
                (slot.is_multiple_of(2), slot.is_multiple_of(3), slot.is_multiple_of(5));
            Action::Replace(Entry::swap(SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty }))
        }
    };
    tables.for_each(part, &mut visitor).expect("room");
}
