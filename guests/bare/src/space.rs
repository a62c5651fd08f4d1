//! Bytes that a program has for good: [`Space`].

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;

/// Bytes of a static, zero at the beginning, of which it gives the address alone.
#[repr(transparent)]
#[derive(Debug)]
pub struct Space<const BYTES: usize>(UnsafeCell<MaybeUninit<[u8; BYTES]>>);

// SAFETY: no method reads or writes the bytes; who does has duties of their own.
unsafe impl<const BYTES: usize> Sync for Space<BYTES> {}

impl<const BYTES: usize> Space<BYTES> {
    /// Zeroes.
    pub const fn zeroed() -> Self {
        Self(UnsafeCell::new(MaybeUninit::zeroed()))
    }
    /// Where they begin.
    pub const fn start(&self) -> *mut u8 {
        self.0.get().cast()
    }
    /// How many there are.
    pub const fn bytes(&self) -> usize {
        BYTES
    }
}
