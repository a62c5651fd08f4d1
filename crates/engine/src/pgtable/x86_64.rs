//! x86-64, 4 or 5 levels, 4 KiB pages: the hardware's bits, and Linux's software bits.
//!
//! Hardware: P 0, RW 1, US 2, A 5, D 6, PS 7 (above level 0), G 8, frame 12..52, NX 63. Software:
//! special 9, uffd-wp 10, soft-dirty 11. `PROT_NONE`: P clear, bit 8 set (as `_PAGE_PROTNONE`), PS
//! as in any leaf. Non-present entries keep bits 0 and 8 clear: type 59..64, offset 12..59,
//! exclusive 1, uffd-wp 2, soft-dirty 3, write 4.
//! Linux: `arch/x86/include/asm/pgtable_types.h` (6.18).

use super::bits::bit;
use super::{Bits, Format, Perms, SwapBits, Touch, Touched};
use crate::addr::{PAGE_SIZE, Pfn};

const P: u64 = 1;
const RW: u64 = 1 << 1;
const US: u64 = 1 << 2;
const A: u64 = 1 << 5;
const D: u64 = 1 << 6;
const PS: u64 = 1 << 7;
const PROTNONE: u64 = 1 << 8;
const NX: u64 = 1 << 63;

/// The format with as many levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86<const LEVELS: u8>;

/// x86-64 with 4 levels: 47 bits of user addresses.
pub type X86_64 = X86<4>;
/// x86-64 with 5 levels (LA57): 56 bits of user addresses. Without a hint above them, mappings stay
/// below 47 bits.
pub type X86_64L5 = X86<5>;

impl<const LEVELS: u8> Format for X86<LEVELS> {
    const LEVELS: u8 = LEVELS;
    const MAX_LEAF: u8 = 2;
    const USER_BITS: u32 = 11 + 9 * LEVELS as u32;
    const TASK_SIZE: u64 = (1 << Self::USER_BITS) - PAGE_SIZE;
    const MMAP_WINDOW: u64 = (1 << 47) - PAGE_SIZE;
    const BITS: Bits = Bits {
        valid: P,
        protnone: PROTNONE,
        write: RW,
        young: A,
        dirty: D,
        special: 1 << 9,
        uffd_wp: 1 << 10,
        soft_dirty: 1 << 11,
    };
    const LOADS_MARK: bool = false;
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    const FRAME_SHIFT: u32 = 12;
    const SWAP: SwapBits = SwapBits {
        kind_shift: 59,
        offset: ((1 << 59) - 1) & !0xfff,
        exclusive: 1 << 1,
        uffd_wp: 1 << 2,
        soft_dirty: 1 << 3,
        write: 1 << 4,
    };

    #[inline]
    fn leaf(pfn: Pfn, perms: Perms, level: u8) -> u64 {
        Self::frame(pfn)
            | Self::BITS.of(perms)
            | bit(!perms.protnone, US)
            | bit(!perms.exec, NX)
            | bit(level > 0, PS)
    }
    #[inline]
    fn without(raw: u64, gone: Perms, _level: u8) -> u64 {
        raw & !Self::BITS.marks(Perms { special: false, ..gone })
    }
    #[inline]
    fn table(pfn: Pfn) -> u64 {
        Self::frame(pfn) | P | RW | US | A
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
    fn is_executable(raw: u64) -> bool {
        raw & NX == 0
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
    /// The page fault's error code: bit 0 for a leaf that refuses, 1 for a store, 2 for the user, 4
    /// for a fetch.
    fn fault_code(touched: Touched, touch: Touch, _raw: u64, _level: u8) -> Option<u64> {
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
