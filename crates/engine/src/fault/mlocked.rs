//! Pages that an `mlock`ed area keeps in memory, and how often each is.
//!
//! *Marked*: `MLOCKED` is set. A page is marked when its area is locked, or when a fault gives it
//! to a locked area, and loses the mark when the last such area lets go of it. Of a large folio the
//! mark is the folio's: it needs an area that has all of it, and the first page that leaves takes
//! it away. Splitting an entry changes nothing; a page that comes back from swap is not marked
//! before somebody locks it anew. Invariant: the mark stands exactly while the count is not zero.
//! Absent: areas and limits ([`crate::mapping`]); v4.4, whose GUP marks.
//! Linux: mm/mlock.c `mlock_folio`, `munlock_folio`, `mlock_pte_range`, mm/internal.h
//! `mlock_vma_folio` (6.18; settled: there a mark may come and go a batch later).

use super::page::normal_page;
use crate::addr::{Pfn, VirtRange};
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Frames};
use crate::host::Host;
use crate::linux::Linux;
use crate::mm::{Machine, Mm};
use crate::pgtable::{Action, Visit};
use crate::rule::m;
use crate::vma::{SPECIAL, Vma};
use alloc::collections::BTreeMap;
use lock_api::Mutex;

/// By how many areas pages are locked beyond the first, where there are any.
pub(crate) struct Mlocks<H: Host>(Mutex<H::RawMutex, BTreeMap<Pfn, u32>>);

impl<H: Host> Default for Mlocks<H> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<H: Host> Mlocks<H> {
    fn lock(&self, frames: &Frames<H>, head: Pfn) {
        let mut more = self.0.lock();
        if frames.test_and_set(head, FrameFlags::MLOCKED) {
            *more.entry(head).or_default() += 1;
        } else {
            // What a folio before it may have left.
            more.remove(&head);
        }
    }
    fn unlock(&self, frames: &Frames<H>, head: Pfn) {
        let mut more = self.0.lock();
        match more.get_mut(&head).filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => frames.clear(head, FrameFlags::MLOCKED),
        }
    }
    /// The folio `new` has taken the place and the flags of `old`.
    pub(super) fn moved(&self, old: Pfn, new: Pfn) {
        let mut more = self.0.lock();
        let count = more.remove(&old);
        more.extend(count.map(|count| (new, count)));
    }
}

/// Whether the area marks what faults give it.
fn marks<H: Host>(machine: &Machine<H>, vma: &Vma<H>) -> bool {
    let locked = vma.flags & (VmFlags::LOCKED | SPECIAL) == VmFlags::LOCKED;
    let marks = locked && machine.linux() == Linux::V6_18;
    machine.host().rule(m::M_13, marks, vma.start())
}

/// The area has a new anonymous page of its own.
pub(super) fn got_new<H: Host>(mm: &Mm<H>, vma: &Vma<H>, page: Pfn) {
    let machine = mm.machine();
    if marks(machine, vma) {
        machine.mlocks().lock(machine.frames(), machine.frames().head(page));
    }
}
/// The area has one more entry for a page that was there.
pub(super) fn got<H: Host>(mm: &Mm<H>, vma: &Vma<H>, page: Pfn) {
    if !mm.machine().frames().is_large(page) {
        got_new(mm, vma, page);
    }
}
/// The area is about to lose its entry for the page.
pub(super) fn loses<H: Host>(mm: &Mm<H>, vma: &Vma<H>, page: Pfn) {
    let machine = mm.machine();
    if vma.flags.contains(VmFlags::LOCKED) && !vma.is_hugetlb() {
        machine.mlocks().unlock(machine.frames(), machine.frames().head(page));
    }
}

/// What becomes of an area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Becomes {
    /// Locked.
    Locked,
    /// Unlocked.
    Unlocked,
}

/// Marks the present pages of `range`, one area's, which is locked from now on, or unmarks them.
/// The mmap lock is held for writing.
/// # Linux
/// `mlock_vma_pages_range()`.
pub(crate) fn mark_range<H: Host>(mm: &Mm<H>, range: VirtRange, becomes: Becomes) {
    let machine = mm.machine();
    let frames = machine.frames();
    if becomes == Becomes::Locked && machine.linux() != Linux::V6_18 {
        return;
    }
    machine.host().decided(m::M_13, range.start);
    machine.drain_batches();
    // The folio of the last entry, and how many of its pages came in a row.
    let (mut last, mut run) = (None, 0);
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let level = visit.place.level;
        let page = Some(visit.entry).filter(|entry| entry.is_leaf(level)).and_then(normal_page);
        let Some(page) = page else {
            last = None;
            return Action::Keep;
        };
        let head = frames.head(page);
        let goes_on = last == Some(head) && page == head.offset(run);
        run = if goes_on { run } else { 0 } + (1 << (9 * u32::from(level)));
        let begins = goes_on || page == head;
        match becomes {
            Becomes::Locked if begins && run == frames.folio_frames(head) => {
                machine.mlocks().lock(frames, head);
            }
            Becomes::Unlocked if last != Some(head) => machine.mlocks().unlock(frames, head),
            Becomes::Locked | Becomes::Unlocked => {}
        }
        last = begins.then_some(head);
        Action::Keep
    });
}
