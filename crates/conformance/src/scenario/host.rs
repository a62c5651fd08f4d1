//! The machine's host for scenarios: heap memory, a log of everything, disks that are slow on
//! demand.
//!
//! Deterministic: nothing happens by itself. A page of a slow file is read when somebody waits for
//! it, or when the scenario says `complete`; until then it is only started.

use gup::addr::PAGE_SIZE;
use gup::host::{Host, ReadMode, Store, StoreRead, StoreWrite, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::observe::{Event, Observer};
use gup::pgtable::{Walkers, X86_64};
use gup::rule::Rule;
use gup::task::Task;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// The most that is kept of one step.
const KEPT: usize = 1 << 18;
/// Tickets below are the engine's own.
const FIRST_TICKET: u64 = 1 << 32;

/// Something that happened while a step was played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The engine did or decided something.
    Event(Event),
    /// A slow disk was asked for a page, and began to read it.
    ReadStarted(u64),
    /// A slow disk delivered a page to a reader that would not come back for it.
    ReadUnderLock(u64),
    /// Somebody waited for a page, and it came.
    Waited,
    /// Another thread acts now.
    Meanwhile,
    /// A caller broke what the kernel asserts.
    Bug(Rule),
    /// The kernel would have printed a warning.
    Warned(Rule),
}

/// All that happened since the last step ended.
#[derive(Debug, Default)]
pub(super) struct Log {
    seen: Mutex<Vec<Seen>>,
}

impl Log {
    pub(super) fn add(&self, seen: Seen) {
        let mut all = self.seen.lock();
        if all.len() < KEPT {
            all.push(seen);
        }
    }
    /// What happened, which is forgotten here.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }
}

/// Sends the engine's events to the log.
#[derive(Debug)]
pub struct Recorder(Arc<Log>);

impl Observer for Recorder {
    const ON: bool = true;
    fn event(&self, event: &Event, _: &'static Location<'static>) {
        self.0.add(Seen::Event(*event));
    }
}

/// Reads that were started, on all slow disks.
#[derive(Debug, Default)]
pub(super) struct Desk {
    orders: Mutex<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    issued: u64,
    /// By disk and page: the order, and whether it is done.
    pages: BTreeMap<(u32, u64), (Ticket, bool)>,
}

impl Desk {
    /// The order for a page: done or not.
    fn order(&self, disk: u32, page: u64) -> (Ticket, bool, bool) {
        let mut orders = self.orders.lock();
        if let Some((ticket, done)) = orders.pages.get(&(disk, page)) {
            return (*ticket, *done, false);
        }
        let ticket = Ticket(FIRST_TICKET + orders.issued);
        orders.issued += 1;
        orders.pages.insert((disk, page), (ticket, false));
        (ticket, false, true)
    }
    fn finish(&self, which: impl Fn(u32, Ticket) -> bool) {
        for ((disk, _), (ticket, done)) in &mut self.orders.lock().pages {
            *done |= which(*disk, *ticket);
        }
    }
    /// Lets all reads that were started on `disk` be done.
    pub(super) fn complete(&self, disk: u32) {
        self.finish(|of, _| of == disk);
    }
}

/// The host.
pub struct PlayHost {
    memory: HeapMemory,
    recorder: Recorder,
    pub(super) log: Arc<Log>,
    pub(super) desk: Arc<Desk>,
    meanwhile: Mutex<Option<(u64, Meanwhile)>>,
}

/// What another thread does during a call.
pub(super) type Meanwhile = Box<dyn FnOnce() + Send>;

impl fmt::Debug for PlayHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlayHost").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl PlayHost {
    pub(super) fn new(frames: u64) -> Self {
        let log = Arc::new(Log::default());
        let recorder = Recorder(Arc::clone(&log));
        let (desk, meanwhile) = (Arc::default(), Mutex::default());
        Self { memory: HeapMemory::new(frames), recorder, log, desk, meanwhile }
    }
}

