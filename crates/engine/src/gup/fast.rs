//! GUP-fast, 6.18: pages of the acting task's own address space, without the mmap lock.
//!
//! Sees no VMA and edits nothing: read the entry, take the count, read the entry and its parents
//! again, and leave the rest to the slow path if anything moved. May only be more restrictive than
//! the slow path (I-23). Tables stay tables while it walks ([`crate::pgtable::Tables::enter`]).
//! Linux: mm/gup.c `gup_fast_fallback`, `gup_fast_pte_range` (rows C-64 … C-75).

use super::args;
use super::family::internal;
use super::longterm::is_pinnable;
use super::outcome::{Outcome, Pages};
use super::page::Page;
use super::request::Request;
use super::stop::Stop;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::Foll;
use crate::frame::{FrameFlags, Kind};
use crate::host::{Gap, Host};
use crate::mm::{Lock, Machine, Mm};
use crate::observe::Event;
use crate::pgtable::{Entry, Walked, task_size};
use crate::rule::{Rule, c, f, s};
use crate::task::Task;
use core::sync::atomic::Ordering::Acquire;

/// A fast entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FastEntry {
    /// `get_user_pages_fast`.
    Get,
    /// `get_user_pages_fast_only`: never falls back.
    GetOnly,
    /// `pin_user_pages_fast`.
    Pin,
}

/// Gets or pins pages of `mm`, the acting task's own, from the page of `start` on, fast where that
/// can be done.
///
/// The mmap lock must not be held by the caller: the remainder takes it. `pages` must hold
/// `nr_pages` slots.
pub fn fast<H: Host>(
    entry: FastEntry,
    current: &Task,
    mm: &Mm<H>,
    start: VirtAddr,
    nr_pages: u64,
    foll: Foll,
    pages: &mut [Option<Page>],
) -> Outcome {
    let host = mm.machine().host();
    let mode = match entry {
        FastEntry::Get => Foll::GET,
        FastEntry::GetOnly => Foll::GET | Foll::FAST_ONLY,
        FastEntry::Pin => Foll::PIN,
    };
    let checked = args::slow(host, start, foll, mode, args::WantsPages::Yes)
        .and_then(|foll| args::fast(host, start, foll).map(|()| foll));
    let foll = match checked {
        Ok(foll) => foll,
        Err(rule) => return Outcome::stopped(0, Stop::with(rule, Errno::EINVAL)),
    };
    if (pages.len() as u64) < nr_pages {
        return Outcome::stopped(0, Stop::with(c::C_05, Errno::EINVAL));
    }
    if foll.contains(Foll::PIN) {
        mm.set_has_pinned();
    }
    let start = mm.untagged(start).page_floor();
    if let Err(stop) = range(host, start, nr_pages) {
        return Outcome::stopped(0, stop);
    }
    let got = lockless(mm, start, nr_pages, foll, pages);
    if got == nr_pages || foll.contains(Foll::FAST_ONLY) {
        return Outcome::full(got);
    }
    let request = Request {
        start: start.wrapping_add(got << PAGE_SHIFT),
        nr_pages: nr_pages - got,
        foll: foll | Foll::TOUCH | Foll::UNLOCKABLE,
    };
    let rest: Pages<'_> = usize::try_from(got).ok().and_then(|got| pages.get_mut(got..));
    let slow = internal(current, &mut Lock::Dropped(mm), request, rest);
    Outcome { got: got + slow.got, stop: slow.stop }
}

/// Where the walk puts what it took.
pub(super) trait Taken {
    /// Keeps `count` pages from `pfn` on, which are pages `index..` of the walk.
    fn put(&mut self, index: u64, pfn: Pfn, count: u64);
    /// Unpins the first `got` pages, which is all that were put here.
    fn give_back<H: Host>(&mut self, machine: &Machine<H>, got: u64);
}

