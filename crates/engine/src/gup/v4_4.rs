//! v4.4's slow path: rows A-01 … A-146.
//!
//! Absent: what both kernels share ([`super::slow`], [`super::follow`]).
//! Linux: mm/gup.c of v4.4 (read in 4.4.6): `__get_user_pages`, `follow_page_mask`,
//! `follow_page_pte`.

use super::check;
use super::faultin;
use super::follow::{Behind, behind, dump_hole, grab, touch_page, touch_raw};
use super::gate;
use super::request::{Cx, Request};
use super::semantics::{Faulted, Found, Look, Semantics};
use super::stop::Stop;
use crate::addr::{PMD_ORDER, Pfn, VirtAddr};
use crate::flags::{Foll, VmFlags};
use crate::frame::FrameFlags;
use crate::host::Host;
use crate::pgtable::{Decoded, Entry, Place, SwapEntry};
use crate::rule::{Rule, a};
use crate::vma::Vma;

/// The kernel v4.4.
pub(crate) struct V4_4;

impl Semantics for V4_4 {
    const KILLED: Rule = a::A_13;
    const EMPTY: Rule = a::A_01;

    fn working_flags<H: Host>(cx: &Cx<'_, H>, foll: Foll, start: VirtAddr) -> Foll {
        let host = cx.host();
        if host.rule(a::A_02, cx.wants_pages != foll.contains(Foll::GET), start) {
            host.bug(a::A_02);
        }
        if start.page_offset() != 0 {
            host.decided(a::A_20, start);
        }
        if host.rule(a::A_03, !foll.contains(Foll::FORCE), start) {
            foll | Foll::NUMA
        } else {
            foll
        }
    }

    fn find<'a, H: Host>(
        cx: &Cx<'a, H>,
        request: &Request,
        addr: VirtAddr,
    ) -> Result<Found<'a, H>, Stop> {
        let host = cx.host();
        host.decided(a::A_06, addr);
        host.decided(a::A_07, addr);
        let Some(vma) = crate::vma::stack::find_extend_vma(cx.mm, cx.map, cx.current, addr) else {
            if addr >= VirtAddr::new(crate::pgtable::task_size::<H>()) {
                host.decided(a::A_23, addr);
            }
            if host.rule(a::A_08, gate::contains(cx, addr), addr) {
                return Ok(Found::Gate);
            }
            host.decided(a::A_09, addr);
            return Err(Stop::by(a::A_09));
        };
        match check::v4_4(cx, vma, addr, request.foll) {
            Ok(()) => Ok(Found::Vma(vma)),
            Err(rule) => {
                host.decided(a::A_10, addr);
                Err(Stop::with(rule, a::A_10.errno()))
            }
        }
    }

    fn gate<H: Host>(cx: &Cx<'_, H>, foll: Foll, addr: VirtAddr) -> Result<Option<Pfn>, Stop> {
        gate::v4_4(cx, foll, addr)
    }

    fn has_hugetlb_path() -> bool {
        true
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
        host.decided(a::A_12, addr);
        if !entry.is_present() {
            return not_present(cx, vma, addr, entry, foll);
        }
        let hinted = foll.contains(Foll::NUMA) && entry.is_protnone();
        if host.rule(a::A_114, hinted, addr) {
            return Look::Absent;
        }
        let write = foll.contains(Foll::WRITE);
        if host.rule(a::A_115, write && !may_write(entry, foll), addr) {
            return Look::Absent;
        }
        match behind(cx, vma, addr, entry) {
            Behind::Page(pfn) => page(cx, vma, addr, entry, pfn, foll),
            special @ (Behind::Zero(_) | Behind::Raw) => {
                no_page(cx, addr, entry, place, special, foll)
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
        let hinted = foll.contains(Foll::NUMA) && entry.is_protnone();
        if host.rule(a::A_93, hinted, addr) {
            // The same test stands once more below the lock in the kernel.
            host.decided(a::A_99, addr);
            return Self::no_table(cx, vma, addr, entry, foll);
        }
        host.decided(a::A_96, addr);
        let write = foll.contains(Foll::WRITE);
        if host.rule(a::A_97, write && !may_write(entry, foll), addr) {
            return Look::Absent;
        }
        let zero = cx.mm.machine().huge_zero_page() == Some(entry.pfn());
        if host.rule(a::A_98, foll.contains(Foll::DUMP) && zero, addr) {
            return Look::Stop(Stop::by(a::A_98));
        }
        if host.rule(a::A_100, foll.contains(Foll::TOUCH), addr) {
            let touched = entry.map_perms(place.level, |perms| {
                perms.young = true;
                perms.dirty = true;
            });
            cx.mm.tables().store(place, touched);
        }
        let index = addr.page_number() & ((1 << (9 * u32::from(place.level))) - 1);
        let pfn = entry.pfn().offset(index);
        if mlocks(vma, foll) && host.rule(a::A_101, !zero, addr) {
            cx.mm.machine().frames().set(pfn, FrameFlags::MLOCKED);
        }
        let refs = u32::try_from(count).unwrap_or(u32::MAX);
        match grab(cx, pfn, foll & Foll::GET, refs, a::A_120) {
            Ok(()) => Look::Page(pfn),
            Err(stop) => Look::Stop(stop),
        }
    }

    fn no_table<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        entry: Entry<H::Format>,
        foll: Foll,
    ) -> Look {
        let host = cx.host();
        if !entry.is_none() && !entry.is_present() {
            host.decided(a::A_110, addr);
        }
        host.decided(a::A_91, addr);
        if a::A_91.when(dump_hole(vma, foll)) {
            Look::Stop(Stop::by(a::A_91))
        } else {
            Look::Absent
        }
    }

    fn huge_step<H: Host>(cx: &Cx<'_, H>, look: Look, left: u64) -> u64 {
        let host = cx.host();
        let whole = !cx.wants_pages && !cx.wants_vmas;
        match look {
            Look::Absent => {
                host.decided(a::A_24, VirtAddr::new(0));
            }
            Look::Page(_) | Look::NoStruct | Look::Unshare | Look::Stop(_) => {}
        }
        if host.rule(a::A_19, whole, VirtAddr::new(0)) { left } else { 1 }
    }

    fn split_huge<H: Host>(
        cx: &Cx<'_, H>,
        _: &Vma<H>,
        addr: VirtAddr,
        foll: Foll,
    ) -> Option<Result<(), Stop>> {
        if !cx.host().rule(a::A_94, foll.contains(Foll::SPLIT), addr) {
            return None;
        }
        Some(crate::fault::split_page(cx.mm, addr).map_err(|_| Stop::by(a::A_94)))
    }

    fn faultin<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        foll: Foll,
        _: Look,
    ) -> Faulted {
        cx.host().decided(a::A_15, addr);
        let faulted = faultin::v4_4(cx, vma, addr, foll);
        if faulted == Faulted::Skip {
            cx.host().decided(a::A_22, addr);
        }
        faulted
    }
}

