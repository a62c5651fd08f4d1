//! Addresses, frame numbers and counts, as types that cannot be mixed up.
//!
//! *Page*: 4096 bytes of an address space. *Frame*: 4096 bytes of memory, named by its [`Pfn`].
//! Overflow rules stand in the method names: `checked_`, `wrapping_`, `saturating_`; a plain `+`
//! does not exist. Absent: permissions, page-table levels.

use core::fmt;

/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a base page and in a frame.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// The first address that no user mapping may contain on x86-64 with 4 levels (`TASK_SIZE_MAX`).
pub const TASK_SIZE: u64 = (1 << 47) - PAGE_SIZE;
/// Order of a PMD-sized folio (2 MiB).
pub const PMD_ORDER: u8 = 9;
/// Order of a PUD-sized folio (1 GiB).
pub const PUD_ORDER: u8 = 18;

/// An address in a user address space, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct VirtAddr(u64);

impl VirtAddr {
    /// The address `bytes`, any value.
    #[inline]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }
    /// The address as a number of bytes.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The start of the page that contains it.
    #[inline]
    pub const fn page_floor(self) -> Self {
        Self(self.0 & !(PAGE_SIZE - 1))
    }
    /// The first page start at or above it, or `None` past the end of the address space.
    #[inline]
    pub const fn page_ceil(self) -> Option<Self> {
        match self.0.checked_add(PAGE_SIZE - 1) {
            Some(sum) => Some(Self(sum & !(PAGE_SIZE - 1))),
            None => None,
        }
    }
    /// Bytes from the start of its page.
    #[inline]
    pub const fn page_offset(self) -> u64 {
        self.0 & (PAGE_SIZE - 1)
    }
    /// The number of the page that contains it.
    #[inline]
    pub const fn page_number(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
    /// The start of the `1 << shift` bytes, aligned to their size, that contain it.
    #[inline]
    pub const fn align_down(self, shift: u32) -> Self {
        Self(self.0 & !((1 << shift) - 1))
    }
    /// Whether it is a multiple of `1 << shift` bytes.
    #[inline]
    pub const fn is_aligned(self, shift: u32) -> bool {
        self.0 & ((1 << shift) - 1) == 0
    }
    /// The address `bytes` above, or `None` on overflow.
    #[inline]
    pub const fn checked_add(self, bytes: u64) -> Option<Self> {
        match self.0.checked_add(bytes) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
    /// The address `bytes` above, modulo 2^64, as the kernel's unsigned longs behave.
    #[inline]
    pub const fn wrapping_add(self, bytes: u64) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
    /// The address `bytes` below, modulo 2^64.
    #[inline]
    pub const fn wrapping_sub(self, bytes: u64) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }
    /// The address `bytes` below, or 0.
    #[inline]
    pub const fn saturating_sub(self, bytes: u64) -> Self {
        Self(self.0.saturating_sub(bytes))
    }
    /// The address `bytes` above, or the last one.
    #[inline]
    pub const fn saturating_add(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }
    /// Bytes from `base` up to it; 0 if it lies below.
    #[inline]
    pub const fn bytes_from(self, base: Self) -> u64 {
        self.0.saturating_sub(base.0)
    }
    /// Whole pages from `base` up to it; 0 if it lies below.
    #[inline]
    pub const fn pages_from(self, base: Self) -> u64 {
        self.bytes_from(base) >> PAGE_SHIFT
    }
}

impl fmt::Debug for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
impl fmt::Display for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
impl fmt::LowerHex for VirtAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::LowerHex::fmt(&self.0, f)
    }
}

/// A frame's number in the machine's memory. Frame 0 is never handed out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Pfn(u64);

impl Pfn {
    /// Frame `number`.
    #[inline]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
    /// The number.
    #[inline]
    pub const fn get(self) -> u64 {
        self.0
    }
    /// The frame `count` frames further.
    #[inline]
    pub const fn offset(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

/// A half-open range of addresses: `start` is in it, `end` is not. Invariant: `start <= end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VirtRange {
    /// First address.
    pub start: VirtAddr,
    /// First address after it.
    pub end: VirtAddr,
}

impl VirtRange {
    /// `start..end`, empty at `start` if `end` lies below.
    #[inline]
    pub const fn new(start: VirtAddr, end: VirtAddr) -> Self {
        if end.0 < start.0 { Self { start, end: start } } else { Self { start, end } }
    }
    /// `bytes` bytes from `start`, or `None` if they pass the end of the address space.
    #[inline]
    pub const fn from_len(start: VirtAddr, bytes: u64) -> Option<Self> {
        match start.checked_add(bytes) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }
    /// All of the pages that it touches; an end in the last page of the address space goes down to
    /// that page's start.
    #[inline]
    #[must_use]
    pub const fn widened(self) -> Self {
        let end = match self.end.page_ceil() {
            Some(end) => end,
            None => self.end.page_floor(),
        };
        Self::new(self.start.page_floor(), end)
    }
    /// Its length in bytes.
    #[inline]
    pub const fn bytes(self) -> u64 {
        self.end.0 - self.start.0
    }
    /// Its length in whole pages.
    #[inline]
    pub const fn pages(self) -> u64 {
        self.bytes() >> PAGE_SHIFT
    }
    /// Whether no address is in it.
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.start.0 == self.end.0
    }
    /// Whether `addr` is in it.
    #[inline]
    pub const fn contains(self, addr: VirtAddr) -> bool {
        self.start.0 <= addr.0 && addr.0 < self.end.0
    }
    /// The addresses that are in both; empty if none.
    #[inline]
    pub const fn intersect(self, other: Self) -> Self {
        let start = if self.start.0 > other.start.0 { self.start } else { other.start };
        let end = if self.end.0 < other.end.0 { self.end } else { other.end };
        Self::new(start, end)
    }
    /// The starts of its pages, lowest first. `start` should be a page start.
    pub fn iter_pages(self) -> impl Iterator<Item = VirtAddr> {
        (0..self.pages()).map(move |n| self.start.wrapping_add(n << PAGE_SHIFT))
    }
}
