//! Pages pinned without an MMU as a buffer of `embedded-dma`: one pointer and a length in bytes.
//!
//! Invariant of [`DmaBuffer`]: the frames of its pins follow one another from `first` on, `bytes`
//! bytes in all, at least one page.

use crate::{HostedMemory, Std};
use embedded_dma::{ReadBuffer, WriteBuffer};
use gup::addr::{PAGE_SIZE, Pfn};
use gup::nommu::{Access, Pins, Write};
use gup::observe::Observer;
use gup::pgtable::Format;
use std::fmt;
use std::ptr;

type Twin<O, F> = Std<HostedMemory, O, F>;

/// Pinned pages that a DMA engine reads from or, if they are pinned for it, writes to.
///
/// The pins last until the buffer is dropped, or taken back with [`DmaBuffer::into_pins`].
pub struct DmaBuffer<O: Observer + 'static, F: Format, A: Access> {
    pins: Pins<Twin<O, F>, A>,
    address: usize,
    bytes: usize,
}

/// The pages do not follow one another in memory, or there are none; here they are back.
pub struct Scattered<O: Observer + 'static, F: Format, A: Access>(pub Pins<Twin<O, F>, A>);

impl<O: Observer + 'static, F: Format, A: Access> fmt::Debug for Scattered<O, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scattered").finish_non_exhaustive()
    }
}
impl<O: Observer + 'static, F: Format, A: Access> fmt::Display for Scattered<O, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pinned pages are not one piece of memory")
    }
}
impl<O: Observer + 'static, F: Format, A: Access> std::error::Error for Scattered<O, F, A> {}

impl<O: Observer + 'static, F: Format, A: Access> fmt::Debug for DmaBuffer<O, F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaBuffer").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl<O: Observer + 'static, F: Format, A: Access> DmaBuffer<O, F, A> {
    /// The pages of `pins` as one buffer.
    /// # Errors
    /// [`Scattered`], with the pins.
    pub fn new(pins: Pins<Twin<O, F>, A>) -> Result<Self, Scattered<O, F, A>> {
        let Some(first) = pins.frame(0) else { return Err(Scattered(pins)) };
        let expected = |n: usize| Some(Pfn::new(first.get() + n as u64));
        let together = (0..pins.len()).all(|n| pins.frame(n) == expected(n));
        let address = pins.machine().memory().address(first);
        match address.filter(|_| together) {
            Some(address) => {
                let bytes = pins.len() * usize::try_from(PAGE_SIZE).unwrap_or(0);
                Ok(Self { pins, address, bytes })
            }
            None => Err(Scattered(pins)),
        }
    }
    /// Ends the loan: the pins back.
    pub fn into_pins(self) -> Pins<Twin<O, F>, A> {
        self.pins
    }
}

// SAFETY: the pair is computed once (`new`) and never changes; it is a pointer to the pinned frames
// themselves, which lie in the one mapping of `HostedMemory` and follow one another (invariant).
// The pins keep frames and machine, and the machine keeps the mapping, until `self` is dropped.
unsafe impl<O: Observer + 'static, F: Format, A: Access> ReadBuffer for DmaBuffer<O, F, A> {
    type Word = u8;
    unsafe fn read_buffer(&self) -> (*const u8, usize) {
        (ptr::with_exposed_provenance(self.address), self.bytes)
    }
}

// SAFETY: as above; any byte pattern is a `u8`; the pages were pinned for writing.
unsafe impl<O: Observer + 'static, F: Format> WriteBuffer for DmaBuffer<O, F, Write> {
    type Word = u8;
    unsafe fn write_buffer(&mut self) -> (*mut u8, usize) {
        (ptr::with_exposed_provenance_mut(self.address), self.bytes)
    }
}
