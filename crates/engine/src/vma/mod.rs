//! VMAs: one area, the map that holds them, and what stands behind an area.
//!
//! *Area* and *VMA* are the same. Invariant: areas of one map never overlap, and none is empty.
//! Absent: edits with the kernel's rules ([`crate::mapping`]), page tables.

mod area;
mod backing;
mod map;
pub(crate) mod stack;

pub use area::{AnonVma, Vma, VmaId};
pub use backing::{Backing, FileMapping, Special, SpecialAccess, UserFault, UserFaultMessage};
pub use map::Map;