/// A write may use this entry: it is writable, or this request broke COW for it by force and it is
/// dirty (the fix of Dirty COW, row A-144; authorisation by an incidental bit, as 4.4.26 has it).
#[inline]
fn may_write<F: crate::pgtable::Format>(entry: Entry<F>, foll: Foll) -> bool {
    entry.is_writable() || (foll.contains(Foll::FORCE | Foll::COW) && entry.is_dirty())
}

/// Whether the page is to be mlocked on the way (rows ).
fn mlocks<H: Host>(vma: &Vma<H>, foll: Foll) -> bool {
    foll.contains(Foll::MLOCK) && vma.flags.contains(VmFlags::LOCKED)
}

#[cold]
fn not_present<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    foll: Foll,
) -> Look {
    let host = cx.host();
    if host.rule(a::A_111, entry.is_none(), addr) {
        return V4_4::no_table(cx, vma, addr, entry, foll);
    }
    if let Decoded::Swap(SwapEntry::Migration { .. }) = entry.decode(0)
        && host.rule(a::A_112, foll.contains(Foll::MIGRATION), addr)
    {
        return Look::Absent;
    }
    host.decided(a::A_113, addr);
    Look::Absent
}

/// A PTE without an ordinary page behind it (rows A-116 … A-119).
#[cold]
fn no_page<H: Host>(
    cx: &Cx<'_, H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    place: Place,
    behind: Behind,
    foll: Foll,
) -> Look {
    let host = cx.host();
    if host.rule(a::A_116, foll.contains(Foll::DUMP), addr) {
        return Look::Stop(Stop::by(a::A_116));
    }
    if let Behind::Zero(pfn) = behind {
        host.decided(a::A_117, addr);
        return match grab(cx, pfn, foll & Foll::GET, 1, a::A_117) {
            Ok(()) => {
                touch(cx, pfn, addr, entry, foll);
                Look::Page(pfn)
            }
            Err(stop) => Look::Stop(stop),
        };
    }
    if host.rule(a::A_118, foll.contains(Foll::GET), addr) {
        return Look::Stop(Stop::by(a::A_118));
    }
    if foll.contains(Foll::TOUCH) {
        touch_raw(cx, entry, place, foll);
    }
    host.decided(a::A_119, addr);
    host.decided(a::A_16, addr);
    Look::NoStruct
}

#[inline]
fn touch<H: Host>(cx: &Cx<'_, H>, pfn: Pfn, addr: VirtAddr, entry: Entry<H::Format>, foll: Foll) {
    if a::A_121.when(foll.contains(Foll::TOUCH)) {
        touch_page(cx, pfn, addr, entry, foll, a::A_121);
    }
}

/// An ordinary page: reference, TOUCH, mlock (rows A-120 … A-122).
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
    if let Err(stop) = grab(cx, pfn, foll & Foll::GET, 1, a::A_120) {
        return Look::Stop(stop);
    }
    if foll.contains(Foll::GET) {
        host.decided(a::A_120, addr);
        host.decided(a::A_25, addr);
    }
    touch(cx, pfn, addr, entry, foll);
    if host.rule(a::A_122, mlocks(vma, foll), addr) {
        cx.mm.machine().frames().set(pfn, FrameFlags::MLOCKED);
    }
    Look::Page(pfn)
}

const _: () = assert!(PMD_ORDER == 9, "page_mask 511 of row A-19 is a PMD's");
