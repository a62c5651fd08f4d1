//! mseal: areas that can no longer be changed, moved or unmapped, until the address space ends.
//!
//! Linux: mm/mseal.c (6.18).

use super::edit::{modify, page_align};
use crate::addr::{VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::host::Host;
use crate::mm::MmWrite;
use crate::vma::Vma;

/// Seals the areas of `bytes` bytes, rounded up to pages, from `addr`.
/// # Errors
/// EINVAL: unaligned, or it wraps; ENOMEM: a hole, and nothing is sealed; or too many areas.
/// # Linux
/// `mseal()`.
pub fn mseal<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr, bytes: u64) -> Result<(), Errno> {
    let size = page_align(bytes);
    let end = addr.checked_add(size).ok_or(Errno::EINVAL)?;
    if addr.page_offset() != 0 || bytes != 0 && size == 0 {
        return Err(Errno::EINVAL);
    }
    let range = VirtRange::new(addr, end);
    let covered: u64 = lock.overlapping(range).map(|vma| covered(vma, range)).sum();
    if covered != range.pages() {
        return Err(Errno::ENOMEM);
    }
    let mut at = range.start;
    while let Some(vma) = lock.lookup(at).filter(|_| at < range.end) {
        let part = vma.range().intersect(VirtRange::new(at, range.end));
        let flags = vma.flags | VmFlags::SEALED;
        modify(lock, part, flags)?;
        at = part.end;
    }
    Ok(())
}

fn covered<H: Host>(vma: &Vma<H>, range: VirtRange) -> u64 {
    vma.range().intersect(range).pages()
}
