//! Moving a folio to other frames while it is mapped, as a long-term pin needs it.
//!
//! *Isolated*: taken by one mover, who holds a reference. Every entry becomes a migration entry
//! ([`super::migrate_entries`]), then the references must be exactly those that are known, the
//! isolation's and the cache's: any pin or plain reference refuses the move (row F-36), and the
//! entries come back as they were. A folio moves whole if as many frames in a row are free; else it
//! is taken apart first, if it may be (row F-39), and its pages move one by one; a hugetlb page
//! never is. Invariants: the exclusive mark goes with the page; on failure nothing is changed but
//! accessed and dirty bits, and that a folio may be in pieces. Absent: choosing pages.
//! Linux: mm/migrate.c `migrate_pages`, `folio_migrate_mapping`, `unmap_and_move_huge_page`,
//! `try_split_folio` (6.18).

use super::migrate_entries::{remap, unmap};
use super::rmap::{Held, file_of, mappings};
use super::split::split_leaf;
use crate::addr::{Pfn, VirtAddr};
use crate::file::{File, Slot};
use crate::frame::{AllocFlags, FolioGuard, FrameFlags, Kind, Owner};
use crate::host::{Host, Memory};
use crate::hugetlb::{BROKEN, TEMPORARY};
use crate::mm::{Machine, Mm, MmRead};
use crate::observe::Event;
use crate::rule::f;
use crate::vma::Map;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// How often a page that is in use is tried (`NR_MAX_MIGRATE_PAGES_RETRY`).
const ATTEMPTS: u32 = 10;

/// Why a page stays where it is. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// Somebody else holds it, or maps it where it cannot be found.
    Busy,
    /// There is no frame to move it to.
    NoMemory,
    /// Its memory failed.
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

/// Moves an isolated folio to frames that `how` allows, and ends its isolation.
///
/// `own` is the address space that the caller has locked; all others are locked here, for reading,
/// if that can be done without waiting. `file` is the folio's file, if the caller has it. No
/// table's lock is held. The old frames are freed with the last reference.
/// # Errors
/// [`Stays`]; some pages of a folio that was taken apart may have moved.
pub(crate) fn migrate<H: Host>(
    machine: &Machine<H>,
    own: Own<'_, H>,
    file: Option<&Arc<File<H>>>,
    old: Pfn,
    how: AllocFlags,
) -> Result<(), Stays> {
    let mover = Mover { machine, own, file, how };
    let mut result = Err(Stays::Busy);
    for _ in 0..ATTEMPTS {
        result = mover.attempt(old);
        if result == Err(Stays::NoMemory) && mover.is_divisible(old) {
            match mover.take_apart(old) {
                Ok(parts) => return mover.each(&parts),
                Err(stays) => result = Err(stays),
            }
        }
        if result != Err(Stays::Busy) {
            break;
        }
        machine.host().relax();
    }
    put_back(machine, old);
    result
}

/// What all attempts have in common.
struct Mover<'a, H: Host> {
    machine: &'a Machine<H>,
    own: Own<'a, H>,
    file: Option<&'a Arc<File<H>>>,
    how: AllocFlags,
}

/// A locked folio, its file, and the references to it that are no mappings: the isolation's, and
/// those of its cache.
struct Source<'f, H: Host> {
    head: Pfn,
    file: Option<Arc<File<H>>>,
    refs: u32,
    _locked: FolioGuard<'f>,
}

