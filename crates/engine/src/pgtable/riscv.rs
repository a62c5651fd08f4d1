//! RISC-V, Sv39, Sv48 and Sv57: the privileged specification's entries, and Linux's software bits.
//!
//! Hardware: V 0, R 1, W 2, X 3, U 4, G 5, A 6, D 7, frame 10..54, N 63 (Svnapot: one of a group of
//! 16 leaves, whose frame numbers end in 1000). Software: special 8, soft-dirty 9, uffd-wp 60,
//! which a processor ignores only with Svrsw60t59b. An entry with V but neither R, W nor X points
//! to a table. `PROT_NONE`: V clear, bit 5 set, R set as in any leaf. Non-present entries keep bits
//! 0 and 5 clear: type 7..12, offset 12..64, exclusive 6, uffd-wp 4, soft-dirty 3, write 2. A leaf
//! that is not marked accessed, or dirty when stored to, is a fault (Svade).
//! Linux: `arch/riscv/include/asm/pgtable-bits.h`, `pgtable-64.h`, `pgtable.h` (6.18).

use super::{Decoded, Format, Perms, SwapEntry, Touch};
use crate::addr::Pfn;

const V: u64 = 1;
const R: u64 = 1 << 1;
const W: u64 = 1 << 2;
const X: u64 = 1 << 3;
const U: u64 = 1 << 4;
const PROTNONE: u64 = 1 << 5;
const A: u64 = 1 << 6;
const D: u64 = 1 << 7;
const SPECIAL: u64 = 1 << 8;
const SOFT_DIRTY: u64 = 1 << 9;
const UFFD_WP: u64 = 1 << 60;
const N: u64 = 1 << 63;
const FRAME_SHIFT: u32 = 10;
const FRAME: u64 = ((1 << 54) - 1) & !((1 << FRAME_SHIFT) - 1);
/// What happened to a page, as opposed to what may happen.
const HISTORY: u64 = A | D | SOFT_DIRTY;
/// Leaves of a group: 64 KiB, the only size there is.
const NAPOT_PAGES: u64 = 16;
const NAPOT_FRAME: u64 = (NAPOT_PAGES - 1) << FRAME_SHIFT;
const NAPOT_SIZE: u64 = (NAPOT_PAGES / 2) << FRAME_SHIFT;

const TYPE_SHIFT: u32 = 7;
const TYPE: u64 = 0x1f << TYPE_SHIFT;
const OFFSET: u64 = !0xfff;
const SWP_EXCLUSIVE: u64 = 1 << 6;
const SWP_UFFD_WP: u64 = 1 << 4;
const SWP_SOFT_DIRTY: u64 = 1 << 3;
const SWP_WRITE: u64 = 1 << 2;

// No type is 0, so that no swap entry is the empty entry.
const TYPE_SWAP: u64 = 1 << TYPE_SHIFT;
const TYPE_MIGRATION: u64 = 30 << TYPE_SHIFT;
const TYPE_HWPOISON: u64 = 29 << TYPE_SHIFT;
const TYPE_UFFD_WP: u64 = 28 << TYPE_SHIFT;
const TYPE_POISONED: u64 = 27 << TYPE_SHIFT;
const TYPE_GUARD: u64 = 26 << TYPE_SHIFT;

/// The format with as many levels. `SVNAPOT`: groups of 16 leaves become one 64 KiB leaf, written
/// 16 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Riscv<const LEVELS: u8, const SVNAPOT: bool = false>;

/// Three levels: 38 bits of user addresses.
pub type Sv39 = Riscv<3>;
/// Four levels: 47 bits.
pub type Sv48 = Riscv<4>;
/// Five levels: 56 bits. Without a hint above them, mappings stay below 47 bits.
pub type Sv57 = Riscv<5>;

const fn bit(set: bool, bits: u64) -> u64 {
    if set { bits } else { 0 }
}

const fn perm_bits(perms: Perms) -> u64 {
    let access = if perms.protnone { PROTNONE } else { V };
    access
        | R
        | U
        | bit(perms.write, W)
        | bit(perms.exec, X)
        | bit(perms.young, A)
        | bit(perms.dirty, D)
        | bit(perms.special, SPECIAL)
        | bit(perms.uffd_wp, UFFD_WP)
        | bit(perms.soft_dirty, SOFT_DIRTY)
}

const fn perms_of(raw: u64) -> Perms {
    Perms {
        write: raw & W != 0,
        exec: raw & X != 0,
        protnone: raw & (V | PROTNONE) == PROTNONE,
        young: raw & A != 0,
        dirty: raw & D != 0,
        special: raw & SPECIAL != 0,
        uffd_wp: raw & UFFD_WP != 0,
        soft_dirty: raw & SOFT_DIRTY != 0,
    }
}

impl<const LEVELS: u8, const SVNAPOT: bool> Format for Riscv<LEVELS, SVNAPOT> {
    const LEVELS: u8 = LEVELS;
    const MAX_LEAF: u8 = 2;
    const USER_BITS: u32 = 11 + 9 * LEVELS as u32;
    const TASK_SIZE: u64 = 1 << Self::USER_BITS;
    const MMAP_WINDOW: u64 = if Self::USER_BITS < 47 { 1 << Self::USER_BITS } else { 1 << 47 };
    const SLOT_BITS: u32 = 52;
    const GROUP: usize = if SVNAPOT { NAPOT_PAGES as usize } else { 1 };

