//! Moving an anonymous page to another address, where it is missing (`UFFDIO_MOVE`).
//!
//! Invariants: but for the zero page, only an exclusive page moves, so that no other process sees
//! it at its old place; a pinned one stays, and is asked again once its entry is empty and flushed
//! (row F-42).
//! Absent: large folios that cannot be split, which stay; swapped pages.
//! Linux: mm/userfaultfd.c `move_pages_pte`, `move_present_pte` (6.18).

use super::page::{leaf_perms, normal_page};
use super::split::split_page_and_zeroes;
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind, Owner};
use crate::host::Host;
use crate::mm::MmRead;
use crate::pgtable::{Entry, Perms, Place};
use crate::rule::f;
use crate::vma::{Vma, anon_vma_prepare};

/// Moves the page at `source` to `target`, an address of a registered area.
/// # Errors
/// - EINVAL: not pages' addresses, or areas between which nothing moves;
/// - ENOENT: nothing is at `source`, or no area at `target`;
/// - EEXIST: something is at `target`;
/// - EBUSY: the page is pinned, shared, swapped out, or part of a large folio (row F-42);
/// - ENOMEM: no frame for a table.
pub fn move_page<H: Host>(
    map: &MmRead<'_, H>,
    target: VirtAddr,
    source: VirtAddr,
) -> Result<(), Errno> {
    if target.page_offset() != 0 || source.page_offset() != 0 {
        return Err(Errno::EINVAL);
    }
    let to = map.lookup(target).ok_or(Errno::ENOENT)?;
    prepare(map, to);
    let from = map.lookup(source).ok_or(Errno::ENOENT)?;
    let watched = VmFlags::UFFD_MISSING | VmFlags::UFFD_WP | VmFlags::UFFD_MINOR;
    if !to.flags.intersects(watched) || !fit(from, to) {
        return Err(Errno::EINVAL);
    }
    let (mm, tables) = (map.mm(), map.mm().tables());
    split_page_and_zeroes(mm, map, source).map_err(|_| Errno::ENOMEM)?;
    let there = tables.make(target, 0).map_err(|_| Errno::EEXIST)?;
    let here = Some(tables.walk(source).place).filter(|place| place.level == 0);
    move_entry(map, to, (here.ok_or(Errno::ENOENT)?, source), (there, target))
}

/// A private area is ready for anonymous pages once pages are to be moved there, whatever comes of
/// it.
fn prepare<H: Host>(map: &MmRead<'_, H>, vma: &Vma<H>) {
    if !vma.flags.contains(VmFlags::SHARED) {
        anon_vma_prepare(map.mm().machine(), map, vma);
    }
}

/// Whether pages move between the areas: private anonymous ones with the same permissions.
fn fit<H: Host>(from: &Vma<H>, to: &Vma<H>) -> bool {
    let same = VmFlags::ACCESS | VmFlags::LOCKED;
    let private = |vma: &Vma<H>| vma.is_anonymous() && !vma.flags.contains(VmFlags::SHARED);
    let writable = from.flags.contains(VmFlags::WRITE);
    private(from) && private(to) && writable && from.flags & same == to.flags & same
}

fn move_entry<H: Host>(
    map: &MmRead<'_, H>,
    to: &Vma<H>,
    (here, source): (Place, VirtAddr),
    (there, target): (Place, VirtAddr),
) -> Result<(), Errno> {
    let (mm, tables) = (map.mm(), map.mm().tables());
    let (machine, frames) = (mm.machine(), mm.machine().frames());
    let _guards = tables.lock_both(here.table, there.table);
    let seen = tables.load(here);
    if !tables.load(there).is_none() {
        return Err(Errno::EEXIST);
    }
    if seen.is_none() {
        return Err(Errno::ENOENT);
    }
    if seen.is_present() && seen.pfn() == machine.zero_page() {
        tables.store(here, Entry::NONE);
        let gone = VirtRange::new(source, source.saturating_add(PAGE_SIZE));
        machine.host().flush_tlb(mm.root(), gone);
        let perms = Perms { special: true, ..leaf_perms(to) };
        tables.store(there, Entry::leaf(seen.pfn(), perms, 0));
        return Ok(());
    }
    let page = Some(seen).filter(|entry| entry.is_present()).and_then(normal_page);
    let page = page.filter(|page| frames.kind(*page) == Kind::Anon && !frames.is_large(*page));
    let page = page.ok_or(Errno::EBUSY)?;
    let stays = || machine.maybe_pinned(page) || !frames.has(page, FrameFlags::ANON_EXCLUSIVE);
    if machine.host().rule(f::F_42, stays(), source) {
        return Err(Errno::EBUSY);
    }
    let old = tables.empty(here, VirtRange::new(source, source.saturating_add(PAGE_SIZE)));
    if machine.host().rule(f::F_42, stays(), source) {
        tables.store(here, old);
        return Err(Errno::EBUSY);
    }
    let owner = to.anon_vma().map_or(0, |anon| anon.id);
    #[allow(clippy::cast_possible_truncation, reason = "the place in the area, modulo 16 TiB")]
    frames.set_owner(page, Owner { owner, index: to.index_of(target) as u32 });
    let mut perms = leaf_perms(to);
    (perms.write, perms.dirty) = (true, true);
    tables.store(there, Entry::leaf(page, perms, 0));
    Ok(())
}
