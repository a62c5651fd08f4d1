//! What a call of 6.18's family gave: how many pages, and what stopped it.

use super::page::Page;
use super::stop::Stop;
use crate::errno::Errno;

/// The result of a get or pin call. The pages are in the caller's slice, the first `got` slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    /// Pages obtained.
    pub got: u64,
    /// What stopped the call before it had all; the kernel hides it if `got` is not 0 (row C-25).
    pub stop: Option<Stop>,
}

impl Outcome {
    /// All pages there.
    pub(crate) const fn full(got: u64) -> Self {
        Self { got, stop: None }
    }
    /// Stopped after `got` pages.
    pub(crate) const fn stopped(got: u64, stop: Stop) -> Self {
        Self { got, stop: Some(stop) }
    }
    /// The kernel's return value: count, 0, or `-errno`.
    pub fn code(self) -> i64 {
        match self.stop {
            Some(stop) if self.got == 0 => stop.errno.negated(),
            Some(_) | None => i64::try_from(self.got).unwrap_or(i64::MAX),
        }
    }
    /// The errno that the caller sees, if it sees one.
    pub fn errno(self) -> Option<Errno> {
        self.stop.filter(|_| self.got == 0).map(|stop| stop.errno)
    }
}

/// A slice for pages, or none.
pub(crate) type Pages<'p> = Option<&'p mut [Option<Page>]>;
