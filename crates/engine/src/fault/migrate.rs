//! Moving a page to another frame while it is mapped, as a long-term pin needs it.
//!
//! *Isolated*: taken by one mover, who holds a reference. Every entry becomes a migration entry,
//! then the references must be exactly those that are known, the isolation's and the cache's: any
//! pin or plain reference refuses the move (row F-36), and the entries come back as they were.
//! Invariants: the exclusive mark goes with the page; a pinned exclusive page never loses its
//! entry (row F-34); on failure nothing is changed but accessed and dirty bits. Absent: large
//! folios and hugetlb pages, which are refused: they would have to be split first; choosing pages.
//! Linux: mm/migrate.c `migrate_pages`, `folio_migrate_mapping`, `remove_migration_ptes` (6.18).

use super::page::normal_page;
use super::rmap::{Held, Mapping, file_of, mappings};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::file::{File, Slot};
use crate::frame::{AllocFlags, FrameFlags, Kind, Owner};
use crate::host::{Host, Memory};
use crate::mm::{Machine, Mm, MmRead};
use crate::pgtable::{Decoded, Entry, SwapEntry};
use crate::rule::f;
use crate::vma::Map;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{Ordering::SeqCst, fence};

/// How often a page that is in use is tried (`NR_MAX_MIGRATE_PAGES_RETRY`).
const ATTEMPTS: u32 = 10;

/// Why a page stays where it is. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// Somebody else holds it, or maps it where it cannot be found.
    Busy,
    /// There is no frame to move it to.
    NoMemory,
    /// Pages of this kind are not moved: large folios, hugetlb, memory of the machine's own.
    Unmovable,
}

/// The address space whose mmap lock the caller holds, if it holds one.
pub(crate) type Own<'m, H> = Option<(&'m Mm<H>, &'m Map<H>)>;

/// Takes the folio for a move: one reference is held from now on. Answers whether that could be
/// done: memory of the machine's own, and what another mover has, cannot.
/// # Linux
/// `folio_isolate_lru()`.
pub(crate) fn isolate<H: Host>(machine: &Machine<H>, head: Pfn) -> bool {
    let frames = machine.frames();
    let listed = match frames.kind(head) {
        Kind::Anon | Kind::File | Kind::Shmem | Kind::Hugetlb => true,
        Kind::Free | Kind::Table | Kind::Secret | Kind::Special | Kind::Kernel | Kind::Slab => {
            false
        }
    };
    if !listed || frames.test_and_set(head, FrameFlags::ISOLATED) {
        return false;
    }
    let held = frames.get(head, 1).is_ok();
    if !held {
        frames.clear(head, FrameFlags::ISOLATED);
    }
    held
}

/// Gives a page that [`isolate`] took back to where it was.
pub(crate) fn put_back<H: Host>(machine: &Machine<H>, head: Pfn) {
    machine.frames().clear(head, FrameFlags::ISOLATED);
    machine.put_page(head);
}

/// Moves an isolated page to a frame that `how` allows, and ends its isolation. Answers the frame.
///
/// `own` is the address space that the caller has locked; all others are locked here, for reading,
/// if that can be done without waiting. `file` is the page's file, if the caller has it. No
/// table's lock is held. The old frame is freed with its last reference.
/// # Errors
/// [`Stays`].
pub(crate) fn migrate<H: Host>(
    machine: &Machine<H>,
    own: Own<'_, H>,
    file: Option<&Arc<File<H>>>,
    old: Pfn,
    how: AllocFlags,
) -> Result<Pfn, Stays> {
    let mut result = Err(Stays::Busy);
    for _ in 0..ATTEMPTS {
        result = attempt(machine, own, file, old, how);
        if result != Err(Stays::Busy) {
            break;
        }
        machine.host().relax();
    }
    put_back(machine, old);
    result
}

fn attempt<H: Host>(
    machine: &Machine<H>,
    own: Own<'_, H>,
    file: Option<&Arc<File<H>>>,
    old: Pfn,
    how: AllocFlags,
) -> Result<Pfn, Stays> {
    let frames = machine.frames();
    let kind = frames.kind(old);
    if frames.is_large(old) || kind == Kind::Hugetlb || frames.has(old, FrameFlags::HWPOISON) {
        return Err(Stays::Unmovable);
    }
    let spaces = machine.spaces();
    let others = spaces.iter().filter(|mm| own.is_none_or(|(mine, _)| !same(mine, mm)));
    let guards: Vec<MmRead<'_, H>> = others.filter_map(|mm| mm.try_read()).collect();
    let mut held: Vec<Held<'_, H>> =
        guards.iter().map(|guard| Held { mm: guard.mm(), map: guard }).collect();
    held.extend(own.map(|(mm, map)| Held { mm, map }));
    let _locked = frames.try_lock_folio(old).ok_or(Stays::Busy)?;
    let found =
        if frames.is_mapped(old) { mappings(&held, old).ok_or(Stays::Busy)? } else { Vec::new() };
    let of = frames.owner(old).owner;
    let file = file.cloned().or_else(|| file_of(&held, of)).filter(|file| file.id() == of);
    let new = frames.alloc(machine.host(), 0, kind, how).map_err(|_| Stays::NoMemory)?;
    let done = unmap(&found, old);
    let moved = done.len() == found.len() && replace(machine, file.as_deref(), old, new);
    remap(&done, old, if moved { new } else { old });
    // The entries have references of their own now.
    machine.put_page(new);
    if moved { Ok(new) } else { Err(Stays::Busy) }
}

