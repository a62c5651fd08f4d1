//! Page tables: entry formats, and walks that translate, map, protect, unmap and split ranges.
//!
//! *Entry*: one 8-byte word of a table. *Leaf*: an entry that maps memory. Levels count from below:
//! 0 = PTE (4 KiB leaves), 1 = PMD (2 MiB), 2 = PUD (1 GiB), 3 = PGD. Tables are frames of the same
//! memory. Invariant: an entry is changed only with its table's lock held ([`crate::frame`]).
//! Absent: VMAs, faults.

mod batch;
mod cursor;
mod entry;
mod free;
mod map;
mod split;
mod tables;
mod translate;
mod visit;
mod walkers;
mod x86_64;

pub use cursor::Cursor;
pub use entry::{Decoded, Entry, Format, Perms, SwapEntry};
pub use map::MapError;
pub use split::{Parts, Split};
pub use tables::{
    ENTRIES, MakeError, Place, Tables, Walked, level_pages, level_shift, level_span, user_end,
};
pub use translate::{Run, RunTo};
pub use visit::{Action, Part, Visit, Visitor};
pub use walkers::{Inside, Walkers};
pub use x86_64::X86_64;
