//! The system calls whole: the lock taken, the edit made, what is to be populated faulted in.
//!
//! Errors are those of the edits, in [`super`]. Populating never fails here, as in the kernel: a
//! page that cannot be had now is had by a later fault, or not.
//! Linux: mm/util.c `vm_mmap_pgoff`; mm/mprotect.c, mm/mremap.c, mm/mmap.c `brk` (6.18).

use super::edit::page_align;
use super::mprotect::{self as protection, GrowProt};
use super::mremap::MremapRequest;
use super::populate::populate;
use super::request::MmapRequest;
use crate::addr::{VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::{MapFlags, Prot, VmFlags};
use crate::gup::populate::OnError;
use crate::host::Host;
use crate::mm::Mm;
use crate::task::Task;
use alloc::vec::Vec;

/// Maps, and populates what is locked or asked for with `POPULATE`.
/// # Errors
/// As [`super::mmap`].
/// # Linux
/// `mmap()`.
pub fn mmap<H: Host>(mm: &Mm<H>, task: &Task, request: &MmapRequest<H>) -> Result<VirtAddr, Errno> {
    let mut lock = mm.write();
    let addr = super::mmap(&mut lock, task, request)?;
    let locked = lock.lookup(addr).is_some_and(|vma| vma.flags.contains(VmFlags::LOCKED));
    drop(lock);
    let wanted = MapFlags::POPULATE | MapFlags::NONBLOCK;
    if locked || request.flags & wanted == MapFlags::POPULATE {
        let end = addr.saturating_add(page_align(request.bytes));
        populate(mm, task, VirtRange::new(addr, end), OnError::Ignore)?;
    }
    Ok(addr)
}

/// Unmaps.
/// # Errors
/// As [`super::munmap`].
/// # Linux
/// `munmap()`.
pub fn munmap<H: Host>(mm: &Mm<H>, addr: VirtAddr, bytes: u64) -> Result<(), Errno> {
    super::munmap(&mut mm.write(), addr, bytes)
}

/// Protects, and populates locked memory that has become writable (row M-04).
/// # Errors
/// As [`super::mprotect`]. With [`GrowProt::Down`]: EINVAL if the first area is no stack.
/// # Linux
/// `mprotect()`.
pub fn mprotect<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    addr: VirtAddr,
    bytes: u64,
    prot: Prot,
    grow: GrowProt,
) -> Result<(), Errno> {
    let mut ranges = Vec::new();
    let request = protection::Request { addr, bytes, prot, grow };
    let done = protection::protect(&mut mm.write(), task, request, &mut ranges);
    for range in ranges {
        populate(mm, task, range, OnError::Ignore)?;
    }
    done
}

/// Remaps, and populates what a locked area has grown by.
/// # Errors
/// As [`super::mremap`].
/// # Linux
/// `mremap()`.
pub fn mremap<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    request: &MremapRequest,
) -> Result<VirtAddr, Errno> {
    let remapped = super::mremap(&mut mm.write(), task, request)?;
    populate(mm, task, remapped.populate, OnError::Ignore)?;
    Ok(remapped.addr)
}

/// Moves the heap's end, and populates what a locked heap has grown by.
/// # Linux
/// `brk()`, which has no errors: it returns where the end is.
pub fn brk<H: Host>(mm: &Mm<H>, task: &Task, brk: VirtAddr) -> VirtAddr {
    let mut lock = mm.write();
    let old = lock.brk.page_ceil().unwrap_or(lock.brk);
    let now = super::brk(&mut lock, task, brk);
    let locked = lock.def_flags.contains(VmFlags::LOCKED);
    drop(lock);
    if locked && now > old {
        let end = now.page_ceil().unwrap_or(now);
        // Errors are ignored, whatever they are.
        let _ = populate(mm, task, VirtRange::new(old, end), OnError::Ignore);
    }
    now
}
