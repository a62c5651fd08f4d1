//! The map: all VMAs of one address space, found by address, by id, or by the gap below them.
//!
//! Keyed by each area's end, which never changes under the read lock, while a start may (row A-42).
//! *Gap* of an area that grows down: it keeps `stack_gap` bytes below itself free of others (row
//! Invariants: areas do not overlap; every area is in `ids`; every gap of at least a byte is
//! in `gaps`. Absent: the kernel's rules for edits ([`crate::mapping`]).
//! Linux: mm/mmap.c `find_vma`, `vma_lookup`; mm/vma.c `unmapped_area`, `unmapped_area_topdown`.

use super::area::{Vma, VmaId};
use super::gaps::{Gap, Gaps};
use super::merge::STICKY;
use crate::addr::{VirtAddr, VirtRange};
use crate::flags::VmFlags;
use crate::host::Host;
use crate::pgtable::task_size;
use alloc::collections::BTreeMap;
use core::ops::Bound::{Excluded, Unbounded};

/// All areas of one address space.
pub struct Map<H: Host> {
    areas: BTreeMap<VirtAddr, Vma<H>>,
    ids: BTreeMap<VmaId, VirtAddr>,
    gaps: Gaps,
    stack_gap: u64,
    /// Where top-down search begins (`mmap_base`), in bytes.
    pub mmap_base: VirtAddr,
    /// The heap's first address.
    pub start_brk: VirtAddr,
    /// The heap's end.
    pub brk: VirtAddr,
    /// Flags that new areas get (`mlockall(MCL_FUTURE)`).
    pub def_flags: VmFlags,
    /// `data_vm`: pages of private writable areas that are no stacks.
    pub data_vm: u64,
    next_id: u64,
}

