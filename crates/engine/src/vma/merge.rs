//! When two adjacent areas are one, and which `anon_vma` a faulting area gets.
//!
//! *Lower* ends where *upper* starts. *Compatible* `anon_vma`s: equal, or one absent while the
//! other was not inherited by fork (row M-06). Absent: the edits that ask ([`crate::mapping`]);
//! permissions of entries.
//! Linux: mm/vma.c `is_mergeable_vma`, `is_mergeable_anon_vma`, `find_mergeable_anon_vma` (6.18).

use super::area::{AnonVma, Vma};
use super::map::Map;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::mm::Machine;
use crate::rule;
use alloc::sync::Arc;

/// `VM_SPECIAL`: such areas stay what they are; they never merge and are never locked.
pub(crate) const SPECIAL: VmFlags =
    VmFlags::IO.union(VmFlags::PFNMAP).union(VmFlags::MIXEDMAP).union(VmFlags::DONTEXPAND);

/// Flags that never keep areas apart; the union has them if either had (`VM_STICKY`).
pub(crate) const STICKY: VmFlags = VmFlags::SOFTDIRTY.union(VmFlags::MAYBE_GUARD);

/// Whether two areas that meet may become one, if they had the flags `flags` (row M-06).
pub(crate) fn mergeable<H: Host>(host: &H, lower: &Vma<H>, upper: &Vma<H>) -> bool {
    mergeable_as(host, (lower, lower.flags), (upper, upper.flags))
}

/// As [`mergeable`], for flags that the areas are about to get.
pub(crate) fn mergeable_as<H: Host>(
    host: &H,
    (lower, low_flags): (&Vma<H>, VmFlags),
    (upper, high_flags): (&Vma<H>, VmFlags),
) -> bool {
    let meet = lower.end() == upper.start();
    let one = meet
        && same_flags(low_flags, high_flags, STICKY)
        && !low_flags.intersects(SPECIAL)
        && continuous(lower, upper)
        && same_uffd(lower, upper)
        && compatible(lower.anon_vma(), upper.anon_vma());
    host.rule(rule::m::M_06, one, upper.start())
}

/// Equal but for the flags in `except`.
fn same_flags(a: VmFlags, b: VmFlags, except: VmFlags) -> bool {
    a.symmetric_difference(b).difference(except).is_empty()
}

/// The same backing, and the offset goes on.
fn continuous<H: Host>(lower: &Vma<H>, upper: &Vma<H>) -> bool {
    lower.backing.same(&upper.backing)
        && lower.pgoff().wrapping_add(lower.range().pages()) == upper.pgoff()
}

fn same_uffd<H: Host>(a: &Vma<H>, b: &Vma<H>) -> bool {
    match (&a.uffd, &b.uffd) {
        (None, None) => true,
        (Some(a), Some(b)) => core::ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b)),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn compatible(a: Option<AnonVma>, b: Option<AnonVma>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(one), None) | (None, Some(one)) => !one.inherited,
        (Some(a), Some(b)) => a.id == b.id,
    }
}

/// Gives `vma` an `anon_vma` if it has none: a neighbour's, if the two could merge but for their
/// permissions, else a new one (`__anon_vma_prepare`). The mmap lock is held, for reading at least.
pub fn anon_vma_prepare<H: Host>(machine: &Machine<H>, map: &Map<H>, vma: &Vma<H>) {
    if vma.anon_vma().is_some() {
        return;
    }
    let next = map.find(vma.end()).filter(|next| almost_mergeable(vma, next));
    let prev = || map.prev(vma.start()).filter(|prev| almost_mergeable(prev, vma));
    let reusable = |near: &Vma<H>| near.anon_vma().filter(|anon| !anon.inherited);
    let found = next.and_then(reusable).or_else(|| prev().and_then(reusable));
    let new = || AnonVma { id: machine.new_id(), inherited: false };
    vma.set_anon_vma_if_none(found.unwrap_or_else(new));
}

/// Adjacent, and alike in all but permissions (`anon_vma_compatible`).
fn almost_mergeable<H: Host>(lower: &Vma<H>, upper: &Vma<H>) -> bool {
    let except = VmFlags::ACCESS.union(STICKY);
    lower.end() == upper.start()
        && same_flags(lower.flags, upper.flags, except)
        && continuous(lower, upper)
}
