//! v4.4's path for hugetlb areas: whole huge pages at a time, faults of its own (rows A-70 … A-81).
//!
//! Here the mmap lock is never dropped, `FOLL_NOWAIT` and `nonblocking` are not looked at, every
//! error is EFAULT (oddity O-05), and nobody is charged for faults. 6.18 walks hugetlb like
//! everything else.
//! Linux: mm/hugetlb.c `follow_hugetlb_page` (v4.4).

use super::follow::grab;
use super::request::Cx;
use super::stop::Stop;
use crate::addr::{Pfn, VirtAddr};
use crate::fault::{Fault, FaultCx, handle_mm_fault};
use crate::flags::{FaultFlags, Foll, VmFlags};
use crate::host::Host;
use crate::pgtable::{Entry, Walked};
use crate::rule::a;
use crate::vma::Vma;

/// The part of a request that begins in a hugetlb area.
#[derive(Clone, Copy)]
pub(crate) struct Portion {
    /// First address.
    pub(crate) addr: VirtAddr,
    /// Pages left of the request.
    pub(crate) left: u64,
    /// Its flags.
    pub(crate) foll: Foll,
}

/// Takes all pages of `portion` that lie in `vma`; `take` gets each run of subpages of one huge
/// page.
/// # Errors
/// what was taken before stays taken.
pub(crate) fn follow<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    portion: Portion,
    mut take: impl FnMut(Option<Pfn>, u64),
) -> Result<(), Stop> {
    let host = cx.host();
    let (mut addr, mut left) = (portion.addr, portion.left);
    while left > 0 && addr < vma.end() {
        host.decided(a::A_70, addr);
        if host.rule(a::A_71, host.signals(cx.current).fatal, addr) {
            return Err(Stop::by(a::A_71));
        }
        let walked = cx.mm.tables().walk(addr);
        let Walked { place, entry } = walked;
        let absent = !entry.is_leaf(place.level) || place.level == 0;
        let hole = absent && portion.foll.contains(Foll::DUMP) && !has_cached_page(vma, addr);
        if host.rule(a::A_72, hole, addr) {
            return Err(Stop::by(a::A_72));
        }
        let read_only = portion.foll.contains(Foll::WRITE) && !entry.is_writable();
        if host.rule(a::A_73, absent || read_only, addr) {
            fault(cx, vma, addr, portion.foll)?;
            continue;
        }
        let pages = 1 << (9 * u32::from(place.level));
        let offset = addr.page_number() & (pages - 1);
        let here = (pages - offset).min(left).min(vma.end().pages_from(addr.page_floor()));
        grab_run(cx, vma, addr, entry, offset, here, &mut take)?;
        addr = addr.wrapping_add(here << crate::addr::PAGE_SHIFT);
        left -= here;
    }
    Ok(())
}

fn grab_run<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    offset: u64,
    count: u64,
    take: &mut impl FnMut(Option<Pfn>, u64),
) -> Result<(), Stop> {
    let host = cx.host();
    let pfn = entry.pfn().offset(offset);
    host.decided(a::A_75, addr);
    host.decided(a::A_77, addr);
    if cx.wants_vmas {
        host.decided(a::A_79, addr);
    }
    if entry.is_writable() && !vma.flags.contains(VmFlags::WRITE) {
        host.decided(a::A_80, addr);
    }
    if !cx.wants_pages {
        take(None, count);
        return Ok(());
    }
    grab(cx, pfn, Foll::GET, u32::try_from(count).unwrap_or(u32::MAX), a::A_75)?;
    take(Some(pfn), count);
    Ok(())
}

fn fault<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, addr: VirtAddr, foll: Foll) -> Result<(), Stop> {
    let host = cx.host();
    // No ALLOW_RETRY, whatever `nonblocking` and FOLL_NOWAIT say, and no accounting.
    host.decided(a::A_76, addr);
    host.decided(a::A_81, addr);
    let write = foll.contains(Foll::WRITE);
    let flags = if write { FaultFlags::WRITE } else { FaultFlags::empty() };
    let fault = FaultCx { mm: cx.mm, map: cx.map, vma, task: cx.current };
    match handle_mm_fault(&fault, addr, flags) {
        Fault::Failed(_) => {
            host.decided(a::A_74, addr);
            Err(Stop::by(a::A_74))
        }
        Fault::Done { .. } | Fault::Kept(_) | Fault::Retry(_) | Fault::Completed { .. } => {
            host.decided(a::A_78, addr);
            Ok(())
        }
    }
}

/// Whether the file has a page in memory at the index of `addr`.
pub(crate) fn has_cached_page<H: Host>(vma: &Vma<H>, addr: VirtAddr) -> bool {
    let Some(file) = vma.backing.file() else { return false };
    let order = file.huge_order().unwrap_or(0);
    file.has_page(vma.index_of(addr) & !((1 << order) - 1))
}
