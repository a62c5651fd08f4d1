//! 6.18's slow path: rows C-13 … C-54.
//!
//! Absent: argument checks and relocking ([`super::args`], [`super::relock`]), the lockless path.
//! Linux: mm/gup.c of 6.18: `__get_user_pages`, `follow_page_mask`, `follow_page_pte`,
//! `follow_huge_pmd`.

use super::check;
use super::faultin;
use super::follow::{
    Behind, GRAB_FAILED, behind, breaks_cow, dump_hole, grab, may_write_through, must_unshare,
    touch_page, touch_raw,
};
use super::gate;
use super::request::{Cx, Request};
use super::semantics::{Faulted, Found, Look, Semantics};
use super::stop::Stop;
use crate::addr::{Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::{Foll, VmFlags};
use crate::host::Host;
use crate::pgtable::{Entry, Format, Place};
use crate::rule::{Rule, a, c, s};
use crate::vma::{Vma, stack};

/// The kernel 6.18.
pub(crate) struct V6_18;

/// How far below a stack an access is worth a line in the kernel's log (row C-15), in bytes.
const STACK_GUARD_WARN: u64 = 65_536;

impl Semantics for V6_18 {
    const KILLED: Rule = c::C_18;
    const EMPTY: Rule = c::C_13;

    fn working_flags<H: Host>(_: &Cx<'_, H>, foll: Foll, _: VirtAddr) -> Foll {
        foll
    }

    fn find<'a, H: Host>(
        cx: &Cx<'a, H>,
        request: &Request,
        addr: VirtAddr,
    ) -> Result<Found<'a, H>, Stop> {
        let host = cx.host();
        if let Some(vma) = cx.map.lookup(addr) {
            return check::v6_18(cx, vma, addr, request.foll).map(|()| Found::Vma(vma));
        }
        if host.rule(c::C_17, request.foll.contains(Foll::MADV_POPULATE), addr) {
            return Err(Stop::with(c::C_16, Errno::ENOMEM));
        }
        let above = cx.map.find(addr);
        let above = above.filter(|vma| vma.flags.contains(VmFlags::GROWSDOWN));
        if host.past_rule(a::A_07, above.is_some(), addr)
            && let Some(vma) = stack::find_extend_vma(cx.mm, cx.map, cx.current, addr)
        {
            return check::v6_18(cx, vma, addr, request.foll).map(|()| Found::Vma(vma));
        }
        if let Some(vma) = above
            && host.rule(c::C_15, vma.start().bytes_from(addr) <= STACK_GUARD_WARN, addr)
        {
            host.warn(c::C_15);
            return Err(Stop::with(c::C_15, Errno::EFAULT));
        }
        if gate::contains(cx, addr) {
            return Ok(Found::Gate);
        }
        host.decided(c::C_16, addr);
        Err(Stop::by(c::C_16))
    }

    fn gate<H: Host>(cx: &Cx<'_, H>, foll: Foll, addr: VirtAddr) -> Result<Option<Pfn>, Stop> {
        gate::v6_18(cx, foll, addr)
    }

    fn has_hugetlb_path() -> bool {
        false
    }

    #[inline]
    fn look_pte<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        entry: Entry<H::Format>,
        place: Place,
        foll: Foll,
    ) -> Look {
        let host = cx.host();
        if !entry.is_present() {
            return if entry.is_none() {
                Self::no_table(cx, vma, addr, entry, foll)
            } else {
                Look::Absent
            };
        }
        if host.rule(c::C_39, hinted(vma, entry, foll), addr) {
            return Look::Absent;
        }
        match behind(cx, vma, addr, entry) {
            Behind::Page(pfn) => page(cx, vma, addr, entry, pfn, foll),
            special @ (Behind::Zero(_) | Behind::Raw) => {
                no_page(cx, vma, addr, entry, place, special, foll)
            }
        }
    }

    fn look_huge<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        entry: Entry<H::Format>,
        place: Place,
        foll: Foll,
        count: u64,
    ) -> Look {
        let host = cx.host();
        // The lock is that of the entry's own table, hugetlb or not.
        host.decided_if(s::S_20, vma.is_hugetlb(), addr);
        if host.rule(c::C_39, hinted(vma, entry, foll), addr) {
            return Look::Absent;
        }
        // No table is shared between address spaces, so the mmap lock, which whoever unmaps holds
        // for writing, does what an area's own lock does in the kernel.
        host.decided_if(c::C_36, vma.is_hugetlb(), addr);
        let head = entry.pfn();
        if refuses_write(cx, vma, addr, entry, Some(head), foll) {
            return Look::Absent;
        }
        let zero = cx.mm.machine().huge_zero_page() == Some(head);
        if host.rule(c::C_41, foll.contains(Foll::DUMP) && zero, addr) {
            return Look::Stop(Stop::by(c::C_41));
        }
        if unshares(cx, vma, addr, entry, head, foll) {
            return Look::Unshare;
        }
        let index = addr.page_number() & ((1 << (9 * u32::from(place.level))) - 1);
        let pfn = head.offset(index);
        let refs = u32::try_from(count).unwrap_or(u32::MAX);
        if let Err(stop) = grab(cx, pfn, foll, refs, GRAB_FAILED) {
            return Look::Stop(stop);
        }
        host.decided(c::C_21, addr);
        if place.level == 1 && !vma.is_hugetlb() && c::C_45.when(foll.contains(Foll::TOUCH)) {
            if H::Format::LOADS_MARK || foll.contains(Foll::WRITE) {
                touch_raw(cx, entry, place, foll);
            }
            host.decided(c::C_45, addr);
        }
        Look::Page(pfn)
    }

    fn no_table<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        _: Entry<H::Format>,
        foll: Foll,
    ) -> Look {
        let hole = if vma.is_hugetlb() {
            foll.contains(Foll::DUMP) && !super::hugetlb::has_cached_page(vma, addr)
        } else {
            dump_hole(vma, foll)
        };
        if cx.host().rule(c::C_37, hole, addr) {
            Look::Stop(Stop::by(c::C_37))
        } else {
            Look::Absent
        }
    }

    fn huge_step<H: Host>(_: &Cx<'_, H>, _: Look, left: u64) -> u64 {
        left
    }

    fn split_huge<H: Host>(
        cx: &Cx<'_, H>,
        _: &Vma<H>,
        addr: VirtAddr,
        foll: Foll,
    ) -> Option<Result<(), Stop>> {
        if !cx.host().rule(c::C_40, foll.contains(Foll::SPLIT_PMD), addr) {
            return None;
        }
        let split = crate::fault::split_leaf(cx.mm, addr);
        Some(split.map_err(|_| Stop::with(c::C_40, Errno::ENOMEM)))
    }

    fn faultin<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        foll: Foll,
        look: Look,
    ) -> Faulted {
        cx.host().decided(c::C_19, addr);
        faultin::v6_18(cx, vma, addr, foll, look)
    }
}

