//! 6.18's locked helper: passes over a request, with the lock dropped and taken again in between.
//!
//! Invariants: every pass begins with a fresh lookup of the area (row C-62); on return the lock is
//! as `Lock` says (I-19); flags never change between passes, but for TRIED (I-21).
//! Linux: mm/gup.c `__get_user_pages_locked` (rows C-57 … C-61).

use super::outcome::{Outcome, Pages};
use super::request::{Cx, Output, Request};
use super::slow::pass;
use super::stop::{Busy, End, Pass, Stop};
use super::v6_18::V6_18;
use crate::addr::PAGE_SHIFT;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::host::{Host, WaitMode};
use crate::mm::Lock;
use crate::observe::Event;
use crate::rule::{c, s};
use crate::task::Task;

/// Gets or pins `request`, dropping `lock` where UNLOCKABLE allows it. If `lock` was not held at
/// entry, or was ever dropped, it is not held at return.
pub(crate) fn run<H: Host>(
    current: &Task,
    lock: &mut Lock<'_, H>,
    request: Request,
    mut pages: Pages<'_>,
) -> Outcome {
    let host = lock.mm().machine().host();
    if host.rule(c::C_13, request.nr_pages == 0, request.start) {
        return Outcome::full(0);
    }
    let request = Request { start: lock.mm().untagged(request.start), ..request };
    let mut release = host.rule(s::S_33, !lock.is_held(), request.start);
    let killed = release && !take_killable(lock, current);
    if host.rule(c::C_57, killed, request.start) {
        return Outcome::stopped(0, Stop::with(c::C_57, Errno::EAGAIN));
    }
    let foll = request.foll | implied_get(&request, pages.is_some());
    if foll.contains(Foll::PIN) {
        lock.mm().set_has_pinned();
    }
    let mut work = Work { current, request: Request { foll, ..request }, done: 0 };
    let stop = work.all(lock, &mut pages, &mut release);
    if release {
        lock.drop_lock();
    }
    let nothing = work.done == 0 && stop.is_none() && !foll.contains(Foll::NOWAIT);
    if host.rule(c::C_60, nothing, request.start) {
        host.warn(c::C_60);
        return Outcome::stopped(0, Stop::by(c::C_60));
    }
    Outcome { got: work.done, stop }
}

/// One pass without pages, and without insisting: `__get_user_pages` as `__mm_populate` calls it.
///
/// The lock is held. If a fault wants it dropped, it is, and what the fault waits for is waited
/// for; the caller takes it again and asks for the rest, which is no second attempt (TRIED) to the
/// faults there.
pub(crate) fn once<H: Host>(current: &Task, lock: &mut Lock<'_, H>, request: Request) -> Outcome {
    let mut work = Work { current, request, done: 0 };
    let pass = work.pass(lock, &mut None, u64::MAX, Foll::empty());
    let stop = match pass.end {
        End::Stop(stop) => Some(stop),
        End::Busy(busy) if busy.drops() => {
            work.wait(lock, busy);
            None
        }
        End::Full | End::Busy(_) => None,
    };
    Outcome { got: work.done, stop }
}

/// Takes the lock for reading unless SIGKILL comes; whether it is held.
fn take_killable<H: Host>(lock: &mut Lock<'_, H>, current: &Task) -> bool {
    let mm = lock.mm();
    let Some(guard) = mm.read_killable(current) else { return false };
    *lock = Lock::Read(guard);
    mm.machine().host().see(Event::LockTaken);
    true
}

fn implied_get(request: &Request, wants_pages: bool) -> Foll {
    let get = wants_pages && !request.foll.contains(Foll::PIN);
    if get { Foll::GET } else { Foll::empty() }
}

/// A request in progress.
struct Work<'t> {
    current: &'t Task,
    request: Request,
    done: u64,
}

