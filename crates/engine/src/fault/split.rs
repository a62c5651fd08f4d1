//! Splitting a huge leaf into a table of small ones, with the counts of the folio behind it.
//!
//! A huge mapping counts once and holds one reference; 512 small ones hold 512. A leaf behind which
//! no counted folio stands is split without counts; the huge zero page becomes small zero pages.
//! Invariants: counts change with the entry's table locked, before the parts can be seen, for the
//! entry that stands there then; hugetlb is never split. Absent: huge faults.
//! Linux: `__split_huge_pmd_locked`, `split_huge_page` (`mm/huge_memory.c`, 6.18).

use super::page::{normal_page, remove_mapping};
use super::rmap::{Held, Mapping, mappings};
use super::thp::{PMD, mapped_only_in};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind, OutOfMemory, TableGuard};
use crate::host::{Host, Memory};
use crate::mm::Mm;
use crate::pgtable::{
    Decoded, Entry, Parts, Perms, Place, Spare, Split, Walked, level_pages, level_shift,
};
use crate::rule::f;
use crate::vma::Map;
use alloc::vec::Vec;

/// Splits the huge leaf or huge swap entry that covers `addr`, if one does, one level down.
///
/// No table's lock is held. The table for the parts is the one that was put aside when the huge
/// entry was made (row F-58).
/// # Errors
/// [`OutOfMemory`]: none was put aside, as for what a driver maps, and there is no frame for one;
/// nothing changed.
pub fn split_leaf<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    let (tables, machine) = (mm.tables(), mm.machine());
    let Walked { place, entry } = tables.walk(addr);
    if place.level == 0 || entry.is_none() || is_hugetlb(mm, entry, place.level) {
        return Ok(());
    }
    if place.level == PMD {
        let split = split_into(mm, addr, place, Spare::Deposited)?;
        if machine.host().rule(f::F_58, split != Split::NoTable, addr) {
            return Ok(());
        }
    }
    let spare = tables.new_deposit()?;
    let split = split_into(mm, addr, place, Spare::Given(spare));
    if split != Ok(Split::Done) {
        machine.put_page(spare);
    }
    split.map(|_| ())
}

/// Splits the entry at `place`, which covers `addr`, and counts its parts.
fn split_into<H: Host>(
    mm: &Mm<H>,
    addr: VirtAddr,
    place: Place,
    spare: Spare,
) -> Result<Split, OutOfMemory> {
    let mut counted = Ok(());
    // What stands there now counts, not what was seen before the lock.
    let split = mm.tables().split_with(addr, place, spare, |entry| {
        let parts = parts_of(mm, entry, place.level);
        counted = parts.map(|_| ());
        parts.ok().flatten()
    });
    counted.map(|()| split)
}

fn is_hugetlb<H: Host>(mm: &Mm<H>, entry: Entry<H::Format>, level: u8) -> bool {
    let page = Some(entry).filter(|entry| entry.is_leaf(level)).and_then(normal_page);
    page.is_some_and(|page| mm.machine().frames().kind(page) == Kind::Hugetlb)
}

/// What the parts of `entry`, whose table is locked, are to map; `None` if it is not to be split.
/// They are counted already.
fn parts_of<H: Host>(
    mm: &Mm<H>,
    entry: Entry<H::Format>,
    level: u8,
) -> Result<Option<Parts>, OutOfMemory> {
    let machine = mm.machine();
    let frames = machine.frames();
    let Decoded::Leaf(first, perms) = entry.decode(level) else {
        return Ok(Some(Parts::OfTheWhole));
    };
    if is_hugetlb(mm, entry, level) {
        return Ok(None);
    }
    if level != 1 {
        return Ok(Some(Parts::OfTheWhole));
    }
    if normal_page(entry).is_none() {
        let zero = Some(first) == machine.huge_zero_page();
        let parts = if zero { Parts::Same(machine.zero_page()) } else { Parts::OfTheWhole };
        return Ok(Some(parts));
    }
    recount(mm, first)?;
    if perms.dirty {
        frames.set(first, FrameFlags::DIRTY);
    }
    Ok(Some(Parts::OfTheWhole))
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
/// for itself: what v4.4's `FOLL_SPLIT` does (row A-94). Pages of it that nothing maps are freed.
///
/// A folio that is mapped by another table, too, or has references that are no mappings, stays
/// whole.
/// # Errors
/// As [`split_leaf`].
pub fn split_page<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    split_leaf(mm, addr)?;
    let Some((place, head)) = large_folio_at(mm, addr) else { return Ok(()) };
    // With the table's lock held, nobody can take a mapping away that the table has.
    let _held = mm.tables().lock(place.table);
    let frames = mm.machine().frames();
    let ours = mapped_only_in(mm, place, head).filter(|_| frames.is_large(head));
    let frozen = ours.is_some_and(|mapped| frames.freeze(head, mapped));
    if !mm.machine().host().rule(f::F_39, !frozen, addr) {
        frames.split(head, |_, mapped| mapped);
    }
    Ok(())
}

