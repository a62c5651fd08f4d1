//! Pinned runs as `vm-memory` regions: a device of rust-vmm works on what a program pinned for it.
//!
//! Page `n` of the pins stands at the guest address `base + n * 4096`, as an IOMMU would have it;
//! each run is one region. What was written is not seen, so all folios are dirty when the last
//! region goes. Invariant of [`PinnedRegion`]: its run is one of the runs of `pins`.

use crate::{HostedMemory, Std};
use gup::gup::{PinnedRuns, Run, Write};
use gup::observe::Observer;
use gup::pgtable::Format;
use std::fmt;
use std::ptr;
use std::sync::Arc;
use vm_memory::guest_memory::Result as GuestResult;
use vm_memory::{
    Address, GuestAddress, GuestMemoryError, GuestMemoryRegion, GuestMemoryRegionBytes,
    GuestRegionCollection, MemoryRegionAddress, VolatileSlice,
};

/// All regions of one call's pins.
pub type PinnedMemory<O, F> = GuestRegionCollection<PinnedRegion<O, F>>;

type Pins<O, F> = PinnedRuns<Std<HostedMemory, O, F>, Write>;

/// Pins that are given back dirty.
struct Owner<O: Observer + 'static, F: Format>(Option<Pins<O, F>>);

impl<O: Observer + 'static, F: Format> Drop for Owner<O, F> {
    fn drop(&mut self) {
        if let Some(pins) = self.0.take() {
            pins.unpin_dirty();
        }
    }
}

/// One run, pinned for as long as a region of the same call lives.
pub struct PinnedRegion<O: Observer + 'static, F: Format> {
    pins: Arc<Owner<O, F>>,
    run: Run,
    start: GuestAddress,
}

impl<O: Observer + 'static, F: Format> fmt::Debug for PinnedRegion<O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedRegion")
            .field("run", &self.run)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

/// Why pins cannot be guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotMapped {
    /// There are none.
    Empty,
    /// They would pass the last guest address.
    Overflow,
}

impl fmt::Display for NotMapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "no page is pinned",
            Self::Overflow => "the pinned pages would pass the last guest address",
        })
    }
}
impl std::error::Error for NotMapped {}

/// The pages of `pins` as guest memory from `base` on.
/// # Errors
/// [`NotMapped`]; the pins are given back.
pub fn pinned_memory<O: Observer + 'static, F: Format>(
    pins: Pins<O, F>,
    base: GuestAddress,
) -> Result<PinnedMemory<O, F>, NotMapped> {
    base.checked_add(pins.bytes()).ok_or(NotMapped::Overflow)?;
    let runs = pins.runs().to_vec();
    let pins = Arc::new(Owner(Some(pins)));
    let mut start = base;
    let mut regions = Vec::with_capacity(runs.len());
    for run in runs {
        regions.push(PinnedRegion { pins: Arc::clone(&pins), run, start });
        start = start.checked_add(run.bytes()).ok_or(NotMapped::Overflow)?;
    }
    // They follow one another, so only their absence can be wrong.
    GuestRegionCollection::from_regions(regions).map_err(|_| NotMapped::Empty)
}

impl<O: Observer + 'static, F: Format> PinnedRegion<O, F> {
    /// Where byte `offset` of the run lies in this process, if `count` bytes follow there.
    fn pointer(&self, offset: u64, count: u64) -> Option<*mut u8> {
        offset.checked_add(count).filter(|end| *end <= self.run.bytes())?;
        let memory = self.pins.0.as_ref()?.machine().memory();
        let address = memory.address(self.run.first)?.checked_add(usize::try_from(offset).ok()?)?;
        Some(ptr::with_exposed_provenance_mut(address))
    }
}

impl<O: Observer + 'static, F: Format> GuestMemoryRegion for PinnedRegion<O, F> {
    type B = ();

    fn len(&self) -> u64 {
        self.run.bytes()
    }
    fn start_addr(&self) -> GuestAddress {
        self.start
    }
    fn bitmap(&self) {}
    fn get_host_address(&self, addr: MemoryRegionAddress) -> GuestResult<*mut u8> {
        self.pointer(addr.raw_value(), 1).ok_or(GuestMemoryError::InvalidBackendAddress)
    }
    fn get_slice(
        &self,
        offset: MemoryRegionAddress,
        count: usize,
    ) -> GuestResult<VolatileSlice<'_>> {
        let pointer = self.pointer(offset.raw_value(), count as u64);
        let pointer = pointer.ok_or(GuestMemoryError::InvalidBackendAddress)?;
        // SAFETY: `count` bytes from `pointer` lie in the run (`pointer`), whose frames follow one
        // another in the one mapping of `HostedMemory`; the machine, and with it the mapping, is
        // held by the pins that `self` shares, so for as long as the slice is borrowed from `self`;
        // the pins keep the frames from being used for anything else; everybody else reaches them
        // as atomic words (invariant 2 of `HostedMemory`) or through slices like this one, never
        // through a reference to plain bytes.
        Ok(unsafe { VolatileSlice::new(pointer, count) })
    }
}

impl<O: Observer + 'static, F: Format> GuestMemoryRegionBytes for PinnedRegion<O, F> {}
