//! arm64, 4 KiB granule, 48-bit addresses in 4 levels: stage 1 descriptors, and Linux's software
//! bits.
//!
//! Hardware: valid 0, table or page 1, AP\[1\] user 6, AP\[2\] read-only 7, shareable 8..10, AF 10,
//! nG 11, frame 12..48, DBM 51, contiguous 52, PXN 53, UXN 54. Software: dirty 55, special 56,
//! soft-dirty 57 (Linux has none here), uffd-wp 58. Writable is DBM, whether or not the processor
//! looks at it; a writable leaf that is clean is read-only in AP\[2\], so that the first store is
//! noticed. `PROT_NONE`: valid clear, bit 11 set (`PTE_PRESENT_INVALID`). Non-present entries keep
//! bits 0, 1 and 11 clear: type 6..11, offset 12..62, exclusive 2, uffd-wp 3, soft-dirty 4, write
//! 5. The user half fills the root table.
//! Linux: `arch/arm64/include/asm/pgtable-hwdef.h`, `pgtable-prot.h`, `pgtable.h` (6.18).

use super::{Decoded, Format, Perms, SwapEntry, Touch};
use crate::addr::Pfn;

const VALID: u64 = 1;
/// A table above level 0, a page at level 0.
const DOWN: u64 = 1 << 1;
const USER: u64 = 1 << 6;
const RDONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 3 << 8;
const AF: u64 = 1 << 10;
const NOT_GLOBAL: u64 = 1 << 11;
/// The same bit, in an entry that is not valid.
const PROTNONE: u64 = 1 << 11;
const FRAME: u64 = 0x0000_ffff_ffff_f000;
const WRITE: u64 = 1 << 51;
const CONTIGUOUS_BIT: u64 = 1 << 52;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
const DIRTY: u64 = 1 << 55;
const SPECIAL: u64 = 1 << 56;
const SOFT_DIRTY: u64 = 1 << 57;
const UFFD_WP: u64 = 1 << 58;

const TYPE_SHIFT: u32 = 6;
const TYPE: u64 = 0x1f << TYPE_SHIFT;
const OFFSET: u64 = ((1 << 62) - 1) & !0xfff;
const SWP_EXCLUSIVE: u64 = 1 << 2;
const SWP_UFFD_WP: u64 = 1 << 3;
const SWP_SOFT_DIRTY: u64 = 1 << 4;
const SWP_WRITE: u64 = 1 << 5;

// No type is 0, so that no swap entry is the empty entry.
const TYPE_SWAP: u64 = 1 << TYPE_SHIFT;
const TYPE_MIGRATION: u64 = 30 << TYPE_SHIFT;
const TYPE_HWPOISON: u64 = 29 << TYPE_SHIFT;
const TYPE_UFFD_WP: u64 = 28 << TYPE_SHIFT;
const TYPE_POISONED: u64 = 27 << TYPE_SHIFT;
const TYPE_GUARD: u64 = 26 << TYPE_SHIFT;

/// The format. `CONTIGUOUS`: groups of 16 leaves get the contiguous bit. `HAFDBS`: the processor
/// marks leaves accessed and dirty itself (`FEAT_HAFDBS`); without it, both are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AArch64<const CONTIGUOUS: bool = false, const HAFDBS: bool = false>;

/// The format with both options.
pub type AArch64Contiguous = AArch64<true, true>;

const fn bit(set: bool, bits: u64) -> u64 {
    if set { bits } else { 0 }
}

const fn perm_bits(perms: Perms) -> u64 {
    let access = if perms.protnone { PROTNONE } else { VALID | NOT_GLOBAL };
    access
        | USER
        | INNER_SHAREABLE
        | PXN
        | bit(perms.write, WRITE)
        | bit(!(perms.write && perms.dirty), RDONLY)
        | bit(!perms.exec, UXN)
        | bit(perms.young, AF)
        | bit(perms.dirty, DIRTY)
        | bit(perms.special, SPECIAL)
        | bit(perms.uffd_wp, UFFD_WP)
        | bit(perms.soft_dirty, SOFT_DIRTY)
}

/// Marked by software, or by the processor: it stored through a writable leaf.
const fn dirty(raw: u64) -> bool {
    raw & DIRTY != 0 || raw & (WRITE | RDONLY) == WRITE
}

