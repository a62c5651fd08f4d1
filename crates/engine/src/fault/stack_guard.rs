//! v4.4's stack guard page (row A-48): the lowest page of a stack grows one page more before it is
//! touched.
//!
//! Absent: growth itself, with its limits ([`crate::vma`]).
//! Linux: v4.4 mm/memory.c `check_stack_guard_page`.

use super::outcome::Fault;
use super::site::Site;
use crate::addr::PAGE_SIZE;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::rule::a;
use crate::vma::stack::grow_v4_4;

/// Grows the area by one page if the fault is at its lowest.
/// # Errors
/// The fault's end: an area that is no stack ends right there, or there is no room.
pub(super) fn check<H: Host>(site: &Site<'_, H>) -> Result<(), Fault> {
    let vma = site.cx.vma;
    let guards = site.is_v4_4() && vma.flags.contains(VmFlags::GROWSDOWN);
    if !guards || vma.start() != site.addr {
        return Ok(());
    }
    if !site.host().rule(a::A_48, true, site.addr) {
        return Ok(());
    }
    let prev = site.cx.map.prev(site.addr).filter(|prev| prev.end() == site.addr);
    if let Some(prev) = prev {
        // A stack that was split stays one stack; anything else so close is fatal.
        let same = prev.flags.contains(VmFlags::GROWSDOWN);
        return if same { Ok(()) } else { Err(Fault::SIGSEGV) };
    }
    let below = site.addr.saturating_sub(PAGE_SIZE);
    let cx = &site.cx;
    match grow_v4_4(cx.mm, cx.map, cx.task, vma, below) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fault::SIGSEGV),
    }
}
