//! Long-term pins: pages that lie where they may not stay are moved first, and pinned again.
//!
//! *Badly placed*: in a movable zone or in CMA, whose owner must be able to empty it. During the
//! call, what faults allocate comes from elsewhere (row C-76), so a page is moved at most once.
//! Invariants: while a page moves, the call holds no pin on it; a page that cannot be moved ends
//! the call with nothing pinned (row C-80). The loop is the kernel's, unbounded: it ends by
//! success, an error, or SIGKILL, which every pass looks for. Absent: device memory and fsdax
//! pages, which no machine here has; the move itself ([`crate::fault`]).
//! Linux: mm/gup.c `__gup_longterm_locked`, `check_and_migrate_movable_pages` (rows C-76 … C-82).

use super::outcome::{Outcome, Pages};
use super::page::Page;
use super::relock;
use super::request::Request;
use super::stop::Stop;
use crate::addr::{Pfn, VirtAddr};
use crate::fault::migrate::{Own, isolate, migrate};
use crate::file::File;
use crate::flags::Foll;
use crate::frame::{AllocFlags, Zone};
use crate::host::Host;
use crate::mm::{Lock, Machine};
use crate::rule::c;
use crate::task::Task;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Whether the folio of `pfn` may stay pinned where it lies (`folio_is_longterm_pinnable`). The
/// zero page may, unless it lies in CMA.
pub(crate) fn is_pinnable<H: Host>(machine: &Machine<H>, pfn: Pfn, addr: VirtAddr) -> bool {
    let zone = machine.frames().zone(pfn);
    let zero = pfn == machine.zero_page() && zone != Zone::Cma;
    let bad = !zone.is_longterm_pinnable() && !zero;
    !machine.host().rule(c::C_78, bad, addr)
}

/// As [`relock::run`]; with LONGTERM, until all pages obtained are well placed.
pub(crate) fn run<H: Host>(
    current: &Task,
    lock: &mut Lock<'_, H>,
    request: Request,
    mut pages: Pages<'_>,
) -> Outcome {
    if !request.foll.contains(Foll::LONGTERM) {
        return relock::run(current, lock, request, pages);
    }
    let host = lock.mm().machine().host();
    let _scope = current.pin_scope();
    host.decided(c::C_76, request.start);
    loop {
        let outcome = relock::run(current, lock, request, pages.as_deref_mut());
        let got = usize::try_from(outcome.got).unwrap_or(usize::MAX);
        let taken = pages.as_deref_mut().and_then(|pages| pages.get_mut(..got));
        let Some(taken) = taken.filter(|taken| !taken.is_empty()) else {
            host.decided(c::C_81, request.start);
            return outcome;
        };
        let machine = lock.mm().machine();
        let own = lock.map().map(|map| (lock.mm(), map));
        match settle(machine, own, None, taken, request.start) {
            Settled::Well => return outcome,
            Settled::Moved => host.relax(),
            Settled::Stuck => return Outcome::stopped(0, Stop::by(c::C_80)),
        }
    }
}

/// Where pinned pages lie, and what was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Where they may stay; they are pinned.
    Well,
    /// Pages were moved, or are to be tried again; none is pinned any more.
    Moved,
    /// A page cannot be moved; none is pinned any more.
    Stuck,
}

/// Looks where the folios of pinned `pages` lie, and moves those that may not stay there.
///
/// `own` is the address space whose lock is held, `file` the pages' file if it is known.
pub(super) fn settle<H: Host>(
    machine: &Machine<H>,
    own: Own<'_, H>,
    file: Option<&Arc<File<H>>>,
    pages: &mut [Option<Page>],
    addr: VirtAddr,
) -> Settled {
    let host = machine.host();
    if host.rule(c::C_82, !machine.sysctl.migration, addr) {
        return Settled::Well;
    }
    let mut bad = false;
    let mut moving = Vec::new();
    let mut last = None;
    for page in pages.iter().flatten() {
        let head = machine.frames().head(page.pfn());
        if last == Some(head) || is_pinnable(machine, head, addr) {
            last = Some(head);
            continue;
        }
        last = Some(head);
        bad = true;
        let isolated = isolate(machine, head);
        let twice = moving.contains(&head);
        if !host.rule(c::C_79, !isolated && !twice, addr) && !twice {
            moving.push(head);
        }
    }
    if !bad {
        return Settled::Well;
    }
    host.decided(c::C_77, addr);
    for page in pages.iter_mut() {
        if let Some(page) = page.take() {
            machine.unpin_pages(page.pfn(), 1);
        }
    }
    let moved = moving.into_iter().map(|head| {
        let how = if c::C_77.when(true) { AllocFlags::empty() } else { AllocFlags::MOVABLE };
        migrate(machine, own, file, head, how).is_ok()
    });
    // All are tried, whatever becomes of the first.
    let stuck = moved.filter(|moved| !moved).count() > 0;
    if host.rule(c::C_80, stuck, addr) { Settled::Stuck } else { Settled::Moved }
}
