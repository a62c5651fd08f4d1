//! What all edits are made of: split, change flags, join, and the checks of their arguments.
//!
//! Invariant: after an edit no two areas that it touched meet and could be one (rows M-06).
//! Linux: mm/vma.c `vma_modify`, `split_vma`, `vma_merge_existing_range`.

use super::limits;
use super::request::huge_shift;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, PMD_ORDER, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::fault::split_leaf;
use crate::flags::VmFlags;
use crate::host::{Host, Injection};
use crate::mm::MmWrite;
use crate::vma::{Vma, mergeable, mergeable_as};

/// `bytes` rounded up to whole pages; 0 if that overflows, as in the kernel.
pub(super) const fn page_align(bytes: u64) -> u64 {
    bytes.wrapping_add(PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

/// Splits the area that contains `addr` there, unless it starts there.
/// # Errors
/// ENOMEM: too many areas, or no memory for another. EINVAL: `addr` cuts a hugetlb page.
pub(crate) fn split<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    if lock.lookup(addr).is_none_or(|vma| vma.start() == addr) {
        return Ok(());
    }
    limits::may_split(lock)?;
    split_off(lock, addr)
}

/// The same for a part that is about to go, and may be one too many until then (`__split_vma`).
/// # Errors
/// ENOMEM: no memory for another area. EINVAL: `addr` cuts a hugetlb page (`hugetlb_vm_op_split`).
pub(crate) fn split_off<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    let Some(vma) = lock.lookup(addr).filter(|vma| vma.start() != addr) else { return Ok(()) };
    if !addr.is_aligned(huge_shift(vma)) {
        return Err(Errno::EINVAL);
    }
    bookkeeping(lock)?;
    split_huge(lock, addr)?;
    lock.split(addr);
    Ok(())
}

/// A huge page does not reach across the border of an area (`vma_adjust_trans_huge`).
fn split_huge<H: Host>(lock: &MmWrite<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    if addr.is_aligned(PAGE_SHIFT + u32::from(PMD_ORDER)) {
        return Ok(());
    }
    split_leaf(lock.mm(), addr).map_err(|_| Errno::ENOMEM)
}

/// Memory for an area.
pub(crate) fn bookkeeping<H: Host>(lock: &MmWrite<'_, H>) -> Result<(), Errno> {
    let fails = lock.mm().machine().host().inject(Injection::Bookkeeping);
    if fails { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// Joins the two areas that meet at `addr`, if there are two and they may be one.
pub(crate) fn join<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr) {
    let host = lock.mm().machine().host();
    let pair = lock.lookup(addr).zip(lock.prev(addr));
    if pair.is_some_and(|(upper, lower)| mergeable(host, lower, upper)) {
        lock.join(addr);
    }
}

/// Joins what meets at either end of `range`.
pub(crate) fn join_around<H: Host>(lock: &mut MmWrite<'_, H>, range: VirtRange) {
    join(lock, range.start);
    join(lock, range.end);
}

/// Gives the part `range` of one area the flags `flags`: splits it off, or moves the border to a
/// neighbour that it merges with, which needs no further area.
/// # Errors
/// ENOMEM: too many areas; what was split stays so.
pub(crate) fn modify<H: Host>(
    lock: &mut MmWrite<'_, H>,
    range: VirtRange,
    flags: VmFlags,
) -> Result<(), Errno> {
    let Some(vma) = lock.lookup(range.start) else { return Ok(()) };
    if vma.flags == flags {
        return Ok(());
    }
    if joins_neighbour(lock, vma, range, flags) {
        split_huge(lock, range.start)?;
        split_huge(lock, range.end)?;
        lock.split(range.start);
        lock.split(range.end);
    } else {
        split(lock, range.start)?;
        split(lock, range.end)?;
    }
    if let Some(vma) = lock.lookup_mut(range.start) {
        vma.flags = flags;
    }
    join_around(lock, range);
    Ok(())
}

/// Whether `range`, a part of `vma`, would merge with the area before or behind `vma` if it had
/// `flags`.
fn joins_neighbour<H: Host>(
    lock: &MmWrite<'_, H>,
    vma: &Vma<H>,
    range: VirtRange,
    flags: VmFlags,
) -> bool {
    let host = lock.mm().machine().host();
    let prev = || lock.prev(vma.start());
    let next = || lock.find(vma.end());
    let left = |prev: &Vma<H>| mergeable_as(host, (prev, prev.flags), (vma, flags));
    let right = |next: &Vma<H>| mergeable_as(host, (vma, flags), (next, next.flags));
    (range.start == vma.start() && prev().is_some_and(left))
        || (range.end == vma.end() && next().is_some_and(right))
}

/// Whether any area in `range` is sealed against change.
/// # Errors
/// EPERM: one is (mseal).
pub(crate) fn may_change<H: Host>(lock: &MmWrite<'_, H>, range: VirtRange) -> Result<(), Errno> {
    let sealed = lock.overlapping(range).any(|vma| vma.flags.contains(VmFlags::SEALED));
    if sealed { Err(Errno::EPERM) } else { Ok(()) }
}