impl Taken for [Option<Page>] {
    #[inline]
    fn put(&mut self, index: u64, pfn: Pfn, count: u64) {
        for n in 0..count {
            if let Some(slot) = usize::try_from(index + n).ok().and_then(|at| self.get_mut(at)) {
                *slot = Page::from_pfn(pfn.offset(n));
            }
        }
    }
    fn give_back<H: Host>(&mut self, machine: &Machine<H>, got: u64) {
        for page in self.iter_mut().take(usize::try_from(got).unwrap_or(usize::MAX)) {
            if let Some(page) = page.take() {
                machine.unpin_pages(page.pfn(), 1);
            }
        }
    }
}

/// The range must neither wrap nor reach beyond user space (rows C-64, C-67).
pub(super) fn range<H: Host>(host: &H, start: VirtAddr, nr_pages: u64) -> Result<(), Stop> {
    let bytes = nr_pages.checked_mul(1 << PAGE_SHIFT);
    let end = bytes.and_then(|bytes| start.checked_add(bytes));
    if host.rule(c::C_64, end.is_none(), start) {
        return Err(Stop::with(c::C_64, Errno::EOVERFLOW));
    }
    let beyond = end.is_some_and(|end| end > VirtAddr::new(task_size::<H>()));
    if host.rule(c::C_67, beyond, start) && host.rule(s::S_23, true, start) {
        return Err(Stop::with(c::C_67, Errno::EFAULT));
    }
    Ok(())
}

/// The lockless walk: how many pages it got. Fork write-protecting meanwhile makes pins come to
/// nothing (C-68).
pub(super) fn lockless<H: Host, T: Taken + ?Sized>(
    mm: &Mm<H>,
    start: VirtAddr,
    nr_pages: u64,
    foll: Foll,
    taken: &mut T,
) -> u64 {
    let host = mm.machine().host();
    let pin = foll.contains(Foll::PIN);
    let tables = mm.tables();
    let _inside = tables.enter();
    host.gap(Gap::Entered);
    host.decided(c::C_66, start);
    let seq = mm.write_protect_seq.load(Acquire);
    if host.rule(c::C_68, pin && seq % 2 == 1, start) {
        return 0;
    }
    let mut got = 0;
    while got < nr_pages {
        let addr = start.wrapping_add(got << PAGE_SHIFT);
        let Some((pfn, count)) = leaf(mm, addr, nr_pages - got, foll) else { break };
        taken.put(got, pfn, count);
        host.see(Event::Grab { index: got, pfn });
        got += count;
    }
    host.gap(Gap::Gathered);
    // Each pin had a full barrier behind it, and fork has one between its change of the sequence
    // and its look at pins: one of the two sees the other.
    let forked = pin && mm.write_protect_seq.load(Acquire) != seq;
    let forked = host.rule(f::F_13, forked, start);
    if host.rule(c::C_68, forked, start) && host.rule(s::S_05, true, start) {
        taken.give_back(mm.machine(), got);
        return 0;
    }
    got
}

/// One leaf: its frame at `addr` and how many pages were taken, or `None` if the slow path must
/// look.
fn leaf<H: Host>(mm: &Mm<H>, addr: VirtAddr, left: u64, foll: Foll) -> Option<(Pfn, u64)> {
    let host = mm.machine().host();
    let tables = mm.tables();
    let walked = tables.walk(addr);
    if host.rule(c::C_69, refuses_entry(&walked, foll), addr) {
        if foll.contains(Foll::FORCE) {
            host.decided(c::C_70, addr);
        }
        return None;
    }
    // From here on the entry is this value, whatever memory says meanwhile.
    let once = host.rule(s::S_22, true, addr);
    let walked = if once { walked } else { tables.walk(addr) };
    let Walked { place, entry } = walked;
    let in_leaf = 1u64 << (9 * u32::from(place.level));
    let index = addr.page_number() & (in_leaf - 1);
    let count = (in_leaf - index).min(left);
    let pfn = entry.pfn().offset(index);
    if place.level > 0 {
        host.decided(c::C_72, addr);
    }
    let refs = u32::try_from(count).unwrap_or(u32::MAX);
    host.gap(Gap::Seen);
    if host.rule(f::F_57, !take(mm, pfn, foll, refs), addr) {
        return None;
    }
    host.gap(Gap::Counted);
    let again = tables.walk(addr);
    let moved = again.place != walked.place;
    let other_table = host.rule(s::S_18, moved, addr);
    let now = if moved { tables.load(walked.place) } else { again.entry };
    let same = !host.rule(f::F_54, other_table || now != walked.entry, addr);
    let keep = same && !refuses_folio(mm, addr, &walked, pfn, foll);
    if host.rule(c::C_71, !keep, addr) {
        release(mm, pfn, foll, refs);
        return None;
    }
    host.decided(c::C_74, addr);
    host.decided(c::C_75, addr);
    if !mm.machine().frames().has(pfn, FrameFlags::REFERENCED) {
        mm.machine().frames().set(pfn, FrameFlags::REFERENCED);
    }
    Some((pfn, count))
}

