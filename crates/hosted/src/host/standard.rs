//! [`Std`]: a host on std, with `parking_lot`'s locks.

use super::{Injector, Tickets, threads};
use crate::memory::HostedMemory;
use gup::host::{Host, Injection, Memory, Ticket, WaitMode, Woken};
use gup::observe::{Observer, Silent};
use gup::pgtable::{Format, Reclaim, Walkers, X86_64};
use gup::task::Task;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

/// As many threads walk without sharing a line of cache; more threads share.
const WALKERS: usize = 32;

/// A host on std: memory `M`, observer `O`, page-table format `F`; freed tables wait for walks
/// without locks by `R`.
///
/// Threads wait on [`Std::tickets`], which stores share. [`Std::injector`] makes allocations fail.
pub struct Std<M = HostedMemory, O = Silent, F = X86_64, R = Walkers<WALKERS>> {
    memory: M,
    observer: O,
    tickets: Arc<Tickets>,
    injector: Injector,
    types: PhantomData<fn() -> (F, R)>,
}

impl<M: fmt::Debug, O, F, R> fmt::Debug for Std<M, O, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Std").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Std {
    /// A host of `frames` frames of anonymous memory, which reports nothing.
    /// # Errors
    /// As [`HostedMemory::anonymous`].
    pub fn anonymous(frames: u64) -> io::Result<Self> {
        Ok(Self::new(HostedMemory::anonymous(frames)?, Silent))
    }
}

impl<M, O, F, R> Std<M, O, F, R> {
    /// A host of this memory, which reports to `observer`.
    pub fn new(memory: M, observer: O) -> Self {
        let tickets = Arc::new(Tickets::default());
        Self { memory, observer, tickets, injector: Injector::default(), types: PhantomData }
    }
    /// What threads wait for.
    pub fn tickets(&self) -> &Arc<Tickets> {
        &self.tickets
    }
    /// What is to fail.
    pub fn injector(&self) -> &Injector {
        &self.injector
    }
}

impl<M, O, F, R> Host for Std<M, O, F, R>
where
    M: Memory + 'static,
    O: Observer + 'static,
    F: Format,
    R: Reclaim,
{
    type Memory = M;
    type RawMutex = parking_lot::RawMutex;
    type RawRwLock = parking_lot::RawRwLock;
    type Format = F;
    type Observer = O;
    type Reclaim = R;
    const HARDWARE_WALKS: bool = false;

    #[inline]
    fn memory(&self) -> &M {
        &self.memory
    }
    #[inline]
    fn observer(&self) -> &O {
        &self.observer
    }
    fn wait(&self, ticket: Ticket, mode: WaitMode, task: &Task) -> Woken {
        self.tickets.wait(ticket, mode, task)
    }
    #[inline]
    fn walker(&self) -> usize {
        threads::number()
    }
    #[inline]
    fn inject(&self, point: Injection) -> bool {
        self.injector.fails(point)
    }
}
