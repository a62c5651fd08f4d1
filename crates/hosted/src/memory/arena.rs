//! [`HostedMemory`]: one mapping, seen as frames of 512 atomic words.
//!
//! Invariants of `HostedMemory`: (1) `base` is the start of a readable and writable mapping of
//! `frames` times 4096 bytes, which lives until drop and cannot shrink (a memfd is sealed); (2)
//! Rust code reaches its bytes only through `&[AtomicU64; 512]` and [`super::words`], never through
//! a `&mut` or a plain load.

use super::words::{self, WORD};
use gup::addr::{PAGE_SIZE, Pfn};
use gup::host::Memory;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

type Frame = [AtomicU64; 512];

const _: () = assert!(size_of::<Frame>() as u64 == PAGE_SIZE);

/// Frames in a mapping of this process: anonymous, or of a memfd that others can map too.
///
/// Frames read as zero until written, and cost nothing until touched.
pub struct HostedMemory {
    base: NonNull<Frame>,
    frames: usize,
    fd: Option<OwnedFd>,
}

// SAFETY: the mapping belongs to the process, not to a thread; its bytes are reached as invariant 2
// says.
unsafe impl Send for HostedMemory {}
// SAFETY: as above: every access through `&HostedMemory` is atomic.
unsafe impl Sync for HostedMemory {}

impl fmt::Debug for HostedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedMemory")
            .field("base", &self.base)
            .field("frames", &self.frames)
            .field("fd", &self.fd)
            .finish()
    }
}

impl HostedMemory {
    /// `frames` frames of anonymous memory, in huge pages where the kernel likes to.
    /// # Errors
    /// The kernel's refusal (ENOMEM); EINVAL for no frames; ENOMEM for more bytes than an address
    /// space has.
    pub fn anonymous(frames: u64) -> io::Result<Self> {
        let (count, bytes) = size(frames)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: no address is asked for, so no mapping of others is replaced.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, rw(), flags)? };
        // A kernel without huge pages refuses; small ones do.
        // SAFETY: advice about the mapping just made; huge pages change no byte of it.
        let _advised = unsafe { madvise(start, bytes, Advice::LinuxHugepage) };
        Self::of_mapping(start.cast(), count, None)
    }
    /// `frames` frames of a new memfd called `name`, sealed against growing and shrinking.
    /// # Errors
    /// As [`HostedMemory::anonymous`]; EMFILE.
    pub fn memfd(name: &str, frames: u64) -> io::Result<Self> {
        let (count, bytes) = size(frames)?;
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, bytes as u64)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        // SAFETY: no address is asked for. The file is as long as the mapping and sealed, so it
        // stays so.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, rw(), MapFlags::SHARED, &fd, 0)? };
        Self::of_mapping(start.cast(), count, Some(fd))
    }

    fn of_mapping(start: *mut Frame, frames: usize, fd: Option<OwnedFd>) -> io::Result<Self> {
        let base = NonNull::new(start).ok_or(Errno::NOMEM)?;
        Ok(Self { base, frames, fd })
    }

    /// The memfd, if there is one. Whoever maps it sees, and can change, every byte: page tables
    /// too.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }
    /// Where frame `pfn` lies in this process, if there is such a frame.
    pub fn address(&self, pfn: Pfn) -> Option<usize> {
        let frame = usize::try_from(pfn.get()).ok().filter(|&n| n < self.frames)?;
        Some(self.base.as_ptr() as usize + frame * size_of::<Frame>())
    }
    /// Lets the kernel give memory to `count` frames from `pfn` now, so that no first touch takes a
    /// fault later.
    /// # Errors
    /// The kernel's (ENOMEM, or EINVAL before Linux 5.14); EINVAL if not all of them exist.
    pub fn prefault(&self, pfn: Pfn, count: u64) -> io::Result<()> {
        let frames = self.checked(pfn, count)?;
        let (start, bytes) = (frames.as_ptr().cast_mut().cast(), size_of_val(frames));
        // SAFETY: the frames are inside the mapping; populating changes no byte.
        unsafe { madvise(start, bytes, Advice::LinuxPopulateWrite)? };
        Ok(())
    }
    /// Gives the bytes of `count` frames from `pfn` back to the kernel: they read as zero from now
    /// on.
    /// # Errors
    /// The kernel's; EINVAL if not all of them exist.
    pub fn discard(&self, pfn: Pfn, count: u64) -> io::Result<()> {
        let frames = self.checked(pfn, count)?;
        let advice = if self.fd.is_some() { Advice::LinuxRemove } else { Advice::LinuxDontNeed };
        // SAFETY: the frames are inside the mapping (checked); for Rust this stores zeros into
        // their words, and nobody relies on what they were but the engine, whose call this is.
        unsafe { madvise(frames.as_ptr().cast_mut().cast(), size_of_val(frames), advice)? };
        Ok(())
    }

    /// `count` frames from `pfn`, if there are so many.
    fn checked(&self, pfn: Pfn, count: u64) -> io::Result<&[Frame]> {
        let end = pfn.get().checked_add(count).filter(|&end| end <= self.frames as u64);
        if end.is_none() || count == 0 {
            return Err(Errno::INVAL.into());
        }
        Ok(self.frames_at(pfn, count))
    }
    /// `count` frames from `pfn`. Panics if they do not exist, as an index does.
    #[inline]
    fn frames_at(&self, pfn: Pfn, count: u64) -> &[Frame] {
        let start = usize::try_from(pfn.get()).unwrap_or(usize::MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        &self.all()[start..][..count]
    }
    #[inline]
    fn frame(&self, pfn: Pfn) -> &Frame {
        &self.all()[usize::try_from(pfn.get()).unwrap_or(usize::MAX)]
    }
    #[inline]
    fn all(&self) -> &[Frame] {
        // SAFETY: the whole mapping, which lives as long as `self` (invariant 1), is zeroed or
        // written, and is shared as atomics only (invariant 2); a mapping is page-aligned and below
        // `isize::MAX` bytes (`size`).
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.frames) }
    }
}

