//! Who walks an address space's tables without the mmap lock: [`Walkers`], and what else a host may
//! keep count of them with: [`Reclaim`].
//!
//! A walk that holds no lock may stand in a table that is being freed. So it says that it is
//! *inside*, and whoever unlinked tables waits for everybody who was inside at that time, before
//! the frames are used for something else. *Slot*: one word, in lines of cache of its own, on which
//! the walkers of one thread count. It has two counters that take turns: walkers that come after
//! the unlinking count on the other one, so that they keep nobody waiting.
//!
//! Why it is enough: walker and waiter both change the slot's word, so one of them came first. If
//! the walker did, the waiter sees it, and waits; if the waiter did, the walker took over, with the
//! word, what was unlinked before (acquire and release; no order among several words is needed).
//! Threads that share a slot share its lines, and nothing else. Absent: sleeping; the wait is
//! bounded by the walks in progress.
//! Linux: `tlb_remove_table_sync_one` (`mm/mmu_gather.c`) waits for walkers by interrupting them,
//! 6.18.

use crate::rule::f;
use crate::sync::{AtomicU64, Padded, spin_loop};
use core::fmt::Debug;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// How freed tables wait for the walks that may be inside them. One value per address space.
///
/// Shipped: [`Walkers`]; `gup-hosted` has one on crossbeam's epochs.
pub trait Reclaim: Debug + Default + Send + Sync + 'static {
    /// While it lives, the tables that its holder can reach stay tables.
    type Inside<'w>;

    /// Begins a walk without the mmap lock, in the thread that the host gives this number
    /// ([`crate::host::Host::walker`]). The holder does not wait for anything.
    ///
    /// What was unlinked before a [`Reclaim::wait`] that does not see this walk is not found by it.
    fn enter(&self, thread: usize) -> Self::Inside<'_>;

    /// Waits until everybody who is inside now has left, calling `relax` meanwhile.
    ///
    /// The mmap lock is held for writing: there is one waiter at a time, and it is not inside.
    fn wait(&self, relax: impl FnMut());
}

/// Which of a slot's counters those who come now count on.
const TURN: u64 = 1 << 63;
/// One walker on the counter of either turn.
const UNITS: [u64; 2] = [1, 1 << 32];
/// The walkers on the counter of either turn.
const COUNTS: [u64; 2] = [(1 << 32) - 1, TURN - (1 << 32)];

/// The lock-free walkers of one address space, counted on `SLOTS` slots, of which each thread uses
/// one. More slots than threads cost memory, 128 bytes each, and time in [`Reclaim::wait`].
#[derive(Debug)]
pub struct Walkers<const SLOTS: usize = 1>([Padded<AtomicU64>; SLOTS]);

/// A walk in progress.
#[derive(Debug)]
#[must_use = "dropping it at once protects nothing"]
pub struct Inside<'w> {
    slot: &'w AtomicU64,
    unit: u64,
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        self.slot.fetch_sub(self.unit, Release);
    }
}

impl<const SLOTS: usize> Walkers<SLOTS> {
    /// Nobody.
    pub fn new() -> Self {
        const { assert!(SLOTS > 0, "walkers are counted somewhere") };
        Self(core::array::from_fn(|_| Padded(AtomicU64::new(0))))
    }
}

impl<const SLOTS: usize> Default for Walkers<SLOTS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const SLOTS: usize> Reclaim for Walkers<SLOTS> {
    type Inside<'w> = Inside<'w>;

    #[inline]
    fn enter(&self, thread: usize) -> Inside<'_> {
        let slot: &AtomicU64 = &self.0[thread % SLOTS];
        let mut seen = slot.load(Relaxed);
        loop {
            let unit = UNITS[turn(seen)];
            match slot.compare_exchange_weak(seen, seen + unit, AcqRel, Relaxed) {
                Ok(_) => return Inside { slot, unit },
                Err(now) => seen = now,
            }
        }
    }

    fn wait(&self, mut relax: impl FnMut()) {
        for slot in &self.0 {
            let counted = COUNTS[turn(slot.fetch_add(TURN, AcqRel))];
            while f::F_56.when(slot.load(Acquire) & counted != 0) {
                spin_loop();
                relax();
            }
        }
    }
}

#[inline]
const fn turn(word: u64) -> usize {
    (word >> 63) as usize
}