    #[inline]
    fn leaf(pfn: Pfn, perms: Perms, _level: u8) -> u64 {
        ((pfn.get() << FRAME_SHIFT) & FRAME) | perm_bits(perms)
    }
    #[inline]
    fn table(pfn: Pfn) -> u64 {
        ((pfn.get() << FRAME_SHIFT) & FRAME) | V
    }
    fn swap(entry: SwapEntry) -> u64 {
        let make = |kind: u64, offset: u64| kind | ((offset << 12) & OFFSET);
        match entry {
            SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty } => {
                make(TYPE_SWAP, slot)
                    | bit(exclusive, SWP_EXCLUSIVE)
                    | bit(uffd_wp, SWP_UFFD_WP)
                    | bit(soft_dirty, SWP_SOFT_DIRTY)
            }
            SwapEntry::Migration { pfn, write, exclusive } => {
                make(TYPE_MIGRATION, pfn.get())
                    | bit(write, SWP_WRITE)
                    | bit(exclusive, SWP_EXCLUSIVE)
            }
            SwapEntry::HwPoison(pfn) => make(TYPE_HWPOISON, pfn.get()),
            SwapEntry::UffdWp => make(TYPE_UFFD_WP, 0),
            SwapEntry::Poisoned => make(TYPE_POISONED, 0),
            SwapEntry::Guard => make(TYPE_GUARD, 0),
        }
    }
    fn decode(raw: u64, level: u8) -> Decoded {
        if raw == 0 {
            return Decoded::None;
        }
        if Self::is_present(raw) {
            let pfn = Self::pfn(raw);
            return if Self::is_leaf(raw, level) {
                Decoded::Leaf(pfn, perms_of(raw))
            } else {
                Decoded::Table(pfn)
            };
        }
        let offset = (raw & OFFSET) >> 12;
        Decoded::Swap(match raw & TYPE {
            TYPE_MIGRATION => SwapEntry::Migration {
                pfn: Pfn::new(offset),
                write: raw & SWP_WRITE != 0,
                exclusive: raw & SWP_EXCLUSIVE != 0,
            },
            TYPE_HWPOISON => SwapEntry::HwPoison(Pfn::new(offset)),
            TYPE_UFFD_WP => SwapEntry::UffdWp,
            TYPE_POISONED => SwapEntry::Poisoned,
            TYPE_GUARD => SwapEntry::Guard,
            _ => SwapEntry::Swap {
                slot: offset,
                exclusive: raw & SWP_EXCLUSIVE != 0,
                uffd_wp: raw & SWP_UFFD_WP != 0,
                soft_dirty: raw & SWP_SOFT_DIRTY != 0,
            },
        })
    }
    #[inline]
    fn is_present(raw: u64) -> bool {
        raw & (V | PROTNONE) != 0
    }
    #[inline]
    fn is_leaf(raw: u64, level: u8) -> bool {
        level == 0 || raw & (R | W | X) != 0
    }
    #[inline]
    fn is_table(raw: u64, level: u8) -> bool {
        level > 0 && raw & (V | R | W | X) == V
    }
    #[inline]
    fn pfn(raw: u64) -> Pfn {
        let size = bit(SVNAPOT && raw & (V | N) == V | N, NAPOT_FRAME);
        Pfn::new((raw & FRAME & !size) >> FRAME_SHIFT)
    }
    #[inline]
    fn is_writable(raw: u64) -> bool {
        raw & W != 0
    }
    #[inline]
    fn is_protnone(raw: u64) -> bool {
        raw & (V | PROTNONE) == PROTNONE
    }
    #[inline]
    fn is_special(raw: u64) -> bool {
        raw & SPECIAL != 0
    }
    #[inline]
    fn is_dirty(raw: u64) -> bool {
        raw & D != 0
    }
    #[inline]
    fn is_young(raw: u64) -> bool {
        raw & A != 0
    }
    #[inline]
    fn is_uffd_wp(raw: u64) -> bool {
        raw & UFFD_WP != 0
    }
    #[inline]
    fn is_soft_dirty(raw: u64) -> bool {
        raw & SOFT_DIRTY != 0
    }
    #[inline]
    fn with_perms(raw: u64, perms: Perms, level: u8) -> u64 {
        Self::leaf(Self::pfn(raw), perms, level)
    }
    #[inline]
    fn continues(raw: u64, next: u64, level: u8) -> bool {
        let span = 1 << (FRAME_SHIFT + 9 * u32::from(level));
        let leaf = Self::is_present(next) && Self::is_leaf(next, level);
        leaf && (raw & !HISTORY).wrapping_add(span) == next & !HISTORY
    }
    #[inline]
    fn gather(raw: u64, next: u64) -> u64 {
        raw | next & HISTORY
    }
    #[inline]
    fn touch(raw: u64, level: u8, touch: Touch) -> Option<u64> {
        let needs = match touch {
            Touch::Read => V | U | A | R,
            Touch::Write => V | U | A | D | W,
            Touch::Execute => V | U | A | X,
        };
        (Self::is_leaf(raw, level) && raw & needs == needs).then_some(raw)
    }
    #[inline]
    fn grouped(raw: u64) -> u64 {
        if SVNAPOT && raw & V != 0 { (raw & !NAPOT_FRAME) | NAPOT_SIZE | N } else { raw }
    }
    #[inline]
    fn is_grouped(raw: u64) -> bool {
        SVNAPOT && raw & (V | N) == V | N
    }
    #[inline]
    fn alone(raw: u64, index: usize) -> u64 {
        let own = (index as u64 % NAPOT_PAGES) << FRAME_SHIFT;
        (raw & !(N | NAPOT_FRAME)) | own
    }
}
