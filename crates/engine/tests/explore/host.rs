//! A host whose every callback and every lock is a point of the [`crate::scheduler`].
//!
//! Behind a copy of pages somebody else runs readily, since what is stored then may be lost.
//! The memory also looks that whatever is walked as a page table is one (row F-56).

use crate::scheduler::{blocked, hot_point, point, walks};
use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::frame::Kind;
use gup::host::{Gap, Host, Injection, Memory, Signals, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::mm::Machine;
use gup::observe::Silent;
use gup::pgtable::{Walkers, X86_64};
use gup::task::Task;
use std::sync::atomic::AtomicU64;
use std::sync::{OnceLock, Weak};

/// A mutex that hands over while it is another's.
pub struct Turnstile(spin::Mutex<()>);

// SAFETY: `lock_api` asks for exclusion, which the spin lock inside gives.
unsafe impl lock_api::RawMutex for Turnstile {
    const INIT: Self = Self(<spin::Mutex<()> as lock_api::RawMutex>::INIT);
    type GuardMarker = lock_api::GuardSend;
    fn lock(&self) {
        point();
        while !lock_api::RawMutex::try_lock(&self.0) {
            blocked();
        }
    }
    fn try_lock(&self) -> bool {
        lock_api::RawMutex::try_lock(&self.0)
    }
    unsafe fn unlock(&self) {
        // SAFETY: the caller holds it.
        unsafe { lock_api::RawMutex::unlock(&self.0) };
        point();
    }
}

/// A reader-writer lock that hands over while it is another's.
pub struct Gate(spin::RwLock<()>);

// SAFETY: as above: the spin lock inside excludes.
unsafe impl lock_api::RawRwLock for Gate {
    const INIT: Self = Self(<spin::RwLock<()> as lock_api::RawRwLock>::INIT);
    type GuardMarker = lock_api::GuardSend;
    fn lock_shared(&self) {
        point();
        while !lock_api::RawRwLock::try_lock_shared(&self.0) {
            blocked();
        }
    }
    fn try_lock_shared(&self) -> bool {
        lock_api::RawRwLock::try_lock_shared(&self.0)
    }
    unsafe fn unlock_shared(&self) {
        // SAFETY: the caller holds it for reading.
        unsafe { lock_api::RawRwLock::unlock_shared(&self.0) };
        point();
    }
    fn lock_exclusive(&self) {
        point();
        while !lock_api::RawRwLock::try_lock_exclusive(&self.0) {
            blocked();
        }
    }
    fn try_lock_exclusive(&self) -> bool {
        lock_api::RawRwLock::try_lock_exclusive(&self.0)
    }
    unsafe fn unlock_exclusive(&self) {
        // SAFETY: the caller holds it for writing.
        unsafe { lock_api::RawRwLock::unlock_exclusive(&self.0) };
        point();
    }
}

// SAFETY: the spin lock inside lets no writer in between.
unsafe impl lock_api::RawRwLockDowngrade for Gate {
    unsafe fn downgrade(&self) {
        // SAFETY: the caller holds it for writing.
        unsafe { lock_api::RawRwLockDowngrade::downgrade(&self.0) };
    }
}

/// Heap memory that is a point at every access.
pub struct WatchedMemory {
    heap: HeapMemory,
    machine: OnceLock<Weak<Machine<ExploreHost>>>,
}

impl Memory for WatchedMemory {
    fn frames(&self) -> u64 {
        self.heap.frames()
    }
    fn table(&self, pfn: Pfn) -> &[AtomicU64; 512] {
        point();
        if let Some(machine) = self.machine.get().and_then(Weak::upgrade) {
            let kind = machine.frames().kind(pfn);
            let fine = kind == Kind::Table || std::thread::panicking();
            assert!(fine, "{pfn:?} is walked as a table, and is {kind:?} (F-56)");
        }
        self.heap.table(pfn)
    }
    fn zero(&self, pfn: Pfn, count: u64) {
        point();
        self.heap.zero(pfn, count);
        point();
    }
    fn copy(&self, to: Pfn, from: Pfn, count: u64) {
        point();
        self.heap.copy(to, from, count);
        hot_point();
    }
    fn read(&self, pfn: Pfn, offset: usize, into: &mut [u8]) {
        point();
        self.heap.read(pfn, offset, into);
        point();
    }
    fn write(&self, pfn: Pfn, offset: usize, from: &[u8]) {
        point();
        self.heap.write(pfn, offset, from);
        point();
    }
}

/// The host.
pub struct ExploreHost {
    memory: WatchedMemory,
    silent: Silent,
}

impl ExploreHost {
    /// A host with `frames` frames.
    pub fn new(frames: u64) -> Self {
        let memory = WatchedMemory { heap: HeapMemory::new(frames), machine: OnceLock::new() };
        Self { memory, silent: Silent }
    }
    /// From now on, walked tables are looked up in the frames of `machine`, which this host is of.
    pub fn watch(&self, machine: Weak<Machine<Self>>) {
        let _once = self.memory.machine.set(machine);
    }
}

impl Host for ExploreHost {
    type Memory = WatchedMemory;
    type RawMutex = Turnstile;
    type RawRwLock = Gate;
    type Format = X86_64;
    type Observer = Silent;
    type Reclaim = Walkers;

    fn memory(&self) -> &WatchedMemory {
        &self.memory
    }
    fn observer(&self) -> &Silent {
        &self.silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        blocked();
        Woken::Ready
    }
    fn signals(&self, task: &Task) -> Signals {
        point();
        task.signals()
    }
    fn inject(&self, _: Injection) -> bool {
        point();
        false
    }
    fn relax(&self) {
        blocked();
    }
    fn gap(&self, gap: Gap) {
        match gap {
            Gap::Contended => blocked(),
            Gap::Lock => point(),
            Gap::Entered => walks(true),
            Gap::Seen | Gap::Gathered => {
                walks(false);
                hot_point();
            }
            Gap::Counted => {
                hot_point();
                walks(true);
            }
            Gap::Emptied | Gap::Unpinned | Gap::Unlinked | Gap::Left => hot_point(),
        }
    }
    fn flush_tlb(&self, _: Pfn, _: VirtRange) {
        point();
    }
    fn flush_page(&self, _: Pfn, _: VirtAddr) {
        point();
    }
}
