//! One VMA: its range, flags, and what is behind it.
//!
//! Invariants: page-aligned, `start < end`. `end`, flags and backing change only under the mmap
//! lock held for writing; `start` may also move down under the read lock, when v4.4 grows a stack
//! (row A-42), so it is atomic.
//! Linux: `include/linux/mm_types.h` `struct vm_area_struct`.

use super::backing::{Backing, UserFault};
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::flags::VmFlags;
use crate::host::Host;
use crate::hugetlb::Reservation;
use crate::sync::plain::AtomicU64;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering::Acquire, Ordering::Release};

/// Names one VMA for as long as it exists: never reused, so a stale id finds nothing (row W-06).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VmaId(pub u64);

impl VmaId {
    /// The gate area, which is in no map.
    pub const GATE: Self = Self(0);
}

/// Which anonymous pages' history an area belongs to (`anon_vma`), and whether fork passed it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnonVma {
    /// Its number.
    pub id: u32,
    /// The area got it (or a share in an ancestor's) from its parent by fork: its chain is not
    /// singular.
    pub inherited: bool,
}

/// A VMA.
pub struct Vma<H: Host> {
    start: AtomicU64,
    end: VirtAddr,
    /// `vm_flags`.
    pub flags: VmFlags,
    /// Offset in the file, in pages; for anonymous areas the page number of the original address.
    pgoff: AtomicU64,
    id: VmaId,
    /// 0: none; else `id << 1 | inherited`.
    anon: AtomicU64,
    /// What is behind it.
    pub backing: Backing<H>,
    /// The userfaultfd context it is registered with; UFFD_… flags say for what.
    pub uffd: Option<Arc<dyn UserFault>>,
    /// The huge pages that it was promised and has not used (private hugetlb areas, not their
    /// copies in children).
    pub promise: Option<Arc<Reservation<H>>>,
    /// A huge page was taken from it for the area that it was promised to: its faults fail
    /// (`HPAGE_RESV_UNMAPPED`).
    pub(crate) robbed: AtomicBool,
    /// Where its last swapped page was found, and how far to read ahead (`swap_readahead_info`).
    pub(crate) swap_ahead: AtomicU64,
}

impl<H: Host> Vma<H> {
    /// An area over `range` (page-aligned, not empty), `pgoff` pages into its backing.
    pub fn new(
        id: VmaId,
        range: VirtRange,
        flags: VmFlags,
        backing: Backing<H>,
        pgoff: u64,
    ) -> Self {
        debug_assert!(!range.is_empty() && range.start.page_offset() == 0);
        Self {
            start: AtomicU64::new(range.start.get()),
            end: range.end,
            flags,
            pgoff: AtomicU64::new(pgoff),
            id,
            anon: AtomicU64::new(0),
            backing,
            uffd: None,
            promise: None,
            robbed: AtomicBool::new(false),
            swap_ahead: AtomicU64::new(0),
        }
    }
    /// First address.
    #[inline]
    pub fn start(&self) -> VirtAddr {
        VirtAddr::new(self.start.load(Acquire))
    }
    /// First address after it.
    #[inline]
    pub fn end(&self) -> VirtAddr {
        self.end
    }
    /// Its addresses.
    #[inline]
    pub fn range(&self) -> VirtRange {
        VirtRange::new(self.start(), self.end)
    }
    /// Its name.
    #[inline]
    pub fn id(&self) -> VmaId {
        self.id
    }
    /// Pages from the start of the backing to the start of the area.
    #[inline]
    pub fn pgoff(&self) -> u64 {
        self.pgoff.load(Acquire)
    }
    /// Index in the backing of the page that contains `addr`, which lies in the area.
    #[inline]
    pub fn index_of(&self, addr: VirtAddr) -> u64 {
        self.pgoff().wrapping_add((addr.get().wrapping_sub(self.start().get())) >> PAGE_SHIFT)
    }
    /// Changes range and offset. Needs the map out of its tree: the key is the end.
    pub(crate) fn set_range(&mut self, range: VirtRange, pgoff: u64) {
        debug_assert!(!range.is_empty());
        self.start = AtomicU64::new(range.start.get());
        self.end = range.end;
        self.pgoff = AtomicU64::new(pgoff);
    }
    /// Moves the start down by `pages`, under the lock that serialises growth.
    pub(crate) fn grow_down(&self, pages: u64) {
        let start = self.start();
        self.pgoff.store(self.pgoff().wrapping_sub(pages), Release);
        self.start.store(start.saturating_sub(pages << PAGE_SHIFT).get(), Release);
    }
    /// Its `anon_vma`, if it has one.
    #[inline]
    pub fn anon_vma(&self) -> Option<AnonVma> {
        let word = self.anon.load(Acquire);
        let id = u32::try_from(word >> 1).unwrap_or(u32::MAX);
        (word != 0).then_some(AnonVma { id, inherited: word & 1 != 0 })
    }
    /// Sets its `anon_vma`. Faults do this under the read lock; the first one wins.
    pub fn set_anon_vma_if_none(&self, anon: AnonVma) {
        use core::sync::atomic::Ordering::{AcqRel, Acquire};
        let word = u64::from(anon.id) << 1 | u64::from(anon.inherited);
        let _ = self.anon.compare_exchange(0, word, AcqRel, Acquire);
    }
    /// Replaces its `anon_vma`.
    pub(crate) fn set_anon_vma(&mut self, anon: Option<AnonVma>) {
        let word = anon.map_or(0, |a| u64::from(a.id) << 1 | u64::from(a.inherited));
        self.anon = AtomicU64::new(word);
    }
    /// An equal area with another id and range, for splits and fork.
    pub(crate) fn like(&self, id: VmaId, range: VirtRange) -> Self {
        let moved = range.start.get().wrapping_sub(self.start().get()) >> PAGE_SHIFT;
        let mut other = Self::new(
            id,
            range,
            self.flags,
            self.backing.clone(),
            self.pgoff().wrapping_add(moved),
        );
        other.set_anon_vma(self.anon_vma());
        other.uffd.clone_from(&self.uffd);
        other.promise.clone_from(&self.promise);
        other.robbed = AtomicBool::new(self.robbed.load(Acquire));
        other.swap_ahead = AtomicU64::new(self.swap_ahead.load(Acquire));
        other
    }
    /// No `vm_ops`: private anonymous memory (row S-32: never inferred from anything else).
    #[inline]
    pub fn is_anonymous(&self) -> bool {
        matches!(self.backing, Backing::Anonymous)
    }
    /// `VM_HUGETLB`.
    #[inline]
    pub fn is_hugetlb(&self) -> bool {
        self.flags.contains(VmFlags::HUGETLB)
    }
    /// Any of READ, WRITE, EXEC.
    #[inline]
    pub fn is_accessible(&self) -> bool {
        self.flags.intersects(VmFlags::ACCESS)
    }
}

impl<H: Host> core::fmt::Debug for Vma<H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "vma {:?}-{:?} {:?}", self.start(), self.end, self.flags)
    }
}
