//! munmap: areas out of the map, their pages out of the tables, and the tables freed.
//!
//! Linux: mm/vma.c `do_vmi_munmap`, `vms_gather_munmap_vmas`, `vms_complete_munmap_vmas` (6.18).

use super::edit::{may_change, page_align, split_off};
use super::limits;
use crate::addr::{VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::fault::zap_area;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::hugetlb;
use crate::mm::{Mm, MmWrite};
use crate::observe::Event;
use crate::pgtable::task_size;
use crate::vma::Vma;
use core::sync::atomic::Ordering::Relaxed;

/// Unmaps `bytes` bytes, rounded up to pages, from `addr`. Holes are no error.
/// # Errors
/// - EINVAL: `addr` is not at a page, `bytes` is 0, the range passes the end of user space, or it
///   cuts a hugetlb page;
/// - ENOMEM: a hole in an area would make too many areas;
/// - EPERM: an area is sealed.
/// # Linux
/// `munmap()`.
pub fn munmap<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr, bytes: u64) -> Result<(), Errno> {
    let size = page_align(bytes);
    let outside = bytes > task_size::<H>() || addr.get() > task_size::<H>() - bytes;
    if addr.page_offset() != 0 || outside || size == 0 {
        return Err(Errno::EINVAL);
    }
    unmap(lock, VirtRange::new(addr, addr.saturating_add(size)))
}

/// Unmaps a range of whole pages of user space.
pub(super) fn unmap<H: Host>(lock: &mut MmWrite<'_, H>, range: VirtRange) -> Result<(), Errno> {
    prepare(lock, range)?;
    complete(lock, range);
    Ok(())
}

/// What unmapping may refuse, and the splits at its ends. Nothing is unmapped yet; an area that was
/// split at the start stays so if a later one is sealed.
pub(super) fn prepare<H: Host>(lock: &mut MmWrite<'_, H>, range: VirtRange) -> Result<(), Errno> {
    if let Some(first) = lock.lookup(range.start).filter(|vma| vma.start() < range.start) {
        let (end, whole) = (first.end(), first.range());
        if range.end < end {
            limits::may_split(lock)?;
        }
        may_change(lock, whole)?;
        split_off(lock, range.start)?;
    }
    may_change(lock, range)?;
    split_off(lock, range.end)
}

/// Takes out all areas of `range`, which begin and end at its ends, with their pages and tables.
pub(super) fn complete<H: Host>(lock: &mut MmWrite<'_, H>, range: VirtRange) {
    let Some(first) = lock.find(range.start).filter(|vma| vma.start() < range.end) else { return };
    let floor = lock.prev(first.start()).map_or(VirtAddr::new(0), Vma::end);
    while let Some(vma) = lock.find(range.start).filter(|vma| vma.start() < range.end) {
        let end = vma.end();
        let Some(vma) = lock.remove(end) else { break };
        forget(lock, &vma);
    }
    let next = lock.find(range.end);
    let ceiling = next.map_or(VirtAddr::new(u64::MAX), Vma::start);
    lock.mm().tables().free_tables(range, floor, ceiling);
}

/// Pages that areas have in `range`, and how many of them count against overcommit.
pub(super) fn pages_in<H: Host>(lock: &MmWrite<'_, H>, range: VirtRange) -> (u64, u64) {
    lock.overlapping(range).fold((0, 0), |(all, charged), vma| {
        let pages = vma.range().intersect(range).pages();
        let counted = if vma.flags.contains(VmFlags::ACCOUNT) { pages } else { 0 };
        (all + pages, charged + counted)
    })
}

/// Drops the pages and accounts of an area that is no longer in the map.
fn forget<H: Host>(lock: &mut MmWrite<'_, H>, vma: &Vma<H>) {
    let mm = lock.mm();
    let pages = vma.range().pages();
    zap_area(mm, vma);
    let (root, start, end) = (mm.root(), vma.start(), vma.end());
    mm.machine().host().see(Event::Unmapped { root, start, end });
    hugetlb::area_gone(vma);
    limits::unaccount(lock, vma.flags, pages);
    if vma.flags.contains(VmFlags::LOCKED) {
        mm.locked_vm.fetch_sub(pages, Relaxed);
    }
    if vma.flags.contains(VmFlags::ACCOUNT) {
        limits::uncharge(mm.machine(), pages);
    }
}

/// Takes back all that the address space was promised, when it ends.
pub(crate) fn release_charges<H: Host>(mm: &Mm<H>) {
    let map = mm.read();
    let charged = map.iter().filter(|vma| vma.flags.contains(VmFlags::ACCOUNT));
    limits::uncharge(mm.machine(), charged.map(|vma| vma.range().pages()).sum());
}
