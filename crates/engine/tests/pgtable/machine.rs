//! A machine for page-table tests: heap memory, injected table failures, and a record of TLB flushes.

use gup::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::frame::{Frames, FramesConfig, Kind};
use gup::host::{Host, Injection, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::observe::Silent;
use gup::pgtable::{Perms, Run, Tables, X86_64};
use gup::task::Task;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// 4 KiB, 2 MiB and 1 GiB.
pub(crate) const SPANS: [u64; 3] = [PAGE_SIZE, PAGE_SIZE << 9, PAGE_SIZE << 18];

/// The host.
pub(crate) struct Bench {
    memory: HeapMemory,
    /// Table allocations that still succeed.
    pub(crate) tables_left: AtomicU64,
    /// The flushes, in order.
    pub(crate) flushes: Mutex<Vec<VirtRange>>,
}

impl Host for Bench {
    type Memory = HeapMemory;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Silent;
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
    fn flush_tlb(&self, _root: Pfn, range: VirtRange) {
        self.flushes.lock().unwrap().push(range);
    }
}

/// A host, its frames, and one address space. Frames that tests map need not exist: tables say numbers.
pub(crate) struct Machine {
    pub(crate) host: Bench,
    pub(crate) frames: Frames<Bench>,
    root: Pfn,
}

impl Machine {
    /// `frames` frames for tables.
    pub(crate) fn new(frames: u64) -> Self {
        let host = Bench {
            memory: HeapMemory::new(frames),
            tables_left: AtomicU64::new(u64::MAX),
            flushes: Mutex::default(),
        };
        let frames = Frames::new(&FramesConfig::normal(frames));
        let root = Tables::new_root(&host, &frames).expect("room for a root");
        Self { host, frames, root }
    }
    /// The address space.
    pub(crate) fn tables(&self) -> Tables<'_, Bench> {
        Tables { host: &self.host, frames: &self.frames, root: self.root }
    }
    /// Frames that hold tables.
    pub(crate) fn table_frames(&self) -> u64 {
        self.frames.stats().of(Kind::Table)
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
