//! Where a format keeps its single bits: [`Bits`] of a leaf, [`SwapBits`] of an entry that is not
//! present.
//!
//! A format states both as constants; what is the same in all formats is written once, here and as
//! the default methods of [`super::Format`]. Absent: frame numbers of leaves, sizes, levels.

use super::{Perms, SwapEntry};
use crate::addr::Pfn;

/// `bits` if `set`, else none.
#[inline]
pub(super) const fn bit(set: bool, bits: u64) -> u64 {
    if set { bits } else { 0 }
}

/// The single bits of a leaf that mean "yes" when set. That instructions may be fetched is not
/// among them: some formats have a bit that forbids it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Present, to the processor too.
    pub valid: u64,
    /// Instead of `valid`: present to the engine alone.
    pub protnone: u64,
    /// Stores are allowed.
    pub write: u64,
    /// Accessed.
    pub young: u64,
    /// Dirty.
    pub dirty: u64,
    /// No folio stands behind it.
    pub special: u64,
    /// Write-protected by userfaultfd.
    pub uffd_wp: u64,
    /// Soft-dirty.
    pub soft_dirty: u64,
}

impl Bits {
    /// Those that say what happened to a page, as opposed to what may happen.
    #[inline]
    pub const fn history(&self) -> u64 {
        self.young | self.dirty | self.soft_dirty
    }
    /// Those that `perms` sets.
    #[inline]
    pub const fn of(&self, perms: Perms) -> u64 {
        (if perms.protnone { self.protnone } else { self.valid }) | self.marks(perms)
    }
    /// The same without those that make a leaf present.
    #[inline]
    pub const fn marks(&self, perms: Perms) -> u64 {
        bit(perms.write, self.write)
            | bit(perms.young, self.young)
            | bit(perms.dirty, self.dirty)
            | bit(perms.special, self.special)
            | bit(perms.uffd_wp, self.uffd_wp)
            | bit(perms.soft_dirty, self.soft_dirty)
    }
}

// No kind is 0, so that no swap entry is the empty entry.
const SWAP: u64 = 1;
const MIGRATION: u64 = 30;
const HWPOISON: u64 = 29;
const UFFD_WP: u64 = 28;
const POISONED: u64 = 27;
const GUARD: u64 = 26;
/// The bits of a kind.
const KIND: u64 = 0x1f;
/// The lowest bit of an offset.
const OFFSET_SHIFT: u32 = 12;

/// The layout of an entry that is not present: kind, offset, and single bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapBits {
    /// The lowest of the five bits that hold the kind.
    pub kind_shift: u32,
    /// The bits of the offset, a slot or a frame number; bit 12 is the lowest.
    pub offset: u64,
    /// Exclusive.
    pub exclusive: u64,
    /// Write-protected by userfaultfd.
    pub uffd_wp: u64,
    /// Soft-dirty.
    pub soft_dirty: u64,
    /// It was writable.
    pub write: u64,
}

impl SwapBits {
    /// `entry` as a word; what of its offset does not fit is cut off.
    pub const fn encode(&self, entry: SwapEntry) -> u64 {
        match entry {
            SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty } => {
                self.word(SWAP, slot)
                    | bit(exclusive, self.exclusive)
                    | bit(uffd_wp, self.uffd_wp)
                    | bit(soft_dirty, self.soft_dirty)
            }
            SwapEntry::Migration { pfn, write, exclusive } => {
                self.word(MIGRATION, pfn.get())
                    | bit(write, self.write)
                    | bit(exclusive, self.exclusive)
            }
            SwapEntry::HwPoison(pfn) => self.word(HWPOISON, pfn.get()),
            SwapEntry::UffdWp => self.word(UFFD_WP, 0),
            SwapEntry::Poisoned => self.word(POISONED, 0),
            SwapEntry::Guard => self.word(GUARD, 0),
        }
    }
    /// What `raw`, neither empty nor present, says.
    pub const fn decode(&self, raw: u64) -> SwapEntry {
        let offset = (raw & self.offset) >> OFFSET_SHIFT;
        match raw >> self.kind_shift & KIND {
            MIGRATION => SwapEntry::Migration {
                pfn: Pfn::new(offset),
                write: raw & self.write != 0,
                exclusive: raw & self.exclusive != 0,
            },
            HWPOISON => SwapEntry::HwPoison(Pfn::new(offset)),
            UFFD_WP => SwapEntry::UffdWp,
            POISONED => SwapEntry::Poisoned,
            GUARD => SwapEntry::Guard,
            _ => SwapEntry::Swap {
                slot: offset,
                exclusive: raw & self.exclusive != 0,
                uffd_wp: raw & self.uffd_wp != 0,
                soft_dirty: raw & self.soft_dirty != 0,
            },
        }
    }
    const fn word(&self, kind: u64, offset: u64) -> u64 {
        kind << self.kind_shift | offset << OFFSET_SHIFT & self.offset
    }
}
