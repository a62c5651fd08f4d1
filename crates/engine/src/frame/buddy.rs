//! The buddy lists of one zone: blocks of `1 << order` frames, split on demand, merged when freed.
//!
//! Blocks are aligned to their size in frame numbers. Lists are doubly linked through the cold
//! slots of block heads, by frame number; 0 ends a list (frame 0 is never free). Invariants: (1) a
//! frame is the head of a free block exactly if BUDDY is set, and its word says the order;
//! (2) two buddies of one zone are never both free at one order below the top; (3) a block lies in
//! one zone. Absent: counts, kinds, the choice of a zone ([`super::alloc`]). The zone's lock is
//! held throughout.

use super::flags::{FrameFlags, Kind, Word};
use super::meta::FrameTable;
use super::zone::MAX_ORDER;
use crate::addr::Pfn;
use ::alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::Ordering::{Relaxed, Release};

const ORDERS: usize = MAX_ORDER as usize + 1;

/// Free lists of one zone.
#[derive(Debug)]
pub(super) struct Buddy {
    runs: Vec<Range<u64>>,
    heads: [u32; ORDERS],
    blocks: [u32; ORDERS],
    free: u64,
}

impl Buddy {
    /// A zone of these runs of frames, none of them free yet.
    pub(super) const fn new(runs: Vec<Range<u64>>) -> Self {
        Self { runs, heads: [0; ORDERS], blocks: [0; ORDERS], free: 0 }
    }
    /// Free frames.
    pub(super) const fn free(&self) -> u64 {
        self.free
    }
    /// Free blocks of each order.
    pub(super) const fn blocks(&self) -> [u32; ORDERS] {
        self.blocks
    }

    /// Takes a block of `order` out, splitting a larger one if need be: the lower half is kept.
    pub(super) fn take(&mut self, table: &FrameTable, order: u8) -> Option<Pfn> {
        let found = (order..=MAX_ORDER).find(|&o| self.heads[usize::from(o)] != 0)?;
        let block = Pfn::new(u64::from(self.heads[usize::from(found)]));
        self.unlink(table, block, found);
        for half in (order..found).rev() {
            self.link(table, block.offset(1 << half), half);
        }
        self.free -= 1 << order;
        Some(block)
    }

    /// Puts a block back, merging it with its buddy as often as that is free.
    pub(super) fn put(&mut self, table: &FrameTable, mut block: Pfn, mut order: u8) {
        self.free += 1 << order;
        while order < MAX_ORDER {
            let buddy = Pfn::new(block.get() ^ 1 << order);
            if !self.holds(buddy, order) || !is_free_block(table, buddy, order) {
                break;
            }
            self.unlink(table, buddy, order);
            block = Pfn::new(block.get() & buddy.get());
            order += 1;
        }
        self.link(table, block, order);
    }

    /// Takes the one frame `pfn` out of the free block that it is in, if it is in one.
    pub(super) fn carve(&mut self, table: &FrameTable, pfn: Pfn) {
        let block_at = |order: u8| Pfn::new(pfn.get() & !((1 << order) - 1));
        let in_block = |&order: &u8| is_free_block(table, block_at(order), order);
        let Some(order) = (0..=MAX_ORDER).find(in_block) else { return };
        let block = block_at(order);
        self.unlink(table, block, order);
        self.free -= 1 << order;
        self.put_run(table, block.get()..pfn.get());
        self.put_run(table, pfn.get() + 1..block.get() + (1 << order));
    }

    /// Puts a run of frames back, in the largest blocks that are aligned.
    pub(super) fn put_run(&mut self, table: &FrameTable, run: Range<u64>) {
        let mut at = run.start;
        while at < run.end {
            let fits = (run.end - at).ilog2();
            let order = at.trailing_zeros().min(fits).min(u32::from(MAX_ORDER));
            #[allow(clippy::cast_possible_truncation, reason = "at most MAX_ORDER")]
            self.put(table, Pfn::new(at), order as u8);
            at += 1 << order;
        }
    }

    fn holds(&self, block: Pfn, order: u8) -> bool {
        let end = block.get() + (1 << order);
        self.runs.iter().any(|run| run.start <= block.get() && end <= run.end)
    }

    fn link(&mut self, table: &FrameTable, block: Pfn, order: u8) {
        let list = usize::from(order);
        let next = self.heads[list];
        let cold = table.cold(block);
        cold.owner.store(0, Relaxed);
        cold.index.store(next, Relaxed);
        if next != 0 {
            table.cold(Pfn::new(u64::from(next))).owner.store(number(block), Relaxed);
        }
        self.heads[list] = number(block);
        self.blocks[list] += 1;
        let word = Word::head(Kind::Free, order, FrameFlags::BUDDY);
        table.hot(block).word.store(word.0, Release);
    }

    fn unlink(&mut self, table: &FrameTable, block: Pfn, order: u8) {
        let list = usize::from(order);
        let cold = table.cold(block);
        let (prev, next) = (cold.owner.load(Relaxed), cold.index.load(Relaxed));
        if next != 0 {
            table.cold(Pfn::new(u64::from(next))).owner.store(prev, Relaxed);
        }
        if prev == 0 {
            self.heads[list] = next;
        } else {
            table.cold(Pfn::new(u64::from(prev))).index.store(next, Relaxed);
        }
        self.blocks[list] -= 1;
        let word = Word::head(Kind::Free, 0, FrameFlags::empty());
        table.hot(block).word.store(word.0, Release);
    }
}

fn is_free_block(table: &FrameTable, block: Pfn, order: u8) -> bool {
    let word = table.word(block);
    word.flags().contains(FrameFlags::BUDDY) && word.order() == order
}

/// Frame numbers fit in 32 bits: [`super::Frames::new`] takes no more.
#[allow(clippy::cast_possible_truncation, reason = "checked when the machine is made")]
const fn number(pfn: Pfn) -> u32 {
    pfn.get() as u32
}
