//! May this request look into this VMA at all? Decided by flags, before any walk or fault.
//!
//! One function per kernel, one rule per line, in the kernel's order. Absent: what single pages
//! refuse.
//! Linux: mm/gup.c `check_vma_flags` (v4.4: rows A-30 … A-39; 6.18: C-27 … C-35).

use super::request::Cx;
use super::stop::Stop;
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::file::FileKind;
use crate::flags::{Foll, VmFlags};
use crate::host::Host;
use crate::rule::{Rule, a, c, s};
use crate::vma::Vma;

/// v4.4's check.
/// # Errors
/// The rule that refuses; its errno is always EFAULT.
pub(crate) fn v4_4<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
) -> Result<(), Rule> {
    let host = cx.host();
    let flags = vma.flags;
    let force = foll.contains(Foll::FORCE);
    if host.rule(a::A_30, flags.intersects(VmFlags::IO.union(VmFlags::PFNMAP)), addr) {
        return Err(a::A_30);
    }
    if foll.contains(Foll::WRITE) {
        if !host.rule(a::A_31, flags.contains(VmFlags::WRITE), addr) {
            if host.rule(a::A_32, !force, addr) {
                return Err(a::A_32);
            }
            if host.rule(a::A_34, !flags.is_cow_mapping(), addr) {
                if flags.contains(VmFlags::MAYWRITE) {
                    host.warn(a::A_34);
                }
                return Err(a::A_34);
            }
            host.decided(a::A_33, addr);
        }
    } else if !host.rule(a::A_35, flags.contains(VmFlags::READ), addr) {
        if host.rule(a::A_36, !force, addr) {
            return Err(a::A_36);
        }
        if host.rule(a::A_37, !flags.contains(VmFlags::MAYREAD), addr) {
            return Err(a::A_37);
        }
    }
    if flags.contains(VmFlags::MIXEDMAP) {
        host.decided(a::A_38, addr);
    }
    if !pkey_allows(cx, flags, foll) {
        host.decided(a::A_39, addr);
    }
    Ok(())
}

/// Whether the acting task's protection-key rights allow the access to an area with these flags.
fn pkey_allows<H: Host>(cx: &Cx<'_, H>, flags: VmFlags, foll: Foll) -> bool {
    cx.current.pkey_allows(flags.pkey(), foll.contains(Foll::WRITE))
}

/// 6.18's check.
/// # Errors
/// The refusal, with the errno that leaves GUP (rows C-16, C-17).
pub(crate) fn v6_18<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
) -> Result<(), Stop> {
    let refused = refuse_v6_18(cx, vma, addr, foll);
    refused.map_err(|rule| {
        if cx.host().rule(c::C_17, foll.contains(Foll::MADV_POPULATE), addr) {
            Stop::with(rule, Errno::EINVAL)
        } else {
            Stop::by(rule)
        }
    })
}

fn refuse_v6_18<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
) -> Result<(), Rule> {
    let host = cx.host();
    let flags = vma.flags;
    let kind = vma.backing.file().map(|file| file.kind());
    let longterm = foll.contains(Foll::LONGTERM);
    let allow = |rule: Rule, refuses: bool| {
        let refused = refuses && host.rule(rule, true, addr) && prevents(host, rule, addr);
        if refused { Err(rule) } else { Ok(()) }
    };
    allow(c::C_27, flags.intersects(VmFlags::IO.union(VmFlags::PFNMAP)))?;
    allow(c::C_28, foll.contains(Foll::ANON) && !vma.is_anonymous())?;
    allow(c::C_29, longterm && kind == Some(FileKind::Fsdax))?;
    allow(c::C_30, foll.contains(Foll::SPLIT_PMD) && vma.is_hugetlb())?;
    allow(c::C_31, kind == Some(FileKind::Secret))?;
    if foll.contains(Foll::WRITE) {
        write_v6_18(cx, vma, addr, foll)
    } else {
        read_v6_18(cx, vma, addr, foll)
    }?;
    let foreign = foll.contains(Foll::REMOTE);
    if host.rule(c::C_35, !foreign && !pkey_allows(cx, flags, foll), addr) {
        return Err(c::C_35);
    }
    Ok(())
}

/// Past bugs, each with the refusal that keeps it out.
const PREVENTS: [(Rule, Rule); 3] = [(s::S_14, c::C_27), (s::S_09, c::C_28), (s::S_12, c::C_30)];

/// Whether the refusal stands, as far as the bug that it keeps out is concerned.
#[cold]
fn prevents<H: Host>(host: &H, rule: Rule, addr: VirtAddr) -> bool {
    let bug = PREVENTS.iter().find(|(_, by)| *by == rule).map(|(bug, _)| *bug);
    bug.is_none_or(|bug| host.rule(bug, true, addr))
}

fn write_v6_18<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
) -> Result<(), Rule> {
    let host = cx.host();
    let longterm = foll.contains(Foll::LONGTERM.union(Foll::PIN));
    if host.rule(c::C_32, longterm && needs_dirty_tracking(vma), addr) {
        return Err(c::C_32);
    }
    let plain = vma.flags.contains(VmFlags::WRITE) && !vma.flags.contains(VmFlags::SHADOW_STACK);
    let forced = foll.contains(Foll::FORCE) && vma.flags.is_cow_mapping();
    if host.rule(c::C_33, !plain && !forced, addr) {
        return Err(c::C_33);
    }
    if host.past_rule(c::C_22, !plain && vma.is_hugetlb(), addr) {
        return Err(c::C_22);
    }
    Ok(())
}

fn read_v6_18<H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    foll: Foll,
) -> Result<(), Rule> {
    let forced = foll.contains(Foll::FORCE) && vma.flags.contains(VmFlags::MAYREAD);
    let plain = vma.flags.contains(VmFlags::READ);
    if cx.host().rule(c::C_34, !plain && !forced, addr) {
        return Err(c::C_34);
    }
    Ok(())
}

/// A shared writable mapping whose file wants to know of every page that becomes dirty.
pub(crate) fn needs_dirty_tracking<H: Host>(vma: &Vma<H>) -> bool {
    let shared = vma.flags.contains(VmFlags::WRITE.union(VmFlags::SHARED));
    shared && vma.backing.file().is_some_and(|file| file.tracks_dirty())
}
