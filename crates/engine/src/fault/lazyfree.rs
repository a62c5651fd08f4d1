//! Pages that `MADV_FREE` gave away a moment ago.
//!
//! *Batch*: Linux moves pages from one list of reclaim to another some at a time, and each has one
//! more reference until then. A page given away is therefore taken for somebody else's by a fault,
//! and copied. A page that is *new* waits likewise; a fault that finds it so drains all batches and
//! looks again. Here the reference is shown ([`crate::frame::Frames::linux_refcount`]), for pages
//! given away only, and not taken: a page of a batch may be freed. Freeing and unmapping drain
//! nothing (since 6.14). Invariants: a page with `LAZYFREE_BATCH` that is in use is in its batch;
//! new pages are noted while others are given away, since giving away begins with a drain.
//! Absent: who gives pages away ([`crate::mapping`]); other lists, which no state of a page depends
//! on; more CPUs than one.
//! Linux: mm/swap.c `folio_mark_lazyfree`, `folio_add_lru`, `lru_add_drain` (6.18).

use crate::addr::Pfn;
use crate::frame::{FrameFlags, Frames};
use crate::host::Host;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use lock_api::Mutex;

/// Pages of a batch that is full (`PAGEVEC_SIZE`).
const FULL: usize = 31;

/// The batches.
pub(crate) struct LazyFree<H: Host> {
    /// Whether a page may be waiting: else nobody looks further.
    waiting: AtomicBool,
    batches: Mutex<H::RawMutex, Batches>,
}

#[derive(Default)]
struct Batches {
    given: Vec<Pfn>,
    new: Vec<Pfn>,
}

impl<H: Host> Default for LazyFree<H> {
    fn default() -> Self {
        Self { waiting: AtomicBool::new(false), batches: Mutex::new(Batches::default()) }
    }
}

impl<H: Host> LazyFree<H> {
    /// A page is given away; the last that fits settles all.
    pub(crate) fn give(&self, frames: &Frames<H>, page: Pfn) {
        // A large folio does not wait.
        if frames.is_large(page) {
            return;
        }
        let mut batches = self.batches.lock();
        frames.set(page, FrameFlags::LAZYFREE_BATCH);
        batches.given.push(page);
        if batches.given.len() >= FULL {
            settle(frames, &mut batches.given);
        }
        self.waiting.store(true, Relaxed);
    }
    /// A page is new.
    pub(crate) fn note_new(&self, page: Pfn) {
        if self.waiting.load(Relaxed) {
            let mut batches = self.batches.lock();
            batches.new.push(page);
            if batches.new.len() >= FULL {
                batches.new.clear();
            }
        }
    }
    /// A fault that may reuse `page` has no use for one that is still waiting among the new ones.
    pub(crate) fn drain_if_new(&self, frames: &Frames<H>, page: Pfn) {
        if self.waiting.load(Relaxed) && self.batches.lock().new.contains(&page) {
            self.drain(frames);
        }
    }
    /// All pages are where they belong (`lru_add_drain()`).
    pub(crate) fn drain(&self, frames: &Frames<H>) {
        if self.waiting.load(Relaxed) {
            let mut batches = self.batches.lock();
            settle(frames, &mut batches.given);
            batches.new.clear();
            self.waiting.store(false, Relaxed);
        }
    }
}

fn settle<H: Host>(frames: &Frames<H>, given: &mut Vec<Pfn>) {
    for page in given.drain(..) {
        frames.clear(page, FrameFlags::LAZYFREE_BATCH);
    }
}
