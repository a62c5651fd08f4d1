//! Pinned memory in the words of other crates: `vm-memory`'s regions (feature `vm-memory`), and
//! `embedded-dma`'s buffers for the side without an MMU (feature `embedded-dma`).
//!
//! Invariant: bytes are lent out only for as long as they are pinned. Absent: order between those
//! who use the bytes at the same time, which is theirs to agree on, as with any device.

#[cfg(feature = "embedded-dma")]
mod buffer;
#[cfg(feature = "vm-memory")]
mod guest;

#[cfg(feature = "embedded-dma")]
pub use buffer::{DmaBuffer, Scattered};
#[cfg(feature = "vm-memory")]
pub use guest::{NotMapped, PinnedMemory, PinnedRegion, pinned_memory};
