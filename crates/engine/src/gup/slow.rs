//! Slow path of page pinning: walk, fault, walk again, one pass over the request.
//!
//! Invariants: (1) the mmap lock is held at every lookup; (2) a grabbed page is in the output
//! before the next fault; (3) a refusal leaves exactly the pages that were counted. Pages whose
//! entries stand in one table are grabbed under one hold of the table's lock; the order of checks
//! per page is the kernel's.
//! Absent: relocking after a dropped lock (callers), hugetlb in v4.4 ([`super::hugetlb`]).
//! Linux: mm/gup.c `__get_user_pages` (v4.4 and 6.18).

use super::request::{Cx, Output, Request};
use super::semantics::{Faulted, Found, Look, Semantics};
use super::stop::{End, Pass, Stop};
use super::walk::{Walk, pages_in_leaf};
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr};
use crate::host::Host;
use crate::observe::Event;
use crate::pgtable::{Entry, Place};
use crate::rule::{Rule, a, s, w};
use crate::vma::{Vma, VmaId};

/// Why a run of lookups under one area ended.
enum RunEnd {
    /// The request is complete, or the area is.
    Boundary,
    /// This page needs a fault.
    Fault(Look),
    /// Refused.
    Stop(Stop),
}

/// One pass over `request`: from its start until all pages are there, one is refused, or the lock
/// would have to be dropped.
pub(crate) fn pass<S: Semantics, H: Host>(
    cx: &Cx<'_, H>,
    request: &Request,
    out: &mut Output<'_>,
) -> Pass {
    let host = cx.host();
    if host.rule(S::EMPTY, request.nr_pages == 0, request.start) {
        host.decided(w::W_04, request.start);
        return Pass { got: 0, end: End::Full };
    }
    let foll = S::working_flags(cx, request.foll, request.start);
    let mut walk = Walk::new(request, foll, out);
    let end = loop {
        if walk.left() == 0 {
            break End::Full;
        }
        let ended = match S::find(cx, request, walk.addr) {
            Err(stop) => Err(End::Stop(stop)),
            Ok(Found::Gate) => gate_page::<S, H>(cx, &mut walk),
            Ok(Found::Vma(vma)) if vma.is_hugetlb() && S::has_hugetlb_path() => {
                hugetlb_area(cx, vma, &mut walk)
            }
            Ok(Found::Vma(vma)) => area::<S, H>(cx, vma, &mut walk),
        };
        if let Err(end) = ended {
            break end;
        }
    };
    if let (End::Stop(stop), 1..) = (end, walk.got) {
        host.decided(partial_rule::<S>(), walk.addr);
        host.see(Event::Rule { rule: stop.rule, addr: walk.addr });
    }
    Pass { got: walk.got, end }
}

/// The rule that hides an error behind a partial result.
fn partial_rule<S: Semantics>() -> Rule {
    if S::has_hugetlb_path() { a::A_21 } else { crate::rule::c::C_25 }
}

/// The gate page at the walk's address: one page, whatever the flags (rows ).
fn gate_page<S: Semantics, H: Host>(cx: &Cx<'_, H>, walk: &mut Walk<'_, '_>) -> Result<(), End> {
    let pfn = S::gate(cx, walk.page_foll, walk.addr).map_err(End::Stop)?;
    match pfn {
        Some(pfn) => walk.take(cx, Some(VmaId::GATE), pfn, 1),
        None => walk.advance(cx, Some(VmaId::GATE), 1),
    }
    Ok(())
}

/// v4.4's path of its own for hugetlb areas (row A-11).
fn hugetlb_area<H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, walk: &mut Walk<'_, '_>) -> Result<(), End> {
    cx.host().decided(a::A_11, walk.addr);
    let range =
        super::hugetlb::Portion { addr: walk.addr, left: walk.left(), foll: walk.page_foll };
    let done = super::hugetlb::follow(cx, vma, range, |pfn, count| match pfn {
        Some(pfn) => walk.take(cx, Some(vma.id()), pfn, count),
        None => walk.advance(cx, Some(vma.id()), count),
    });
    done.map_err(End::Stop)
}

/// Everything of the request that lies in `vma`: lookups, and faults where they are needed. The
/// area is not looked up again after a fault (row A-06): the lock was held all along.
fn area<S: Semantics, H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    walk: &mut Walk<'_, '_>,
) -> Result<(), End> {
    let host = cx.host();
    while walk.left() > 0 && walk.addr < vma.end() {
        let look = match run::<S, H>(cx, vma, walk) {
            RunEnd::Boundary => continue,
            RunEnd::Stop(stop) => {
                host.decided(a::A_17, walk.addr);
                return Err(End::Stop(stop));
            }
            RunEnd::Fault(look) => look,
        };
        match S::faultin(cx, vma, walk.addr, walk.page_foll, look) {
            // Bounded by SIGKILL, tested before each lookup (rows A-146, C-19).
            Faulted::Again(foll) => walk.page_foll = foll,
            Faulted::Skip => {
                let left = huge_left::<S, H>(cx, vma, walk);
                walk.advance(cx, Some(vma.id()), left);
            }
            Faulted::Busy(busy) => return Err(End::Busy(busy)),
            Faulted::Stop(stop) => return Err(End::Stop(stop)),
        }
        host.relax();
    }
    Ok(())
}

/// How many pages a skip passes over: a huge leaf's rest where the step is more than one (row
///
fn huge_left<S: Semantics, H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, walk: &Walk<'_, '_>) -> u64 {
    let walked = cx.mm.tables().walk(walk.addr);
    let level = walked.place.level;
    if level == 0 || !walked.entry.is_leaf(level) {
        return 1;
    }
    let left = pages_in_leaf(walk.addr, level).min(walk.left_in(vma));
    S::huge_step(cx, Look::Absent, left)
}

