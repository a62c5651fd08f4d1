//! How a pass over a request ends: by whom, with which errno, with the lock in which state.
//!
//! The kernel folds all of this into one number; `abi` does so too, at the very edge (row A-21: an
//! error after at least one page is hidden). Here nothing is hidden.

use crate::errno::Errno;
use crate::host::Ticket;
use crate::rule::Rule;

/// What ended a request before all its pages were obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The rule that refused.
    pub rule: Rule,
    /// The errno of this refusal.
    pub errno: Errno,
}

impl Stop {
    /// A refusal with the rule's own errno.
    #[inline]
    pub fn by(rule: Rule) -> Self {
        Self { rule, errno: rule.errno() }
    }
    /// A refusal by `rule` with another errno.
    #[inline]
    pub const fn with(rule: Rule, errno: Errno) -> Self {
        Self { rule, errno }
    }
}

/// A fault that could not finish now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Started; the lock stays held and nobody waits (`FOLL_NOWAIT`).
    Kept,
    /// The lock must be dropped and the ticket waited for; then the page is tried again.
    Retry(Ticket),
    /// The fault is done; the lock must be dropped all the same (`VM_FAULT_COMPLETED`).
    Completed,
}

impl Busy {
    /// Whether the lock must be dropped.
    pub(crate) fn drops(self) -> bool {
        match self {
            Self::Kept => false,
            Self::Retry(_) | Self::Completed => true,
        }
    }
}

/// How a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every page was obtained.
    Full,
    /// Refused at the page after the last one obtained.
    Stop(Stop),
    /// Not finished; the error value is 0.
    Busy(Busy),
}

/// A pass: what was obtained, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Pass {
    /// Pages obtained (v4.4 counts skipped ones too, row A-22).
    pub(crate) got: u64,
    /// Why no more.
    pub(crate) end: End,
}

impl Pass {
    /// The kernel's return value: count, 0, or `-errno`.
    #[inline]
    pub(crate) fn code(self) -> i64 {
        match self.end {
            End::Stop(stop) if self.got == 0 => stop.errno.negated(),
            End::Full | End::Stop(_) | End::Busy(_) => i64::try_from(self.got).unwrap_or(i64::MAX),
        }
    }
}
