//! The loop: one page after another, each looked up, permitted and referenced.
//!
//! Both kernels share it. It takes no lock, faults nothing in, looks at no signal and never gives
//! way. Absent: who holds the lock ([`crate::abi::nommu`], [`super::pins`]).
//! Linux: mm/nommu.c `__get_user_pages` (v4.4), mm/gup.c `__get_user_pages_locked` for
//! `!CONFIG_MMU` (6.18).

use super::area::Area;
use super::error::Refused;
use super::flat::FlatMemory;
use super::map::RegionMap;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::errno::Errno;
use crate::flags::{Foll, VmFlags};
use crate::frame::Kind;
use crate::gup::Page;
use crate::host::Host;
use crate::observe::Event;
use crate::rule::{Rule, n, w};
use crate::vma::VmaId;

/// How a walk ended: pages counted, and why no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Walked {
    /// Pages counted.
    pub(crate) got: u64,
    /// The refusal at the page after them, if not all were counted.
    pub(crate) refused: Option<Refused>,
}

impl Walked {
    /// The kernel's return value: an error is seen only where there is no page.
    pub(crate) fn code(self) -> i64 {
        match self.refused {
            Some(refused) if self.got == 0 => refused.errno.negated(),
            Some(_) | None => i64::try_from(self.got).unwrap_or(i64::MAX),
        }
    }
}

/// Where the pages go.
pub(crate) struct Output<'o> {
    /// Pages, referenced; at least as long as the request.
    pub(crate) pages: Option<&'o mut [Option<Page>]>,
    /// Areas; likewise.
    pub(crate) vmas: Option<&'o mut [Option<VmaId>]>,
}

/// The permission bits of which one must be set (row N-01).
fn wanted(foll: Foll) -> VmFlags {
    let (plain, may) = if foll.contains(Foll::WRITE) {
        (VmFlags::WRITE, VmFlags::MAYWRITE)
    } else {
        (VmFlags::READ, VmFlags::MAYREAD)
    };
    if foll.contains(Foll::FORCE) { may } else { plain }
}

/// The area that lets a request with `foll` at `addr` through.
fn admit<'a, H: Host>(
    host: &H,
    map: &'a RegionMap,
    addr: VirtAddr,
    foll: Foll,
) -> Result<&'a Area, Refused> {
    let refused = Refused { rule: n::N_03, addr, errno: Errno::EFAULT };
    host.decided(n::N_02, addr);
    let Some(area) = map.find(addr) else {
        host.decided(n::N_03, addr);
        return Err(refused);
    };
    host.see(Event::VmaFound { start: area.start(), end: area.end() });
    if host.rule(n::N_03, area.is_device(), addr) {
        return Err(refused);
    }
    if !host.rule(n::N_01, area.flags.intersects(wanted(foll)), addr) {
        host.decided(n::N_03, addr);
        return Err(refused);
    }
    Ok(area)
}

/// Takes a reference to the page at `addr`; `None` where there is no memory. A frame that is free,
/// or whose count is at its limit, is refused with ENOMEM (Linux would count on).
fn grab<H: Host>(
    flat: &FlatMemory<H>,
    addr: VirtAddr,
    foll: Foll,
) -> Result<Option<Page>, Refused> {
    let host = flat.machine().host();
    let always = host.rule(n::N_04, true, addr);
    let Some(pfn) = flat.frame_at(addr) else { return Ok(None) };
    let frames = flat.machine().frames();
    let hazard = frames.kind(pfn) == Kind::Slab || frames.head(pfn) != pfn;
    host.decided_if(n::N_08, hazard, addr);
    if !always && !foll.contains(Foll::GET) {
        return Ok(Page::from_pfn(pfn));
    }
    match frames.get(pfn, 1) {
        Ok(()) => Ok(Page::from_pfn(pfn)),
        Err(_) => Err(Refused { rule: n::N_04, addr, errno: Errno::ENOMEM }),
    }
}

/// The start of the page after the one that contains `addr`.
fn next<H: Host>(host: &H, addr: VirtAddr) -> VirtAddr {
    let next = addr.wrapping_add(PAGE_SIZE);
    if host.rule(n::N_06, next.page_offset() != 0, addr) { next.page_floor() } else { next }
}

/// Walks `nr_pages` pages from `start` on, the lock held. `empty` is the rule of a request for no
/// page.
pub(crate) fn walk<H: Host>(
    flat: &FlatMemory<H>,
    map: &RegionMap,
    start: VirtAddr,
    nr_pages: u64,
    foll: Foll,
    out: &mut Output<'_>,
    empty: Rule,
) -> Walked {
    let host = flat.machine().host();
    if host.rule(empty, nr_pages == 0, start) {
        host.decided(w::W_04, start);
        return Walked { got: 0, refused: None };
    }
    let (mut addr, mut got) = (start, 0);
    while got < nr_pages {
        let area = match admit(host, map, addr, foll) {
            Ok(area) => area,
            Err(refused) => return Walked { got, refused: Some(refused) },
        };
        let index = got as usize;
        if let Some(pages) = &mut out.pages
            && let Some(slot) = pages.get_mut(index)
        {
            match grab(flat, addr, foll) {
                Ok(page) => *slot = page,
                Err(refused) => return Walked { got, refused: Some(refused) },
            }
            let pfn = slot.as_ref().map_or(Pfn::new(0), Page::pfn);
            host.see(Event::Grab { index: got, pfn });
        }
        if let Some(vmas) = &mut out.vmas
            && let Some(slot) = vmas.get_mut(index).filter(|_| n::N_05.when(true))
        {
            host.decided(n::N_05, addr);
            *slot = Some(area.id);
        }
        got += 1;
        addr = next(host, addr);
    }
    Walked { got, refused: None }
}
