//! v4.4's walk without locks: present pages only, one reference each, nothing edited but the
//! referenced flag.
//!
//! Order per page: walk to the entry, take the reference, walk again; an entry that moved or
//! changed ends the walk. (v4.4's x86 form does not look again, since it keeps tables from being
//! freed; its generic form does.) Absent: VMAs, faults; what the walk misses is the caller's to get
//! another way. Linux: `arch/x86/mm/gup.c` `gup_pte_range`, `gup_huge_pmd`, `gup_huge_pud`, v4.4.

use super::page::Page;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::flags::Foll;
use crate::frame::FrameFlags;
use crate::host::{Gap, Host};
use crate::mm::Mm;
use crate::observe::{Event, Observer};
use crate::pgtable::{Entry, Walked, level_pages};
use crate::rule::a;

/// Takes pages from `start` (page-aligned) into `pages` until one cannot be had this way; how many
/// were taken. Of `foll` only WRITE counts. Never sleeps.
pub(crate) fn walk<H: Host>(
    mm: &Mm<H>,
    start: VirtAddr,
    foll: Foll,
    pages: &mut [Option<Page>],
) -> usize {
    let tables = mm.tables();
    let _inside = tables.enter();
    let mut got = 0;
    while let Some(rest) = pages.get_mut(got..).filter(|rest| !rest.is_empty()) {
        let addr = start.wrapping_add((got as u64) << PAGE_SHIFT);
        let taken = take(mm, addr, foll, rest);
        if taken == 0 {
            break;
        }
        if H::Observer::ON {
            see(mm, addr, got, &rest[..taken]);
        }
        got += taken;
    }
    got
}

#[cold]
fn see<H: Host>(mm: &Mm<H>, addr: VirtAddr, index: usize, taken: &[Option<Page>]) {
    let host = mm.machine().host();
    host.decided(a::A_154, addr);
    for (index, page) in (index as u64..).zip(taken.iter().flatten()) {
        host.see(Event::Grab { index, pfn: page.pfn() });
    }
}

/// Takes the page at `addr`, and those after it that the same leaf maps, as far as `out` has room.
fn take<H: Host>(mm: &Mm<H>, addr: VirtAddr, foll: Foll, out: &mut [Option<Page>]) -> usize {
    let tables = mm.tables();
    let found = tables.walk(addr);
    let Some(first) = allowed(&found, addr, foll) else { return 0 };
    let frames = mm.machine().frames();
    let room = out.len() as u64;
    let count = leaf_left(found.place.level, addr).min(room);
    mm.machine().host().gap(Gap::Seen);
    if !frames.pfn_valid(first) || !frames.try_get(first, u32::try_from(count).unwrap_or(1)) {
        return 0;
    }
    mm.machine().host().gap(Gap::Counted);
    let again = tables.walk(addr);
    if (again.place, again.entry) != (found.place, found.entry) {
        mm.machine().put_pages(first, u32::try_from(count).unwrap_or(1));
        return 0;
    }
    if !frames.has(first, FrameFlags::REFERENCED) {
        frames.set(first, FrameFlags::REFERENCED);
    }
    let slots = out.iter_mut().take(usize::try_from(count).unwrap_or(1));
    slots.zip(0..).for_each(|(slot, n)| *slot = Page::from_pfn(first.offset(n)));
    usize::try_from(count).unwrap_or(1)
}

/// The frame that `found` maps `addr` to, if this access may have it without asking anybody.
fn allowed<F: crate::pgtable::Format>(
    found: &Walked<F>,
    addr: VirtAddr,
    foll: Foll,
) -> Option<Pfn> {
    let refuses = |entry: Entry<F>| {
        entry.is_protnone()
            || entry.is_special()
            || (foll.contains(Foll::WRITE) && !entry.is_writable())
    };
    found.frame(addr).filter(|_| !refuses(found.entry))
}

/// Pages from `addr` to the end of its leaf at `level`.
fn leaf_left(level: u8, addr: VirtAddr) -> u64 {
    let pages = level_pages(level);
    pages - (addr.page_number() & (pages - 1))
}
