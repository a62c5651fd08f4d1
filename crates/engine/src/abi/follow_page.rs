//! `follow_page`, v4.4: one lookup, never a fault.

use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::{Cx, Look, Page, look_v4_4};
use crate::host::Host;
use crate::mm::Lock;
use crate::rule::a;
use crate::task::Task;
use crate::vma::VmaId;

/// The page that `address`, in the area `vma`, is mapped to; `None` where nothing is mapped that
/// serves `foll_flags` ([`flags`](super::flags)).
///
/// `mm` must be held. The page carries a reference only with `FOLL_GET`; without, it must not be
/// put, and is safe to look at only as long as nobody unmaps it. No fault is taken; only a page
/// under migration is waited for, with `FOLL_MIGRATION`. KSM asks with `FOLL_GET|FOLL_MIGRATION`,
/// munlock with `FOLL_GET|FOLL_DUMP`, `move_pages` with `FOLL_GET|FOLL_SPLIT|FOLL_DUMP`.
/// # Errors
/// EFAULT: a dump meets a hole or a zero page, or the entry has no page and `FOLL_GET` is set.
/// EEXIST: it has none, and `FOLL_GET` is not set. ENOMEM: no table for a split. EINVAL: `mm` is
/// not held, or `vma` does not contain `address`.
/// # Linux
/// include/linux/mm.h `follow_page`, v4.4. Rows A-90 ….
pub fn follow_page<H: Host>(
    current: &Task,
    mm: &Lock<'_, H>,
    vma: VmaId,
    address: u64,
    foll_flags: u32,
) -> Result<Option<Page>, Errno> {
    let addr = VirtAddr::new(address);
    let foll = Foll::from_v4_4(foll_flags);
    let map = mm.map().ok_or(Errno::EINVAL)?;
    let vma = map.lookup(addr).filter(|found| found.id() == vma).ok_or(Errno::EINVAL)?;
    let cx = Cx {
        current,
        charged: None,
        mm: mm.mm(),
        map,
        wants_pages: true,
        wants_vmas: false,
        may_drop: false,
    };
    cx.host().decided(a::A_163, addr);
    match look_v4_4::look(&cx, vma, addr, foll) {
        Look::Page(pfn) => Ok(Page::from_pfn(pfn)),
        Look::Absent | Look::Unshare => Ok(None),
        Look::NoStruct => Err(Errno::EEXIST),
        Look::Stop(stop) => Err(stop.errno),
    }
}
