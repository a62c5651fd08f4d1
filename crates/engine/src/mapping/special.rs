//! Areas that the system or a driver installs: the vdso, device memory, rings shared with the
//! kernel.
//!
//! *Raw frame*: a frame mapped by number, special, without a reference; nothing behind it is
//! counted (`VM_PFNMAP`). *Inserted page*: an ordinary page in a `VM_MIXEDMAP` area, counted as any
//! other. Absent: faults that fill such areas ([`crate::fault`]), what GUP makes of them (rows
//!
//! Linux: mm/vma.c `_install_special_mapping`; mm/memory.c `remap_pfn_range`, `vm_insert_page`,
//! `vmf_insert_pfn` (6.18).

use super::edit::bookkeeping;
use super::limits;
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::fault::{add_mapping, leaf_perms};
use crate::flags::VmFlags;
use crate::frame::Kind;
use crate::host::Host;
use crate::mm::MmWrite;
use crate::pgtable::{Entry, MapError, Perms, Place, task_size};
use crate::vma::{Backing, Special, Vma};
use alloc::sync::Arc;

/// Adds an area over `range` with what stands behind it; `flags` are its `vm_flags`, to which
/// `VM_DONTEXPAND` is added.
/// # Errors
/// EINVAL: not whole pages, or none; ENOMEM: not all in user space, or something is there.
/// # Linux
/// `_install_special_mapping()`.
pub fn install_special<H: Host>(
    lock: &mut MmWrite<'_, H>,
    range: VirtRange,
    flags: VmFlags,
    special: Arc<Special>,
) -> Result<(), Errno> {
    let whole = range.start.page_offset() == 0 && range.end.page_offset() == 0;
    if !whole || range.is_empty() {
        return Err(Errno::EINVAL);
    }
    if range.end.get() > task_size::<H>() || lock.overlapping(range).next().is_some() {
        return Err(Errno::ENOMEM);
    }
    bookkeeping(lock)?;
    let flags = flags | VmFlags::DONTEXPAND;
    let id = lock.new_id();
    lock.insert(Vma::new(id, range, flags, Backing::Special(special), 0));
    limits::account(lock, flags, range.pages());
    Ok(())
}

/// Maps `range`, in one area, to the raw frames from `first`; the area becomes `VM_IO | VM_PFNMAP`.
/// # Errors
/// EINVAL: not in one area, not whole pages, or a part of a private writable one; ENOMEM: no frame
/// for a table; EBUSY: something is mapped there.
/// # Linux
/// `remap_pfn_range()`.
pub fn remap_pfn_range<H: Host>(
    lock: &mut MmWrite<'_, H>,
    range: VirtRange,
    first: Pfn,
) -> Result<(), Errno> {
    let mm = lock.mm();
    let vma = lock.lookup_mut(range.start).filter(|vma| range.end <= vma.end());
    let vma = vma.ok_or(Errno::EINVAL)?;
    if vma.flags.is_cow_mapping() && vma.range() != range {
        return Err(Errno::EINVAL);
    }
    vma.flags |= VmFlags::IO | VmFlags::PFNMAP | VmFlags::DONTEXPAND | VmFlags::DONTDUMP;
    let perms = Perms { special: true, ..leaf_perms(vma) };
    mm.tables().map(range, first, perms, 0).map_err(|error| match error {
        MapError::OutOfMemory(_) => Errno::ENOMEM,
        MapError::Occupied(_) => Errno::EBUSY,
        MapError::Unaddressable => Errno::EINVAL,
    })
}

/// Maps the page in frame `pfn` at `addr`; the area becomes `VM_MIXEDMAP`, and the entry holds a
/// reference.
/// # Errors
/// EFAULT: no area there; EINVAL: `addr` is not at a page, the area is `VM_PFNMAP`, or the frame
/// holds no page that may be inserted (none, or anonymous memory); ENOMEM: no frame for a table;
/// EBUSY: something is mapped there.
/// # Linux
/// `vm_insert_page()`.
pub fn insert_page<H: Host>(
    lock: &mut MmWrite<'_, H>,
    addr: VirtAddr,
    pfn: Pfn,
) -> Result<(), Errno> {
    let mm = lock.mm();
    let frames = mm.machine().frames();
    let valid = frames.pfn_valid(pfn) && frames.refs(frames.head(pfn)) > 0;
    if !valid || matches!(frames.kind(pfn), Kind::Anon | Kind::Table | Kind::Slab | Kind::Free) {
        return Err(Errno::EINVAL);
    }
    let vma = mixed(lock, addr)?;
    let perms = leaf_perms(vma);
    let place = empty_place(lock, addr)?;
    frames.get(frames.head(pfn), 1).map_err(|_| Errno::EINVAL)?;
    store(lock, place, Entry::leaf(pfn, perms, 0));
    add_mapping(mm, pfn);
    Ok(())
}

/// Maps the raw frame `pfn` at `addr` of a `VM_MIXEDMAP` or `VM_PFNMAP` area, without a reference.
/// # Errors
/// EFAULT: no area there; EINVAL: `addr` is not at a page; ENOMEM: no frame for a table; EBUSY:
/// something is mapped there.
/// # Linux
/// `vmf_insert_pfn()`, `vmf_insert_mixed()`.
pub fn insert_pfn<H: Host>(
    lock: &mut MmWrite<'_, H>,
    addr: VirtAddr,
    pfn: Pfn,
) -> Result<(), Errno> {
    let raw = lock.lookup(addr).is_some_and(|vma| vma.flags.contains(VmFlags::PFNMAP));
    if !raw {
        mixed(lock, addr)?;
    }
    let vma = lock.lookup(addr).ok_or(Errno::EFAULT)?;
    let perms = Perms { special: true, ..leaf_perms(vma) };
    let place = empty_place(lock, addr)?;
    store(lock, place, Entry::leaf(pfn, perms, 0));
    Ok(())
}

/// The area of `addr`, made `VM_MIXEDMAP`.
fn mixed<'a, H: Host>(
    lock: &'a mut MmWrite<'_, H>,
    addr: VirtAddr,
) -> Result<&'a mut Vma<H>, Errno> {
    let vma = lock.lookup_mut(addr).ok_or(Errno::EFAULT)?;
    if vma.flags.contains(VmFlags::PFNMAP) || addr.page_offset() != 0 {
        return Err(Errno::EINVAL);
    }
    vma.flags |= VmFlags::MIXEDMAP;
    Ok(vma)
}

fn empty_place<H: Host>(lock: &MmWrite<'_, H>, addr: VirtAddr) -> Result<Place, Errno> {
    let tables = lock.mm().tables();
    let place = tables.make(addr, 0).map_err(|_| Errno::ENOMEM)?;
    if tables.load(place).is_none() { Ok(place) } else { Err(Errno::EBUSY) }
}

fn store<H: Host>(lock: &MmWrite<'_, H>, place: Place, entry: Entry<H::Format>) {
    let tables = lock.mm().tables();
    // The lock is held for writing, so the entry is still empty.
    let _guard = tables.lock(place.table);
    tables.store(place, entry);
}
