//! Pages that `MADV_FREE` gave away a moment ago.
//!
//! *Batch*: Linux moves such pages to another list of reclaim some at a time; each of them has one
//! more reference until then, so that a fault takes it for somebody else's and copies it. Here the
//! reference is shown ([`crate::frame::Frames::linux_refcount`]) and not taken: a page of the batch
//! may be freed. Invariant: a page with `LAZYFREE_BATCH` that is in use is in the batch.
//! Absent: who gives pages away ([`crate::mapping`]); batches of other lists, which no state of a
//! page depends on; more CPUs than one.
//! Linux: mm/swap.c `folio_mark_lazyfree`, `lru_add_drain` (6.18).

use crate::addr::Pfn;
use crate::frame::{FrameFlags, Frames};
use crate::host::Host;
use alloc::vec::Vec;
use lock_api::Mutex;

/// Pages of a batch that is full (`PAGEVEC_SIZE`).
const FULL: usize = 31;

/// The batch.
pub(crate) struct LazyFree<H: Host>(Mutex<H::RawMutex, Vec<Pfn>>);

impl<H: Host> Default for LazyFree<H> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<H: Host> LazyFree<H> {
    /// Adds a page; the last that fits settles all.
    pub(crate) fn add(&self, frames: &Frames<H>, page: Pfn) {
        // A large folio does not wait.
        if frames.is_large(page) {
            return;
        }
        let mut batch = self.0.lock();
        frames.set(page, FrameFlags::LAZYFREE_BATCH);
        batch.push(page);
        if batch.len() >= FULL {
            settle(frames, &mut batch);
        }
    }
    /// The pages are where they belong (`lru_add_drain()`).
    pub(crate) fn drain(&self, frames: &Frames<H>) {
        settle(frames, &mut self.0.lock());
    }
}

fn settle<H: Host>(frames: &Frames<H>, batch: &mut Vec<Pfn>) {
    for page in batch.drain(..) {
        frames.clear(page, FrameFlags::LAZYFREE_BATCH);
    }
}
