//! How entries are written and read, one implementation per architecture: the [`Format`] trait.
//!
//! *Group*: leaves that share one place in a TLB. Invariant: a method with a default says the same
//! in every format that does not override it. Absent: tables, atomics.

use super::{Bits, Decoded, Perms, SwapBits, SwapEntry, Touched};
use crate::addr::Pfn;

/// A page-table format: how entries are written. One implementation per architecture, on any host.
///
/// A format states where its bits are; what follows from them is the same for all, as defaults.
pub trait Format: Copy + Send + Sync + 'static {
    /// Levels of the tree; the root is level `LEVELS - 1`. At least 2 and at most 5.
    const LEVELS: u8;
    /// The highest level at which a leaf may stand.
    const MAX_LEAF: u8;
    /// log2 of the bytes of the user half, which begins at address 0: the addresses that are
    /// canonical (x86-64, RISC-V), or that the lower table base covers (arm64).
    const USER_BITS: u32;
    /// The first address that no user mapping may contain (`TASK_SIZE_MAX`); inside the user half.
    const TASK_SIZE: u64;
    /// Where the search for a place begins, unless a hint lies above (`DEFAULT_MAP_WINDOW`).
    const MMAP_WINDOW: u64 = Self::TASK_SIZE;
    /// The single bits of a leaf.
    const BITS: Bits;
    /// The bits of a present entry's frame number.
    const FRAME: u64;
    /// The lowest of them.
    const FRAME_SHIFT: u32;
    /// The layout of entries that are not present.
    const SWAP: SwapBits;
    /// How many bits of a swap slot, or of a frame number, a non-present entry holds.
    const SLOT_BITS: u32 = Self::SWAP.offset.count_ones();
    /// A valid entry may become another translation, or a table, only by way of an empty entry
    /// whose translations were flushed; otherwise a processor may use both at once.
    const BREAK_BEFORE_MAKE: bool = false;
    /// What loads for a process marks a leaf accessed that it finds present; otherwise the
    /// processor alone does, and only what stores changes such a leaf (`ptep_set_access_flags`).
    const LOADS_MARK: bool = true;
    /// How many neighbouring leaves of level 0, aligned as their frames are, may be marked as one
    /// *group* that takes one place in a TLB; 1 if the format, or its option, has none.
    const GROUP: usize = 1;
    /// A leaf at `level`.
    fn leaf(pfn: Pfn, perms: Perms, level: u8) -> u64;
    /// An entry that points to a lower table.
    fn table(pfn: Pfn) -> u64;
    /// A present entry that maps memory at `level` (true for every present entry of level 0).
    fn is_leaf(raw: u64, level: u8) -> bool;
    /// A present entry that points to a lower table: what is not a leaf.
    fn is_table(raw: u64, level: u8) -> bool;
    /// Instructions may be fetched (of a present leaf).
    fn is_executable(raw: u64) -> bool;
    /// What a processor makes of `raw`, any entry at `level`, when a user access `touch` ends its
    /// walk there: the entry with its marks, or `None` if it takes a fault instead.
    fn touch(raw: u64, level: u8, touch: Touch) -> Option<u64>;
    /// What a processor reports of the fault that ended `touch` at `raw`, an entry at `level`, as
    /// `touched` says; `None` if there was none. Each processor has its own code.
    fn fault_code(touched: Touched, touch: Touch, raw: u64, level: u8) -> Option<u64>;
    /// The bits of frame number `pfn`.
    #[inline]
    fn frame(pfn: Pfn) -> u64 {
        (pfn.get() << Self::FRAME_SHIFT) & Self::FRAME
    }
    /// The frame of a present leaf or table.
    #[inline]
    fn pfn(raw: u64) -> Pfn {
        Pfn::new((raw & Self::FRAME) >> Self::FRAME_SHIFT)
    }
    /// A non-present entry.
    #[inline]
    fn swap(entry: SwapEntry) -> u64 {
        Self::SWAP.encode(entry)
    }
    /// Reads an entry of a table at `level`.
    #[inline]
    fn decode(raw: u64, level: u8) -> Decoded {
        if raw == 0 {
            Decoded::None
        } else if !Self::is_present(raw) {
            Decoded::Swap(Self::SWAP.decode(raw))
        } else if Self::is_leaf(raw, level) {
            Decoded::Leaf(Self::pfn(raw), Self::perms(raw))
        } else {
            Decoded::Table(Self::pfn(raw))
        }
    }
    /// What a present leaf allows and remembers.
    #[inline]
    fn perms(raw: u64) -> Perms {
        Perms {
            write: Self::is_writable(raw),
            exec: Self::is_executable(raw),
            protnone: Self::is_protnone(raw),
            young: Self::is_young(raw),
            dirty: Self::is_dirty(raw),
            special: Self::is_special(raw),
            uffd_wp: Self::is_uffd_wp(raw),
            soft_dirty: Self::is_soft_dirty(raw),
        }
    }
    /// Present to the engine: a leaf or a table, `PROT_NONE` leaves included.
    #[inline]
    fn is_present(raw: u64) -> bool {
        raw & (Self::BITS.valid | Self::BITS.protnone) != 0
    }
    /// Stores are allowed (of a present leaf).
    #[inline]
    fn is_writable(raw: u64) -> bool {
        raw & Self::BITS.write != 0
    }
    /// `PROT_NONE` or NUMA hint (of a present leaf).
    #[inline]
    fn is_protnone(raw: u64) -> bool {
        raw & (Self::BITS.valid | Self::BITS.protnone) == Self::BITS.protnone
    }
    /// Special (of a present leaf).
    #[inline]
    fn is_special(raw: u64) -> bool {
        raw & Self::BITS.special != 0
    }
    /// Dirty (of a present leaf).
    #[inline]
    fn is_dirty(raw: u64) -> bool {
        raw & Self::BITS.dirty != 0
    }
    /// Accessed (of a present leaf).
    #[inline]
    fn is_young(raw: u64) -> bool {
        raw & Self::BITS.young != 0
    }
    /// userfaultfd write protection (of a present leaf).
    #[inline]
    fn is_uffd_wp(raw: u64) -> bool {
        raw & Self::BITS.uffd_wp != 0
    }
    /// Soft-dirty (of a present leaf).
    #[inline]
    fn is_soft_dirty(raw: u64) -> bool {
        raw & Self::BITS.soft_dirty != 0
    }
    /// The same leaf at `level` with other permissions, same frame.
    #[inline]
    fn with_perms(raw: u64, perms: Perms, level: u8) -> u64 {
        Self::leaf(Self::pfn(raw), perms, level)
    }
    /// The leaf `raw` at `level` without what `gone` has: stores, accessed, dirty, write-protected
    /// by userfaultfd, soft-dirty.
    #[inline]
    fn without(raw: u64, gone: Perms, level: u8) -> u64 {
        let has = Self::perms(raw);
        let left = Perms {
            write: has.write && !gone.write,
            young: has.young && !gone.young,
            dirty: has.dirty && !gone.dirty,
            uffd_wp: has.uffd_wp && !gone.uffd_wp,
            soft_dirty: has.soft_dirty && !gone.soft_dirty,
            ..has
        };
        Self::with_perms(raw, left, level)
    }
    /// A present leaf without what happened to its page.
    #[inline]
    fn timeless(raw: u64) -> u64 {
        raw & !Self::BITS.history()
    }
    /// Whether `next`, any entry at `level`, is a leaf that maps the frames right after those of
    /// the leaf `raw` with the same permissions; accessed, dirty and soft-dirty do not count.
    #[inline]
    fn continues(raw: u64, next: u64, level: u8) -> bool {
        // The bits below a frame number say what an entry is, so only a leaf can be equal.
        let span = 1 << (Self::FRAME_SHIFT + 9 * u32::from(level));
        Self::timeless(raw).wrapping_add(span) == Self::timeless(next)
    }
    /// The leaf `raw`, accessed, dirty and soft-dirty if it or the leaf `next` is.
    #[inline]
    fn gather(raw: u64, next: u64) -> u64 {
        raw | next & Self::BITS.history()
    }
    /// The leaf `raw` of level 0 as a member of a group of leaves that are alike.
    #[inline]
    fn grouped(raw: u64) -> u64 {
        raw
    }
    /// A leaf of level 0 that is a member of a group.
    #[inline]
    fn is_grouped(_raw: u64) -> bool {
        false
    }
    /// The member `raw` of a group, at `index` of its table, as a leaf that stands alone.
    #[inline]
    fn alone(raw: u64, _index: usize) -> u64 {
        raw
    }
}

/// What a program does with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    /// It loads.
    Read,
    /// It stores.
    Write,
    /// It fetches an instruction.
    Execute,
}
