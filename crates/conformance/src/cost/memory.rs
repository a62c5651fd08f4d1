//! Memory of this process that was made for being pinned: in small pages, transparent huge pages or
//! hugetlb pages; untouched at first.
//!
//! Invariant: no reference to the memory exists and nobody reads it; it is populated, pinned and
//! unmapped as a whole, so whatever the kernel does to it, no Rust object is concerned.

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::ffi::c_void;

/// Bytes that a huge page maps.
const BLOCK: usize = 1 << 21;

/// How memory is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// Private and anonymous, in small pages.
    Small,
    /// Private and anonymous, in transparent huge pages.
    Thp,
    /// hugetlb pages of 2 MiB.
    Hugetlb,
    /// A private mapping of a memfd whose pages are all there.
    OfFile,
}

/// Memory of this process, unmapped when dropped.
#[derive(Debug)]
pub struct Memory {
    start: *mut c_void,
    mapped: usize,
    skipped: usize,
    bytes: usize,
}

impl Memory {
    /// `bytes` bytes, untouched, beginning with a block of 2 MiB; `None` if the kernel has none.
    pub fn new(making: Making, bytes: usize) -> Option<Self> {
        let whole = bytes.checked_next_multiple_of(BLOCK)?;
        let mapped = whole.checked_add(BLOCK)?;
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let null = std::ptr::null_mut();
        let start = match making {
            Making::Hugetlb => {
                let flags = MapFlags::PRIVATE | MapFlags::HUGETLB;
                // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
                let start = unsafe { mmap_anonymous(null, whole, prot, flags) }.ok()?;
                return Some(Self { start, mapped: whole, skipped: 0, bytes });
            }
            Making::Small | Making::Thp => {
                // SAFETY: as above.
                unsafe { mmap_anonymous(null, mapped, prot, MapFlags::PRIVATE) }.ok()?
            }
            Making::OfFile => {
                let file = cached(mapped)?;
                // SAFETY: as above.
                unsafe { mmap(null, mapped, prot, MapFlags::PRIVATE, &file, 0) }.ok()?
            }
        };
        let skipped = start.addr().next_multiple_of(BLOCK) - start.addr();
        let memory = Self { start, mapped, skipped, bytes };
        let advised = match making {
            Making::Small => memory.advise_all(Advice::LinuxNoHugepage),
            Making::Thp => memory.advise_all(Advice::LinuxHugepage),
            Making::OfFile | Making::Hugetlb => true,
        };
        advised.then_some(memory)
    }

    /// First byte address.
    pub fn addr(&self) -> u64 {
        (self.start.expose_provenance() + self.skipped) as u64
    }

    /// Bytes asked for.
    pub const fn len_bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Makes every page present and stored to; whether the kernel did.
    pub fn touch(&self) -> bool {
        self.touch_first(self.len_bytes())
    }

    /// Makes the pages of the first `bytes` bytes present and stored to; whether the kernel did.
    pub fn touch_first(&self, bytes: u64) -> bool {
        let start = self.start.wrapping_byte_add(self.skipped);
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(self.bytes);
        // SAFETY: the range lies in this mapping, to which no reference exists (invariant).
        unsafe { madvise(start, bytes, Advice::LinuxPopulateWrite) }.is_ok()
    }

    fn advise_all(&self, advice: Advice) -> bool {
        // SAFETY: the whole mapping, to which no reference exists (invariant).
        unsafe { madvise(self.start, self.mapped, advice) }.is_ok()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, to which no reference exists (invariant).
        let _ = unsafe { munmap(self.start, self.mapped) };
    }
}

/// A memfd of `bytes` bytes, all of whose pages are there.
fn cached(bytes: usize) -> Option<rustix::fd::OwnedFd> {
    let file = rustix::fs::memfd_create("gup-cost", rustix::fs::MemfdFlags::CLOEXEC).ok()?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64).ok()?;
    Some(file)
}
