//! Which flag sets 6.18's entry points accept (rows C-01 … C-12).
//!
//! Decided before the lock is looked at. What a rejection returns (-EINVAL or 0, row C-07) is the
//! entry point's affair.
//! Linux: mm/gup.c `is_valid_gup_args`, `gup_fast_fallback`.

use crate::addr::VirtAddr;
use crate::flags::Foll;
use crate::host::Host;
use crate::rule::{Rule, c};

/// The flags that the fast entry points take (row C-09).
const FAST: Foll = Foll::WRITE
    .union(Foll::LONGTERM)
    .union(Foll::FORCE)
    .union(Foll::PIN)
    .union(Foll::GET)
    .union(Foll::FAST_ONLY)
    .union(Foll::NOFAULT)
    .union(Foll::PCI_P2PDMA)
    .union(Foll::HONOR_NUMA_FAULT);

/// The flags that no slow entry point asks about (row C-08).
const FREE: Foll = Foll::WRITE
    .union(Foll::DUMP)
    .union(Foll::FORCE)
    .union(Foll::NOWAIT)
    .union(Foll::NOFAULT)
    .union(Foll::HWPOISON)
    .union(Foll::ANON)
    .union(Foll::SPLIT_PMD)
    .union(Foll::INTERRUPTIBLE)
    .union(Foll::HONOR_NUMA_FAULT);

/// Whether the caller gave pages to fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantsPages {
    /// `pages != NULL`.
    Yes,
    /// `pages == NULL`.
    No,
}

/// The working flags of a slow entry point: the caller's `foll` and the entry point's own `add`.
/// # Errors
/// The rule that rejects the set.
pub(crate) fn slow<H: Host>(
    host: &H,
    start: VirtAddr,
    foll: Foll,
    add: Foll,
    pages: WantsPages,
) -> Result<Foll, Rule> {
    if host.rule(c::C_01, foll.intersects(Foll::INTERNAL), start) {
        host.warn(c::C_01);
        return Err(c::C_01);
    }
    let all = foll | add;
    let no_pages = pages == WantsPages::No;
    let rejections = [
        (c::C_03, all.contains(Foll::GET | Foll::PIN)),
        (c::C_04, all.contains(Foll::LONGTERM) && !all.contains(Foll::PIN)),
        (c::C_05, all.intersects(Foll::GET | Foll::PIN) && no_pages),
        (c::C_06, all.contains(Foll::LONGTERM | Foll::PCI_P2PDMA)),
    ];
    for (rule, rejects) in rejections {
        if host.rule(rule, rejects, start) {
            host.warn(rule);
            return Err(rule);
        }
    }
    // No combination of these is refused.
    host.decided_if(c::C_08, all.intersects(FREE), start);
    Ok(all)
}

/// The filter of the fast entry points, after their own flags were added.
/// # Errors
/// C-09.
pub(crate) fn fast<H: Host>(host: &H, start: VirtAddr, foll: Foll) -> Result<(), Rule> {
    if host.rule(c::C_09, !FAST.contains(foll), start) {
        host.warn(c::C_09);
        return Err(c::C_09);
    }
    Ok(())
}
