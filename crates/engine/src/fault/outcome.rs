//! How a fault ends, and whether the lock is still held then: in the type.
//!
//! Linux: `vm_fault_t`. [`Fault::Retry`] is `VM_FAULT_RETRY` without `FAULT_FLAG_RETRY_NOWAIT`:
//! there the fault handler has dropped the lock and waited; here it asks its caller to do both,
//! since only the caller has the guard.

use crate::host::Ticket;

/// A fault's outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fault {
    /// The entry may serve now; look again. The lock is held.
    Done {
        /// Data had to be read (`VM_FAULT_MAJOR`).
        major: bool,
        /// COW was broken or the page is writable for this writer (v4.4's `VM_FAULT_WRITE`).
        wrote: bool,
    },
    /// Started, not done, and the caller may not wait (RETRY with `RETRY_NOWAIT`). The lock is
    /// held.
    Kept(Ticket),
    /// Not done: drop the lock, wait for the ticket, try again (RETRY).
    Retry(Ticket),
    /// Done, but the lock has to be dropped (`VM_FAULT_COMPLETED`).
    Completed {
        /// Data had to be read (`VM_FAULT_MAJOR`).
        major: bool,
    },
    /// It cannot be done. The lock is held.
    Failed(FaultError),
}

/// Why a fault cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultError {
    /// No memory (`VM_FAULT_OOM`).
    Oom,
    /// Past the end of the file, or its data could not be read (`VM_FAULT_SIGBUS`).
    Sigbus,
    /// The area does not allow it (`VM_FAULT_SIGSEGV`).
    Sigsegv,
    /// The page's memory failed (`VM_FAULT_HWPOISON`).
    HwPoison,
    /// A huge page's memory failed; the order of the page (`VM_FAULT_HWPOISON_LARGE`).
    HwPoisonLarge(u8),
    /// A huge page was not possible and the caller is to fall back; never leaves `handle`
    /// (`VM_FAULT_FALLBACK`).
    Fallback,
}

impl Fault {
    /// A minor fault that mapped something.
    pub const MINOR: Self = Self::Done { major: false, wrote: false };
    /// A minor fault that made the page the writer's own.
    pub const WROTE: Self = Self::Done { major: false, wrote: true };
    /// No memory.
    pub const OOM: Self = Self::Failed(FaultError::Oom);
    /// SIGBUS.
    pub const SIGBUS: Self = Self::Failed(FaultError::Sigbus);
    /// SIGSEGV.
    pub const SIGSEGV: Self = Self::Failed(FaultError::Sigsegv);
}
