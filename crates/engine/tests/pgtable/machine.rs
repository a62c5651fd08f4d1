//! A machine for page-table tests: heap memory, injected failures, and a record of TLB flushes.

use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::frame::{Frames, FramesConfig, Kind};
use gup::host::{Host, Injection, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::observe::Silent;
use gup::pgtable::{Perms, Run, RunTo, Tables, Walkers, X86_64};
use gup::task::Task;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

/// 4 KiB, 2 MiB and 1 GiB.
pub(crate) const SPANS: [u64; 3] = [PAGE_SIZE, PAGE_SIZE << 9, PAGE_SIZE << 18];

/// The host.
pub(crate) struct Bench<const HARDWARE: bool = true> {
    memory: HeapMemory,
    frames: OnceLock<Arc<Frames<Bench<HARDWARE>>>>,
    /// Table allocations that still succeed.
    tables_left: AtomicU64,
    /// The flushes, in order.
    pub(crate) flushes: Mutex<Vec<VirtRange>>,
}

impl<const HARDWARE: bool> Host for Bench<HARDWARE> {
    const HARDWARE_WALKS: bool = HARDWARE;
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Silent;
    type Reclaim = Walkers;
    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
    fn inject(&self, point: Injection) -> bool {
        point == Injection::TableAlloc
            && self.tables_left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
    }
    fn relax(&self) {
        std::thread::yield_now();
    }
    fn flush_tlb(&self, root: Pfn, range: VirtRange) {
        let frames = self.frames.get().expect("set when the machine was made");
        let walkers = &Walkers::new();
        let tables = Tables { host: self, frames, root, walkers };
        let locked = |level| frames.is_locked(tables.walk_to(range.start, level).place.table);
        assert!((0..4).any(locked), "{range:?} is flushed with no table on its way locked");
        self.flushes.lock().unwrap().push(range);
    }
}

/// A host, its frames, and one address space. Frames that tests map need not exist: a leaf is only
/// a number.
pub(crate) struct Machine<const HARDWARE: bool = true> {
    pub(crate) host: Bench<HARDWARE>,
    pub(crate) frames: Arc<Frames<Bench<HARDWARE>>>,
    root: Pfn,
    walkers: Walkers,
}

impl Machine {
    /// One whose tables hardware walks.
    pub(crate) fn new(frames: u64) -> Self {
        Self::with(frames)
    }
}

impl<const HARDWARE: bool> Machine<HARDWARE> {
    /// `frames` frames for tables.
    pub(crate) fn with(frames: u64) -> Self {
        let host = Bench {
            memory: HeapMemory::new(frames),
            frames: OnceLock::new(),
            tables_left: AtomicU64::new(u64::MAX),
            flushes: Mutex::default(),
        };
        let frames = Arc::new(Frames::new(&FramesConfig::normal(frames)));
        assert!(host.frames.set(Arc::clone(&frames)).is_ok());
        let root = Tables::new_root(&host, &frames).expect("room for a root");
        Self { host, frames, root, walkers: Walkers::new() }
    }
    /// The address space.
    pub(crate) fn tables(&self) -> Tables<'_, Bench<HARDWARE>> {
        let (host, frames, root) = (&self.host, &*self.frames, self.root);
        Tables { host, frames, root, walkers: &self.walkers }
    }
    /// Frames that hold tables.
    pub(crate) fn table_frames(&self) -> u64 {
        self.frames.stats().of(Kind::Table)
    }
    /// Lets `count` more table allocations succeed.
    pub(crate) fn limit_tables(&self, count: u64) {
        self.host.tables_left.store(count, Relaxed);
    }
    /// The flushes since this was last asked.
    pub(crate) fn take_flushes(&self) -> Vec<VirtRange> {
        std::mem::take(&mut self.host.flushes.lock().unwrap())
    }
    /// Everything that `translate` says of `range`.
    pub(crate) fn runs(&self, range: VirtRange) -> Vec<Run> {
        let mut runs = Vec::new();
        self.tables().translate(range, |run| runs.push(run));
        runs
    }
}

/// `pages` pages from `addr`.
pub(crate) fn pages(addr: u64, pages: u64) -> VirtRange {
    VirtRange::from_len(VirtAddr::new(addr), pages << PAGE_SHIFT).expect("no overflow")
}

/// Readable and writable.
pub(crate) fn rw() -> Perms {
    Perms { write: true, ..Perms::default() }
}

/// Readable.
pub(crate) fn ro() -> Perms {
    Perms::default()
}

/// All addresses there are.
pub(crate) const EVERYTHING: VirtRange =
    VirtRange { start: VirtAddr::new(0), end: VirtAddr::new(u64::MAX) };

/// `count` pages from `start`, mapped to the frames from `pfn`.
pub(crate) fn mapped(start: u64, count: u64, pfn: u64, perms: Perms) -> Run {
    Run { start: VirtAddr::new(start), pages: count, to: RunTo::Frames(Pfn::new(pfn), perms) }
}
