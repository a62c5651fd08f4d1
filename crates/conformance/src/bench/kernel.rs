//! The running kernel, on memory of this process.
//!
//! *Present mapping*: private anonymous memory without huge pages, every page there. Each method
//! does what the engine's row does as nearly as a system call can; what else it does, its row says.

use super::measure::timed;
use crate::ask::inside::mempolicy;
use crate::ask::ring;
use io_uring::IoUring;
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, open};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, pipe, splice};
use std::ffi::c_void;

const PAGE: usize = 4096;

/// A private mapping of this process, without huge pages, for the kernel to work on.
pub(super) struct OwnMapping {
    start: *mut c_void,
    bytes: usize,
}

impl OwnMapping {
    /// `bytes` bytes of anonymous memory, untouched; `None` if the kernel refuses.
    pub(super) fn new(bytes: usize) -> Option<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing that exists.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, prot, MapFlags::PRIVATE) };
        let mapping = Self { start: start.ok()?, bytes };
        mapping.advise(0, bytes, Advice::LinuxNoHugepage).then_some(mapping)
    }
    /// The same, of which no memory is promised: more than the machine has, if wanted.
    pub(super) fn reserved(bytes: usize) -> Option<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing that exists.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, prot, flags) };
        let mapping = Self { start: start.ok()?, bytes };
        mapping.advise(0, bytes, Advice::LinuxNoHugepage).then_some(mapping)
    }
    /// Where it begins.
    pub(super) fn address(&self) -> u64 {
        self.start.addr() as u64
    }
    /// The first `bytes` bytes of `file`, privately.
    pub(super) fn of_file(file: &OwnedFd, bytes: usize) -> Option<Self> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as above.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, prot, MapFlags::PRIVATE, file, 0) };
        Some(Self { start: start.ok()?, bytes })
    }
    /// `pages` pages of anonymous memory, every one present.
    pub(super) fn present(pages: u64) -> Option<Self> {
        let bytes = usize::try_from(pages).ok()?.checked_mul(PAGE)?;
        let own = Self::new(bytes)?;
        own.advise(0, bytes, Advice::LinuxPopulateWrite).then_some(own)
    }
    /// One `madvise` on a part of it; whether it succeeded.
    pub(super) fn advise(&self, offset: usize, bytes: usize, advice: Advice) -> bool {
        let Some(start) = self.part(offset, bytes) else { return false };
        // SAFETY: the range lies in this mapping, which nothing else refers to; the advices used
        // here populate it or drop its contents, which nobody reads.
        unsafe { madvise(start, bytes, advice) }.is_ok()
    }
    /// Where `bytes` bytes from `offset` are, if all of them lie in the mapping.
    fn part(&self, offset: usize, bytes: usize) -> Option<*mut c_void> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.bytes);
        inside.then(|| self.start.wrapping_byte_add(offset))
    }
    /// The offsets of calls of `call` pages that cover the mapping, at most `most` of them.
    fn calls(&self, call: usize, most: usize) -> Option<(impl Iterator<Item = usize>, u64)> {
        let calls = (self.bytes / (call * PAGE)).min(most);
        (calls > 0).then(|| ((0..calls).map(move |n| n * call * PAGE), (calls * call) as u64))
    }

    /// `get_user_pages` without handing out: `MADV_POPULATE_READ` over present pages.
    pub(super) fn populate(&self, call: usize) -> Option<f64> {
        let (offsets, pages) = self.calls(call, MOST_PAGES / call)?;
        let mut all = true;
        let ns = timed(pages, || {
            for offset in offsets {
                all &= self.advise(offset, call * PAGE, Advice::LinuxPopulateRead);
            }
        });
        all.then_some(ns)
    }
    /// `get_user_pages_fast` of one page: `get_mempolicy` of its address.
    pub(super) fn look_up(&self) -> Option<f64> {
        let (offsets, pages) = self.calls(1, MOST_CALLS)?;
        let start = self.start.expose_provenance();
        let mut all = true;
        let ns = timed(pages, || {
            for offset in offsets {
                all &= mempolicy((start + offset) as u64).is_ok();
            }
        });
        all.then_some(ns)
    }
    /// `pin_user_pages_remote` of one page at a time: `process_vm_readv` of one byte of each.
    pub(super) fn read_bytes(&self) -> Option<f64> {
        let (offsets, pages) = self.calls(1, MOST_CALLS)?;
        let area =
            |offset| libc::iovec { iov_base: self.start.wrapping_byte_add(offset), iov_len: 1 };
        let areas: Vec<_> = offsets.map(area).collect();
        let mut bytes = vec![0_u8; 512];
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let mut read = 0;
        let ns = timed(pages, || {
            for areas in areas.chunks(bytes.len()) {
                let into =
                    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: areas.len() };
                let count = areas.len() as u64;
                // SAFETY: `into` is that many writable bytes of `bytes`; the areas are only read.
                let got = unsafe {
                    libc::process_vm_readv(own, &raw const into, 1, areas.as_ptr(), count, 0)
                };
                read += u64::try_from(got).unwrap_or(0);
            }
        });
        (read == pages).then_some(ns)
    }
}

