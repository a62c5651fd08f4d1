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

use super::bits::bit;
use super::{Bits, Format, Perms, SwapBits, Touch, Touched};
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
const WRITE: u64 = 1 << 51;
const CONTIGUOUS_BIT: u64 = 1 << 52;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
const DIRTY: u64 = 1 << 55;

// Fault status codes; the level, counted from the root, is added.
const TRANSLATION: u64 = 1 << 2;
const ACCESS_FLAG: u64 = 2 << 2;
const PERMISSION: u64 = 3 << 2;

/// The format. `CONTIGUOUS`: groups of 16 leaves get the contiguous bit. `HAFDBS`: the processor
/// marks leaves accessed and dirty itself (`FEAT_HAFDBS`); without it, both are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AArch64<const CONTIGUOUS: bool = false, const HAFDBS: bool = false>;

/// The format with both options.
pub type AArch64Contiguous = AArch64<true, true>;

impl<const CONTIGUOUS: bool, const HAFDBS: bool> Format for AArch64<CONTIGUOUS, HAFDBS> {
    const LEVELS: u8 = 4;
    const MAX_LEAF: u8 = 2;
    const USER_BITS: u32 = 48;
    const TASK_SIZE: u64 = 1 << 48;
    const BITS: Bits = Bits {
        valid: VALID,
        protnone: PROTNONE,
        write: WRITE,
        young: AF,
        dirty: DIRTY,
        special: 1 << 56,
        uffd_wp: 1 << 58,
        soft_dirty: 1 << 57,
    };
    const FRAME: u64 = 0x0000_ffff_ffff_f000;
    const FRAME_SHIFT: u32 = 12;
    const SWAP: SwapBits = SwapBits {
        kind_shift: 6,
        offset: ((1 << 62) - 1) & !0xfff,
        exclusive: 1 << 2,
        uffd_wp: 1 << 3,
        soft_dirty: 1 << 4,
        write: 1 << 5,
    };
    const BREAK_BEFORE_MAKE: bool = true;
    const GROUP: usize = if CONTIGUOUS { 16 } else { 1 };

    #[inline]
    fn leaf(pfn: Pfn, perms: Perms, level: u8) -> u64 {
        Self::frame(pfn)
            | Self::BITS.of(perms)
            | bit(!perms.protnone, NOT_GLOBAL)
            | USER
            | INNER_SHAREABLE
            | PXN
            | bit(!(perms.write && perms.dirty), RDONLY)
            | bit(!perms.exec, UXN)
            | bit(level == 0, DOWN)
    }
    #[inline]
    fn table(pfn: Pfn) -> u64 {
        Self::frame(pfn) | VALID | DOWN
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
    fn is_executable(raw: u64) -> bool {
        raw & UXN == 0
    }
    /// Marked by software, or by the processor: it stored through a writable leaf.
    #[inline]
    fn is_dirty(raw: u64) -> bool {
        raw & DIRTY != 0 || raw & (WRITE | RDONLY) == WRITE
    }
    #[inline]
    fn timeless(raw: u64) -> u64 {
        raw & !(Self::BITS.history() | bit(raw & WRITE != 0, RDONLY))
    }
    #[inline]
    fn gather(raw: u64, next: u64) -> u64 {
        let dirty = Self::is_dirty(next);
        let marks = next & Self::BITS.history() | bit(dirty, DIRTY);
        (raw | marks) & !bit(dirty && raw & WRITE != 0, RDONLY)
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
    /// The status in the exception's syndrome: what was wrong, and at which level, counted from the
    /// root. That a leaf is not marked accessed comes before that it forbids the access.
    fn fault_code(touched: Touched, _touch: Touch, raw: u64, level: u8) -> Option<u64> {
        let from_root = u64::from(Self::LEVELS - 1 - level);
        match touched {
            Touched::Frame(_) => None,
            Touched::Absent => Some(TRANSLATION | from_root),
            Touched::Denied if !HAFDBS && !Self::is_young(raw) => Some(ACCESS_FLAG | from_root),
            Touched::Denied => Some(PERMISSION | from_root),
        }
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
