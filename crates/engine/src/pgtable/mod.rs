//! Page tables: entry formats, and walks that translate, map, protect, unmap and split ranges.
//!
//! *Entry*: one 8-byte word of a table. *Leaf*: an entry that maps memory. Levels count from below:
//! 0 = PTE (4 KiB leaves), 1 = PMD (2 MiB), 2 = PUD (1 GiB), 3 = PGD or P4D, 4 = PGD. Tables are
//! frames of the same memory. Invariant: an entry is changed only with its table's lock held
//! ([`crate::frame`]). Absent: VMAs, faults.

mod aarch64;
mod batch;
mod bits;
mod cursor;
mod deposit;
mod entry;
mod format;
mod free;
mod group;
mod map;
mod riscv;
mod split;
mod tables;
mod touch;
mod translate;
mod visit;
mod walkers;
mod x86_64;

pub use aarch64::{AArch64, AArch64Contiguous};
pub use bits::{Bits, SwapBits};
pub use cursor::Cursor;
pub use entry::{Decoded, Entry, Perms, SwapEntry};
pub use format::{Format, Touch};
pub use map::MapError;
pub use riscv::{Riscv, Sv39, Sv48, Sv57};
pub use split::{Parts, Spare, Split};
pub use tables::{
    ENTRIES, MakeError, Place, Tables, Walked, level_pages, level_shift, level_span, task_size,
    user_end,
};
pub use touch::Touched;
pub use translate::{Run, RunTo};
pub use visit::{Action, Part, Visit, Visitor};
pub use walkers::{Inside, Reclaim, Walkers};
pub use x86_64::{X86, X86_64, X86_64L5};
