//! What one page-table entry gives: shared parts of both kernels' lookups.
//!
//! Absent: the order of the checks, which is each kernel's own ([`super::v4_4`], [`super::v6_18`]).
//! Linux: mm/memory.c `vm_normal_page`; mm/gup.c `try_grab_folio`.

use super::request::Cx;
use super::stop::Stop;
use crate::addr::{Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::{Foll, VmFlags};
use crate::frame::{COUNT_LIMIT, CountError, FrameFlags, GUP_PIN_COUNTING_BIAS};
use crate::host::Host;
use crate::observe::{Event, Observer};
use crate::pgtable::{Entry, Place};
use crate::rule::{Rule, a, c, f, s};
use crate::vma::{Backing, Vma};

/// What stands behind a present PTE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// A page.
    Page(Pfn),
    /// The zero page.
    Zero(Pfn),
    /// No page: a frame number only.
    Raw,
}

/// `vm_normal_page` on an architecture with a special bit (row A-123).
#[inline]
pub(crate) fn behind<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
) -> Behind {
    if entry.is_special() { special(cx, vma, addr, entry) } else { Behind::Page(entry.pfn()) }
}

#[cold]
fn special<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
) -> Behind {
    cx.host().decided(a::A_123, addr);
    if entry.pfn() == cx.mm.machine().zero_page() {
        return Behind::Zero(entry.pfn());
    }
    let Backing::Special(special) = &vma.backing else { return Behind::Raw };
    let index = vma.index_of(addr);
    let found = special.find_special.iter().find(|(at, _)| *at == index);
    found.map_or(Behind::Raw, |(_, pfn)| Behind::Page(*pfn))
}

/// So many pins fill the count of a small folio (row C-89).
const PINS_MAX: u32 = COUNT_LIMIT / GUP_PIN_COUNTING_BIAS;

/// Grabs `count` pages of the folio of `pfn` as `foll` says: GET, PIN, or neither.
#[inline(always)]
pub(crate) fn grab<H: Host>(
    cx: &Cx<'_, H>,
    pfn: Pfn,
    foll: Foll,
    count: u32,
    rule: Rule,
) -> Result<(), Stop> {
    let machine = cx.mm.machine();
    let done = if foll.contains(Foll::PIN) {
        if cx.host().rule(f::F_30, pfn == machine.zero_page(), VirtAddr::new(0)) {
            return Ok(());
        }
        // The entry is locked: the page cannot be free, so nothing is tried (I-08).
        let known = cx.host().rule(s::S_10, true, VirtAddr::new(0));
        if !known
            && foll.contains(Foll::LONGTERM)
            && !machine.frames().zone(pfn).is_longterm_pinnable()
        {
            return Err(Stop::with(rule, Errno::ENOMEM));
        }
        machine.frames().pin(pfn, count).inspect(|()| cx.host().see(Event::Pinned(count)))
    } else if foll.contains(Foll::GET) {
        machine.frames().get(pfn, count)
    } else {
        return Ok(());
    };
    done.or_else(|refused| not_grabbed(cx, pfn, refused, rule))
}

/// What a folio that could not be counted means.
#[cold]
#[inline(never)]
fn not_grabbed<H: Host>(
    cx: &Cx<'_, H>,
    pfn: Pfn,
    refused: CountError,
    rule: Rule,
) -> Result<(), Stop> {
    let frames = cx.mm.machine().frames();
    let most = c::C_89.when(!frames.is_large(pfn) && frames.pins(pfn) >= PINS_MAX);
    let rule = if most { c::C_89 } else { rule };
    cx.host().decided(rule, VirtAddr::new(0));
    let limit = refused == CountError::Limit;
    let unchecked = limit && !cx.host().rule(s::S_15, limit, VirtAddr::new(0));
    if unchecked { Ok(()) } else { Err(Stop::with(rule, Errno::ENOMEM)) }
}

/// `FOLL_TOUCH` on a page mapped by a PTE (rows A-121, C-46): the folio is marked, the entry is
/// not.
#[inline]
pub(crate) fn touch_page<H: Host>(
    cx: &Cx<'_, H>,
    pfn: Pfn,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    foll: Foll,
    rule: Rule,
) {
    let frames = cx.mm.machine().frames();
    if foll.contains(Foll::WRITE) && !entry.is_dirty() && !frames.has(pfn, FrameFlags::DIRTY) {
        frames.set(pfn, FrameFlags::DIRTY);
    }
    if !frames.has(pfn, FrameFlags::REFERENCED) {
        frames.set(pfn, FrameFlags::REFERENCED);
    }
    cx.host().decided(rule, addr);
}

