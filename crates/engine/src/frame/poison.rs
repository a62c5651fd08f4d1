//! Frames whose memory failed: taken out of service, and put back if it was a false alarm.
//!
//! Invariant: a frame with HWPOISON set is on no free list. Absent: unmapping it and telling its
//! users (`crate::fault`).
//! Linux: mm/memory-failure.c `take_page_off_buddy`, `unpoison_memory` (6.18).

use super::alloc::Frames;
use super::flags::{FrameFlags, Kind};
use crate::addr::Pfn;
use crate::host::Host;

impl<H: Host> Frames<H> {
    /// Marks the frame as failed: at once out of the free lists, or never back into them when its
    /// folio is freed. Of a frame in use the caller holds a reference.
    ///
    /// Answers whether it was marked before.
    pub fn poison(&self, pfn: Pfn) -> bool {
        self.edit_lists(pfn, |table, lists| {
            lists.carve(table, pfn);
            table.test_and_set(pfn, FrameFlags::HWPOISON)
        })
        .unwrap_or_else(|| self.test_and_set(pfn, FrameFlags::HWPOISON))
    }

    /// Takes the mark back; a frame that was in no use is free again. Answers whether it was
    /// marked.
    pub fn unpoison(&self, pfn: Pfn) -> bool {
        self.edit_lists(pfn, |table, lists| {
            let marked = table.test_and_clear(pfn, FrameFlags::HWPOISON);
            if marked && table.kind(pfn) == Kind::Free {
                lists.put(table, pfn, 0);
            }
            marked
        })
        .unwrap_or_else(|| self.test_and_clear(pfn, FrameFlags::HWPOISON))
    }
}
