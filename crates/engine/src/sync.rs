//! Atomics as the lock-free parts use them: those of core, or under `cfg(loom)` those of loom,
//! which tries every order.
//!
//! Behind it: the counts, words and locks of frames ([`crate::frame`]), the walkers of tables
//! ([`crate::pgtable::Walkers`]), page-table entries ([`Word`]), and what fork and walks tell each
//! other ([`crate::mm::Mm`]). loom takes a `SeqCst` access for an `AcqRel` one, so an order that
//! needs more than that is spelt out as a fence. Absent: locks (the host's), hooks.

use core::ops::Deref;
#[allow(unused_imports, reason = "not every target needs a fence")]
use core::sync::atomic::Ordering::SeqCst;

#[cfg(not(loom))]
pub(crate) use core::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU32, fence},
};
#[cfg(loom)]
pub(crate) use loom::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, fence},
};
#[cfg(not(loom))]
pub(crate) use plain::AtomicU64;

/// A word of a page table: loom's under `cfg(loom_tables)` only, since hosts lend the memory.
#[cfg(all(not(loom_tables), target_has_atomic = "64"))]
pub use core::sync::atomic::AtomicU64 as Word;
#[cfg(all(loom, loom_tables))]
pub use loom::sync::atomic::AtomicU64 as Word;
#[cfg(all(not(loom_tables), not(target_has_atomic = "64")))]
pub use portable_atomic::AtomicU64 as Word;

/// Words of 64 bits that nobody explores: core's, or `portable-atomic`'s on a processor that has
/// none so wide.
pub(crate) mod plain {
    #[cfg(target_has_atomic = "64")]
    pub(crate) use core::sync::atomic::{AtomicI64, AtomicU64};
    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) use portable_atomic::{AtomicI64, AtomicU64};
}

/// A full barrier behind an atomic read-modify-write (Linux: `smp_mb__after_atomic`, row F-54).
///
/// On x86 the locked instruction has been one already, so that only the compiler must be told.
#[inline(always)]
pub(crate) fn full_barrier_after_atomic() {
    #[cfg(loom)]
    fence(SeqCst);
    #[cfg(all(not(loom), any(target_arch = "x86", target_arch = "x86_64"), not(miri)))]
    core::sync::atomic::compiler_fence(SeqCst);
    #[cfg(all(not(loom), any(miri, not(any(target_arch = "x86", target_arch = "x86_64")))))]
    fence(SeqCst);
}

/// A value in lines of cache of its own: whoever changes it disturbs no reader of its neighbours.
/// (Two lines, since processors fetch them in pairs.)
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> Deref for Padded<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
