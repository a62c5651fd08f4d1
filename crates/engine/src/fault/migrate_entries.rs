//! The entries of a folio that moves: migration entries while it does, and back.
//!
//! Invariants: a pinned exclusive page never loses its entry (row F-34); the exclusive mark stands
//! in the migration entry meanwhile; an entry that somebody took away meanwhile stays away, and one
//! that was split is put back part by part. Absent: who moves what ([`super::migrate`]).
//! Linux: `try_to_migrate_one`, `set_pmd_migration_entry`, `remove_migration_pte`,
//! `remove_migration_pmd` (mm/rmap.c, `mm/huge_memory.c`, mm/migrate.c, 6.18).

use super::rmap::Mapping;
use crate::addr::{Pfn, VirtRange};
use crate::frame::FrameFlags;
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Decoded, ENTRIES, Entry, Perms, Place, SwapEntry, level_span};
use crate::rule::f;
use alloc::vec::Vec;

/// Turns entries into migration entries; those that were turned, up to one that could not be.
pub(super) fn unmap<'m, H: Host>(found: &[Mapping<'m, H>]) -> Vec<Mapping<'m, H>> {
    let mut done = Vec::new();
    for &Mapping { mm, addr, place, page, .. } in found {
        let (machine, tables) = (mm.machine(), mm.tables());
        let frames = machine.frames();
        let _guard = tables.lock(place.table);
        let seen = tables.load(place);
        // It was found without the table's lock.
        let another = !seen.is_leaf(place.level) || seen.pfn() != page;
        if machine.host().rule(f::F_36, another, addr) {
            return done;
        }
        let end = addr.saturating_add(level_span(place.level));
        let entry = tables.empty(place, VirtRange::new(addr, end));
        let exclusive = frames.is_anon(page) && frames.has(page, FrameFlags::ANON_EXCLUSIVE);
        let pinned = exclusive && machine.maybe_pinned(page);
        if machine.host().rule(f::F_34, pinned, addr) {
            tables.store(place, entry);
            return done;
        }
        if exclusive {
            frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
        }
        if entry.is_dirty() {
            frames.set(page, FrameFlags::DIRTY);
        }
        let moving = SwapEntry::Migration { pfn: page, write: entry.is_writable(), exclusive };
        tables.store(place, Entry::swap(moving));
        if place.level == 0 {
            frames.unmap(page, mm.mapper());
        } else {
            frames.unmap_huge(page, mm.mapper());
        }
        // Not the last one: the isolation holds another.
        machine.put_page(page);
        done.push(Mapping { mm, addr, place, entry, page });
    }
    done
}

/// Turns the migration entries for the folio `old` into entries that map `new`, as they were
/// before.
pub(super) fn remap<H: Host>(done: &[Mapping<'_, H>], old: Pfn, new: Pfn) {
    for &Mapping { mm, place, entry, page, .. } in done {
        let Some(perms) = entry.perms(place.level) else { continue };
        let tables = mm.tables();
        let to = new.offset(page.get() - old.get());
        let guard = tables.lock(place.table);
        let parts = match tables.load(place).decode(place.level) {
            Decoded::Table(table) => Some(table),
            Decoded::None | Decoded::Leaf(..) | Decoded::Swap(_) => None,
        };
        let Some(table) = parts else {
            put_back(mm, place, perms, (page, to));
            continue;
        };
        drop(guard);
        let _guard = tables.lock(table);
        for (n, index) in (0..).zip(0..ENTRIES) {
            let place = Place { table, index, level: place.level - 1 };
            put_back(mm, place, perms, (page.offset(n), to.offset(n)));
        }
    }
}

/// Puts an entry for `to` where a migration entry for `from` stands. Its table is locked.
fn put_back<H: Host>(mm: &Mm<H>, place: Place, perms: Perms, (from, to): (Pfn, Pfn)) {
    let (tables, frames) = (mm.tables(), mm.machine().frames());
    let Decoded::Swap(SwapEntry::Migration { pfn, write, exclusive }) =
        tables.load(place).decode(place.level)
    else {
        return;
    };
    if pfn != from || frames.get(to, 1).is_err() {
        return;
    }
    if place.level == 0 {
        frames.map(to, mm.mapper());
    } else {
        frames.map_huge(to, mm.mapper());
    }
    if exclusive {
        frames.set(to, FrameFlags::ANON_EXCLUSIVE);
    }
    let perms = Perms { write: perms.write && write, ..perms };
    tables.store(place, Entry::leaf(to, perms, place.level));
}