/// What the entry alone refuses: absent, `PROT_NONE`, read-only for a write, special.
fn refuses_entry<F: crate::pgtable::Format>(walked: &Walked<F>, foll: Foll) -> bool {
    let entry: Entry<F> = walked.entry;
    !entry.is_leaf(walked.place.level)
        || entry.is_protnone()
        || (foll.contains(Foll::WRITE) && !entry.is_writable())
        || entry.is_special()
}

/// Counts `n` more users of the folio, unless it is being freed. A full barrier follows (row
/// F-54).
fn take<H: Host>(mm: &Mm<H>, pfn: Pfn, foll: Foll, n: u32) -> bool {
    let frames = mm.machine().frames();
    if foll.contains(Foll::PIN) {
        let taken = frames.try_pin(pfn, n);
        if taken {
            mm.machine().host().see(Event::Pinned(n));
        }
        taken
    } else {
        frames.try_get(pfn, n)
    }
}

fn release<H: Host>(mm: &Mm<H>, pfn: Pfn, foll: Foll, n: u32) {
    if foll.contains(Foll::PIN) {
        mm.machine().unpin_pages(pfn, n);
    } else {
        mm.machine().put_pages(pfn, n);
    }
}

/// What the folio refuses, once held: rows C-73 (which folios), C-43 without a VMA (must be
/// unshared first).
fn refuses_folio<H: Host>(
    mm: &Mm<H>,
    addr: VirtAddr,
    walked: &Walked<H::Format>,
    pfn: Pfn,
    foll: Foll,
) -> bool {
    let host = mm.machine().host();
    let frames = mm.machine().frames();
    let kind = frames.kind(pfn);
    let longterm_write = foll.contains(Foll::PIN | Foll::LONGTERM | Foll::WRITE);
    let filtered = longterm_write || frames.order(pfn) == 0;
    if host.rule(c::C_73, filtered && filter(kind, frames.owner(pfn).owner, longterm_write), addr) {
        // By whose page it is, on a list of reclaim or not.
        let secret = kind == Kind::Secret;
        let kept = host.rule(s::S_11, secret, addr) == secret;
        return kept || !frames.has(pfn, FrameFlags::LRU);
    }
    if foll.contains(Foll::LONGTERM)
        && mm.machine().sysctl.migration
        && host.rule(s::S_13, !is_pinnable(mm.machine(), pfn, addr), addr)
    {
        return true;
    }
    let read_pin = foll & (Foll::PIN | Foll::WRITE) == Foll::PIN;
    if walked.entry.is_writable() || !read_pin {
        return false;
    }
    let unshare = if frames.is_anon(pfn) {
        let marked = if walked.place.level > 0 { frames.head(pfn) } else { pfn };
        !frames.has(marked, FrameFlags::ANON_EXCLUSIVE)
    } else {
        foll.contains(Foll::LONGTERM)
    };
    host.rule(c::C_43, unshare, addr)
}

/// Row C-73 by kind: by whose page it is, never by incidental state (I-09).
fn filter(kind: Kind, owner: u32, longterm_write: bool) -> bool {
    match kind {
        Kind::Hugetlb | Kind::Anon => false,
        Kind::Shmem => owner == 0,
        Kind::File => owner == 0 || longterm_write,
        Kind::Secret | Kind::Slab | Kind::Special | Kind::Kernel | Kind::Table | Kind::Free => true,
    }
}

/// The rule under which a fast walk hands over to the slow path.
pub const HANDS_OVER: Rule = c::C_69;
