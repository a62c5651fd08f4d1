//! Registering ranges with a userfaultfd, and giving them back.
//!
//! *Context*: what an open userfaultfd is here ([`UserFault`]). Absent: its messages and what a
//! handler does about them ([`crate::fault::userfault`]).
//! Linux: fs/userfaultfd.c `userfaultfd_register`, mm/userfaultfd.c `userfaultfd_register_range`,
//! `userfaultfd_clear_vma` (6.18).

use super::edit::{join_around, split};
use super::request::huge_shift;
use crate::addr::VirtRange;
use crate::errno::Errno;
use crate::fault::userfault::{Protection, protect_part};
use crate::file::FileKind;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::mm::MmWrite;
use crate::vma::{UserFault, Vma};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What an area can be registered for.
const MODES: VmFlags = VmFlags::UFFD_MISSING.union(VmFlags::UFFD_WP).union(VmFlags::UFFD_MINOR);

/// Registers the areas in `range` with `context` for `modes`, a part of [`VmFlags`]' `UFFD_…`.
/// # Errors
/// - EINVAL: no mode or no whole pages; no area; one cannot be watched like that, or is cut inside
///   a huge page;
/// - ENOMEM: there would be too many areas;
/// - EPERM: an area can never be written to;
/// - EBUSY: an area is registered with another context.
pub fn userfault_register<H: Host>(
    lock: &mut MmWrite<'_, H>,
    range: VirtRange,
    modes: VmFlags,
    context: &Arc<dyn UserFault>,
) -> Result<(), Errno> {
    let whole = range.start.page_offset() == 0 && range.end.page_offset() == 0;
    if range.is_empty() || !whole || modes.is_empty() || !MODES.contains(modes) {
        return Err(Errno::EINVAL);
    }
    let mut any = false;
    for vma in lock.overlapping(range) {
        any = true;
        if !can_be_watched(vma, modes, context.wp_async()) || cuts_huge(vma, range) {
            return Err(Errno::EINVAL);
        }
        if !vma.flags.contains(VmFlags::MAYWRITE) {
            return Err(Errno::EPERM);
        }
        if vma.uffd.as_ref().is_some_and(|other| !is_same(other, context)) {
            return Err(Errno::EBUSY);
        }
    }
    if !any {
        return Err(Errno::EINVAL);
    }
    let has = |vma: &Vma<H>| vma.uffd.is_some() && vma.flags.contains(modes);
    let parts = parts(lock, range, |vma| !has(vma));
    for part in parts {
        set(lock, part, modes, Some(context))?;
    }
    Ok(())
}

/// Gives the areas in `range` back; pages that were write-protected are so no longer.
/// # Errors
/// As [`userfault_register`], for the modes that the areas have; EINVAL also where an area is
/// registered with another context.
pub fn userfault_unregister<H: Host>(
    lock: &mut MmWrite<'_, H>,
    range: VirtRange,
    context: &Arc<dyn UserFault>,
) -> Result<(), Errno> {
    let whole = range.start.page_offset() == 0 && range.end.page_offset() == 0;
    if range.is_empty() || !whole {
        return Err(Errno::EINVAL);
    }
    // Where the range ends does not matter, unless an area is to be split there.
    let first = lock.overlapping(range).next();
    if first.is_some_and(|vma| !range.start.is_aligned(huge_shift(vma))) {
        return Err(Errno::EINVAL);
    }
    let mut any = false;
    for vma in lock.overlapping(range) {
        any = true;
        let theirs = vma.uffd.as_ref().is_some_and(|other| !is_same(other, context));
        let watched = can_be_watched(vma, vma.flags & MODES, context.wp_async());
        if theirs || !watched {
            return Err(Errno::EINVAL);
        }
    }
    if !any {
        return Err(Errno::EINVAL);
    }
    for part in parts(lock, range, |vma| vma.uffd.is_some()) {
        let protects = |vma: &&Vma<H>| vma.flags.contains(VmFlags::UFFD_WP);
        if let Some(vma) = lock.lookup(part.start).filter(protects) {
            protect_part(lock.mm(), vma, part, Protection::Off)?;
        }
        set(lock, part, VmFlags::empty(), None)?;
    }
    Ok(())
}

/// The parts of `range` whose areas `which` chooses.
fn parts<H: Host>(
    lock: &MmWrite<'_, H>,
    range: VirtRange,
    which: impl Fn(&Vma<H>) -> bool,
) -> Vec<VirtRange> {
    let chosen = lock.overlapping(range).filter(|vma| which(vma));
    chosen.map(|vma| vma.range().intersect(range)).collect()
}

/// Splits `part` off, and gives it the modes and the context.
fn set<H: Host>(
    lock: &mut MmWrite<'_, H>,
    part: VirtRange,
    modes: VmFlags,
    context: Option<&Arc<dyn UserFault>>,
) -> Result<(), Errno> {
    split(lock, part.start)?;
    split(lock, part.end)?;
    if let Some(vma) = lock.lookup_mut(part.start) {
        vma.flags = (vma.flags - MODES) | modes;
        vma.uffd = context.cloned();
    }
    join_around(lock, part);
    Ok(())
}

fn is_same(one: &Arc<dyn UserFault>, other: &Arc<dyn UserFault>) -> bool {
    core::ptr::addr_eq(Arc::as_ptr(one), Arc::as_ptr(other))
}

/// `vma_can_userfault`.
fn can_be_watched<H: Host>(vma: &Vma<H>, modes: VmFlags, wp_async: bool) -> bool {
    if vma.flags.contains(VmFlags::DROPPABLE) {
        return false;
    }
    let kind = vma.backing.file().map(|file| file.kind());
    let shared = matches!(kind, Some(FileKind::Shmem | FileKind::Hugetlb(_)));
    if modes.contains(VmFlags::UFFD_MINOR) && !shared {
        return false;
    }
    wp_async && modes == VmFlags::UFFD_WP || vma.is_anonymous() || shared
}

/// Whether an end of `range` lies inside a huge page of the area.
fn cuts_huge<H: Host>(vma: &Vma<H>, range: VirtRange) -> bool {
    let shift = huge_shift(vma);
    let part = vma.range().intersect(range);
    !part.start.is_aligned(shift) || !part.end.is_aligned(shift)
}
