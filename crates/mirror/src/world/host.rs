//! The host of a mirrored machine: ghost memory, nobody to wait for, and a recorder of decisions.
//!
//! A wait is over at once: what a process would have to wait for (a disk, a userfault handler) is
//! taken to come. The stand-in for userfault handlers answers then ([`super::userfault`]).

use crate::kernel::{Facts, Forced};
use crate::world::ghost::GhostMemory;
use crate::world::userfault::Inbox;
use gup::flags::FaultFlags;
use gup::host::{Host, Memory, Signals, Ticket, WaitMode, Woken};
use gup::linux::Kernel;
use gup::mm::Mm;
use gup::observe::{Event, FaultEnd, Observer};
use gup::pgtable::{Walkers, X86_64};
use gup::rule::{Rule, c};
use gup::task::Task;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// For how many pages decisions are kept.
const KEPT: usize = 1 << 16;

/// More faults than this per frame are taken by no walk that ends.
const FAULTS_PER_FRAME: u64 = 16;

/// The host of a mirrored machine.
pub struct MirrorHost {
    memory: GhostMemory,
    recorder: Recorder,
    inbox: Arc<Inbox>,
    mm: OnceLock<Weak<Mm<Self>>>,
    /// Faults taken since the machine was built.
    faults: AtomicU64,
    /// The kernel whose rules apply, if they are not those of 6.18.
    kernel: Option<Kernel>,
    /// Whether /proc/PID/mem goes past permissions.
    forced: Forced,
}

impl MirrorHost {
    /// A host with `frames` frames of ghost memory, under the kernel of `facts`.
    pub fn new(frames: usize, facts: &Facts) -> Self {
        let (recorder, inbox) = (Recorder::default(), Arc::default());
        let (mm, faults) = (OnceLock::new(), AtomicU64::new(0));
        let (kernel, forced) = (facts.older(), facts.forced);
        Self { memory: GhostMemory::new(frames), recorder, inbox, mm, faults, kernel, forced }
    }

    /// Whether /proc/PID/mem goes past permissions.
    pub(crate) const fn forced(&self) -> Forced {
        self.forced
    }

    /// Tells the host which address space it answers userfaults in; the first one stays.
    pub(super) fn answer_in(&self, mm: &Arc<Mm<Self>>) {
        let _ = self.mm.set(Arc::downgrade(mm));
    }

    /// Where messages to userfaultfd handlers go.
    pub(super) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// What was recorded.
    pub const fn recorder(&self) -> &Recorder {
        &self.recorder
    }
}

impl Host for MirrorHost {
    type Memory = GhostMemory;
    type RawMutex = parking_lot::RawMutex;
    type RawRwLock = parking_lot::RawRwLock;
    type Format = X86_64;
    type Observer = Recorder;
    type Reclaim = Walkers;
    const HARDWARE_WALKS: bool = false;

    fn memory(&self) -> &GhostMemory {
        &self.memory
    }

    fn observer(&self) -> &Recorder {
        &self.recorder
    }

    fn kernel(&self) -> Option<&Kernel> {
        self.kernel.as_ref()
    }

    fn wait(&self, _ticket: Ticket, _mode: WaitMode, _task: &Task) -> Woken {
        if let Some(mm) = self.mm.get().and_then(Weak::upgrade) {
            self.inbox.answer(&mm);
        }
        Woken::Ready
    }

    fn relax(&self) {
        self.faults.fetch_add(1, Relaxed);
    }

    /// A page table that contradicts itself (a torn read) can make the kernel's loop take the same
    /// fault for ever; only a signal ends it there, and so here.
    fn signals(&self, task: &Task) -> Signals {
        let many = FAULTS_PER_FRAME.saturating_mul(self.memory.frames());
        if self.faults.load(Relaxed) > many {
            return Signals { fatal: true, any: true };
        }
        task.signals()
    }
}

/// What the engine decided about each page while it served a fault there, and how the last fault
/// ended.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Record>);

/// What the engine decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The last rule that decided in a fault, by page address; for the first pages only.
    pub in_fault: BTreeMap<u64, Rule>,
    /// How faults that failed ended, by page address; for the first pages only.
    pub failed: BTreeMap<u64, FaultEnd>,
    /// The address that each rule decided about last.
    pub last: BTreeMap<Rule, u64>,
    /// The rule that decided last of all.
    pub latest: Option<Rule>,
    /// What was done, counted.
    pub tally: Tally,
    now: Option<u64>,
    retried: bool,
}

/// What the engine did, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Faults served without waiting, as `getrusage` counts them.
    pub minor: u64,
    /// Faults that waited.
    pub major: u64,
    /// Folios moved to other frames.
    pub moved_folios: u64,
    /// Pages moved to other frames, as `pgmigrate_success` counts them.
    pub moved_pages: u64,
}

impl Recorder {
    /// Forgets everything.
    pub fn clear(&self) {
        *self.record() = Record::default();
    }

    /// What was recorded since the last [`Recorder::clear`].
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Recorder {
    const ON: bool = true;

    fn event(&self, event: &Event, _at: &'static Location<'static>) {
        let mut record = self.record();
        match event {
            Event::Fault { addr, flags } => {
                record.now = Some(addr.page_floor().get());
                record.retried = flags.contains(FaultFlags::TRIED);
            }
            Event::Moved { pages, .. } => {
                record.tally.moved_folios += 1;
                record.tally.moved_pages += pages;
            }
            Event::FaultEnd { what, .. } => {
                match what {
                    FaultEnd::Minor | FaultEnd::Completed if !record.retried => {
                        record.tally.minor += 1;
                    }
                    FaultEnd::Minor | FaultEnd::Completed | FaultEnd::Major => {
                        record.tally.major += 1;
                    }
                    FaultEnd::Kept | FaultEnd::Retry | FaultEnd::Oom | FaultEnd::Sigbus => {}
                    FaultEnd::Sigsegv | FaultEnd::HwPoison | FaultEnd::Fallback => {}
                }
                let failed = match what {
                    FaultEnd::Oom | FaultEnd::Sigbus | FaultEnd::Sigsegv => true,
                    FaultEnd::HwPoison | FaultEnd::Fallback => true,
                    FaultEnd::Minor | FaultEnd::Major | FaultEnd::Kept => false,
                    FaultEnd::Retry | FaultEnd::Completed => false,
                };
                let page = record.now.take();
                if let Some(page) = page.filter(|_| failed && record.failed.len() < KEPT) {
                    record.failed.insert(page, *what);
                }
            }
            Event::Rule { rule, addr } => {
                record.last.insert(*rule, addr.get());
                record.latest = Some(*rule);
                // Accounting decides nothing about the page.
                if let Some(page) = record.now.filter(|_| *rule != c::C_54)
                    && (record.in_fault.len() < KEPT || record.in_fault.contains_key(&page))
                {
                    record.in_fault.insert(page, *rule);
                }
            }
            _ => {}
        }
    }
}