/// Looks pages up one after the other while their entries stand in one table.
#[inline]
fn run<S: Semantics, H: Host>(cx: &Cx<'_, H>, vma: &Vma<H>, walk: &mut Walk<'_, '_>) -> RunEnd {
    if let Some(stop) = killed::<S, H>(cx, walk.addr) {
        return RunEnd::Stop(stop);
    }
    let walked = cx.mm.tables().walk(walk.addr);
    let entry = walked.entry;
    if walked.place.level == 0 {
        if entry.is_none() {
            return empty::<S, H>(cx, vma, walk, walked.place);
        }
        return run_table::<S, H>(cx, vma, walk, walked.place);
    }
    if entry.is_leaf(walked.place.level) {
        return huge::<S, H>(cx, vma, walk, walked.place);
    }
    let look = S::no_table(cx, vma, walk.addr, entry, walk.page_foll);
    if let Look::Stop(stop) = look { RunEnd::Stop(stop) } else { RunEnd::Fault(look) }
}

/// SIGKILL for the acting task ends the walk before the next lookup.
#[inline]
fn killed<S: Semantics, H: Host>(cx: &Cx<'_, H>, addr: VirtAddr) -> Option<Stop> {
    let host = cx.host();
    let killed = host.signals(cx.current).fatal;
    host.rule(S::KILLED, killed, addr).then(|| Stop::by(S::KILLED))
}

/// An empty entry, without the table's lock: the fault looks at it again, under the lock.
fn empty<S: Semantics, H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    walk: &Walk<'_, '_>,
    place: Place,
) -> RunEnd {
    match S::look_pte(cx, vma, walk.addr, Entry::NONE, place, walk.page_foll) {
        Look::Stop(stop) => RunEnd::Stop(stop),
        look @ (Look::Absent | Look::Unshare) => RunEnd::Fault(look),
        Look::Page(_) | Look::NoStruct => RunEnd::Boundary,
    }
}

/// The pages whose PTEs stand in `place.table`, from the walk's address on, under one hold of its
/// lock.
#[inline]
fn run_table<S: Semantics, H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    walk: &mut Walk<'_, '_>,
    place: Place,
) -> RunEnd {
    let tables = cx.mm.tables();
    let count = walk.left_in(vma).min(512 - place.index as u64);
    let id = vma.id();
    let entries = tables.entries(place.table);
    let _locked = cx.mm.tables().lock(place.table);
    for index in place.index..place.index + count as usize {
        if index > place.index
            && let Some(stop) = killed::<S, H>(cx, walk.addr)
        {
            return RunEnd::Stop(stop);
        }
        let raw = entries[index & 511].load(core::sync::atomic::Ordering::Acquire);
        let place = Place { index, ..place };
        let entry = tables.entry_of(place, raw);
        match S::look_pte(cx, vma, walk.addr, entry, place, walk.page_foll) {
            Look::Page(pfn) => {
                flush(cx, pfn, walk.addr, 1);
                walk.take(cx, Some(id), pfn, 1);
            }
            Look::NoStruct => walk.advance(cx, Some(id), 1),
            Look::Stop(stop) => return RunEnd::Stop(stop),
            look @ (Look::Absent | Look::Unshare) => return RunEnd::Fault(look),
        }
    }
    RunEnd::Boundary
}

/// A huge leaf at `place`: split if asked for, else as many of its pages as one lookup covers.
fn huge<S: Semantics, H: Host>(
    cx: &Cx<'_, H>,
    vma: &Vma<H>,
    walk: &mut Walk<'_, '_>,
    place: Place,
) -> RunEnd {
    if let Some(split) = S::split_huge(cx, vma, walk.addr, walk.page_foll) {
        return split.map_or_else(RunEnd::Stop, |()| RunEnd::Boundary);
    }
    let left = pages_in_leaf(walk.addr, place.level).min(walk.left_in(vma));
    let count = S::huge_step(cx, Look::Page(Pfn::new(0)), left);
    // The table that the entry stands in, hugetlb or not.
    let own = s::S_20.when(true) || !vma.is_hugetlb();
    let locked = cx.mm.tables().lock(if own { place.table } else { cx.mm.root() });
    let entry = cx.mm.tables().load(place);
    if !entry.is_leaf(place.level) {
        // Split or gone since the walk: look again. Bounded, since only another editor can cause
        // it.
        cx.host().decided(a::A_95, walk.addr);
        return RunEnd::Boundary;
    }
    let look = S::look_huge(cx, vma, walk.addr, entry, place, walk.page_foll, count);
    drop(locked);
    match look {
        Look::Page(pfn) => {
            flush(cx, pfn, walk.addr, count);
            walk.take(cx, Some(vma.id()), pfn, count);
            RunEnd::Boundary
        }
        Look::NoStruct => {
            walk.advance(cx, Some(vma.id()), 1);
            RunEnd::Boundary
        }
        Look::Stop(stop) => RunEnd::Stop(stop),
        Look::Absent | Look::Unshare => RunEnd::Fault(look),
    }
}

/// Flushes caches for `count` pages that are handed out (rows A-14, C-21).
#[inline]
fn flush<H: Host>(cx: &Cx<'_, H>, pfn: Pfn, addr: VirtAddr, count: u64) {
    if !cx.wants_pages {
        return;
    }
    cx.host().decided(a::A_14, addr);
    for n in 0..count {
        cx.host().flush_page(pfn.offset(n), addr.wrapping_add(n * PAGE_SIZE));
    }
}
