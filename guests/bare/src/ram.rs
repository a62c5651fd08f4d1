//! A run of bytes as the engine's memory: [`Ram`].
//!
//! Every byte is reached through atomics, so nothing here is a data race, whoever else has it: the
//! processor that walks tables in it, a device, the rest of the program.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use gup::addr::Pfn;
use gup::host::{AtomicU64, Memory};

const PAGE: usize = 4096;

/// Frames of a machine.
///
/// Invariant: the bytes from `start` on, one page for each of `count` frames, exist until the
/// machine is switched off, and are used as atomics only.
#[derive(Debug)]
pub struct Ram {
    start: *mut u8,
    first: Pfn,
    count: u64,
}

// SAFETY: the bytes belong to no thread, and all access is atomic (invariant).
unsafe impl Send for Ram {}
// SAFETY: as above; methods take `&self` and use atomics.
unsafe impl Sync for Ram {}

impl Ram {
    /// The `count` pages from `start` on, which are frames `first` and following.
    ///
    /// # Safety
    /// `start` is page-aligned. The bytes are mapped for reading and writing for good, and whoever
    /// else uses them while the program runs uses atomics, or is no part of it.
    pub unsafe fn new(start: *mut u8, first: Pfn, count: u64) -> Self {
        Self { start, first, count }
    }

    /// The frame that `place` is in, where addresses are physical.
    pub fn frame_of<T>(place: *const T) -> Pfn {
        Pfn::new(place.addr() as u64 >> 12)
    }

    fn page(&self, pfn: Pfn) -> *mut u8 {
        let index = pfn.get().checked_sub(self.first.get()).filter(|&index| index < self.count);
        let index = index.expect("a frame of this memory") as usize;
        // SAFETY: `index` is below `count`, so the page is inside the run (invariant).
        unsafe { self.start.add(index * PAGE) }
    }
    fn bytes(&self, pfn: Pfn) -> &[AtomicU8; PAGE] {
        let page: *const [AtomicU8; PAGE] = self.page(pfn).cast();
        // SAFETY: the page exists as long as `self`, all its uses are atomic (invariant), and a
        // byte is always aligned.
        unsafe { &*page }
    }
}

impl Memory for Ram {
    fn frames(&self) -> u64 {
        self.first.get() + self.count
    }
    fn table(&self, pfn: Pfn) -> &[AtomicU64; 512] {
        let page: *const [AtomicU64; 512] = self.page(pfn).cast();
        debug_assert!(page.is_aligned());
        // SAFETY: the page exists as long as `self`, all its uses are atomic, and it is aligned to
        // its size (invariant).
        unsafe { &*page }
    }
    fn zero(&self, pfn: Pfn, count: u64) {
        for n in 0..count {
            for word in self.table(pfn.offset(n)) {
                word.store(0, Relaxed);
            }
        }
    }
    fn copy(&self, to: Pfn, from: Pfn, count: u64) {
        for n in 0..count {
            let (to, from) = (self.table(to.offset(n)), self.table(from.offset(n)));
            for (to, from) in to.iter().zip(from) {
                to.store(from.load(Relaxed), Relaxed);
            }
        }
    }
    fn read(&self, pfn: Pfn, offset: usize, into: &mut [u8]) {
        let from = &self.bytes(pfn)[offset..];
        for (to, byte) in into.iter_mut().zip(from) {
            *to = byte.load(Relaxed);
        }
    }
    fn write(&self, pfn: Pfn, offset: usize, from: &[u8]) {
        for (to, &byte) in self.bytes(pfn)[offset..].iter().zip(from) {
            to.store(byte, Relaxed);
        }
    }
}
