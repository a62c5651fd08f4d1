//! x86-64, 4 or 5 levels, 4 KiB pages: the hardware's bits, and Linux's software bits.
//!
//! Hardware: P 0, RW 1, US 2, A 5, D 6, PS 7 (above level 0), G 8, frame 12..52, NX 63. Software:
//! special 9, uffd-wp 10, soft-dirty 11. `PROT_NONE`: P clear, bit 8 set (as `_PAGE_PROTNONE`), PS
//! as in any leaf. Non-present entries keep bits 0 and 8 clear: type 59..64, offset 12..59,
//! exclusive 1, uffd-wp 2, soft-dirty 3, write 4.
//! Linux: `arch/x86/include/asm/pgtable_types.h` (6.18).

use super::{Decoded, Format, Perms, SwapEntry, Touch, Touched};
use crate::addr::{PAGE_SIZE, Pfn};

const P: u64 = 1;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const PROTNONE: u64 = 1 << 8;
const SPECIAL: u64 = 1 << 9;
const UFFD_WP: u64 = 1 << 10;
const SOFT_DIRTY: u64 = 1 << 11;
/// What happened to a page, as opposed to what may happen.
const HISTORY: u64 = A | D | SOFT_DIRTY;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
const NX: u64 = 1 << 63;

const SWP_EXCLUSIVE: u64 = 1 << 1;
const SWP_UFFD_WP: u64 = 1 << 2;
const SWP_SOFT_DIRTY: u64 = 1 << 3;
const SWP_WRITE: u64 = 1 << 4;
const TYPE_SHIFT: u32 = 59;
const OFFSET: u64 = ((1 << TYPE_SHIFT) - 1) & !0xfff;

// No type is 0, so that no swap entry is the empty entry.
const TYPE_SWAP: u64 = 1;
const TYPE_MIGRATION: u64 = 30;
const TYPE_HWPOISON: u64 = 29;
const TYPE_UFFD_WP: u64 = 28;
const TYPE_POISONED: u64 = 27;
const TYPE_GUARD: u64 = 26;

/// The format with as many levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86<const LEVELS: u8>;

/// x86-64 with 4 levels: 47 bits of user addresses.
pub type X86_64 = X86<4>;
/// x86-64 with 5 levels (LA57): 56 bits of user addresses. Without a hint above them, mappings stay
/// below 47 bits.
pub type X86_64L5 = X86<5>;

impl<const LEVELS: u8> X86<LEVELS> {
    /// The error code of the page fault that ends a user program's access `touch`, or `None` if it
    /// took none: bit 0 for a leaf that refuses, 1 for a store, 2 for the user, 4 for a fetch.
    pub const fn error_code(touched: Touched, touch: Touch) -> Option<u64> {
        let kind = match touch {
            Touch::Read => 0,
            Touch::Write => 1 << 1,
            Touch::Execute => 1 << 4,
        };
        match touched {
            Touched::Frame(_) => None,
            Touched::Absent => Some(1 << 2 | kind),
            Touched::Denied => Some(1 | 1 << 2 | kind),
        }
    }
}

const fn bit(set: bool, bits: u64) -> u64 {
    if set { bits } else { 0 }
}

const fn perm_bits(perms: Perms) -> u64 {
    let access = if perms.protnone { PROTNONE } else { P | US };
    access
        | bit(perms.write, RW)
        | bit(!perms.exec, NX)
        | bit(perms.young, A)
        | bit(perms.dirty, D)
        | bit(perms.special, SPECIAL)
        | bit(perms.uffd_wp, UFFD_WP)
        | bit(perms.soft_dirty, SOFT_DIRTY)
}

const fn perms_of(raw: u64) -> Perms {
    Perms {
        write: raw & RW != 0,
        exec: raw & NX == 0,
        protnone: raw & (P | PROTNONE) == PROTNONE,
        young: raw & A != 0,
        dirty: raw & D != 0,
        special: raw & SPECIAL != 0,
        uffd_wp: raw & UFFD_WP != 0,
        soft_dirty: raw & SOFT_DIRTY != 0,
    }
}

impl<const LEVELS: u8> Format for X86<LEVELS> {
    const LEVELS: u8 = LEVELS;
    const MAX_LEAF: u8 = 2;
    const USER_BITS: u32 = 11 + 9 * LEVELS as u32;
    const TASK_SIZE: u64 = (1 << Self::USER_BITS) - PAGE_SIZE;
    const MMAP_WINDOW: u64 = (1 << 47) - PAGE_SIZE;
    const SLOT_BITS: u32 = TYPE_SHIFT - 12;

    #[inline]
    fn leaf(pfn: Pfn, perms: Perms, level: u8) -> u64 {
        ((pfn.get() << 12) & FRAME) | perm_bits(perms) | bit(level > 0, PS)
    }
    #[inline]
    fn table(pfn: Pfn) -> u64 {
        ((pfn.get() << 12) & FRAME) | P | RW | US | A
    }
    fn swap(entry: SwapEntry) -> u64 {
        let make = |kind: u64, offset: u64| kind << TYPE_SHIFT | ((offset << 12) & OFFSET);
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
        Decoded::Swap(match raw >> TYPE_SHIFT {
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
        raw & (P | PROTNONE) != 0
    }
    #[inline]
    fn is_leaf(raw: u64, level: u8) -> bool {
        level == 0 || raw & (P | PS) != P
    }
    #[inline]
    fn is_table(raw: u64, level: u8) -> bool {
        level > 0 && raw & (P | PS) == P
    }
    #[inline]
    fn pfn(raw: u64) -> Pfn {
        Pfn::new((raw & FRAME) >> 12)
    }
    #[inline]
    fn is_writable(raw: u64) -> bool {
        raw & RW != 0
    }
    #[inline]
    fn is_protnone(raw: u64) -> bool {
        raw & (P | PROTNONE) == PROTNONE
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
        (raw & !HISTORY).wrapping_add(1 << (12 + 9 * u32::from(level))) == next & !HISTORY
    }
    #[inline]
    fn gather(raw: u64, next: u64) -> u64 {
        raw | next & HISTORY
    }
    #[inline]
    fn touch(raw: u64, level: u8, touch: Touch) -> Option<u64> {
        let marks = match touch {
            Touch::Read => A,
            Touch::Write => A | D,
            Touch::Execute => A,
        };
        let allowed = match touch {
            Touch::Read => true,
            Touch::Write => raw & RW != 0,
            Touch::Execute => raw & NX == 0,
        };
        let mapped = raw & (P | US) == P | US && Self::is_leaf(raw, level);
        (mapped && allowed).then_some(raw | marks)
    }
}
