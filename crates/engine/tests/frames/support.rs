//! A host of nothing but injected failures, and short ways to say things.

use gup::addr::Pfn;
use gup::frame::{AllocFlags, Frames, FramesConfig, Kind};
use gup::host::{Host, Injection, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::observe::Silent;
use gup::pgtable::{Walkers, X86_64};
use gup::task::Task;
use std::sync::Mutex;

pub(crate) struct Bare {
    memory: HeapMemory,
    pub(crate) fail: Option<Injection>,
    pub(crate) passed: Mutex<Vec<Injection>>,
}

impl Bare {
    pub(crate) fn new() -> Self {
        Self { memory: HeapMemory::new(0), fail: None, passed: Mutex::default() }
    }
    pub(crate) fn failing(point: Injection) -> Self {
        Self { fail: Some(point), ..Self::new() }
    }
}

impl Host for Bare {
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
        self.passed.lock().expect("no panic").push(point);
        self.fail == Some(point)
    }
}

/// One normal zone of `count` frames.
pub(crate) fn frames(count: u64) -> Frames<Bare> {
    Frames::new(&FramesConfig::normal(count))
}

/// An anonymous folio from anywhere.
pub(crate) fn anon(frames: &Frames<Bare>, order: u8) -> Pfn {
    frames.alloc(&Bare::new(), order, Kind::Anon, AllocFlags::MOVABLE).expect("room")
}

/// Runs `misuse`, which a debug build refuses by panic and a release build answers; what it did
/// either way is looked at afterwards.
pub(crate) fn misused<T>(misuse: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(misuse)).ok()
}
