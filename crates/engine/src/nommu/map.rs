//! All areas of one address space, found by the address they contain.
//!
//! Invariant: areas never overlap. Absent: growth, so a lookup needs nothing but containment (row
//! N-02).
//! Linux: mm/nommu.c `find_vma`.

use super::area::Area;
use crate::addr::{VirtAddr, VirtRange};
use crate::vma::VmaId;
use alloc::collections::BTreeMap;

/// The areas, by their first address.
#[derive(Debug, Default)]
pub struct RegionMap {
    areas: BTreeMap<VirtAddr, Area>,
    last_id: u64,
}

impl RegionMap {
    /// The area that contains `addr`, exactly: no area below a stack is found for its stack (row
    /// N-02).
    #[inline]
    pub fn find(&self, addr: VirtAddr) -> Option<&Area> {
        let (_, area) = self.areas.range(..=addr).next_back()?;
        area.range.contains(addr).then_some(area)
    }
    /// The area with this id, if it still exists.
    pub fn by_id(&self, id: VmaId) -> Option<&Area> {
        self.iter().find(|area| area.id == id)
    }
    /// All areas, lowest first.
    pub fn iter(&self) -> impl Iterator<Item = &Area> {
        self.areas.values()
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.areas.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }
    /// A name that no area of this map had before.
    pub(super) fn new_id(&mut self) -> VmaId {
        self.last_id += 1;
        VmaId(self.last_id)
    }
    /// Whether an area shares an address with `range`.
    pub(super) fn overlaps(&self, range: VirtRange) -> bool {
        let below = self.areas.range(..range.end).next_back();
        below.is_some_and(|(_, area)| !area.range.intersect(range).is_empty())
    }
    /// Adds an area; it overlaps none.
    pub(super) fn insert(&mut self, area: Area) {
        debug_assert!(!self.overlaps(area.range), "areas overlap: {area:?}");
        self.areas.insert(area.start(), area);
    }
    /// Takes out the area that begins at `start`.
    pub(super) fn remove(&mut self, start: VirtAddr) -> Option<Area> {
        self.areas.remove(&start)
    }
    /// Takes all areas out.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Area> + use<> {
        core::mem::take(&mut self.areas).into_values()
    }
}
