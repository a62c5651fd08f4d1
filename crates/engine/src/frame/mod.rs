//! Frames: metadata, counts, locks and allocation of physical memory.
//!
//! *Frame*: 4096 bytes of memory. *Folio*: `1 << order` frames that were allocated together, named
//! by its first frame, the *head*; the others are *tails*. *Reference*: a right to the memory.
//! *Pin*: a reference whose holder touches the bytes (`FOLL_PIN`). *Mapcount*: page-table entries
//! that map a page.
//!
//! 24 bytes per frame, in two arrays. Hot, 16 bytes: references and pins in one word, so that a pin
//! is one atomic add; mapcount; flags with kind, order and lock bit. Cold, 8 bytes: owner and
//! index; the free lists overlay it while a frame is free, and a tail keeps the way to its head
//! there. A large folio's entire and total mapcounts live in the slots of its first tail, which has
//! no references of its own.
//!
//! Invariants: (1) pins are part of references; (2) a frame whose references are zero is taken by
//! nobody ([`Frames::try_get`] refuses); (3) a count never wraps: it refuses or stays; (4) tails
//! have no counts. Absent: bytes ([`crate::host::Memory`]), address spaces, who maps what. Linux:
//! include/linux/{mm,page-flags,page_ref}.h, `mm/page_alloc.c` (6.18).

mod alloc;
mod buddy;
mod count;
mod flags;
mod lock;
mod mapcount;
mod meta;
mod poison;
mod split;
mod zone;

pub use alloc::{AllocFlags, Frames, OutOfMemory, Stats};
pub use count::{COUNT_LIMIT, CountError, GUP_PIN_COUNTING_BIAS, Last, Overdrawn};
pub use flags::{FrameFlags, Kind};
pub use lock::{FolioGuard, TableGuard};
pub use mapcount::Mapper;
pub use meta::{Folio, FrameTable, METADATA_BYTES, Owner};
pub use zone::{FramesConfig, MAX_ORDER, Zone, ZoneConfig};