impl<'a, H: Host> Mover<'a, H> {
    /// Locks what can be locked of all address spaces, and calls `body` with those that are.
    fn with_spaces<T>(&self, body: impl FnOnce(&[Held<'_, H>]) -> T) -> T {
        let spaces = self.machine.spaces();
        let others = spaces.iter().filter(|mm| self.own.is_none_or(|(mine, _)| !same(mine, mm)));
        let guards: Vec<MmRead<'_, H>> = others.filter_map(|mm| mm.try_read()).collect();
        let mut held: Vec<Held<'_, H>> =
            guards.iter().map(|guard| Held { mm: guard.mm(), map: guard }).collect();
        held.extend(self.own.map(|(mm, map)| Held { mm, map }));
        body(&held)
    }

    fn source(&self, held: &[Held<'_, H>], head: Pfn) -> Result<Source<'a, H>, Stays> {
        let frames = self.machine.frames();
        let locked = frames.try_lock_folio(head).ok_or(Stays::Busy)?;
        let of = frames.owner(head).owner;
        let file = self.file.cloned().or_else(|| file_of(held, of)).filter(|file| file.id() == of);
        #[allow(clippy::cast_possible_truncation, reason = "at most 1 << MAX_ORDER")]
        let refs = match frames.kind(head) {
            // Whether the swap cache has one is asked when that is locked.
            Kind::Anon => 1,
            Kind::Hugetlb => 1 + u32::from(!frames.is_anon(head)),
            Kind::File | Kind::Shmem => 1 + frames.folio_frames(head) as u32,
            Kind::Free | Kind::Table | Kind::Secret | Kind::Special | Kind::Kernel | Kind::Slab => {
                return Err(Stays::Unmovable);
            }
        };
        Ok(Source { head, file, refs, _locked: locked })
    }

    fn attempt(&self, old: Pfn) -> Result<(), Stays> {
        let frames = self.machine.frames();
        let mut pages = (0..frames.folio_frames(old)).map(|n| old.offset(n));
        let huge = frames.kind(old) == Kind::Hugetlb;
        if pages.any(|page| frames.has(page, FrameFlags::HWPOISON))
            || huge && frames.has(old, BROKEN)
        {
            return Err(Stays::Unmovable);
        }
        let new = self.target(old).ok_or(Stays::NoMemory)?;
        let moved = self.with_spaces(|held| {
            let source = self.source(held, old)?;
            let found = if frames.is_mapped(old) { mappings(held, old) } else { Some(Vec::new()) };
            let found = found.ok_or(Stays::Busy)?;
            let done = unmap(&found);
            let moved = done.len() == found.len() && self.replace(&source, new);
            let page = if moved { new } else { old };
            remap(&done, old, page);
            if frames.has(page, FrameFlags::SWAPCACHE) {
                // Its last entry may have gone while it was on the way.
                self.machine.swap().drop_unmapped(self.machine, page);
            }
            if moved { Ok(()) } else { Err(Stays::Busy) }
        });
        // What moved has references of its own now.
        self.machine.put_page(new);
        moved
    }

    /// Frames for the folio, with one reference.
    fn target(&self, old: Pfn) -> Option<Pfn> {
        let (machine, frames) = (self.machine, self.machine.frames());
        let (order, kind) = (frames.order(old), frames.kind(old));
        match kind {
            Kind::Hugetlb => machine.hugetlb_to_move_to(order, self.how),
            Kind::Free
            | Kind::Table
            | Kind::Anon
            | Kind::File
            | Kind::Shmem
            | Kind::Secret
            | Kind::Special
            | Kind::Kernel
            | Kind::Slab => frames.alloc(machine.host(), order, kind, self.how).ok(),
        }
    }

    /// Gives the folio `new` the contents, names and cache place of the old one, if nobody else
    /// refers to that. It is mapped nowhere.
    fn replace(&self, source: &Source<'_, H>, new: Pfn) -> bool {
        let (machine, frames) = (self.machine, self.machine.frames());
        let old = source.head;
        let carry = || self.carry(old, new);
        let alone = if frames.has(old, FrameFlags::SWAPCACHE) {
            machine.swap().replace(machine, old, new, source.refs + 1, carry)
        } else if frames.is_anon(old) {
            let frozen = frames.freeze(old, source.refs);
            if frozen {
                carry();
                frames.unfreeze(old, 1);
            }
            frozen
        } else {
            source.file.as_deref().is_some_and(|file| in_cache(machine, file, source, new, carry))
        };
        if machine.host().rule(f::F_36, !alone, VirtAddr::new(0)) {
            return false;
        }
        // A page that was made only to take the place of one in a pool is the pool's from now on.
        if frames.test_and_clear(new, TEMPORARY) {
            frames.set(old, TEMPORARY);
        }
        machine.mlocks().moved(old, new);
        let pages = frames.folio_frames(new);
        machine.host().see(Event::Moved { from: old, to: new, pages });
        frames.set_owner(old, Owner::default());
        frames.clear(old, FrameFlags::DIRTY);
        true
    }

    /// Copies bytes, names and flags. The old folio is frozen: whoever stored to it, or marked it
    /// dirty, had a reference, and has given it back.
    fn carry(&self, old: Pfn, new: Pfn) {
        let (machine, frames) = (self.machine, self.machine.frames());
        machine.memory().copy(new, old, frames.folio_frames(old));
        frames.set_owner(new, frames.owner(old));
        let stay = FrameFlags::PER_PAGE
            | FrameFlags::LOCKED
            | FrameFlags::ISOLATED
            | FrameFlags::SWAPCACHE
            | FrameFlags::LRU
            | TEMPORARY;
        frames.set(new, frames.flags(old) - stay);
    }

    /// Whether the folio's pages can stand for themselves.
    fn is_divisible(&self, head: Pfn) -> bool {
        let frames = self.machine.frames();
        frames.is_large(head) && frames.kind(head) != Kind::Hugetlb
    }

    /// Takes the isolated folio apart; its pages, each isolated. Huge entries that map it are split
    /// even if it stays whole in the end.
    fn take_apart(&self, old: Pfn) -> Result<Vec<Pfn>, Stays> {
        let frames = self.machine.frames();
        let pages: Vec<Pfn> = (0..frames.folio_frames(old)).map(|n| old.offset(n)).collect();
        self.with_spaces(|held| {
            let source = self.source(held, old)?;
            let held_elsewhere = frames.refs(old) != frames.folio_mapcount(old) + source.refs;
            if self.machine.host().rule(f::F_39, held_elsewhere, VirtAddr::new(0)) {
                return Err(Stays::Busy);
            }
            let whole = if frames.is_mapped(old) { mappings(held, old) } else { Some(Vec::new()) };
            for huge in whole.ok_or(Stays::Busy)?.iter().filter(|m| m.place.level > 0) {
                split_leaf(huge.mm, huge.addr).map_err(|_| Stays::NoMemory)?;
            }
            let small = if frames.is_mapped(old) { mappings(held, old) } else { Some(Vec::new()) };
            let found = small.ok_or(Stays::Busy)?;
            let done = unmap(&found);
            let apart = done.len() == found.len() && divide(self.machine, &source);
            remap(&done, old, old);
            if apart { Ok(pages) } else { Err(Stays::Busy) }
        })
    }

    /// Moves the pages of a folio that was taken apart. All are tried, whatever becomes of the
    /// first; those that nobody needs any more are freed.
    fn each(&self, parts: &[Pfn]) -> Result<(), Stays> {
        let mut result = Ok(());
        for &page in parts {
            let moved = migrate(self.machine, self.own, self.file, page, self.how);
            result = result.and(moved);
        }
        result
    }
}

fn same<H: Host>(a: &Mm<H>, b: &Arc<Mm<H>>) -> bool {
    core::ptr::eq(a, Arc::as_ptr(b))
}

/// Puts `new` where the folio is in its file's cache, which passes its references on, when `carry`
/// has made it the same.
fn in_cache<H: Host>(
    machine: &Machine<H>,
    file: &File<H>,
    source: &Source<'_, H>,
    new: Pfn,
    carry: impl FnOnce(),
) -> bool {
    let (frames, old) = (machine.frames(), source.head);
    let mut pages = file.pages.lock();
    let index = frames.index_of(old);
    // All but the isolation's reference: one for each place.
    let places = source.refs - 1;
    let at = |n: u32| (index + u64::from(n), Slot::Page(old.offset(u64::from(n))));
    let there = (0..places).map(at).all(|(index, slot)| pages.get(&index) == Some(&slot));
    if !there || frames.get(new, places).is_err() {
        return false;
    }
    if !frames.freeze(old, source.refs) {
        drop(pages);
        machine.put_pages(new, places);
        return false;
    }
    carry();
    for n in 0..places {
        pages.insert(index + u64::from(n), Slot::Page(new.offset(u64::from(n))));
    }
    frames.unfreeze(old, 1);
    true
}

/// Makes every page of the folio one of its own, isolated as the folio was. It is mapped nowhere.
fn divide<H: Host>(machine: &Machine<H>, source: &Source<'_, H>) -> bool {
    let (frames, old) = (machine.frames(), source.head);
    // Nobody finds a page in the cache while it has no reference.
    let pages = source.file.as_deref().map(|file| file.pages.lock());
    let cached = u32::from(!frames.is_anon(old));
    let frozen = frames.freeze(old, source.refs);
    if frozen {
        frames.split(old, |_, _| 1 + cached);
    }
    drop(pages);
    frozen
}
