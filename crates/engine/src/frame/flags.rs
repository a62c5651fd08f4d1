//! What a frame is ([`Kind`]) and what is true of it ([`FrameFlags`]), and how both share one word.
//!
//! Bits 0..22 of the word are flags, 22 is *tail*, 23..27 the kind, 27..32 the order.
//! Linux: include/linux/page-flags.h (6.18).

use bitflags::bitflags;

/// What a folio is used for. Kept in its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// In no use: on a free list.
    #[default]
    Free = 0,
    /// A page table.
    Table = 1,
    /// Private anonymous memory.
    Anon = 2,
    /// A page of a file's page cache.
    File = 3,
    /// A page of shared memory (tmpfs, memfd, shared anonymous).
    Shmem = 4,
    /// A huge page of hugetlbfs, in use or in its pool.
    Hugetlb = 5,
    /// A page of `memfd_secret`.
    Secret = 6,
    /// The zero pages, the vdso, frames outside every zone: never freed.
    Special = 7,
    /// Memory of the host's own.
    Kernel = 8,
    /// Small objects of the host's own.
    Slab = 9,
}

impl Kind {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Free,
        Self::Table,
        Self::Anon,
        Self::File,
        Self::Shmem,
        Self::Hugetlb,
        Self::Secret,
        Self::Special,
        Self::Kernel,
        Self::Slab,
    ];
}

bitflags! {
    /// What is true of a folio, or of one of its pages ([`FrameFlags::PER_PAGE`]).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct FrameFlags: u32 {
        /// The folio's lock, or the lock of a page table.
        const LOCKED = 1 << 0;
        /// Its bytes are newer than the store's.
        const DIRTY = 1 << 1;
        /// Used since reclaim last looked.
        const REFERENCED = 1 << 2;
        /// On the active list.
        const ACTIVE = 1 << 3;
        /// Its bytes are valid.
        const UPTODATE = 1 << 4;
        /// Being written to its store.
        const WRITEBACK = 1 << 5;
        /// In the swap cache; owner and index name the slot.
        const SWAPCACHE = 1 << 6;
        /// Swap is its store (anonymous or shmem).
        const SWAPBACKED = 1 << 7;
        /// Mapped by an `mlock`ed area.
        const MLOCKED = 1 << 8;
        /// Its memory failed; never allocated again.
        const HWPOISON = 1 << 9;
        /// Exclusive to the one entry that maps it (`PageAnonExclusive`).
        const ANON_EXCLUSIVE = 1 << 10;
        /// Merged by KSM.
        const KSM = 1 << 11;
        /// On a list of reclaim.
        const LRU = 1 << 12;
        /// Not managed: no counts are kept up for it.
        const RESERVED = 1 << 13;
        /// `MADV_FREE` gave it away, and the batch that it waits in has a reference.
        const LAZYFREE_BATCH = 1 << 14;
        /// Dirty, and said so by whoever wrote it through a pin.
        const PINNED_DIRTY = 1 << 15;
        /// The unevictable list.
        const UNEVICTABLE = 1 << 16;
        /// Free, and the head of its block of the free lists.
        const BUDDY = 1 << 17;
        /// A second large folio's worth of flags for the owner of the kind.
        const PRIVATE = 1 << 18;
        /// A second, likewise.
        const PRIVATE_2 = 1 << 19;
        /// The file system's mapping of it can no longer be trusted (truncated).
        const TRUNCATED = 1 << 20;
        /// Isolated for migration.
        const ISOLATED = 1 << 21;
        /// Flags of one page; all others belong to the folio and are kept in its head.
        const PER_PAGE = Self::ANON_EXCLUSIVE.bits() | Self::HWPOISON.bits() | Self::BUDDY.bits();
    }
}

const TAIL: u32 = 1 << 22;
const KIND_SHIFT: u32 = 23;
const ORDER_SHIFT: u32 = 27;
const KIND_MASK: u32 = 0xf << KIND_SHIFT;
const FLAG_MASK: u32 = TAIL - 1;

const _: () = assert!(FrameFlags::all().bits() <= FLAG_MASK);

/// The word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u32);

impl Word {
    pub(super) const fn head(kind: Kind, order: u8, flags: FrameFlags) -> Self {
        Self(flags.bits() | (kind as u32) << KIND_SHIFT | (order as u32) << ORDER_SHIFT)
    }
    pub(super) const fn tail() -> Self {
        Self(TAIL)
    }
    #[inline]
    pub(super) const fn is_tail(self) -> bool {
        self.0 & TAIL != 0
    }
    #[inline]
    pub(super) const fn is_large(self) -> bool {
        self.0 >> ORDER_SHIFT != 0
    }
    /// The word of a small anonymous folio that is exclusive to one entry.
    #[inline]
    pub(super) const fn is_small_exclusive(self) -> bool {
        const ALL: u32 =
            TAIL | KIND_MASK | u32::MAX << ORDER_SHIFT | FrameFlags::ANON_EXCLUSIVE.bits();
        self.0 & ALL == Self::head(Kind::Anon, 0, FrameFlags::ANON_EXCLUSIVE).0
    }
    #[inline]
    pub(super) const fn order(self) -> u8 {
        (self.0 >> ORDER_SHIFT) as u8
    }
    #[inline]
    pub(super) const fn kind(self) -> Kind {
        let number = (self.0 & KIND_MASK) >> KIND_SHIFT;
        if number < 10 { Kind::ALL[number as usize] } else { Kind::Special }
    }
    #[inline]
    pub(super) const fn flags(self) -> FrameFlags {
        FrameFlags::from_bits_truncate(self.0 & FLAG_MASK)
    }
    pub(super) const fn with_kind(self, kind: Kind) -> Self {
        Self(self.0 & !KIND_MASK | (kind as u32) << KIND_SHIFT)
    }
}