/// fork, and the end of the child: nanoseconds per page of `pages`.
pub(super) fn fork_and_wait(pages: u64) -> Option<f64> {
    let mut forked = 0;
    let ns = timed(pages, || {
        // SAFETY: the child calls nothing but `_exit`, which is allowed after fork in a process of
        // any number of threads.
        forked = unsafe { libc::fork() };
        if forked == 0 {
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
    });
    let child = rustix::process::Pid::from_raw(forked)?;
    rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).ok()?;
    Some(ns)
}

/// What the kernel is asked for at most in a round: its calls take long.
const MOST_PAGES: usize = 1 << 15;
/// The same, of calls of one page.
const MOST_CALLS: usize = 1 << 12;

impl Drop for OwnMapping {
    fn drop(&mut self) {
        // SAFETY: a constructor made this mapping, whole, and no reference into it exists.
        let _ = unsafe { munmap(self.start, self.bytes) };
    }
}

/// A pipe that takes references to pages by `vmsplice`, and a place to lose them.
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    null: OwnedFd,
}

impl Pipe {
    /// An empty pipe; `None` if the kernel refuses it.
    pub(super) fn new() -> Option<Self> {
        let (read, write) = pipe().ok()?;
        fcntl_setpipe_size(&write, PIPE_PAGES * PAGE).ok()?;
        let null = open("/dev/null", OFlags::WRONLY, Mode::empty()).ok()?;
        Some(Self { read, write, null })
    }
    /// `get_user_pages_fast`, 16 pages at a time: `vmsplice` of as many pages as the pipe holds.
    /// Losing them is not timed.
    pub(super) fn splice(&self, own: &OwnMapping) -> Option<f64> {
        let bytes = PIPE_PAGES * PAGE;
        let (offsets, pages) = own.calls(PIPE_PAGES, MOST_PAGES / PIPE_PAGES)?;
        let mut ns = 0.0;
        for offset in offsets {
            let area = libc::iovec { iov_base: own.part(offset, bytes)?, iov_len: bytes };
            let (into, mut took) = (self.write.as_raw_fd(), 0);
            ns += timed(pages, || {
                // SAFETY: the pages lie in `own`, and nobody reads what the pipe holds of them.
                took = unsafe { libc::vmsplice(into, &raw const area, 1, 0) };
            });
            let took = usize::try_from(took).ok().filter(|&took| took == bytes)?;
            let mut left = took;
            while left > 0 {
                let flags = SpliceFlags::empty();
                left -= splice(&self.read, None, &self.null, None, left, flags).ok()?;
            }
        }
        Some(ns)
    }
}

/// Pages that an unprivileged pipe may hold.
const PIPE_PAGES: usize = 256;

/// A ring whose buffers are pinned by `pin_user_pages_fast` (WRITE, LONGTERM).
pub(super) struct Ring(IoUring);

impl Ring {
    /// A ring; `None` if the kernel refuses it.
    pub(super) fn new() -> Option<Self> {
        ring::open().ok().map(Self)
    }
    /// Registration of `call` pages at a time: pinning, an array of them, and accounting.
    pub(super) fn register(&self, own: &OwnMapping, call: usize) -> Option<f64> {
        self.both(own, call).map(|(register, _)| register)
    }
    /// Taking back the buffers of [`Ring::register`].
    pub(super) fn unregister(&self, own: &OwnMapping, call: usize) -> Option<f64> {
        self.both(own, call).map(|(_, unregister)| unregister)
    }
    fn both(&self, own: &OwnMapping, call: usize) -> Option<(f64, f64)> {
        let (offsets, pages) = own.calls(call, MOST_PAGES / 2 / call)?;
        let (mut register, mut unregister) = (0.0, 0.0);
        for offset in offsets {
            let start = own.part(offset, call * PAGE)?.expose_provenance() as u64;
            let mut done = Ok(());
            register += timed(pages, || {
                done = ring::register(&self.0, start, (call * PAGE) as u64);
            });
            done.ok()?;
            let mut done = Ok(());
            unregister += timed(pages, || done = self.0.submitter().unregister_buffers());
            done.ok()?;
        }
        Some((register, unregister))
    }
}