/// A `PROT_NONE` entry of an accessible area, and the caller wants the hinting fault.
#[inline]
fn hinted<H: Host>(vma: &Vma<H>, entry: Entry<H::Format>, foll: Foll) -> bool {
    foll.contains(Foll::HONOR_NUMA_FAULT) && entry.is_protnone() && vma.is_accessible()
}

/// A write that this entry does not admit (row C-38).
#[inline]
fn refuses_write<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    page: Option<Pfn>,
    foll: Foll,
) -> bool {
    foll.contains(Foll::WRITE)
        && !entry.is_writable()
        && refuses_forced(cx, vma, addr, entry, page, foll)
}

#[inline(never)]
fn refuses_forced<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    page: Option<Pfn>,
    foll: Foll,
) -> bool {
    let admitted = may_write_through(cx, vma, page, entry, foll);
    cx.host().rule(c::C_38, !admitted, addr)
}

/// A page that this process must have for itself before a read may hold it (row C-43; C-104).
#[inline]
fn unshares<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    page: Pfn,
    foll: Foll,
) -> bool {
    let unshare = !entry.is_writable() && must_unshare(cx, vma, page, foll);
    cx.host().rule(c::C_43, unshare, addr)
        || !entry.is_writable() && breaks_cow(cx, vma, page, foll)
}

#[inline]
fn page<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    pfn: Pfn,
    foll: Foll,
) -> Look {
    let host = cx.host();
    if refuses_write(cx, vma, addr, entry, Some(pfn), foll) {
        return Look::Absent;
    }
    if unshares(cx, vma, addr, entry, pfn, foll) {
        return Look::Unshare;
    }
    // An area's lock in memory is the fault's to keep, not this walk's.
    host.decided_if(c::C_47, vma.flags.contains(VmFlags::LOCKED), addr);
    if let Err(stop) = grab(cx, pfn, foll, 1, GRAB_FAILED) {
        return Look::Stop(stop);
    }
    host.decided(c::C_26, addr);
    host.decided(c::C_44, addr);
    if foll.contains(Foll::TOUCH) {
        touch_page(cx, pfn, addr, entry, foll, c::C_46);
    }
    Look::Page(pfn)
}

/// A PTE without an ordinary page: the zero page serves reads, other frame numbers nobody who wants
/// a page.
#[cold]
fn no_page<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    place: Place,
    behind: Behind,
    foll: Foll,
) -> Look {
    let host = cx.host();
    if refuses_write(cx, vma, addr, entry, None, foll) {
        return Look::Absent;
    }
    if host.rule(c::C_41, foll.contains(Foll::DUMP), addr) {
        return Look::Stop(Stop::by(c::C_41));
    }
    if let Behind::Zero(pfn) = behind {
        return page(cx, vma, addr, entry, pfn, foll);
    }
    if foll.contains(Foll::TOUCH) {
        touch_raw(cx, entry, place, foll);
    }
    host.decided(c::C_42, addr);
    if host.rule(c::C_20, cx.wants_pages, addr) {
        return Look::Stop(Stop::by(c::C_20));
    }
    Look::NoStruct
}
