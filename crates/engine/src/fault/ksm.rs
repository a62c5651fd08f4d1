//! Merging two equal anonymous pages into one that both addresses map read-only (KSM).
//!
//! *Merged page*: marked [`FrameFlags::KSM`]; it is never exclusive again, so that every store and
//! every pin copies it first (row F-07). Invariants: an entry loses its store permission, and is
//! flushed, before the references are counted and the bytes compared; a page with a reference that
//! is no mapping is not merged (row F-37); bytes are compared, and the entry is replaced, with both
//! tables locked, while neither page can be stored to.
//! Absent: the search for equal pages, and the daemon.
//! Linux: mm/ksm.c `write_protect_page`, `try_to_merge_one_page`, `replace_page` (6.18).

use super::page::{add_mapping, normal_page, remove_mapping};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind};
use crate::host::{Host, Memory};
use crate::mm::{Mm, MmRead};
use crate::pgtable::{Entry, Place};
use crate::rule::f;

/// What became of two pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Both addresses map this page now.
    Merged(Pfn),
    /// Their bytes differ.
    Different,
    /// One of them is not there, not mergeable, or in use by somebody else.
    Kept,
}

/// A page about to be merged: read-only, and nobody else's.
struct Still<F: crate::pgtable::Format> {
    addr: VirtAddr,
    place: Place,
    page: Pfn,
    entry: Entry<F>,
}

/// Merges the pages at `kept` and `gone`, both in areas marked `MADV_MERGEABLE`, if they are equal:
/// the first one stays.
///
/// Both entries lose their store permission, whatever the result. Then both tables are locked, and
/// all is looked at again: a fault may have given a page back to its process meanwhile, even so
/// that its entry is the same again.
pub fn merge_equal<H: Host>(map: &MmRead<'_, H>, kept: VirtAddr, gone: VirtAddr) -> Merge {
    let (mm, frames) = (map.mm(), map.mm().machine().frames());
    mm.machine().drain_batches();
    let (Some(kept), Some(gone)) = (write_protect(map, kept), write_protect(map, gone)) else {
        return Merge::Kept;
    };
    let _guards = mm.tables().lock_both(kept.place.table, gone.place.table);
    if kept.page == gone.page || changed(mm, &kept) || changed(mm, &gone) {
        return Merge::Kept;
    }
    if !equal(mm.machine().memory(), kept.page, gone.page) {
        return Merge::Different;
    }
    if frames.get(kept.page, 1).is_err() {
        return Merge::Kept;
    }
    frames.set(kept.page, FrameFlags::KSM);
    replace(mm, &gone, kept.page);
    Merge::Merged(kept.page)
}

/// The page is not any more as [`write_protect`] left it: it is mapped no longer, or exclusive
/// again and maybe pinned. Its table is locked.
fn changed<H: Host>(mm: &Mm<H>, still: &Still<H::Format>) -> bool {
    let exclusive = mm.machine().frames().has(still.page, FrameFlags::ANON_EXCLUSIVE);
    mm.tables().load(still.place) != still.entry
        || mm.machine().host().rule(f::F_37, exclusive, still.addr)
}

/// Takes the store permission from the entry of `addr`, if its page may be merged.
fn write_protect<H: Host>(map: &MmRead<'_, H>, addr: VirtAddr) -> Option<Still<H::Format>> {
    let (mm, addr) = (map.mm(), addr.page_floor());
    let (machine, tables) = (mm.machine(), mm.tables());
    let frames = machine.frames();
    map.lookup(addr).filter(|vma| vma.flags.contains(VmFlags::MERGEABLE))?;
    let place = Some(tables.walk(addr).place).filter(|place| place.level == 0)?;
    let _guard = tables.lock(place.table);
    let seen = tables.load(place);
    let page = Some(seen).filter(|entry| entry.is_present()).and_then(normal_page)?;
    if frames.kind(page) != Kind::Anon || frames.is_large(page) {
        return None;
    }
    let entry = seen.map_perms(0, |perms| (perms.write, perms.dirty) = (false, false));
    if frames.has(page, FrameFlags::KSM) {
        return Some(Still { addr, place, page, entry: seen });
    }
    let old = tables.empty(place, VirtRange::new(addr, addr.saturating_add(PAGE_SIZE)));
    let cached = u32::from(frames.has(page, FrameFlags::SWAPCACHE));
    let held = frames.linux_refcount(page) != frames.folio_mapcount(page) + cached;
    if machine.host().rule(f::F_37, held, addr) {
        tables.store(place, old);
        return None;
    }
    frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
    if old.is_dirty() {
        frames.set(page, FrameFlags::DIRTY);
    }
    tables.store(place, entry);
    Some(Still { addr, place, page, entry })
}

fn equal(memory: &impl Memory, a: Pfn, b: Pfn) -> bool {
    let (mut one, mut other) = ([0; 256], [0; 256]);
    (0..PAGE_SIZE as usize).step_by(one.len()).all(|offset| {
        memory.read(a, offset, &mut one);
        memory.read(b, offset, &mut other);
        one == other
    })
}

/// Puts `kept`, to which the caller has a reference, in the place of `gone`, whose table is locked.
fn replace<H: Host>(mm: &Mm<H>, gone: &Still<H::Format>, kept: Pfn) {
    let tables = mm.tables();
    tables.store(gone.place, Entry::NONE);
    let range = VirtRange::new(gone.addr, gone.addr.saturating_add(PAGE_SIZE));
    mm.machine().host().flush_tlb(mm.root(), range);
    add_mapping(mm, kept);
    let perms = gone.entry.perms(0).unwrap_or_default();
    tables.store(gone.place, Entry::leaf(kept, perms, 0));
    remove_mapping(mm, gone.page);
}
