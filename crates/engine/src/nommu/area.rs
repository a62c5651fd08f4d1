//! One area: addresses, permissions, and the region that they lie in.
//!
//! Absent: what is behind the addresses; that is the memory at the address itself (row N-04).
//! Linux: `struct vm_area_struct` as mm/nommu.c uses it.

use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::flags::VmFlags;
use crate::vma::VmaId;

/// An area of one address space. Page-aligned and not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Area {
    /// Its name, as `vmas` hands it out.
    pub id: VmaId,
    /// Its addresses.
    pub range: VirtRange,
    /// What may be done there: permission bits, IO, PFNMAP. Growth flags mean nothing here.
    pub flags: VmFlags,
    /// The region it lies in, by its first frame; `None` for a driver's memory, which no region
    /// owns.
    pub(super) region: Option<Pfn>,
    /// It shows a file: such an area is unmapped whole or not at all.
    pub(super) of_file: bool,
}

impl Area {
    /// The driver asked that its pages be left alone: `VM_IO` or `VM_PFNMAP`.
    #[inline]
    pub fn is_device(&self) -> bool {
        self.flags.intersects(VmFlags::IO.union(VmFlags::PFNMAP))
    }
    /// Its first address.
    #[inline]
    pub fn start(&self) -> VirtAddr {
        self.range.start
    }
    /// The first address after it.
    #[inline]
    pub fn end(&self) -> VirtAddr {
        self.range.end
    }
}
