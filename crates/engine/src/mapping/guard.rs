//! Guard regions: pages that fault whoever touches them, without an area of their own.
//!
//! *Guard*: a marker in a page-table entry. It outlives `DONTNEED`, and goes with its area.
//! Linux: mm/madvise.c `madvise_guard_install`, `madvise_guard_remove` (6.18).

use crate::addr::{PAGE_SIZE, VirtRange};
use crate::errno::Errno;
use crate::fault::zap_range;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Action, Decoded, Entry, SwapEntry, Visit};
use crate::vma::{Map, SPECIAL, Vma, anon_vma_prepare};

/// Empties `range`, a part of `vma`, and puts a guard into every entry.
/// # Errors
/// EINVAL: locked, special or huge memory; ENOMEM: no frame for a table.
pub(super) fn install<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    vma: &Vma<H>,
    range: VirtRange,
) -> Result<(), Errno> {
    if vma.flags.intersects(SPECIAL | VmFlags::HUGETLB | VmFlags::LOCKED) {
        return Err(Errno::EINVAL);
    }
    if vma.is_anonymous() {
        // Or fork would not copy the guards.
        anon_vma_prepare(mm.machine(), map, vma);
    }
    zap_range(mm, vma, range).map_err(|_| Errno::ENOMEM)?;
    let tables = mm.tables();
    for addr in range.iter_pages() {
        let place = tables.make(addr, 0).map_err(|_| Errno::ENOMEM)?;
        loop {
            let guard = tables.lock(place.table);
            if tables.load(place).is_none() {
                tables.store(place, Entry::swap(SwapEntry::Guard));
                break;
            }
            drop(guard);
            // A fault of another thread was faster.
            let page = VirtRange::new(addr, addr.saturating_add(PAGE_SIZE));
            zap_range(mm, vma, page).map_err(|_| Errno::ENOMEM)?;
        }
    }
    Ok(())
}

/// Takes the guards out of `range`, a part of `vma`.
/// # Errors
/// EINVAL: special or huge memory.
pub(super) fn remove<H: Host>(mm: &Mm<H>, vma: &Vma<H>, range: VirtRange) -> Result<(), Errno> {
    if vma.flags.intersects(SPECIAL | VmFlags::HUGETLB) {
        return Err(Errno::EINVAL);
    }
    // Guards are never huge, so nothing is split and nothing can fail.
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| match visit
        .entry
        .decode(visit.place.level)
    {
        Decoded::Swap(SwapEntry::Guard) => Action::Remove,
        Decoded::None | Decoded::Table(_) | Decoded::Leaf(..) | Decoded::Swap(_) => Action::Keep,
    });
    Ok(())
}