/// `FOLL_TOUCH` on a mapping without a page (rows A-119, C-42): the entry becomes young, and dirty
/// for a write.
pub(crate) fn touch_raw<H: Host>(
    cx: &Cx<'_, H>,
    entry: Entry<H::Format>,
    place: Place,
    foll: Foll,
) {
    let touched = entry.map_perms(place.level, |perms| {
        perms.young = true;
        perms.dirty |= foll.contains(Foll::WRITE);
    });
    cx.mm.tables().store(place, touched);
}

/// A core dump meets a hole that would read as zeroes (rows A-91, C-37).
pub(crate) fn dump_hole<H: Host>(vma: &Vma<H>, foll: Foll) -> bool {
    foll.contains(Foll::DUMP) && !has_fault_op(vma)
}

/// Whether the area has a `vm_ops->fault`.
fn has_fault_op<H: Host>(vma: &Vma<H>) -> bool {
    match &vma.backing {
        Backing::Anonymous => false,
        Backing::File(_) => true,
        Backing::Special(special) => !special.pages.is_empty(),
    }
}

/// Whether a read pin must have the page unshared first (row C-43), given the VMA.
pub(crate) fn must_unshare<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, page: Pfn, foll: Foll) -> bool {
    let (host, addr) = (cx.host(), VirtAddr::new(0));
    let frames = cx.mm.machine().frames();
    let shared = || frames.is_anon(page) && !frames.has(page, FrameFlags::ANON_EXCLUSIVE);
    if foll.intersection(Foll::PIN.union(Foll::WRITE)) != Foll::PIN {
        // A reference on a shared page may outlive the mapping of it.
        let refers = H::Observer::ON && foll.contains(Foll::GET) && shared();
        host.decided_if(f::F_06, refers, addr);
        return false;
    }
    if frames.is_anon(page) {
        return host.rule(f::F_05, shared(), addr);
    }
    host.rule(f::F_59, foll.contains(Foll::LONGTERM) && vma.flags.is_cow_mapping(), addr)
}

/// Whether a read must have a page of its own first (row C-104, of one kernel), given an entry that
/// is not writable.
pub(crate) fn breaks_cow<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, page: Pfn, foll: Foll) -> bool {
    let frames = cx.mm.machine().frames();
    let own = frames.is_anon(page) && frames.has(page, FrameFlags::ANON_EXCLUSIVE);
    let holds = foll.intersects(Foll::GET.union(Foll::PIN)) && !foll.contains(Foll::WRITE);
    let breaks = holds && vma.flags.is_cow_mapping() && !own;
    cx.host().past_rule(c::C_104, breaks, VirtAddr::new(0))
}

/// Whether a write may go through an entry that is not writable (row C-38): FORCE, on an exclusive
/// anonymous page of a private area that is not writable itself. No incidental bit authorises
/// (I-02).
pub(crate) fn may_write_through<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    page: Option<Pfn>,
    entry: Entry<H::Format>,
    foll: Foll,
) -> bool {
    let frames = cx.mm.machine().frames();
    let shared = VmFlags::SHARED.union(VmFlags::MAYSHARE);
    let allowed = foll.contains(Foll::FORCE)
        && !vma.flags.intersects(shared)
        && vma.flags.contains(VmFlags::MAYWRITE)
        && !vma.flags.contains(VmFlags::WRITE)
        && page
            .is_some_and(|pfn| frames.is_anon(pfn) && frames.has(pfn, FrameFlags::ANON_EXCLUSIVE))
        && !entry.is_uffd_wp();
    let host = cx.host();
    // Neither force alone nor dirt opens an entry, whosever page it maps.
    let forced = !allowed && foll.contains(Foll::FORCE);
    let dirty = forced && entry.is_dirty();
    let of_file = dirty && page.is_some_and(|pfn| !frames.is_anon(pfn));
    let refused = host.rule(s::S_01, forced, VirtAddr::new(0)) == forced
        && host.rule(s::S_02, dirty, VirtAddr::new(0)) == dirty
        && host.rule(s::S_03, of_file, VirtAddr::new(0)) == of_file;
    allowed || !refused
}

/// The rule that a reference could not be taken by.
pub(crate) const GRAB_FAILED: Rule = c::C_86;
