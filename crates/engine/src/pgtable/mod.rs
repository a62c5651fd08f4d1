//! Page tables: entry formats, and walks that translate, map, protect, unmap and split ranges.
//!
//! *Entry*: one 8-byte word of a table. *Leaf*: an entry that maps memory. Levels count from below: 0 = PTE
//! (4 KiB leaves), 1 = PMD (2 MiB), 2 = PUD (1 GiB), 3 = PGD. Tables are frames of the same memory.
//! Invariant: an entry is changed only with its table's lock held ([`crate::frame`]).
//! Absent: VMAs, faults.

mod entry;
mod x86_64;

pub use entry::{Decoded, Entry, Format, Perms, SwapEntry};
pub use x86_64::X86_64;
