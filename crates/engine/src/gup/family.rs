//! 6.18's slow entry points: get and pin, local, remote and unlocked.
//!
//! They differ in the flags they add (row C-10) and in what they return for a rejected flag set
//! (row C-07): see [`Entry::code`]. All take the mmap lock as a [`Lock`]: held if the kernel's
//! function wants it held, dropped if the function takes it itself.
//! Linux: mm/gup.c.

use super::args::{self, WantsPages};
use super::longterm;
use super::outcome::{Outcome, Pages};
use super::page::Page;
use super::request::Request;
use super::stop::Stop;
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::host::Host;
use crate::mm::Lock;
use crate::rule::c;
use crate::task::Task;

/// A slow entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// `get_user_pages`: the lock is held, and never dropped.
    Get,
    /// `get_user_pages_remote`; the lock may be dropped if `locked` is given.
    GetRemote,
    /// `get_user_pages_unlocked`: takes the lock itself.
    GetUnlocked,
    /// `pin_user_pages`.
    Pin,
    /// `pin_user_pages_remote`.
    PinRemote,
    /// `pin_user_pages_unlocked`.
    PinUnlocked,
}

/// Whether the caller passes `locked`, and so allows the lock to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// `locked != NULL`.
    Given,
    /// `locked == NULL`.
    Null,
}

impl Entry {
    /// The flags it adds (row C-10).
    pub const fn adds(self) -> Foll {
        match self {
            Self::Get => Foll::TOUCH,
            Self::GetRemote => Foll::TOUCH.union(Foll::REMOTE),
            Self::GetUnlocked => Foll::TOUCH.union(Foll::UNLOCKABLE),
            Self::Pin => Foll::PIN,
            Self::PinRemote => Foll::PIN.union(Foll::TOUCH).union(Foll::REMOTE),
            Self::PinUnlocked => Foll::PIN.union(Foll::TOUCH).union(Foll::UNLOCKABLE),
        }
    }
    /// Whether it takes the lock itself.
    const fn takes_lock(self) -> bool {
        match self {
            Self::GetUnlocked | Self::PinUnlocked => true,
            Self::Get | Self::GetRemote | Self::Pin | Self::PinRemote => false,
        }
    }
    /// What it returns for an outcome: a rejected flag set is 0 from the pin functions, -EINVAL
    /// from the get functions (row C-07, oddity O-01).
    pub fn code(self, outcome: Outcome) -> i64 {
        let rejected =
            outcome.stop.is_some_and(|stop| stop.errno == Errno::EINVAL && is_args(stop));
        match self {
            Self::Pin | Self::PinRemote | Self::PinUnlocked if rejected => 0,
            Self::Get
            | Self::GetRemote
            | Self::GetUnlocked
            | Self::Pin
            | Self::PinRemote
            | Self::PinUnlocked => outcome.code(),
        }
    }
}

/// Whether a rule of the argument check stopped it.
fn is_args(stop: Stop) -> bool {
    stop.rule.family() == 'C' && stop.rule.number() < 10
}

/// Gets or pins `nr_pages` pages from `start` on through `entry`, with 6.18's rules.
///
/// `start` is a byte address, aligned or not; the pages go to the first slots of `pages`, which
/// must hold `nr_pages`. On return `lock` says whether it is still held. `current` acts: its
/// signals end the call, its faults are counted.
pub fn gup<H: Host>(
    entry: Entry,
    current: &Task,
    lock: &mut Lock<'_, H>,
    start: VirtAddr,
    nr_pages: u64,
    foll: Foll,
    pages: Option<&mut [Option<Page>]>,
    locked: Locked,
) -> Outcome {
    let host = lock.mm().machine().host();
    let wants = if pages.is_some() { WantsPages::Yes } else { WantsPages::No };
    let may_drop = locked == Locked::Given;
    let add = if may_drop { entry.adds() | Foll::UNLOCKABLE } else { entry.adds() };
    let unheld = may_drop && !lock.is_held() && !entry.takes_lock();
    if host.rule(c::C_02, unheld, start) {
        host.warn(c::C_02);
        return Outcome::stopped(0, Stop::with(c::C_02, Errno::EINVAL));
    }
    let foll = match args::slow(host, start, foll, add, wants) {
        Ok(foll) => foll,
        Err(rule) => {
            host.decided(c::C_07, start);
            return Outcome::stopped(0, Stop::with(rule, Errno::EINVAL));
        }
    };
    if pages.as_ref().is_some_and(|pages| (pages.len() as u64) < nr_pages) {
        return Outcome::stopped(0, Stop::with(c::C_05, Errno::EINVAL));
    }
    host.decided(c::C_10, start);
    if nr_pages == 0 {
        host.decided(c::C_11, start);
    }
    internal(current, lock, Request { start, nr_pages, foll }, pages)
}

/// The same with flags already checked; LONGTERM's own loop stands here.
pub(crate) fn internal<H: Host>(
    current: &Task,
    lock: &mut Lock<'_, H>,
    request: Request,
    pages: Pages<'_>,
) -> Outcome {
    longterm::run(current, lock, request, pages)
}