impl Work<'_> {
    /// One pass over at most `limit` of the pages that are left.
    fn pass<H: Host>(
        &mut self,
        lock: &Lock<'_, H>,
        pages: &mut Pages<'_>,
        limit: u64,
        add: Foll,
    ) -> Pass {
        let Some(map) = lock.map() else { return Pass { got: 0, end: End::Full } };
        let start = self.request.start.wrapping_add(self.done << PAGE_SHIFT);
        let foll = self.request.foll | add;
        let nr_pages = limit.min(self.request.nr_pages - self.done);
        let skip = usize::try_from(self.done).unwrap_or(usize::MAX);
        let rest = pages.as_deref_mut().and_then(|pages| pages.get_mut(skip..));
        let mut out = Output { pages: rest, vmas: None };
        // No caller can be told areas: they would be stale after a drop.
        lock.mm().machine().host().decided(c::C_24, start);
        let cx = Cx {
            current: self.current,
            charged: None,
            mm: lock.mm(),
            map,
            wants_pages: out.pages.is_some(),
            wants_vmas: false,
            may_drop: foll.contains(Foll::UNLOCKABLE),
        };
        let handed = foll.intersects(Foll::GET | Foll::PIN);
        if !cx.host().rule(c::C_12, handed == cx.wants_pages, start) {
            cx.host().bug(c::C_12);
        }
        let pass = pass::<V6_18, H>(&cx, &Request { start, nr_pages, foll }, &mut out);
        self.done += pass.got;
        pass
    }

    /// Passes until everything is there or something stops it.
    fn all<H: Host>(
        &mut self,
        lock: &mut Lock<'_, H>,
        pages: &mut Pages<'_>,
        release: &mut bool,
    ) -> Option<Stop> {
        let host = lock.mm().machine().host();
        if !self.request.foll.contains(Foll::UNLOCKABLE) {
            host.decided(c::C_58, self.request.start);
        }
        while self.done < self.request.nr_pages {
            let pass = self.pass(lock, pages, u64::MAX, Foll::empty());
            match pass.end {
                End::Full => {}
                End::Stop(stop) => return Some(stop),
                End::Busy(Busy::Kept) => {
                    host.decided(c::C_61, self.request.start);
                    return None;
                }
                End::Busy(busy) => {
                    *release = true;
                    // Pre-faulting insists too, which v4.4 did not.
                    if pages.is_none() && !host.rule(c::C_60, true, self.request.start) {
                        return None;
                    }
                    if let Some(stop) = self.insist(lock, pages, busy) {
                        return Some(stop);
                    }
                }
            }
        }
        None
    }

    /// The lock must be dropped for the page at hand: wait, take it again, and get this one page.
    /// Repeated while the fault asks for it again; ended by a signal (row C-59).
    fn insist<H: Host>(
        &mut self,
        lock: &mut Lock<'_, H>,
        pages: &mut Pages<'_>,
        busy: Busy,
    ) -> Option<Stop> {
        let host = lock.mm().machine().host();
        let mut busy = busy;
        loop {
            self.wait(lock, busy);
            let signals = host.signals(self.current);
            let any = self.request.foll.contains(Foll::INTERRUPTIBLE) && signals.any;
            let signal = host.rule(c::C_59, signals.fatal || any, self.request.start);
            if signal || !take_killable(lock, self.current) {
                return Some(Stop::with(c::C_59, Errno::EINTR));
            }
            host.decided(c::C_62, self.request.start);
            let pass = self.pass(lock, pages, 1, Foll::TRIED);
            match pass.end {
                End::Full => return None,
                End::Stop(stop) => return Some(stop),
                End::Busy(again) if again.drops() => busy = again,
                End::Busy(_) => return None,
            }
        }
    }

    /// Drops the lock and waits for what the fault waits for.
    fn wait<H: Host>(&self, lock: &mut Lock<'_, H>, busy: Busy) {
        lock.drop_lock();
        let Busy::Retry(ticket) = busy else { return };
        let interruptible = self.request.foll.contains(Foll::INTERRUPTIBLE);
        let mode = if interruptible { WaitMode::Interruptible } else { WaitMode::Killable };
        let host = lock.mm().machine().host();
        host.see(Event::Wait(ticket.0));
        host.wait(ticket, mode, self.current);
    }
}
