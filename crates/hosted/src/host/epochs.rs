//! [`Epochs`]: crossbeam's epochs behind the wait for walkers.
//!
//! A walk pins the thread's epoch; whoever unlinked tables defers a note, and waits until it
//! arrives, which is when every thread that was pinned then has left. All address spaces of this
//! process share one collector, so that a wait also waits for walks elsewhere.
//!
//! Beside [`gup::pgtable::Walkers`]: a walk begins with one locked instruction and ends with none,
//! but each thread's 128th walk goes through the list of all threads and may move the epoch on, a
//! line that all of them read; and a wait allocates, and goes through several epochs. Absent:
//! tables that are freed later, by somebody else: counts of frames stay exact after each call.

use crossbeam_epoch::{Collector, Guard, LocalHandle};
use gup::pgtable::Reclaim;
use gup::rule::f;
use std::hint::spin_loop;
use std::sync::Arc;
#[cfg(not(crossbeam_loom))]
use std::{sync::LazyLock, thread_local};

#[cfg(crossbeam_loom)]
use loom::{sync::atomic::AtomicBool, thread_local};
#[cfg(not(crossbeam_loom))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};

#[cfg(not(crossbeam_loom))]
static COLLECTOR: LazyLock<Collector> = LazyLock::new(Collector::new);
#[cfg(crossbeam_loom)]
loom::lazy_static! {
    static ref COLLECTOR: Collector = Collector::new();
}

thread_local! {
    static HANDLE: LocalHandle = COLLECTOR.register();
}

/// The walkers of every address space of this process, by the epochs of the threads they run in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Epochs;

impl Reclaim for Epochs {
    type Inside<'w> = Guard;

    #[inline]
    fn enter(&self, _thread: usize) -> Guard {
        // A thread that is ending has no handle any more.
        HANDLE.try_with(LocalHandle::pin).unwrap_or_else(|_| COLLECTOR.register().pin())
    }

    fn wait(&self, mut relax: impl FnMut()) {
        let left = Arc::new(AtomicBool::new(false));
        let note = Arc::clone(&left);
        let guard = self.enter(0);
        guard.defer(move || note.store(true, Release));
        guard.flush();
        drop(guard);
        while f::F_56.when(!left.load(Acquire)) {
            spin_loop();
            relax();
            // Moves the epoch on, if it can be, and delivers notes.
            self.enter(0).flush();
        }
    }
}
