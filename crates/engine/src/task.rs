//! The acting task: whose signals, limits, credentials and fault counters a call uses.
//!
//! The engine has no `current`: every entry point that needs one takes a [`Task`]. All parts are
//! atomic, so that a task can be signalled while it works.

use crate::frame::AllocFlags;
use crate::host::Signals;
use crate::rule::c;
use crate::sync::plain::AtomicU64;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

/// No limit (`RLIM_INFINITY`).
pub const RLIM_INFINITY: u64 = u64::MAX;

/// Resource limits that the engine looks at, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `RLIMIT_AS`.
    pub address_space: u64,
    /// `RLIMIT_DATA`.
    pub data: u64,
    /// `RLIMIT_STACK`.
    pub stack: u64,
    /// `RLIMIT_MEMLOCK`.
    pub memlock: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            address_space: RLIM_INFINITY,
            data: RLIM_INFINITY,
            stack: 8 << 20,
            memlock: RLIM_INFINITY,
        }
    }
}

/// A task.
#[derive(Debug)]
pub struct Task {
    signal: AtomicU8,
    /// Minor faults charged to it.
    pub min_flt: AtomicU64,
    /// Major faults charged to it.
    pub maj_flt: AtomicU64,
    /// Its limits.
    pub limits: Limits,
    /// `CAP_IPC_LOCK`: not bound by `RLIMIT_MEMLOCK`.
    pub cap_ipc_lock: bool,
    /// `CAP_SYS_RAWIO`: not bound by `mmap_min_addr`.
    pub cap_sys_rawio: bool,
    /// It is writing a core dump (`PF_DUMPCORE`): userfaults become SIGBUS.
    pub dumping: AtomicBool,
    /// The protection-key rights register (PKRU): two bits a key, access-disable and write-disable.
    pub pkru: AtomicU32,
    /// Nested scopes whose allocations must be pinnable for long (`PF_MEMALLOC_PIN`).
    pin_scopes: AtomicU32,
}

const ANY: u8 = 1;
const FATAL: u8 = 2;

impl Task {
    /// A task with these limits and no capabilities.
    pub const fn new(limits: Limits) -> Self {
        Self {
            signal: AtomicU8::new(0),
            min_flt: AtomicU64::new(0),
            maj_flt: AtomicU64::new(0),
            limits,
            cap_ipc_lock: false,
            cap_sys_rawio: false,
            dumping: AtomicBool::new(false),
            pkru: AtomicU32::new(0),
            pin_scopes: AtomicU32::new(0),
        }
    }
    /// Makes SIGKILL pending.
    pub fn kill(&self) {
        self.signal.fetch_or(ANY | FATAL, Relaxed);
    }
    /// Makes an ordinary signal pending.
    pub fn interrupt(&self) {
        self.signal.fetch_or(ANY, Relaxed);
    }
    /// Whether its protection-key rights allow an access to pages with `key` (0 to 15).
    #[inline]
    pub fn pkey_allows(&self, key: u8, write: bool) -> bool {
        let bits = self.pkru.load(Relaxed) >> (2 * u32::from(key & 15)) & 3;
        bits & 1 == 0 && !(write && bits & 2 != 0)
    }
    /// Until the value is dropped, what is allocated for this task is placed where it may stay
    /// pinned: not in movable zones, not in CMA (row C-76).
    pub(crate) fn pin_scope(&self) -> PinScope<'_> {
        self.pin_scopes.fetch_add(1, Relaxed);
        PinScope(self)
    }
    /// Where pages for its faults may come from: anywhere, but for what a long-term pin needs.
    pub(crate) fn user_memory(&self) -> AllocFlags {
        let scoped = self.pin_scopes.load(Relaxed) > 0;
        if c::C_76.when(scoped) { AllocFlags::empty() } else { AllocFlags::MOVABLE }
    }
    /// Forgets all pending signals.
    pub fn clear_signals(&self) {
        self.signal.store(0, Relaxed);
    }
    /// What is pending.
    #[inline]
    pub fn signals(&self) -> Signals {
        let bits = self.signal.load(Relaxed);
        Signals { fatal: bits & FATAL != 0, any: bits != 0 }
    }
}

/// One scope of [`Task::pin_scope`].
#[derive(Debug)]
#[must_use = "the scope ends when this is dropped"]
pub(crate) struct PinScope<'t>(&'t Task);

impl Drop for PinScope<'_> {
    fn drop(&mut self) {
        self.0.pin_scopes.fetch_sub(1, Relaxed);
    }
}

impl Default for Task {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}
