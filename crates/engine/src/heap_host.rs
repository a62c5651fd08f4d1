//! A ready host on heap memory: for examples, tests of programs that embed the engine, and `no_std`
//! systems.
//!
//! Absent: anything slow. A ticket counts as ready at once, so a store that answers `NotYet` is
//! asked again.

use crate::host::{Host, Ticket, WaitMode, Woken};
use crate::memory::HeapMemory;
use crate::observe::{Observer, Silent};
use crate::pgtable::{Walkers, X86_64};
use crate::task::Task;

/// Heap memory, spin locks, x86-64 tables.
#[derive(Debug)]
pub struct HeapHost<O: Observer = Silent> {
    memory: HeapMemory,
    observer: O,
}

impl HeapHost<Silent> {
    /// A host with `frames` frames that observes nothing.
    pub fn new(frames: u64) -> Self {
        Self::observed(frames, Silent)
    }
}

impl<O: Observer> HeapHost<O> {
    /// A host with `frames` frames whose events go to `observer`.
    pub fn observed(frames: u64, observer: O) -> Self {
        Self { memory: HeapMemory::new(frames), observer }
    }
}

impl<O: Observer + 'static> Host for HeapHost<O> {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = O;
    type Reclaim = Walkers;

    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &O {
        &self.observer
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        core::hint::spin_loop();
        Woken::Ready
    }
}
