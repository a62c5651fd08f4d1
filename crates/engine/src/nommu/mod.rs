//! The twin without an MMU: user pages of one flat memory.
//!
//! *Flat memory*: the machine's frames, side by side at addresses that the host chooses; address
//! and frame are two names of one thing. *Region*: frames that a mapping holds. *Area*: what one
//! address space may do with a part of a region; it carries permissions and translates nothing.
//!
//! Invariants: (1) a region's pages are contiguous and each holds one reference while the region
//! exists; (2) an area lies inside one region; (3) nothing is ever faulted in, copied on write or
//! swapped out. Absent: page tables, faults, fork, `mprotect` (a machine without an MMU has none of
//! them).
//! Linux: mm/nommu.c of v4.4; mm/gup.c of 6.18, its part for `!CONFIG_MMU`.

mod access;
mod area;
mod edit;
mod error;
mod flat;
mod lock;
mod map;
mod pins;
mod space;
mod walk;

pub use access::follow_pfn;
pub use area::Area;
pub use edit::{MapRequest, Source};
pub use error::{MapError, Refused};
pub use flat::{FlatMemory, RegionInfo};
pub use lock::{Lock, NommuRead, NommuWrite};
pub use map::RegionMap;
pub use pins::{Access, Pins, Read, Write};
pub use space::NommuMm;
pub(crate) use walk::{Output, Walked, walk};
