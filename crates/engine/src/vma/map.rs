//! The map: all VMAs of one address space, found by address.
//!
//! Keyed by each area's end, which never changes under the read lock, while a start may (row A-42).
//! Linux: mm/mmap.c `find_vma`, `vma_lookup`.

use super::area::{Vma, VmaId};
use crate::addr::{VirtAddr, VirtRange};
use crate::host::Host;
use alloc::collections::BTreeMap;
use core::ops::Bound::{Excluded, Unbounded};

/// All areas of one address space.
pub struct Map<H: Host> {
    areas: BTreeMap<VirtAddr, Vma<H>>,
    /// Where top-down search begins (`mmap_base`), in bytes.
    pub mmap_base: VirtAddr,
    /// The heap's first address.
    pub start_brk: VirtAddr,
    /// The heap's end.
    pub brk: VirtAddr,
    /// Flags that new areas get (`mlockall(MCL_FUTURE)`).
    pub def_flags: crate::flags::VmFlags,
    next_id: u64,
}

impl<H: Host> Map<H> {
    /// An empty map whose top-down search begins at `mmap_base`.
    pub fn new(mmap_base: VirtAddr) -> Self {
        Self {
            areas: BTreeMap::new(),
            mmap_base,
            start_brk: VirtAddr::new(0),
            brk: VirtAddr::new(0),
            def_flags: crate::flags::VmFlags::empty(),
            next_id: 1,
        }
    }
    /// A fresh id for an area of this map.
    pub fn new_id(&mut self) -> VmaId {
        let id = VmaId(self.next_id);
        self.next_id += 1;
        id
    }
    /// How many areas there are.
    pub fn len(&self) -> usize {
        self.areas.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }
    /// The first area whose end lies above `addr` (`find_vma`): it contains `addr` or lies above it.
    #[inline]
    pub fn find(&self, addr: VirtAddr) -> Option<&Vma<H>> {
        self.areas.range((Excluded(addr), Unbounded)).next().map(|(_, vma)| vma)
    }
    /// The area that contains `addr` (`vma_lookup`).
    #[inline]
    pub fn lookup(&self, addr: VirtAddr) -> Option<&Vma<H>> {
        self.find(addr).filter(|vma| vma.start() <= addr)
    }
    /// The area with this id, if it still exists (row W-06). Walks all areas.
    pub fn by_id(&self, id: VmaId) -> Option<&Vma<H>> {
        self.iter().find(|vma| vma.id() == id)
    }
    /// The last area that ends at or below `addr`.
    pub fn prev(&self, addr: VirtAddr) -> Option<&Vma<H>> {
        self.areas.range(..=addr).next_back().map(|(_, vma)| vma)
    }
    /// The area to change that contains `addr`. Its range must not be changed in place.
    pub fn lookup_mut(&mut self, addr: VirtAddr) -> Option<&mut Vma<H>> {
        let next = self.areas.range_mut((Excluded(addr), Unbounded)).next().map(|(_, vma)| vma);
        next.filter(|vma| vma.start() <= addr)
    }
    /// Adds an area that overlaps none.
    pub fn insert(&mut self, vma: Vma<H>) {
        debug_assert!(self.overlapping(vma.range()).next().is_none());
        self.areas.insert(vma.end(), vma);
    }
    /// Takes out the area that ends at `end`.
    pub fn remove(&mut self, end: VirtAddr) -> Option<Vma<H>> {
        self.areas.remove(&end)
    }
    /// All areas, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma<H>> {
        self.areas.values()
    }
    /// The areas that share an address with `range`, lowest first.
    pub fn overlapping(&self, range: VirtRange) -> impl Iterator<Item = &Vma<H>> {
        let above = self.areas.range((Excluded(range.start), Unbounded)).map(|(_, vma)| vma);
        above.take_while(move |vma| vma.start() < range.end && !range.is_empty())
    }
}
