//! One pin of this process's own memory, measured: its time, and the faults that it took.
//!
//! *Time* is what the processor spent in this thread, system calls included: what a pin takes when
//! nobody else wants the processor. A pin waits for nothing but pages in files and swap.

use crate::ask::ring;
use crate::cost::memory::Memory;
use io_uring::IoUring;
use rustix::time::{ClockId, clock_gettime};

/// What one pin took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Nanoseconds of the processor.
    pub ns: f64,
    /// Faults of this thread that did not wait.
    pub minor: u64,
    /// Faults of this thread that waited.
    pub major: u64,
}

/// Pins memory as a registered buffer of `io_uring`: all pages at once, for writing, for long.
pub struct Pinner(IoUring);

impl std::fmt::Debug for Pinner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinner").finish_non_exhaustive()
    }
}

impl Pinner {
    /// A ring to register buffers with; `None` where there is none.
    pub fn new() -> Option<Self> {
        ring::open().ok().map(Self)
    }

    /// Pins all of `memory`, and lets it go again; `None` if the kernel refuses.
    pub fn pin(&self, memory: &Memory) -> Option<Measured> {
        self.pin_part(memory, memory.len_bytes())
    }

    /// Pins the first `bytes` bytes.
    pub fn pin_part(&self, memory: &Memory, bytes: u64) -> Option<Measured> {
        self.pin_range(memory.addr(), bytes.min(memory.len_bytes()))
    }

    /// Pins `bytes` bytes at `start`, and lets them go again. It is memory that nobody reads.
    pub fn pin_range(&self, start: u64, bytes: u64) -> Option<Measured> {
        let (before, began) = (faults(), now());
        let pinned = ring::register(&self.0, start, bytes);
        let (ns, after) = (now() - began, faults());
        pinned.ok()?;
        self.0.submitter().unregister_buffers().ok()?;
        Some(Measured { ns, minor: after.0 - before.0, major: after.1 - before.1 })
    }
}

#[allow(clippy::cast_precision_loss, reason = "a duration")]
fn now() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    (time.tv_sec as f64).mul_add(1e9, time.tv_nsec as f64)
}

/// Faults of this thread so far: those that did not wait, and those that did.
fn faults() -> (u64, u64) {
    // SAFETY: an all-zero `rusage` is a valid one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is writable.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    (usage.ru_minflt.cast_unsigned(), usage.ru_majflt.cast_unsigned())
}
