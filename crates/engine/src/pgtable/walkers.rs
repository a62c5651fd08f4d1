//! Who walks an address space's tables without the mmap lock: [`Walkers`], and what else a host may
//! know them by: [`Reclaim`].
//!
//! A walk that holds no lock may stand in a table that is being freed. So it says that it is
//! *inside*, and whoever unlinked tables waits for everybody who was inside at that time, before
//! the frames are used for something else.
//!
//! *Slot*: a sequence of one thread's, in lines of cache of its own, that is odd during its walks:
//! one locked instruction to begin, none to end; waiters only read it. *Crowd*: what all others
//! count on, those without a slot, and those whose slot is taken (two threads with one number; a
//! walk within a walk). It has two counters that take turns: who comes after the unlinking counts
//! on the other one, and keeps nobody waiting.
//!
//! Why it is enough: a walker says that it is inside, has a full barrier, and reads entries; the
//! waiter unlinks, has a full barrier, and looks who is inside. Whichever barrier comes second, its
//! thread sees what the other did: the waiter that there is a walker, or the walker that there is
//! no table. Absent: sleeping; the wait is bounded by the walks in progress.
//! Linux: `tlb_remove_table_sync_one` (`mm/mmu_gather.c`) waits for walkers by interrupting them,
//! 6.18.

use crate::rule::f;
use crate::sync::{AtomicU32, AtomicU64, Padded, fence, full_barrier_after_atomic, spin_loop};
use core::fmt::Debug;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};

/// How freed tables wait for the walks that may be inside them. One value per address space.
///
/// Shipped: [`Walkers`]; `gup-hosted` has one on crossbeam's epochs.
pub trait Reclaim: Debug + Default + Send + Sync + 'static {
    /// While it lives, the tables that its holder can reach stay tables.
    type Inside<'w>;

    /// Begins a walk without the mmap lock, in the thread that the host gives this number
    /// ([`crate::host::Host::walker`]). The holder does not wait for anything.
    ///
    /// Either a [`Reclaim::wait`] waits for this walk, or the walk does not find what was unlinked
    /// before.
    fn enter(&self, thread: usize) -> Self::Inside<'_>;

    /// Waits until everybody who is inside now has left, calling `relax` meanwhile.
    ///
    /// The mmap lock is held for writing: there is one waiter at a time, and it is not inside.
    fn wait(&self, relax: impl FnMut());
}

/// Which of the crowd's counters those who come now count on.
const TURN: u64 = 1 << 63;
/// One walker on the counter of either turn.
const UNITS: [u64; 2] = [1, 1 << 32];
/// The walkers on the counter of either turn.
const COUNTS: [u64; 2] = [(1 << 32) - 1, TURN - (1 << 32)];

/// The lock-free walkers of one address space: a slot for each thread whose number is below
/// `SLOTS`, 128 bytes each, and the crowd.
#[derive(Debug)]
pub struct Walkers<const SLOTS: usize = 0> {
    slots: [Padded<AtomicU32>; SLOTS],
    crowd: Padded<AtomicU64>,
}

/// A walk in progress.
#[derive(Debug)]
#[must_use = "dropping it at once protects nothing"]
pub struct Inside<'w>(Place<'w>);

#[derive(Debug)]
enum Place<'w> {
    /// And what its sequence is now.
    Slot(&'w AtomicU32, u32),
    Crowd(&'w AtomicU64, u64),
}

impl Drop for Inside<'_> {
    #[inline]
    fn drop(&mut self) {
        match self.0 {
            Place::Slot(slot, odd) => slot.store(odd.wrapping_add(1), Release),
            Place::Crowd(crowd, unit) => {
                crowd.fetch_sub(unit, Release);
            }
        }
    }
}

impl<const SLOTS: usize> Default for Walkers<SLOTS> {
    fn default() -> Self {
        let slots = core::array::from_fn(|_| Padded(AtomicU32::new(0)));
        Self { slots, crowd: Padded(AtomicU64::new(0)) }
    }
}

impl<const SLOTS: usize> Walkers<SLOTS> {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }
    #[inline]
    fn join_crowd(&self) -> Inside<'_> {
        let mut seen = self.crowd.load(Relaxed);
        loop {
            let unit = UNITS[turn(seen)];
            match self.crowd.compare_exchange_weak(seen, seen + unit, AcqRel, Relaxed) {
                Ok(_) => return Inside(Place::Crowd(&self.crowd, unit)),
                Err(now) => seen = now,
            }
        }
    }
}

impl<const SLOTS: usize> Reclaim for Walkers<SLOTS> {
    type Inside<'w> = Inside<'w>;

    #[inline]
    fn enter(&self, thread: usize) -> Inside<'_> {
        let slot = self.slots.get(thread).and_then(|slot| take(slot));
        let inside = slot.unwrap_or_else(|| self.join_crowd());
        full_barrier_after_atomic();
        inside
    }

    fn wait(&self, mut relax: impl FnMut()) {
        fence(SeqCst);
        let mut until = |left: &dyn Fn() -> bool| {
            while f::F_56.when(!left()) {
                spin_loop();
                relax();
            }
        };
        for slot in &self.slots {
            let seen = slot.load(Acquire);
            until(&|| seen.is_multiple_of(2) || slot.load(Acquire) != seen);
        }
        let counted = COUNTS[turn(self.crowd.fetch_add(TURN, AcqRel))];
        until(&|| self.crowd.load(Acquire) & counted == 0);
    }
}

/// Makes the sequence odd, unless it is.
#[inline]
fn take(slot: &AtomicU32) -> Option<Inside<'_>> {
    let even = slot.load(Relaxed);
    let free =
        even.is_multiple_of(2) && slot.compare_exchange(even, even + 1, AcqRel, Relaxed).is_ok();
    free.then(|| Inside(Place::Slot(slot, even + 1)))
}

#[inline]
const fn turn(word: u64) -> usize {
    (word >> 63) as usize
}
