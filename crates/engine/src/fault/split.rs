//! Splitting a huge leaf into a table of small ones, with the counts of the folio behind it.
//!
//! A huge mapping counts once and holds one reference; 512 small ones hold 512. A leaf behind which
//! no counted folio stands is split without counts; the huge zero page becomes small zero pages.
//! Invariants: counts are raised before the parts can be seen; hugetlb is never split. Absent: huge
//! faults.
//! Linux: `__split_huge_pmd_locked`, `split_huge_page` (`mm/huge_memory.c`, 6.18).

use super::page::normal_page;
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::frame::{AllocFlags, FrameFlags, Kind, OutOfMemory};
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Decoded, Entry, Place, Split, level_pages, level_shift};
use crate::rule::f;
use core::sync::atomic::Ordering::Relaxed;

/// Splits the huge leaf or huge swap entry that covers `addr`, if one does, one level down.
///
/// No table's lock is held.
/// # Errors
/// [`OutOfMemory`]: no frame for the table; nothing changed.
pub fn split_leaf<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    let tables = mm.tables();
    let found = tables.walk(addr);
    let level = found.place.level;
    let Decoded::Leaf(first, perms) = found.entry.decode(level) else {
        return tables.split(addr).map(|_| ());
    };
    let machine = mm.machine();
    if level == 1 && normal_page(found.entry).is_none() && Some(first) == machine.huge_zero_page() {
        return split_zero(mm, addr, found.place);
    }
    if level != 1 || normal_page(found.entry).is_none() {
        return tables.split(addr).map(|_| ());
    }
    if machine.frames().kind(first) == Kind::Hugetlb {
        return Ok(());
    }
    let spare = new_table(mm)?;
    raise(mm, first).inspect_err(|_| machine.put_page(spare))?;
    if perms.dirty {
        machine.frames().set(first, FrameFlags::DIRTY);
    }
    match tables.split_into(addr, found.place, spare) {
        Split::Done => {
            let frames = machine.frames();
            frames.unmap_huge(frames.head(first));
        }
        Split::NotHuge => {
            lower(mm, first);
            machine.put_page(spare);
        }
    }
    Ok(())
}

/// Splits the huge leaves that `range` begins or ends inside of, so that an edit of `range` splits
/// nothing and cannot fail.
/// # Errors
/// As [`split_leaf`].
pub fn split_edges<H: Host>(mm: &Mm<H>, range: VirtRange) -> Result<(), OutOfMemory> {
    let inside = |edge: &VirtAddr| !edge.is_aligned(level_shift(1));
    [range.start, range.end].into_iter().filter(inside).try_for_each(|edge| split_leaf(mm, edge))
}

/// Splits the entry as [`split_leaf`] does, and then the folio behind it, so that each page stands
/// for itself: what v4.4's `FOLL_SPLIT` does (row A-94).
///
/// A folio that is mapped elsewhere, too, or has references that are no mappings, stays whole.
/// # Errors
/// As [`split_leaf`].
pub fn split_page<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    split_leaf(mm, addr)?;
    let (tables, frames) = (mm.tables(), mm.machine().frames());
    let found = tables.walk(addr);
    if found.place.level != 0 || !found.entry.is_present() {
        return Ok(());
    }
    let Some(page) = normal_page(found.entry) else { return Ok(()) };
    // With the table's lock held, nobody can take a mapping away that the table has.
    let _held = tables.lock(found.place.table);
    let head = frames.head(page);
    let pages = level_pages(1);
    let ours = frames.folio_frames(page) == pages
        && (0..pages).zip(tables.entries(found.place.table)).all(|(n, word)| {
            let entry = Entry::<H::Format>::from_raw(word.load(Relaxed));
            entry.is_present() && entry.pfn() == head.offset(n)
        });
    if !frames.is_large(head) || !frames.is_anon(head) {
        return Ok(());
    }
    #[allow(clippy::cast_possible_truncation, reason = "512")]
    let frozen = ours && frames.freeze(head, pages as u32);
    if !mm.machine().host().rule(f::F_39, !frozen, addr) && frozen {
        frames.split(head, |_, mapped| mapped);
    }
    Ok(())
}

fn new_table<H: Host>(mm: &Mm<H>) -> Result<Pfn, OutOfMemory> {
    let machine = mm.machine();
    machine.frames().alloc(machine.host(), 0, Kind::Table, AllocFlags::empty())
}

/// Splits an entry that maps the huge zero page into entries that map the small one.
fn split_zero<H: Host>(mm: &Mm<H>, addr: VirtAddr, place: Place) -> Result<(), OutOfMemory> {
    let spare = new_table(mm)?;
    let zero = mm.machine().zero_page();
    match mm.tables().split_same(addr, place, spare, zero) {
        Split::Done => {}
        Split::NotHuge => mm.machine().put_page(spare),
    }
    Ok(())
}

/// Counts 512 small mappings of the folio; one reference is there already.
fn raise<H: Host>(mm: &Mm<H>, first: Pfn) -> Result<(), OutOfMemory> {
    let frames = mm.machine().frames();
    let pages = level_pages(1);
    #[allow(clippy::cast_possible_truncation, reason = "511")]
    frames.get(first, pages as u32 - 1).map_err(|_| OutOfMemory)?;
    let exclusive = frames.has(frames.head(first), FrameFlags::ANON_EXCLUSIVE);
    for page in (0..pages).map(|n| first.offset(n)) {
        if exclusive {
            frames.set(page, FrameFlags::ANON_EXCLUSIVE);
        }
        frames.map(page);
    }
    Ok(())
}

fn lower<H: Host>(mm: &Mm<H>, first: Pfn) {
    let frames = mm.machine().frames();
    let pages = level_pages(1);
    for page in (0..pages).map(|n| first.offset(n)) {
        frames.unmap(page);
    }
    #[allow(clippy::cast_possible_truncation, reason = "511")]
    mm.machine().put_pages(first, pages as u32 - 1);
}