impl<H: Host> Map<H> {
    /// An empty map whose top-down search begins at `mmap_base`, and that keeps `stack_gap` bytes
    /// below areas that grow down.
    pub fn new(mmap_base: VirtAddr, stack_gap: u64) -> Self {
        let mut gaps = Gaps::new();
        gaps.set(0, task_size::<H>());
        Self {
            areas: BTreeMap::new(),
            ids: BTreeMap::new(),
            gaps,
            stack_gap,
            mmap_base,
            start_brk: VirtAddr::new(0),
            brk: VirtAddr::new(0),
            def_flags: VmFlags::empty(),
            data_vm: 0,
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
    /// The first area whose end lies above `addr` (`find_vma`): it contains `addr` or lies above
    /// it.
    #[inline]
    pub fn find(&self, addr: VirtAddr) -> Option<&Vma<H>> {
        // Not `(Excluded(addr), Unbounded)`, which is the same, but goes through memory.
        self.areas.range(addr.checked_add(1)?..).next().map(|(_, vma)| vma)
    }
    /// The area that contains `addr` (`vma_lookup`).
    #[inline]
    pub fn lookup(&self, addr: VirtAddr) -> Option<&Vma<H>> {
        self.find(addr).filter(|vma| vma.start() <= addr)
    }
    /// The area with this id, if it still exists (row W-06).
    pub fn by_id(&self, id: VmaId) -> Option<&Vma<H>> {
        self.areas.get(self.ids.get(&id)?)
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
    /// All areas, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Vma<H>> {
        self.areas.values()
    }
    /// The areas that share an address with `range`, lowest first.
    pub fn overlapping(&self, range: VirtRange) -> impl Iterator<Item = &Vma<H>> {
        let above = self.areas.range((Excluded(range.start), Unbounded)).map(|(_, vma)| vma);
        above.take_while(move |vma| vma.start() < range.end && !range.is_empty())
    }
    /// Adds an area that overlaps none.
    pub fn insert(&mut self, vma: Vma<H>) {
        debug_assert!(self.overlapping(vma.range()).next().is_none());
        let VirtRange { start, end } = vma.range();
        self.ids.insert(vma.id(), end);
        self.areas.insert(end, vma);
        self.record_gap(self.end_below(start));
        self.record_gap(end);
    }
    /// Takes out the area that ends at `end`.
    pub fn remove(&mut self, end: VirtAddr) -> Option<Vma<H>> {
        let vma = self.areas.remove(&end)?;
        self.ids.remove(&vma.id());
        self.gaps.set(end.get(), 0);
        self.record_gap(self.end_below(vma.start()));
        Some(vma)
    }
    /// Cuts the area that contains `addr` above its start in two; the upper part gets a new id.
    pub(crate) fn split(&mut self, addr: VirtAddr) {
        let Some(vma) = self.lookup(addr).filter(|vma| vma.start() < addr) else { return };
        let VirtRange { start, end } = vma.range();
        let id = self.new_id();
        let Some(mut lower) = self.areas.remove(&end) else { return };
        let upper = lower.like(id, VirtRange::new(addr, end));
        lower.set_range(VirtRange::new(start, addr), lower.pgoff());
        self.ids.insert(lower.id(), addr);
        self.ids.insert(id, end);
        self.areas.insert(addr, lower);
        self.areas.insert(end, upper);
    }
    /// Makes one area of the two that meet at `addr`; it keeps the lower one's id, and has an
    /// `anon_vma` if either had one (row M-06).
    pub(crate) fn join(&mut self, addr: VirtAddr) {
        let Some(end) = self.lookup(addr).filter(|vma| vma.start() == addr).map(Vma::end) else {
            return;
        };
        let Some(mut lower) = self.areas.remove(&addr) else { return };
        if let Some(upper) = self.areas.remove(&end) {
            self.ids.remove(&upper.id());
            lower.set_anon_vma(lower.anon_vma().or(upper.anon_vma()));
            lower.flags |= upper.flags & STICKY;
        }
        lower.set_range(VirtRange::new(lower.start(), end), lower.pgoff());
        self.ids.insert(lower.id(), end);
        self.areas.insert(end, lower);
    }
    /// Moves the end of the area that ends at `end` up to `new_end`; nothing is in between.
    pub(crate) fn lengthen(&mut self, end: VirtAddr, new_end: VirtAddr) {
        let Some(mut vma) = self.remove(end) else { return };
        vma.set_range(VirtRange::new(vma.start(), new_end), vma.pgoff());
        self.insert(vma);
    }
    /// The first address below `vma` that another area may not have (`vm_start_gap`).
    pub(crate) fn start_gap(&self, vma: &Vma<H>) -> VirtAddr {
        let gap = if vma.flags.contains(VmFlags::GROWSDOWN) { self.stack_gap } else { 0 };
        vma.start().saturating_sub(gap)
    }
    /// The highest addresses in `within` that no area has, at least `bytes` of them.
    pub(crate) fn highest_gap(&mut self, within: VirtRange, bytes: u64) -> Option<VirtRange> {
        loop {
            let top = self.gaps.highest(within.end.get(), 1)?;
            if self.correct(top) {
                continue;
            }
            if let Some(found) = clip(top, within, bytes) {
                return Some(found);
            }
            let lower = self.gaps.highest(top.start, bytes)?;
            if !self.correct(lower) {
                return clip(lower, within, bytes);
            }
        }
    }
    /// The lowest addresses in `within` that no area has, at least `bytes` of them.
    pub(crate) fn lowest_gap(&mut self, within: VirtRange, bytes: u64) -> Option<VirtRange> {
        loop {
            if let Some(first) = self.gaps.at_or_below(within.start.get()) {
                if self.correct(first) {
                    continue;
                }
                if let Some(found) = clip(first, within, bytes) {
                    return Some(found);
                }
            }
            let upper = self.gaps.lowest(within.start.get(), bytes)?;
            if !self.correct(upper) {
                return clip(upper, within, bytes);
            }
        }
    }

    /// Corrects the record of a gap that a stack has grown into; whether it was wrong.
    fn correct(&mut self, gap: Gap) -> bool {
        let wrong = self.true_gap(gap.start) != gap.bytes;
        if wrong {
            self.record_gap(VirtAddr::new(gap.start));
        }
        wrong
    }
    fn record_gap(&mut self, start: VirtAddr) {
        let bytes = self.true_gap(start.get());
        self.gaps.set(start.get(), bytes);
    }
    /// Bytes free above `start`, which is an area's end or 0.
    fn true_gap(&self, start: u64) -> u64 {
        let next = self.find(VirtAddr::new(start));
        let end = next.map_or(VirtAddr::new(task_size::<H>()), |vma| self.start_gap(vma));
        end.bytes_from(VirtAddr::new(start))
    }
    fn end_below(&self, addr: VirtAddr) -> VirtAddr {
        self.prev(addr).map_or(VirtAddr::new(0), Vma::end)
    }
}

fn clip(gap: Gap, within: VirtRange, bytes: u64) -> Option<VirtRange> {
    let start = VirtAddr::new(gap.start);
    let found = VirtRange::from_len(start, gap.bytes)?.intersect(within);
    (found.bytes() >= bytes).then_some(found)
}
