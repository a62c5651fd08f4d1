//! VMAs: one area, the map that holds them, and what stands behind an area.
//!
//! *Area* and *VMA* are the same. Invariant: areas of one map never overlap, and none is empty.
//! Absent: edits with the kernel's rules ([`crate::mapping`]), page tables.

mod area;
mod backing;
mod gaps;
mod map;
mod merge;
pub(crate) mod stack;

pub use area::{AnonVma, Vma, VmaId};
pub use backing::{Backing, FileMapping, Special, SpecialAccess, UserFault, UserFaultMessage};
pub use map::Map;
pub use merge::anon_vma_prepare;
pub(crate) use merge::{SPECIAL, mergeable, mergeable_as};
pub use stack::expand_stack;