impl PlayHost {
    /// Lets `act` be done at the `after`-th rest of the engine from now on.
    pub(super) fn arm(&self, after: u64, act: Meanwhile) {
        *self.meanwhile.lock() = Some((after, act));
    }
    /// Forgets what was to be done; whether it was still to be done.
    pub(super) fn disarm(&self) -> bool {
        self.meanwhile.lock().take().is_some()
    }
}

impl Host for PlayHost {
    type Memory = HeapMemory;
    type RawMutex = parking_lot::RawMutex;
    type RawRwLock = parking_lot::RawRwLock;
    type Format = X86_64;
    type Observer = Recorder;
    type Reclaim = Walkers;

    fn memory(&self) -> &HeapMemory {
        &self.memory
    }
    fn observer(&self) -> &Recorder {
        &self.recorder
    }
    fn wait(&self, ticket: Ticket, mode: WaitMode, task: &Task) -> Woken {
        let signals = self.signals(task);
        let interrupted = match mode {
            WaitMode::Uninterruptible => false,
            WaitMode::Killable => signals.fatal,
            WaitMode::Interruptible => signals.any,
        };
        if interrupted {
            return Woken::Signal;
        }
        self.desk.finish(|_, of| of == ticket);
        self.log.add(Seen::Waited);
        Woken::Ready
    }
    fn relax(&self) {
        let mut armed = self.meanwhile.lock();
        let due = match armed.as_mut() {
            Some((left, _)) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => false,
        };
        let act = if due { armed.take() } else { None };
        drop(armed);
        if let Some((_, act)) = act {
            self.log.add(Seen::Meanwhile);
            act();
        }
    }
    fn bug(&self, rule: Rule) {
        self.log.add(Seen::Bug(rule));
    }
    fn warn(&self, rule: Rule) {
        self.log.add(Seen::Warned(rule));
    }
}

/// A scenario's file on a disk, slow or not.
#[derive(Debug)]
pub(super) struct Disk {
    /// Its number.
    pub(super) number: u32,
    /// What it holds, again and again; zeroes if empty.
    pub(super) fill: Vec<u8>,
    /// Reads take their time.
    pub(super) slow: bool,
    /// Pages that were written.
    pub(super) written: Mutex<BTreeMap<u64, Vec<u8>>>,
    /// Pages that were discarded.
    pub(super) holes: Mutex<Vec<std::ops::Range<u64>>>,
    pub(super) desk: Arc<Desk>,
    pub(super) log: Arc<Log>,
}

impl Disk {
    fn bytes(&self, index: u64, into: &mut [u8]) {
        if let Some(page) = self.written.lock().get(&index)
            && page.len() == into.len()
        {
            into.copy_from_slice(page);
            return;
        }
        if self.holes.lock().iter().any(|hole| hole.contains(&index)) {
            into.fill(0);
            return;
        }
        let start = index.wrapping_mul(PAGE_SIZE);
        for (byte, at) in into.iter_mut().zip(start..) {
            let len = (self.fill.len() as u64).max(1);
            *byte = self.fill.get((at % len) as usize).copied().unwrap_or(0);
        }
    }
}

impl Store for Disk {
    fn read_page(&self, index: u64, mode: ReadMode, into: &mut [u8]) -> StoreRead {
        if self.slow {
            let (ticket, done, new) = self.desk.order(self.number, index);
            if new {
                self.log.add(Seen::ReadStarted(index));
            }
            match mode {
                ReadMode::Start if !done => return StoreRead::NotYet(ticket),
                ReadMode::Block if !done => {
                    self.desk.finish(|_, of| of == ticket);
                    self.log.add(Seen::ReadUnderLock(index));
                }
                ReadMode::Start | ReadMode::Block => {}
            }
        }
        self.bytes(index, into);
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.written.lock().insert(index, from.to_vec());
        StoreWrite::Done
    }
    fn discard(&self, first: u64, end: u64) {
        self.written.lock().retain(|index, _| !(first..end).contains(index));
        self.holes.lock().push(first..end);
    }
}
