//! RISC-V, Sv39, Sv48 and Sv57: the privileged specification's entries, and Linux's software bits.
//!
//! Hardware: V 0, R 1, W 2, X 3, U 4, G 5, A 6, D 7, frame 10..54, N 63 (Svnapot: one of a group of
//! 16 leaves, whose frame numbers end in 1000). Software: special 8, soft-dirty 9, uffd-wp 60,
//! which a processor ignores only with Svrsw60t59b. An entry with V but neither R, W nor X points
//! to a table. `PROT_NONE`: V clear, bit 5 set, R set as in any leaf. Non-present entries keep bits
//! 0 and 5 clear: type 7..12, offset 12..64, exclusive 6, uffd-wp 4, soft-dirty 3, write 2.
//! Linux: `arch/riscv/include/asm/pgtable-bits.h`, `pgtable-64.h`, `pgtable.h` (6.18).

use super::bits::bit;
use super::{Bits, Format, Perms, SwapBits, Touch, Touched};
use crate::addr::Pfn;

const V: u64 = 1;
const R: u64 = 1 << 1;
const W: u64 = 1 << 2;
const X: u64 = 1 << 3;
const U: u64 = 1 << 4;
const PROTNONE: u64 = 1 << 5;
const A: u64 = 1 << 6;
const D: u64 = 1 << 7;
const N: u64 = 1 << 63;
/// Leaves of a group: 64 KiB, the only size there is.
const NAPOT_PAGES: u64 = 16;
const NAPOT_FRAME: u64 = (NAPOT_PAGES - 1) << 10;
const NAPOT_SIZE: u64 = (NAPOT_PAGES / 2) << 10;

/// The format with as many levels. `SVNAPOT`: groups of 16 leaves become one 64 KiB leaf, written
/// 16 times. `SVADU`: the processor marks leaves accessed and dirty itself; without it (Svade),
/// both are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Riscv<const LEVELS: u8, const SVNAPOT: bool = false, const SVADU: bool = false>;

/// Three levels: 38 bits of user addresses.
pub type Sv39 = Riscv<3>;
/// Four levels: 47 bits.
pub type Sv48 = Riscv<4>;
/// Five levels: 56 bits. Without a hint above them, mappings stay below 47 bits.
pub type Sv57 = Riscv<5>;

impl<const LEVELS: u8, const SVNAPOT: bool, const SVADU: bool> Format
    for Riscv<LEVELS, SVNAPOT, SVADU>
{
    const LEVELS: u8 = LEVELS;
    const MAX_LEAF: u8 = 2;
    const USER_BITS: u32 = 11 + 9 * LEVELS as u32;
    const TASK_SIZE: u64 = 1 << Self::USER_BITS;
    const MMAP_WINDOW: u64 = if Self::USER_BITS < 47 { 1 << Self::USER_BITS } else { 1 << 47 };
    const BITS: Bits = Bits {
        valid: V,
        protnone: PROTNONE,
        write: W,
        young: A,
        dirty: D,
        special: 1 << 8,
        uffd_wp: 1 << 60,
        soft_dirty: 1 << 9,
    };
    const FRAME: u64 = ((1 << 54) - 1) & !0x3ff;
    const FRAME_SHIFT: u32 = 10;
    const SWAP: SwapBits = SwapBits {
        kind_shift: 7,
        offset: !0xfff,
        exclusive: 1 << 6,
        uffd_wp: 1 << 4,
        soft_dirty: 1 << 3,
        write: 1 << 2,
    };
    const GROUP: usize = if SVNAPOT { NAPOT_PAGES as usize } else { 1 };

    #[inline]
    fn leaf(pfn: Pfn, perms: Perms, _level: u8) -> u64 {
        Self::frame(pfn) | Self::BITS.of(perms) | R | U | bit(perms.exec, X)
    }
    #[inline]
    fn table(pfn: Pfn) -> u64 {
        Self::frame(pfn) | V
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
    fn is_executable(raw: u64) -> bool {
        raw & X != 0
    }
    #[inline]
    fn pfn(raw: u64) -> Pfn {
        let size = bit(Self::is_grouped(raw), NAPOT_FRAME);
        Pfn::new((raw & Self::FRAME & !size) >> Self::FRAME_SHIFT)
    }
    #[inline]
    fn touch(raw: u64, level: u8, touch: Touch) -> Option<u64> {
        let (allows, marks) = match touch {
            Touch::Read => (R, A),
            Touch::Write => (W, A | D),
            Touch::Execute => (X, A),
        };
        let needs = V | U | allows | bit(!SVADU, marks);
        (Self::is_leaf(raw, level) && raw & needs == needs).then_some(raw | marks)
    }
    /// The cause of the trap, the same whatever was wrong: 12, 13 and 15 are the page faults of
    /// fetches, loads and stores.
    fn fault_code(touched: Touched, touch: Touch, _raw: u64, _level: u8) -> Option<u64> {
        let cause = match touch {
            Touch::Execute => 12,
            Touch::Read => 13,
            Touch::Write => 15,
        };
        match touched {
            Touched::Frame(_) => None,
            Touched::Absent | Touched::Denied => Some(cause),
        }
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
        let own = (index as u64 % NAPOT_PAGES) << Self::FRAME_SHIFT;
        (raw & !(N | NAPOT_FRAME)) | own
    }
}
