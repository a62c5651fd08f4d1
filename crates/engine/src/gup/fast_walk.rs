//! The walk of GUP-fast, 6.18: what is present, without a lock.
//!
//! Sees no VMA and edits nothing. One walk down to each table of small pages; then page by page:
//! read the entry, count, and, behind the full barrier that counting ends with, read the entry and
//! the one above it again (row F-54). No level above those is read again: a table is unlinked when
//! it is empty, so that the entry in it has changed, too; only a collapse unlinks one that is not,
//! and it changes the entry above (row S-18). What cannot be had ends the walk, and is left to the
//! slow path; it may only be more restrictive than that (I-23). Tables stay tables while it walks
//! ([`crate::pgtable::Tables::enter`]).
//!
//! *Fork's sequence* is read before the first page and after the last (row F-55). A load is enough,
//! though nothing orders it after earlier pins but their barriers: fork changes the sequence, has a
//! full barrier, and looks at the pins; a pin is counted, has a full barrier, and the sequence is
//! looked at. Whichever barrier comes second, its thread sees what the other did: fork the pin (and
//! that there are pins at all), or the walk the sequence.
//! Linux: mm/gup.c `gup_fast`, `gup_fast_pte_range`, `gup_fast_pmd_leaf` (rows C-66 … C-75).

use super::longterm::is_pinnable;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::flags::Foll;
use crate::frame::{Folio, FrameFlags, Kind};
use crate::host::{Gap, Host};
use crate::mm::{Machine, Mm};
use crate::observe::Event;
use crate::pgtable::{ENTRIES, Entry, Place, Tables, Walked, level_pages};
use crate::rule::{c, f, s};
use core::sync::atomic::Ordering::Acquire;

/// Where the walk puts what it took.
pub(super) trait Taken {
    /// Keeps `count` pages from `pfn` on, which are pages `index..` of the walk.
    fn put(&mut self, index: u64, pfn: Pfn, count: u64);
    /// Unpins the first `got` pages, which is all that were put here.
    fn give_back<H: Host>(&mut self, machine: &Machine<H>, got: u64);
}

/// The lockless walk: how many pages it got. Fork write-protecting meanwhile makes pins come to
/// nothing (C-68).
#[inline]
pub(super) fn lockless<H: Host, T: Taken + ?Sized>(
    mm: &Mm<H>,
    start: VirtAddr,
    nr_pages: u64,
    foll: Foll,
    taken: &mut T,
) -> u64 {
    let (machine, tables) = (&**mm.machine(), mm.tables());
    let (host, pin) = (machine.host(), foll.contains(Foll::PIN));
    let _inside = tables.enter();
    host.gap(Gap::Entered);
    host.decided(c::C_66, start);
    let seq = mm.write_protect_seq.load(Acquire);
    if host.rule(c::C_68, pin && seq % 2 == 1, start) {
        return 0;
    }
    let got = Walk { machine, tables, foll }.take(start, nr_pages, taken);
    host.gap(Gap::Gathered);
    let forked = pin && mm.write_protect_seq.load(Acquire) != seq;
    let forked = host.rule(f::F_13, forked, start);
    if host.rule(c::C_68, forked, start) && host.rule(s::S_05, true, start) {
        taken.give_back(machine, got);
        return 0;
    }
    got
}

/// What stays the same during a walk.
struct Walk<'m, H: Host> {
    machine: &'m Machine<H>,
    tables: Tables<'m, H>,
    foll: Foll,
}