fn same<H: Host>(a: &Mm<H>, b: &Arc<Mm<H>>) -> bool {
    core::ptr::eq(a, Arc::as_ptr(b))
}

/// Turns entries into migration entries; those that were turned, up to one that could not be.
fn unmap<'m, H: Host>(found: &[Mapping<'m, H>], page: Pfn) -> Vec<Mapping<'m, H>> {
    let mut done = Vec::new();
    for &Mapping { mm, addr, place, .. } in found {
        let (machine, tables) = (mm.machine(), mm.tables());
        let frames = machine.frames();
        let _guard = tables.lock(place.table);
        let seen = tables.load(place);
        if !seen.is_present() || normal_page(seen) != Some(page) {
            return done;
        }
        let old = tables.swap(place, Entry::NONE);
        let end = addr.saturating_add(PAGE_SIZE);
        machine.host().flush_tlb(mm.root(), VirtRange::new(addr, end));
        fence(SeqCst);
        let exclusive = frames.is_anon(page) && frames.has(page, FrameFlags::ANON_EXCLUSIVE);
        let pinned = exclusive && machine.maybe_pinned(page);
        if machine.host().rule(f::F_34, pinned, addr) {
            tables.store(place, old);
            return done;
        }
        if exclusive {
            frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
        }
        if old.is_dirty() {
            frames.set(page, FrameFlags::DIRTY);
        }
        let moving = SwapEntry::Migration { pfn: page, write: old.is_writable(), exclusive };
        tables.store(place, Entry::swap(moving));
        frames.unmap(page);
        // Not the last one: the isolation holds another.
        machine.put_page(page);
        done.push(Mapping { mm, addr, place, entry: old });
    }
    done
}

/// Gives the frame `new` the contents, names and cache place of `old`, if nobody else refers to
/// it. It is mapped nowhere.
fn replace<H: Host>(machine: &Machine<H>, file: Option<&File<H>>, old: Pfn, new: Pfn) -> bool {
    let frames = machine.frames();
    machine.memory().copy(new, old, 1);
    frames.set_owner(new, frames.owner(old));
    let stay = FrameFlags::PER_PAGE
        | FrameFlags::LOCKED
        | FrameFlags::ISOLATED
        | FrameFlags::SWAPCACHE
        | FrameFlags::LRU;
    frames.set(new, frames.flags(old) - stay);
    let alone = match frames.kind(old) {
        Kind::Anon if frames.has(old, FrameFlags::SWAPCACHE) => {
            machine.swap().replace(machine, old, new, 2)
        }
        Kind::Anon => {
            let frozen = frames.freeze(old, 1);
            if frozen {
                frames.unfreeze(old, 1);
            }
            frozen
        }
        Kind::File | Kind::Shmem => file.is_some_and(|file| in_cache(machine, file, old, new)),
        Kind::Free
        | Kind::Table
        | Kind::Hugetlb
        | Kind::Secret
        | Kind::Special
        | Kind::Kernel
        | Kind::Slab => false,
    };
    if machine.host().rule(f::F_36, !alone, VirtAddr::new(0)) || !alone {
        return false;
    }
    frames.set_owner(old, Owner::default());
    frames.clear(old, FrameFlags::DIRTY);
    true
}

/// Puts `new` where `old` is in its file's cache, which passes its reference on.
fn in_cache<H: Host>(machine: &Machine<H>, file: &File<H>, old: Pfn, new: Pfn) -> bool {
    let frames = machine.frames();
    let mut pages = file.pages.lock();
    let index = frames.index_of(old);
    if pages.get(&index) != Some(&Slot::Page(old)) || frames.get(new, 1).is_err() {
        return false;
    }
    // The isolation's reference, and the cache's.
    if !frames.freeze(old, 2) {
        drop(pages);
        machine.put_page(new);
        return false;
    }
    pages.insert(index, Slot::Page(new));
    frames.unfreeze(old, 1);
    true
}

/// Turns the migration entries for `old` into entries that map `page`, as they were before.
fn remap<H: Host>(done: &[Mapping<'_, H>], old: Pfn, page: Pfn) {
    for &Mapping { mm, place, entry, .. } in done {
        let (tables, frames) = (mm.tables(), mm.machine().frames());
        let _guard = tables.lock(place.table);
        let Decoded::Swap(SwapEntry::Migration { pfn, write, exclusive }) =
            tables.load(place).decode(0)
        else {
            continue;
        };
        if pfn != old || frames.get(page, 1).is_err() {
            continue;
        }
        frames.map(page);
        if exclusive {
            frames.set(page, FrameFlags::ANON_EXCLUSIVE);
        }
        let mut perms = entry.perms(0).unwrap_or_default();
        perms.write &= write;
        tables.store(place, Entry::leaf(page, perms, 0));
    }
}
