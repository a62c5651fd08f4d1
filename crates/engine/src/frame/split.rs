//! Taking a large folio apart into small ones, in place.
//!
//! Absent: page tables, page cache and swap: the caller has turned huge entries into small ones,
//! and replaces the folio in its owner.
//! Linux: `mm/huge_memory.c` `__split_folio_to_order` (6.18).

use super::alloc::Frames;
use super::flags::{FrameFlags, Word};
use crate::addr::Pfn;
use crate::host::Host;
use core::sync::atomic::Ordering::{Relaxed, Release};

/// Flags of the folio that each of its pages inherits; the lock stays with the head.
const INHERITED: FrameFlags = FrameFlags::DIRTY
    .union(FrameFlags::REFERENCED)
    .union(FrameFlags::ACTIVE)
    .union(FrameFlags::UPTODATE)
    .union(FrameFlags::SWAPBACKED)
    .union(FrameFlags::SWAPCACHE)
    .union(FrameFlags::MLOCKED)
    .union(FrameFlags::KSM)
    .union(FrameFlags::LRU)
    .union(FrameFlags::ISOLATED)
    .union(FrameFlags::UNEVICTABLE);

impl<H: Host> Frames<H> {
    /// Splits the frozen folio `head` into folios of one frame; those with no references are freed
    /// at once.
    ///
    /// `refs` says for each frame, given its mapcount, how many references it is to have. Kind,
    /// owner and flags go to every page, the index counts on; `AnonExclusive` and poison stay with
    /// their page; the lock, if held, stays on the head. No PMD or PUD entry maps the folio any
    /// more. Answers `false`, and does nothing, if the folio is small or not frozen.
    pub fn split(&self, head: Pfn, refs: impl Fn(Pfn, u32) -> u32) -> bool {
        let word = self.word(head);
        if word.is_tail() || !word.is_large() || self.refs(head) != 0 {
            debug_assert!(!word.is_tail() && self.refs(head) == 0, "only a frozen head is split");
            return false;
        }
        debug_assert!(self.entire_mapcount(head) == 0, "a huge entry still maps {head:?}");
        let owner = self.owner(head);
        // Their counts were the folio's as a whole.
        for n in 1..(1u64 << word.order()).min(4) {
            self.hot(head.offset(n)).counts.store(0, Relaxed);
        }
        for n in (0..1u64 << word.order()).rev() {
            let page = head.offset(n);
            let hot = self.hot(page);
            #[allow(clippy::cast_possible_truncation, reason = "below 1 << MAX_ORDER")]
            let index = owner.index.wrapping_add(n as u32);
            self.cold(page).owner.store(owner.owner, Relaxed);
            self.cold(page).index.store(index, Relaxed);
            let own = Word(hot.word.load(Relaxed)).flags() & FrameFlags::PER_PAGE;
            let kept = if n == 0 { word.flags() & FrameFlags::LOCKED } else { FrameFlags::empty() };
            let flags = (word.flags() & INHERITED) | own | kept;
            hot.word.store(Word::head(word.kind(), 0, flags).0, Release);
            let count = refs(page, hot.mapcount.load(Relaxed));
            if count == 0 {
                self.free(page);
            } else {
                hot.counts.store(u64::from(count), Release);
            }
        }
        true
    }
}
