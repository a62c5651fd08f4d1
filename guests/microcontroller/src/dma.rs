//! A DMA engine as drivers see one: source, destination, length, go.
//!
//! It knows bus addresses alone, and asks nobody whether it may. Absent: a second channel, errors.

use core::ptr::with_exposed_provenance_mut;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// A transfer under way. The memory must stay the device's until it is finished.
#[must_use = "a transfer that nobody waits for is still writing"]
pub(crate) struct Dma {
    source: u32,
    destination: u32,
    bytes: u32,
}

impl Dma {
    /// Programs the three registers, and starts.
    pub(crate) fn start(source: u32, destination: u32, bytes: u32) -> Self {
        Self { source, destination, bytes }
    }
    /// Waits until all bytes are there.
    pub(crate) fn finish(self) {
        for n in 0..self.bytes {
            byte(self.destination + n).store(byte(self.source + n).load(Relaxed), Relaxed);
        }
    }
}

/// The byte at a bus address.
fn byte(address: u32) -> &'static AtomicU8 {
    let place = with_exposed_provenance_mut::<u8>(address as usize);
    // SAFETY: drivers here give addresses of pinned pages alone, which lie in the board's frames: a
    // static of atomics, whose provenance `board::memory` has exposed.
    unsafe { AtomicU8::from_ptr(place) }
}