/// As [`split_page`], for 6.18: the folio is split whatever tables of this address space map it,
/// entries of pages that hold nothing but zeroes get the zero page instead, and those pages are
/// freed. Locked ones stay, and those in locked areas. A folio that another address space maps
/// stays whole. `map` is the address space's, whose lock is held.
/// # Errors
/// As [`split_leaf`].
/// # Linux
/// `split_huge_page()`, `try_to_map_unused_to_zeropage()`.
pub fn split_page_and_zeroes<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    addr: VirtAddr,
) -> Result<(), OutOfMemory> {
    split_leaf(mm, addr)?;
    let Some((_, head)) = large_folio_at(mm, addr) else { return Ok(()) };
    let (tables, frames) = (mm.tables(), mm.machine().frames());
    let found = mappings(&[Held { mm, map }], head).unwrap_or_default();
    let mut locked: Vec<Pfn> = found.iter().map(|mapping| mapping.place.table).collect();
    locked.sort();
    locked.dedup();
    // The lower frame's lock first.
    let _held: Vec<TableGuard<'_>> = locked.into_iter().map(|table| tables.lock(table)).collect();
    let maps = |mapping: &Mapping<'_, H>| {
        let entry = tables.load(mapping.place);
        entry.is_present() && entry.pfn() == mapping.page
    };
    #[allow(clippy::cast_possible_truncation, reason = "as many as there are pages")]
    let count = found.len() as u32;
    // Whoever was quicker has split it.
    let ours = found.iter().all(maps) && frames.is_large(head);
    let frozen = ours && frames.freeze(head, count);
    if !mm.machine().host().rule(f::F_39, !frozen, addr) {
        frames.split(head, |_, mapped| mapped);
        for mapping in &found {
            share_zeroes(map, mapping);
        }
    }
    Ok(())
}

/// The large anonymous folio that a small entry maps at `addr`, and the entry's place.
fn large_folio_at<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Option<(Place, Pfn)> {
    let frames = mm.machine().frames();
    let Walked { place, entry } = mm.tables().walk(addr);
    let small = Some(entry).filter(|entry| place.level == 0 && entry.is_present());
    let head = small.and_then(normal_page).map(|page| frames.head(page));
    head.filter(|head| frames.is_large(*head) && frames.is_anon(*head)).map(|head| (place, head))
}

/// Lets the entry, whose table is locked, map the zero page instead, if its page holds nothing but
/// zeroes and is not locked.
fn share_zeroes<H: Host>(map: &Map<H>, mapping: &Mapping<'_, H>) {
    let &Mapping { mm, addr, place, page, .. } = mapping;
    let locked = map.lookup(addr).is_none_or(|vma| vma.flags.contains(VmFlags::LOCKED));
    if locked || !is_unused(mm, page) {
        return;
    }
    let (tables, machine) = (mm.tables(), mm.machine());
    let Some(perms) = tables.load(place).perms(0) else { return };
    let perms = Perms { write: false, special: true, dirty: false, young: true, ..perms };
    tables.store(place, Entry::leaf(machine.zero_page(), perms, 0));
    remove_mapping(mm, page);
}

/// Whether the page holds nothing but zeroes, and is not locked.
fn is_unused<H: Host>(mm: &Mm<H>, page: Pfn) -> bool {
    const PART: usize = 512;
    let (frames, memory) = (mm.machine().frames(), mm.machine().memory());
    let mut bytes = [0; PART];
    !frames.has(page, FrameFlags::MLOCKED)
        && (0..PAGE_SIZE as usize / PART).all(|n| {
            memory.read(page, n * PART, &mut bytes);
            bytes.iter().all(|byte| *byte == 0)
        })
}

/// Counts 512 small mappings of the folio instead of a huge one; one reference is there already.
fn recount<H: Host>(mm: &Mm<H>, first: Pfn) -> Result<(), OutOfMemory> {
    let frames = mm.machine().frames();
    let pages = level_pages(1);
    #[allow(clippy::cast_possible_truncation, reason = "511")]
    frames.get(first, pages as u32 - 1).map_err(|_| OutOfMemory)?;
    let exclusive = frames.has(frames.head(first), FrameFlags::ANON_EXCLUSIVE);
    if exclusive {
        (0..pages).for_each(|n| frames.set(first.offset(n), FrameFlags::ANON_EXCLUSIVE));
    }
    frames.map_each(first, pages, mm.mapper());
    frames.unmap_huge(frames.head(first), mm.mapper());
    Ok(())
}
