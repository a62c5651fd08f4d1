//! `/proc/PID/pagemap`: one 64-bit word per page, read for the asked range only.
//!
//! Frame numbers are zero without `CAP_SYS_ADMIN`. Bit 56 means *mapped exactly once*, which is
//! weaker than `PageAnonExclusive`. Linux: `fs/proc/task_mmu.c`,
//! `Documentation/admin-guide/mm/pagemap.rst`.

use crate::error::MirrorError;
use crate::process::Process;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::io::Errno;

/// One word of pagemap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PagemapWord(pub u64);

impl PagemapWord {
    /// Bit 63: the page is in memory and mapped.
    pub const fn present(self) -> bool {
        self.bit(63)
    }
    /// Bit 62: the entry is a swap entry, or another entry that is not a page.
    pub const fn swapped(self) -> bool {
        self.bit(62)
    }
    /// Bit 61: a file or shared anonymous page.
    pub const fn file(self) -> bool {
        self.bit(61)
    }
    /// Bit 58 (Linux 6.15): a guard region.
    pub const fn guard(self) -> bool {
        self.bit(58)
    }
    /// A marker of `UFFDIO_POISON` (Linux 6.6): whoever touches the page meets failed memory. Seen
    /// only where frame numbers are.
    pub const fn poisoned(self) -> bool {
        self.is_marker() && self.marks() & 2 != 0
    }
    /// A marker of userfaultfd (Linux 5.19): the page is absent, and write-protected once it comes.
    /// Seen only where frame numbers are.
    pub const fn userfault_marker(self) -> bool {
        self.is_marker() && self.marks() & 1 != 0
    }
    /// Whether the type and the place of a swap entry are hidden, so that it may be a marker.
    pub const fn swap_hidden(self) -> bool {
        self.swapped() && self.0 & ((1 << 55) - 1) == 0
    }
    /// Whether the page may be the zero page, as far as the word says. The huge one is called a
    /// file's.
    pub(crate) const fn may_be_zero_page(self) -> bool {
        self.present() && !self.mapped_once()
    }
    /// The same word, of a page in swap without its place there: whether that was hidden stays.
    #[must_use]
    pub const fn without_slot(self) -> Self {
        const PLACE: u64 = (1 << 55) - 1;
        const SOME_PLACE: u64 = 1 << 5;
        if self.present() || self.is_marker() {
            return self;
        }
        let place = if self.swapped() && !self.swap_hidden() { SOME_PLACE } else { 0 };
        Self(self.0 & !PLACE | place)
    }
    /// The highest type of swap entry is the one of markers.
    const fn is_marker(self) -> bool {
        self.swapped() && !self.present() && self.0 & 31 == 31
    }
    const fn marks(self) -> u64 {
        (self.0 & ((1 << 55) - 1)) >> 5
    }
    /// Bit 57 (Linux 5.13): write-protected by userfaultfd.
    pub const fn userfault_wp(self) -> bool {
        self.bit(57)
    }
    /// Bit 56 (Linux 4.2): mapped exactly once.
    pub const fn mapped_once(self) -> bool {
        self.bit(56)
    }
    /// Bit 55: soft-dirty.
    pub const fn soft_dirty(self) -> bool {
        self.bit(55)
    }
    /// The frame number; `None` when the page is not present or the number is hidden.
    pub const fn pfn(self) -> Option<u64> {
        let pfn = self.0 & ((1 << 55) - 1);
        if self.present() && pfn != 0 { Some(pfn) } else { None }
    }

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// The words of `pages` pages of `process`, beginning with the page of `start`.
///
/// Short when the range leaves the user address space: the kernel publishes no word there.
///
/// # Errors
/// As [`Process::open_file`].
pub fn words(process: &Process, start: u64, pages: usize) -> Result<Vec<PagemapWord>, MirrorError> {
    words_from(process, process.open_file("pagemap")?.as_fd(), start, pages)
}

/// As [`words`], from `fd`, the open pagemap of `process`.
pub(crate) fn words_from(
    process: &Process,
    fd: BorrowedFd<'_>,
    start: u64,
    pages: usize,
) -> Result<Vec<PagemapWord>, MirrorError> {
    let mut bytes = vec![0_u8; pages.saturating_mul(8)];
    let mut filled = 0;
    while filled < bytes.len() {
        let at = (start >> 12) * 8 + filled as u64;
        match rustix::io::pread(fd, &mut bytes[filled..], at) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(process.error("pagemap", errno)),
        }
    }
    let words = bytes[..filled].chunks_exact(8);
    let word = |b: &[u8]| PagemapWord(u64::from_ne_bytes(b.try_into().unwrap_or_default()));
    Ok(words.map(word).collect())
}

#[cfg(test)]
mod tests {
    use super::PagemapWord;

    #[test]
    fn a_hidden_frame_number_is_unknown_and_not_frame_zero() {
        assert_eq!(PagemapWord(1 << 63).pfn(), None);
        assert_eq!(PagemapWord(1 << 63 | 1 << 56 | 0x4d).pfn(), Some(0x4d));
        assert_eq!(PagemapWord(1 << 62 | 0x4d).pfn(), None, "a swap entry has no frame");
    }

    #[test]
    fn markers_are_told_from_pages_in_swap() {
        let swapped = |frame: u64| PagemapWord(1 << 62 | frame);
        assert!(swapped(2 << 5 | 31).poisoned() && !swapped(2 << 5 | 31).userfault_marker());
        assert!(swapped(1 << 5 | 31).userfault_marker() && !swapped(1 << 5 | 31).poisoned());
        assert!(!swapped(2 << 5).poisoned(), "an ordinary swap entry");
        assert_eq!(swapped(7 << 5 | 1).without_slot(), swapped(9 << 5 | 2).without_slot());
        assert!(swapped(2 << 5 | 31).without_slot().poisoned());
        assert!(!swapped(7 << 5).without_slot().swap_hidden());
        assert!(swapped(0).swap_hidden() && !swapped(1 << 5).swap_hidden());
    }
}
