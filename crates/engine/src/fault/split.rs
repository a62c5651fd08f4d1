//! Splitting a huge leaf into a table of small ones, with the counts of the folio behind it.
//!
//! A huge mapping counts once and holds one reference; 512 small ones hold 512. A leaf behind which
//! no counted folio stands is split without counts; the huge zero page becomes small zero pages.
//! Invariants: counts change with the entry's table locked, before the parts can be seen, for the
//! entry that stands there then; hugetlb is never split. Absent: huge faults.
//! Linux: `__split_huge_pmd_locked`, `split_huge_page` (`mm/huge_memory.c`, 6.18).

use super::page::{normal_page, remove_mapping};
use super::thp::{PMD, mapped_only_in};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::frame::{FrameFlags, Kind, OutOfMemory};
use crate::host::{Host, Memory};
use crate::mm::Mm;
use crate::pgtable::{
    Decoded, ENTRIES, Entry, Parts, Perms, Place, Spare, Split, Walked, level_pages, level_shift,
};
use crate::rule::f;

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
/// A folio that is mapped elsewhere, too, or has references that are no mappings, stays whole.
/// # Errors
/// As [`split_leaf`].
pub fn split_page<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    split_folio(mm, addr, Zeroes::Stay)
}

/// As [`split_page`], for 6.18: entries of pages that hold nothing but zeroes get the zero page
/// instead, and those pages are freed. Locked ones stay.
/// # Errors
/// As [`split_leaf`].
/// # Linux
/// `split_huge_page()`, `try_to_map_unused_to_zeropage()`.
pub fn split_page_and_zeroes<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    split_folio(mm, addr, Zeroes::AreShared)
}

/// What becomes of pages that hold nothing but zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Zeroes {
    /// They stay.
    Stay,
    /// The zero page takes their place.
    AreShared,
}

fn split_folio<H: Host>(mm: &Mm<H>, addr: VirtAddr, zeroes: Zeroes) -> Result<(), OutOfMemory> {
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
    if !frames.is_large(head) || !frames.is_anon(head) {
        return Ok(());
    }
    let pages = frames.folio_frames(head);
    let ours = mapped_only_in(mm, found.place, head);
    let frozen = ours.is_some_and(|mapped| frames.freeze(head, mapped));
    if !mm.machine().host().rule(f::F_39, !frozen, addr) {
        frames.split(head, |_, mapped| mapped);
        if zeroes == Zeroes::AreShared {
            share_zeroes(mm, found.place, head, pages);
        }
    }
    Ok(())
}

/// Lets the entries of one table, which is locked, that map zeroes among `pages` small pages from
/// `first` on map the zero page.
fn share_zeroes<H: Host>(mm: &Mm<H>, place: Place, first: Pfn, pages: u64) {
    let (tables, machine) = (mm.tables(), mm.machine());
    let folio = first.get()..first.get() + pages;
    for index in 0..ENTRIES {
        let place = Place { index, ..place };
        let entry = tables.load(place);
        let page = Some(entry).filter(|entry| entry.is_present()).and_then(normal_page);
        let page = page.filter(|page| folio.contains(&page.get()));
        let Some(page) = page.filter(|page| is_unused(mm, *page)) else { continue };
        let perms = entry.perms(0).map(|perms| Perms { write: false, special: true, ..perms });
        let Some(perms) = perms else { continue };
        tables.store(place, Entry::leaf(machine.zero_page(), Perms { dirty: false, ..perms }, 0));
        remove_mapping(mm, page);
    }
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
    for page in (0..pages).map(|n| first.offset(n)) {
        if exclusive {
            frames.set(page, FrameFlags::ANON_EXCLUSIVE);
        }
        frames.map(page);
    }
    frames.unmap_huge(frames.head(first));
    Ok(())
}
