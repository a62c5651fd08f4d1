//! The other sides: the physical floor, and the running kernel on memory of this process.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ffi::c_void;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The floor's own arrays, shaped as the engine's: entries, 16 bytes of metadata a frame, an array
/// of results.
pub(super) struct Floor {
    entries: Vec<AtomicU64>,
    hot: Vec<[AtomicU64; 2]>,
    out: Vec<u64>,
}

impl Floor {
    pub(super) fn new(pages: u64) -> Self {
        let count = usize::try_from(pages).unwrap_or(0);
        Self {
            entries: (0..pages).map(AtomicU64::new).collect(),
            hot: (0..count).map(|_| Default::default()).collect(),
            out: vec![0; 512],
        }
    }
    /// Read an entry, one locked add on the frame's metadata, store the frame's number: for each
    /// page.
    pub(super) fn grab_all(&mut self) {
        for chunk in self.entries.chunks(self.out.len()) {
            for (entry, out) in chunk.iter().zip(&mut self.out) {
                let pfn = entry.load(Relaxed);
                if let Some(hot) = usize::try_from(pfn).ok().and_then(|pfn| self.hot.get(pfn)) {
                    hot[0].fetch_add(1, Relaxed);
                }
                *out = pfn;
            }
            black_box(&self.out);
        }
    }
}

/// A private anonymous mapping of this process, without huge pages, for the kernel to work on.
pub(super) struct OwnMapping {
    start: *mut c_void,
    bytes: usize,
}

impl OwnMapping {
    /// `bytes` bytes, untouched; `None` if the kernel refuses.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing that exists.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, prot, MapFlags::PRIVATE) };
        let mapping = Self { start: start.ok()?, bytes };
        mapping.advise(0, bytes, Advice::LinuxNoHugepage).then_some(mapping)
    }
    /// One `madvise` on a part of it; whether it succeeded.
    pub(super) fn advise(&self, offset: usize, bytes: usize, advice: Advice) -> bool {
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            return false;
        }
        let start = self.start.wrapping_byte_add(offset);
        // SAFETY: the range lies in this mapping (checked above), which nothing else refers to; the
        // advices used here populate it or drop its contents, which nobody reads.
        unsafe { madvise(start, bytes, advice) }.is_ok()
    }
}

impl Drop for OwnMapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, whole, and no reference into it exists.
        let _ = unsafe { munmap(self.start, self.bytes) };
    }
}
