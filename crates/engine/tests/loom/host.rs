//! A host whose mutexes loom knows: enough for [`gup::frame::Frames`].

use gup::addr::Pfn;
use gup::frame::{AllocFlags, Frames, FramesConfig, Kind};
use gup::host::{Host, Ticket, WaitMode, Woken};
use gup::memory::HeapMemory;
use gup::observe::Silent;
use gup::pgtable::{Walkers, X86_64};
use gup::task::Task;
use loom::sync::atomic::{AtomicUsize, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};
use loom::sync::{Mutex, MutexGuard};
use std::sync::OnceLock;

/// loom's mutex, made when it is first used (loom's types are no constants), with its guard parked
/// beside it while it is held.
pub struct LoomMutex(OnceLock<Inner>);

struct Inner {
    mutex: &'static Mutex<()>,
    parked: std::sync::Mutex<Parked>,
}

#[derive(Default)]
struct Parked(Option<MutexGuard<'static, ()>>);

// SAFETY: a guard is moved to whoever unlocks, and loom runs all its threads on one.
unsafe impl Send for Parked {}

impl LoomMutex {
    fn inner(&self) -> &Inner {
        self.0.get_or_init(|| Inner {
            mutex: Box::leak(Box::new(Mutex::new(()))),
            parked: std::sync::Mutex::default(),
        })
    }
}

// SAFETY: who has loom's guard is alone.
unsafe impl lock_api::RawMutex for LoomMutex {
    #[allow(clippy::declare_interior_mutable_const, reason = "what the trait asks for")]
    const INIT: Self = Self(OnceLock::new());
    type GuardMarker = lock_api::GuardSend;
    fn lock(&self) {
        let inner = self.inner();
        let guard = inner.mutex.lock().unwrap();
        *inner.parked.lock().unwrap() = Parked(Some(guard));
    }
    fn try_lock(&self) -> bool {
        let inner = self.inner();
        let Ok(guard) = inner.mutex.try_lock() else { return false };
        *inner.parked.lock().unwrap() = Parked(Some(guard));
        true
    }
    unsafe fn unlock(&self) {
        let guard = self.inner().parked.lock().unwrap().0.take();
        drop(guard);
    }
}

/// A reader-writer lock whose waiters let loom run others: how many readers there are, or
/// [`WRITER`].
#[derive(Default)]
pub struct LoomGate(OnceLock<AtomicUsize>);

const WRITER: usize = usize::MAX;

impl LoomGate {
    fn word(&self) -> &AtomicUsize {
        self.0.get_or_init(|| AtomicUsize::new(0))
    }
}

// SAFETY: a writer comes in only where nobody is, and nobody while it is there.
unsafe impl lock_api::RawRwLock for LoomGate {
    #[allow(clippy::declare_interior_mutable_const, reason = "what the trait asks for")]
    const INIT: Self = Self(OnceLock::new());
    type GuardMarker = lock_api::GuardSend;
    fn lock_shared(&self) {
        while !self.try_lock_shared() {
            loom::thread::yield_now();
        }
    }
    fn try_lock_shared(&self) -> bool {
        let more = |readers| (readers < WRITER - 1).then(|| readers + 1);
        self.word().fetch_update(Acquire, Relaxed, more).is_ok()
    }
    unsafe fn unlock_shared(&self) {
        self.word().fetch_sub(1, Release);
    }
    fn lock_exclusive(&self) {
        while !self.try_lock_exclusive() {
            loom::thread::yield_now();
        }
    }
    fn try_lock_exclusive(&self) -> bool {
        self.word().compare_exchange(0, WRITER, Acquire, Relaxed).is_ok()
    }
    unsafe fn unlock_exclusive(&self) {
        self.word().store(0, Release);
    }
}

// SAFETY: the writer becomes the one reader at once.
unsafe impl lock_api::RawRwLockDowngrade for LoomGate {
    unsafe fn downgrade(&self) {
        self.word().store(1, Release);
    }
}

/// The host.
pub struct LoomHost(HeapMemory, Silent);

impl LoomHost {
    pub fn new(frames: u64) -> Self {
        Self(HeapMemory::new(frames), Silent)
    }
}

impl Host for LoomHost {
    type Memory = HeapMemory;
    type RawMutex = LoomMutex;
    type RawRwLock = LoomGate;
    type Format = X86_64;
    type Observer = Silent;
    type Reclaim = Walkers;

    fn memory(&self) -> &HeapMemory {
        &self.0
    }
    fn observer(&self) -> &Silent {
        &self.1
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
}

/// Three frames besides frame 0, which is reserved.
pub struct Machine {
    host: LoomHost,
    pub frames: Frames<LoomHost>,
}

impl Machine {
    pub fn new() -> Self {
        let frames = Frames::new(&FramesConfig::normal(4));
        let machine = Self { host: LoomHost::new(4), frames };
        // The mutexes' words are made before there are threads.
        let _blocks = machine.frames.free_blocks();
        machine
    }
    pub fn alloc(&self, order: u8, kind: Kind) -> Option<Pfn> {
        self.frames.alloc(&self.host, order, kind, AllocFlags::empty()).ok()
    }
    pub fn unpin(&self, pfn: Pfn) {
        if self.frames.unpin(pfn, 1) == gup::frame::Last::Yes {
            self.frames.free(pfn);
        }
    }
}