impl<H: Host> Walk<'_, H> {
    /// Takes up to `nr_pages` pages from `start` on, until one cannot be had; how many.
    #[inline]
    fn take<T: Taken + ?Sized>(&self, start: VirtAddr, nr_pages: u64, taken: &mut T) -> u64 {
        let mut got = 0;
        while got < nr_pages {
            let addr = start.wrapping_add(got << PAGE_SHIFT);
            let upper = self.tables.walk_to(addr, 1);
            let wanted = nr_pages - got;
            let (took, whole) = if upper.entry.is_table(upper.place.level) {
                self.small(addr, upper, (got, wanted), taken)
            } else {
                self.huge(addr, upper, (got, wanted), taken)
            };
            got += took;
            if !whole {
                break;
            }
        }
        got
    }

    /// Pages whose entries stand in the table that `upper` leads to: how many of `wanted`, which
    /// are pages `index..` of the walk, and whether all that the table has of them.
    fn small<T: Taken + ?Sized>(
        &self,
        addr: VirtAddr,
        upper: Walked<H::Format>,
        (index, wanted): (u64, u64),
        taken: &mut T,
    ) -> (u64, bool) {
        let table = upper.entry.pfn();
        let first = (addr.page_number() % ENTRIES as u64) as usize;
        let here = wanted.min((ENTRIES - first) as u64);
        for n in 0..here {
            let place = Place { table, index: first + n as usize, level: 0 };
            let found = Walked { place, entry: self.tables.load(place) };
            let addr = addr.wrapping_add(n << PAGE_SHIFT);
            let Some((pfn, _)) = self.leaf(addr, found, Some(upper), 1) else { return (n, false) };
            self.put(taken, index + n, pfn, 1);
        }
        (here, true)
    }

    /// Pages that one leaf above the lowest level maps, likewise.
    fn huge<T: Taken + ?Sized>(
        &self,
        addr: VirtAddr,
        found: Walked<H::Format>,
        (index, wanted): (u64, u64),
        taken: &mut T,
    ) -> (u64, bool) {
        let Some((pfn, count)) = self.leaf(addr, found, None, wanted) else { return (0, false) };
        self.put(taken, index, pfn, count);
        (count, true)
    }

    #[inline(always)]
    fn put<T: Taken + ?Sized>(&self, taken: &mut T, index: u64, pfn: Pfn, count: u64) {
        taken.put(index, pfn, count);
        self.machine.host().see(Event::Grab { index, pfn });
    }

    /// One leaf: its frame at `addr` and how many pages were taken, at most `left`, or `None` if
    /// the slow path must look.
    #[inline(always)]
    fn leaf(
        &self,
        addr: VirtAddr,
        found: Walked<H::Format>,
        upper: Option<Walked<H::Format>>,
        left: u64,
    ) -> Option<(Pfn, u64)> {
        let host = self.machine.host();
        if host.rule(c::C_69, self.refuses_entry(&found), addr) {
            if self.foll.contains(Foll::FORCE) {
                host.decided(c::C_70, addr);
            }
            return None;
        }
        // From here on the entry is this value, whatever memory says meanwhile.
        let once = host.rule(s::S_22, true, addr);
        let found = if once { found } else { self.again(found) };
        let level = found.place.level;
        let index = addr.page_number() & (level_pages(level) - 1);
        let count = (level_pages(level) - index).min(left);
        let pfn = found.entry.pfn().offset(index);
        if level > 0 {
            host.decided(c::C_72, addr);
        }
        // A leaf has fewer than 2^32 pages.
        let refs = count as u32;
        host.gap(Gap::Seen);
        if host.rule(f::F_57, !self.count(pfn, refs), addr) {
            return None;
        }
        host.gap(Gap::Counted);
        let folio = self.machine.frames().folio(pfn);
        let keep = self.is_same(addr, found, upper) && !self.refuses_folio(addr, found, pfn, folio);
        if host.rule(c::C_71, !keep, addr) {
            self.uncount(pfn, refs);
            return None;
        }
        host.decided(c::C_74, addr);
        host.decided(c::C_75, addr);
        if !folio.flags.contains(FrameFlags::REFERENCED) {
            self.machine.frames().set(folio.head, FrameFlags::REFERENCED);
        }
        Some((pfn, count))
    }

    /// What the entry alone refuses: absent, `PROT_NONE`, read-only for a write, special.
    #[inline(always)]
    fn refuses_entry(&self, found: &Walked<H::Format>) -> bool {
        let entry: Entry<H::Format> = found.entry;
        !entry.is_leaf(found.place.level)
            || entry.is_protnone()
            || (self.foll.contains(Foll::WRITE) && !entry.is_writable())
            || entry.is_special()
    }

    /// Whether the entry, and the one above that led to its table, are what they were.
    #[inline(always)]
    fn is_same(
        &self,
        addr: VirtAddr,
        found: Walked<H::Format>,
        upper: Option<Walked<H::Format>>,
    ) -> bool {
        let host = self.machine.host();
        let is_still = |was: Walked<H::Format>| self.again(was).entry == was.entry;
        let other_table = host.rule(s::S_18, !upper.is_none_or(is_still), addr);
        !host.rule(f::F_54, other_table || !is_still(found), addr)
    }

    /// What the entry is now.
    #[inline(always)]
    fn again(&self, found: Walked<H::Format>) -> Walked<H::Format> {
        Walked { entry: self.tables.load(found.place), ..found }
    }

    /// Counts `n` more users of the folio, unless it is being freed. A full barrier follows.
    #[inline(always)]
    fn count(&self, pfn: Pfn, n: u32) -> bool {
        let frames = self.machine.frames();
        if !self.foll.contains(Foll::PIN) {
            return frames.try_get(pfn, n);
        }
        let taken = frames.try_pin(pfn, n);
        if taken {
            self.machine.host().see(Event::Pinned(n));
        }
        taken
    }

    #[cold]
    fn uncount(&self, pfn: Pfn, n: u32) {
        if self.foll.contains(Foll::PIN) {
            self.machine.unpin_pages(pfn, n);
        } else {
            self.machine.put_pages(pfn, n);
        }
    }

    /// What the folio refuses, once held: rows C-73 (which folios), C-43 without a VMA (must be
    /// unshared first).
    #[inline(always)]
    fn refuses_folio(
        &self,
        addr: VirtAddr,
        found: Walked<H::Format>,
        pfn: Pfn,
        folio: Folio,
    ) -> bool {
        let (machine, foll) = (self.machine, self.foll);
        let host = machine.host();
        let longterm_write = foll.contains(Foll::PIN | Foll::LONGTERM | Foll::WRITE);
        let filtered = longterm_write || folio.order == 0;
        let owner = || machine.frames().owner(folio.head).owner;
        if host.rule(c::C_73, filtered && filter(folio.kind, owner, longterm_write), addr) {
            // By whose page it is, on a list of reclaim or not.
            let secret = folio.kind == Kind::Secret;
            let kept = host.rule(s::S_11, secret, addr) == secret;
            return kept || !folio.flags.contains(FrameFlags::LRU);
        }
        if foll.contains(Foll::LONGTERM)
            && machine.sysctl.migration
            && host.rule(s::S_13, !is_pinnable(machine, pfn, addr), addr)
        {
            return true;
        }
        // Whether it is private memory, the slow path finds out.
        let copies = !found.entry.is_writable() && !foll.contains(Foll::WRITE);
        if host.past_rule(c::C_104, copies, addr) {
            return true;
        }
        let read_pin = foll & (Foll::PIN | Foll::WRITE) == Foll::PIN;
        if found.entry.is_writable() || !read_pin {
            return false;
        }
        let unshare = if folio.is_anon() {
            let marked = if found.place.level > 0 { folio.head } else { pfn };
            !machine.frames().has(marked, FrameFlags::ANON_EXCLUSIVE)
        } else {
            foll.contains(Foll::LONGTERM)
        };
        host.rule(c::C_43, unshare, addr)
    }
}

/// Row C-73 by kind: by whose page it is, never by incidental state (I-09).
#[inline(always)]
fn filter(kind: Kind, owner: impl FnOnce() -> u32, longterm_write: bool) -> bool {
    match kind {
        Kind::Hugetlb | Kind::Anon => false,
        Kind::Shmem => owner() == 0,
        Kind::File => longterm_write || owner() == 0,
        Kind::Secret | Kind::Slab | Kind::Special | Kind::Kernel | Kind::Table | Kind::Free => true,
    }
}
