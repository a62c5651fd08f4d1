//! Who walks an address space's tables without the mmap lock: [`Walkers`].
//!
//! A walk that holds no lock may stand in a table that is being freed. So it says that it is
//! *inside*, and whoever unlinked tables waits for everybody who was inside at that time, before
//! the frames are used for something else. Two counters take turns: walkers that come after the
//! unlinking count on the other one, so that they keep nobody waiting.
//!
//! Why it is enough: a walker adds itself, then looks at the turn again; the waiter changes the
//! turn, then looks at the counter (all sequentially consistent). If the walker still saw the old
//! turn, the waiter sees the walker; if it saw the new one, it also sees what was unlinked before.
//! Absent: sleeping; the wait is bounded by the walks in progress.
//! Linux: `tlb_remove_table_sync_one` (`mm/mmu_gather.c`) waits for walkers by interrupting them,
//! 6.18.

use crate::rule::f;
use crate::sync::{AtomicU64, ordered, spin_loop};
use core::sync::atomic::Ordering::{Acquire, Release, SeqCst};

/// The lock-free walkers of one address space.
#[derive(Debug, Default)]
pub struct Walkers {
    /// How often a waiter came; the low bit says which counter is in use.
    turn: AtomicU64,
    inside: [AtomicU64; 2],
}

/// While it lives, the tables that its holder can reach stay tables.
#[derive(Debug)]
#[must_use = "dropping it at once protects nothing"]
pub struct Inside<'w>(&'w AtomicU64);

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.fetch_sub(1, Release);
    }
}

impl Walkers {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a walk without the mmap lock. The holder does not wait for anything.
    #[inline]
    pub fn enter(&self) -> Inside<'_> {
        loop {
            let turn = self.turn.load(Acquire);
            let counter = &self.inside[turn as usize % 2];
            counter.fetch_add(1, SeqCst);
            ordered();
            if self.turn.load(SeqCst) == turn {
                return Inside(counter);
            }
            // A waiter came in between and may not have seen us.
            counter.fetch_sub(1, Release);
        }
    }

    /// Waits until everybody who is inside now has left, calling `relax` meanwhile.
    ///
    /// The mmap lock is held for writing: there is one waiter at a time.
    pub fn wait(&self, mut relax: impl FnMut()) {
        let turn = self.turn.fetch_add(1, SeqCst);
        ordered();
        while f::F_56.when(self.inside[turn as usize % 2].load(SeqCst) != 0) {
            spin_loop();
            relax();
        }
    }
}