const fn perms_of(raw: u64) -> Perms {
    Perms {
        write: raw & WRITE != 0,
        exec: raw & UXN == 0,
        protnone: raw & (VALID | PROTNONE) == PROTNONE,
        young: raw & AF != 0,
        dirty: dirty(raw),
        special: raw & SPECIAL != 0,
        uffd_wp: raw & UFFD_WP != 0,
        soft_dirty: raw & SOFT_DIRTY != 0,
    }
}

/// The leaf without what happened to its page.
const fn timeless(raw: u64) -> u64 {
    raw & !(AF | DIRTY | SOFT_DIRTY | bit(raw & WRITE != 0, RDONLY))
}

impl<const CONTIGUOUS: bool, const HAFDBS: bool> Format for AArch64<CONTIGUOUS, HAFDBS> {
    const LEVELS: u8 = 4;
    const MAX_LEAF: u8 = 2;
    const USER_BITS: u32 = 48;
    const TASK_SIZE: u64 = 1 << 48;
    const SLOT_BITS: u32 = 50;
    const BREAK_BEFORE_MAKE: bool = true;
    const GROUP: usize = if CONTIGUOUS { 16 } else { 1 };

    #[inline]
    fn leaf(pfn: Pfn, perms: Perms, level: u8) -> u64 {
        ((pfn.get() << 12) & FRAME) | perm_bits(perms) | bit(level == 0, DOWN)
    }
    #[inline]
    fn table(pfn: Pfn) -> u64 {
        ((pfn.get() << 12) & FRAME) | VALID | DOWN
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
        raw & (VALID | PROTNONE) != 0
    }
    #[inline]
    fn is_leaf(raw: u64, level: u8) -> bool {
        level == 0 || raw & (VALID | DOWN) != VALID | DOWN
    }
    #[inline]
    fn is_table(raw: u64, level: u8) -> bool {
        level > 0 && raw & (VALID | DOWN) == VALID | DOWN
    }
    #[inline]
    fn pfn(raw: u64) -> Pfn {
        Pfn::new((raw & FRAME) >> 12)
    }
    #[inline]
    fn is_writable(raw: u64) -> bool {
        raw & WRITE != 0
    }
    #[inline]
    fn is_protnone(raw: u64) -> bool {
        raw & (VALID | PROTNONE) == PROTNONE
    }
    #[inline]
    fn is_special(raw: u64) -> bool {
        raw & SPECIAL != 0
    }
    #[inline]
    fn is_dirty(raw: u64) -> bool {
        dirty(raw)
    }
    #[inline]
    fn is_young(raw: u64) -> bool {
        raw & AF != 0
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
        let span = 1 << (12 + 9 * u32::from(level));
        Self::is_present(next) && timeless(raw).wrapping_add(span) == timeless(next)
    }
    #[inline]
    fn gather(raw: u64, next: u64) -> u64 {
        let marks = next & (AF | SOFT_DIRTY) | bit(dirty(next), DIRTY);
        let stored = dirty(next) && raw & WRITE != 0;
        (raw | marks) & !bit(stored, RDONLY)
    }
    #[inline]
    fn touch(raw: u64, level: u8, touch: Touch) -> Option<u64> {
        if raw & (VALID | USER) != VALID | USER || !Self::is_leaf(raw, level) {
            return None;
        }
        let used = if HAFDBS { raw | AF } else { raw };
        let marked = match touch {
            Touch::Read => Some(used),
            Touch::Execute => (raw & UXN == 0).then_some(used),
            Touch::Write if raw & RDONLY == 0 => Some(used),
            Touch::Write => (HAFDBS && raw & WRITE != 0).then_some(used & !RDONLY),
        };
        marked.filter(|marked| marked & AF != 0)
    }
    #[inline]
    fn grouped(raw: u64) -> u64 {
        raw | bit(CONTIGUOUS && raw & VALID != 0, CONTIGUOUS_BIT)
    }
    #[inline]
    fn is_grouped(raw: u64) -> bool {
        CONTIGUOUS && raw & (VALID | CONTIGUOUS_BIT) == VALID | CONTIGUOUS_BIT
    }
    #[inline]
    fn alone(raw: u64, _index: usize) -> u64 {
        raw & !CONTIGUOUS_BIT
    }
}
