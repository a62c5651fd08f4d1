//! The engine's host: the processor's memory, and nothing else.

use alloc::sync::Arc;
use core::marker::PhantomData;
use core::ops::Range;
use gup::host::{Host, Memory, Ticket, WaitMode, Woken};
use gup::observe::Silent;
use gup::pgtable::{Format, Walkers};
use gup::task::Task;

/// Which frames of the memory are for what.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The engine's tables.
    pub tables: Range<u64>,
    /// What the tables map: a number of 2 MiB blocks, within one GiB.
    pub data: Range<u64>,
}

/// The host.
#[derive(Debug)]
pub struct Bare<M, F> {
    memory: Arc<M>,
    format: PhantomData<F>,
}

impl<M, F> Bare<M, F> {
    /// One on `memory`.
    pub fn new(memory: &Arc<M>) -> Self {
        Self { memory: Arc::clone(memory), format: PhantomData }
    }
}

impl<M: Memory + 'static, F: Format> Host for Bare<M, F> {
    type Memory = M;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = F;
    type Observer = Silent;
    type Reclaim = Walkers;
    fn memory(&self) -> &M {
        &self.memory
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
}