fn rw() -> ProtFlags {
    ProtFlags::READ | ProtFlags::WRITE
}

/// Frames and bytes, as this process counts them.
fn size(frames: u64) -> io::Result<(usize, usize)> {
    if frames == 0 {
        return Err(Errno::INVAL.into());
    }
    let count = usize::try_from(frames).map_err(|_| Errno::NOMEM)?;
    let bytes =
        count.checked_mul(size_of::<Frame>()).filter(|&bytes| isize::try_from(bytes).is_ok());
    Ok((count, bytes.ok_or(Errno::NOMEM)?))
}

impl Drop for HostedMemory {
    fn drop(&mut self) {
        let bytes = self.frames * size_of::<Frame>();
        // SAFETY: the mapping of invariant 1, whole; every borrow of it ended with that of `self`.
        let gone = unsafe { munmap(self.base.as_ptr().cast(), bytes) };
        debug_assert!(gone.is_ok(), "munmap of our own mapping: {gone:?}");
    }
}

impl Memory for HostedMemory {
    fn frames(&self) -> u64 {
        self.frames as u64
    }
    #[inline]
    fn table(&self, pfn: Pfn) -> &[AtomicU64; 512] {
        self.frame(pfn)
    }
    #[inline]
    fn zero(&self, pfn: Pfn, count: u64) {
        words::zero(self.frames_at(pfn, count).as_flattened());
    }
    #[inline]
    fn copy(&self, to: Pfn, from: Pfn, count: u64) {
        let (to, from) = (self.frames_at(to, count), self.frames_at(from, count));
        words::copy(to.as_flattened(), from.as_flattened());
    }
    fn read(&self, pfn: Pfn, offset: usize, into: &mut [u8]) {
        let frame = self.frame(pfn);
        let cut = Cut::of(offset, into.len());
        let (edge, rest) = into.split_at_mut(cut.before);
        let (whole, tail) = rest.split_at_mut(cut.words * WORD);
        if let Some(word) = cut.first_word(offset) {
            let bytes = frame[word].load(Relaxed).to_ne_bytes();
            let from = offset % WORD;
            edge.copy_from_slice(&bytes[from..from + edge.len()]);
        }
        let start = cut.start_word(offset);
        words::load(whole, &frame[start..start + cut.words]);
        if !tail.is_empty() {
            let bytes = frame[start + cut.words].load(Relaxed).to_ne_bytes();
            tail.copy_from_slice(&bytes[..tail.len()]);
        }
    }
    fn write(&self, pfn: Pfn, offset: usize, from: &[u8]) {
        let frame = self.frame(pfn);
        let cut = Cut::of(offset, from.len());
        let (edge, rest) = from.split_at(cut.before);
        let (whole, tail) = rest.split_at(cut.words * WORD);
        if let Some(word) = cut.first_word(offset) {
            merge(&frame[word], offset % WORD, edge);
        }
        let start = cut.start_word(offset);
        words::store(&frame[start..start + cut.words], whole);
        if !tail.is_empty() {
            merge(&frame[start + cut.words], 0, tail);
        }
    }
}

/// Stores some bytes of a word; the others stay as they are, whoever stores to them meanwhile.
fn merge(word: &AtomicU64, at: usize, new: &[u8]) {
    let _always = word.fetch_update(Relaxed, Relaxed, |old| {
        let mut bytes = old.to_ne_bytes();
        bytes[at..at + new.len()].copy_from_slice(new);
        Some(u64::from_ne_bytes(bytes))
    });
}

/// A range of bytes, cut at word boundaries: bytes before the first whole word, whole words; the
/// rest follows.
struct Cut {
    before: usize,
    words: usize,
}

impl Cut {
    fn of(offset: usize, len: usize) -> Self {
        let before = offset.next_multiple_of(WORD).wrapping_sub(offset).min(len);
        Self { before, words: (len - before) / WORD }
    }
    /// The word of the bytes before, if there are any.
    fn first_word(&self, offset: usize) -> Option<usize> {
        (self.before > 0).then_some(offset / WORD)
    }
    /// The first whole word.
    fn start_word(&self, offset: usize) -> usize {
        (offset + self.before) / WORD
    }
}
