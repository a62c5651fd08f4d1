//! The gate area: the vsyscall page, which no VMA covers (rows A-60 … A-65, C-23).
//!
//! The kernel's half of the tables is one entry here: the machine's gate entry.
//! Linux: mm/gup.c `get_gate_page`.

use super::follow::grab;
use super::request::Cx;
use super::stop::Stop;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::flags::Foll;
use crate::host::Host;
use crate::mm::Machine;
use crate::rule::{a, c};

/// Whether `addr` lies in the gate area of this machine (row A-65).
pub(crate) fn contains<H: Host>(cx: &Cx<'_, H>, addr: VirtAddr) -> bool {
    let gate = Machine::<H>::gate_address();
    let inside = addr >= gate && addr < gate.wrapping_add(PAGE_SIZE);
    cx.host().rule(a::A_65, inside && cx.mm.machine().has_gate(), addr)
}

/// v4.4: the page, with a plain reference whatever `FOLL_GET` says (row A-63).
/// # Errors
/// A-60 for a write, A-61 if nothing is mapped there, A-63 if it is not an ordinary page.
pub(crate) fn v4_4<H: Host>(
    cx: &Cx<'_, H>,
    foll: Foll,
    addr: VirtAddr,
) -> Result<Option<Pfn>, Stop> {
    let host = cx.host();
    let machine = cx.mm.machine();
    if host.rule(a::A_60, foll.contains(Foll::WRITE), addr) {
        return Err(Stop::by(a::A_60));
    }
    let entry = machine.gate_entry();
    if host.rule(a::A_61, !entry.is_present(), addr) {
        return Err(Stop::by(a::A_61));
    }
    host.decided(a::A_64, addr);
    if host.rule(a::A_62, !cx.wants_pages, addr) {
        return Ok(None);
    }
    let get = if host.rule(a::A_63, true, addr) { Foll::GET } else { foll & Foll::GET };
    let zero = entry.pfn() == machine.zero_page();
    if entry.is_special() && (!zero || foll.contains(Foll::DUMP)) {
        return Err(Stop::by(a::A_63));
    }
    let got = grab(cx, entry.pfn(), get, 1, a::A_63);
    got.map(|()| Some(entry.pfn()))
}

/// 6.18: the page, in the caller's mode.
/// # Errors
/// C-23 for a write, or if nothing is mapped there.
pub(crate) fn v6_18<H: Host>(
    cx: &Cx<'_, H>,
    foll: Foll,
    addr: VirtAddr,
) -> Result<Option<Pfn>, Stop> {
    let machine = cx.mm.machine();
    let entry = machine.gate_entry();
    let raw = entry.is_special() && entry.pfn() != machine.zero_page();
    let refused = foll.contains(Foll::WRITE) || !entry.is_present() || raw;
    if cx.host().rule(c::C_23, refused, addr) {
        return Err(Stop::by(c::C_23));
    }
    grab(cx, entry.pfn(), foll, 1, c::C_86)?;
    Ok(cx.wants_pages.then(|| entry.pfn()))
}
