//! Explaining one request: look, build the mirror, play the consumer on it, read off what happened.
//!
//! Where a fact that matters could not be seen, the play is repeated with the other assumption, and
//! what differs is called unknown.

use crate::consumer::{Consumer, Entry};
use crate::error::MirrorError;
use crate::explain::action::{Action, After};
use crate::explain::form;
use crate::explain::glance::glance;
use crate::explain::play::{Played, Span, play};
use crate::explain::request::Request;
use crate::explain::trial::span;
use crate::explain::verdict::{Segment, StopAt, Verdict, push};
use crate::kernel::history::{self, has_missing_kinds};
use crate::large::condense::Cuts;
use crate::process::Process;
use crate::range::BadRange;
use crate::unseen::Unseen;
use crate::window::{PageState, Window};
use crate::world::build::{Assume, CannotBuild, Mirror};
use gup::addr::{Pfn, VirtAddr};
use gup::flags::Foll;
use gup::frame::Kind;
use gup::observe::FaultEnd;
use gup::rule::{Rule, c};
use std::collections::BTreeSet;
use thiserror::Error;

/// Why there is no verdict.
#[derive(Debug, Error)]
pub enum NoVerdict {
    /// The process could not be looked at.
    #[error(transparent)]
    Look(#[from] MirrorError),
    /// The mirror could not be built.
    #[error(transparent)]
    Build(#[from] CannotBuild),
    /// There is more in the range than is looked at.
    #[error(transparent)]
    Range(#[from] BadRange),
}

/// Says what `request` would get from `process`, and why.
///
/// # Errors
/// [`NoVerdict`].
pub fn explain(process: &Process, request: &Request) -> Result<Verdict, NoVerdict> {
    Ok(glance(process, request, &process.facts())?.verdict)
}

/// Says what `request` would get from a process that looks like `window`.
///
/// # Errors
/// [`CannotBuild`].
pub fn explain_window(window: &Window, request: &Request) -> Result<Verdict, CannotBuild> {
    explain_cut(window, request, &Cuts::default())
}

/// The same for a window out of which `cuts` were taken. The verdict is about what is left.
///
/// # Errors
/// [`CannotBuild`].
pub(super) fn explain_cut(
    window: &Window,
    request: &Request,
    cuts: &Cuts,
) -> Result<Verdict, CannotBuild> {
    let mut verdict = assuming(window, request, cuts, Assume::Exclusive)?;
    let mut unseen = window.unseen.clone();
    unseen.remove(&Unseen::Exclusive);
    unseen.remove(&Unseen::Ksm);
    if window.pages.iter().any(|page| page.state == PageState::AnonOnce) {
        let other = assuming(window, request, cuts, Assume::Shared)?;
        if differ(&verdict, &other) {
            unseen.insert(Unseen::Exclusive);
            verdict.segments = merged(&verdict.segments, &other.segments);
        }
    }
    if refused_before_the_driver(&verdict) {
        unseen.remove(&Unseen::Driver);
    }
    if has_missing_kinds(window) {
        unseen.insert(Unseen::OtherKernel);
    }
    verdict.unseen = unseen.into_iter().collect();
    Ok(verdict)
}

/// Whether the area's flags decided, so that no driver was asked. `access_remote_vm` asks it even
/// then.
fn refused_before_the_driver(verdict: &Verdict) -> bool {
    let by_flags = verdict.stop.as_ref().is_some_and(|stop| stop.rule == c::C_27);
    let asks = verdict.consumer.is_some_and(|consumer| consumer.entry() == Entry::Access);
    by_flags && !asks
}

/// Whether two verdicts say different things.
pub(crate) fn differ(a: &Verdict, b: &Verdict) -> bool {
    let stop = |verdict: &Verdict| verdict.stop.as_ref().map(|stop| (stop.index, stop.rule));
    let actions = |verdict: &Verdict| -> Vec<(u64, Action)> {
        verdict.segments.iter().map(|segment| (segment.start, segment.action)).collect()
    };
    a.gup != b.gup || a.call != b.call || stop(a) != stop(b) || actions(a) != actions(b)
}

/// The segments of two plays: where pages mapped once are treated differently, the action is
/// unknown.
fn merged(a: &[Segment], b: &[Segment]) -> Vec<Segment> {
    let mut segments = Vec::new();
    for segment in a {
        let other = b.binary_search_by_key(&segment.start, |other| other.start).ok();
        let same = other
            .and_then(|at| b.get(at))
            .is_some_and(|other| (other.pages, other.action) == (segment.pages, segment.action));
        let once = segment.state == PageState::AnonOnce;
        let action = if once && !same { Action::Unknown } else { segment.action };
        push(&mut segments, Segment { action, ..*segment });
    }
    segments
}

fn assuming(
    window: &Window,
    request: &Request,
    cuts: &Cuts,
    assume: Assume,
) -> Result<Verdict, CannotBuild> {
    let (mirror, played) = played(window, request, cuts, assume)?;
    Ok(verdict(window, request, &mirror, &played))
}

/// Every rule that decides when `request` is played.
///
/// # Errors
/// [`CannotBuild`].
pub(crate) fn decided(window: &Window, request: &Request) -> Result<BTreeSet<Rule>, CannotBuild> {
    let (mirror, _) = played(window, request, &Cuts::default(), Assume::Exclusive)?;
    let record = mirror.machine.host().recorder().record();
    Ok(record.last.keys().copied().collect())
}

fn played(
    window: &Window,
    request: &Request,
    cuts: &Cuts,
    assume: Assume,
) -> Result<(Mirror, Played), CannotBuild> {
    let mirror = Mirror::new(window, assume)?;
    let Span { start, len, pages } = span(request.range);
    let gone = cuts.bytes();
    let left = Span { start, len: len - gone, pages: pages - (gone >> 12) };
    let played = play(&mirror, request.ask, left, cuts, window.last_byte);
    Ok((mirror, played))
}

fn verdict(window: &Window, request: &Request, mirror: &Mirror, played: &Played) -> Verdict {
    let addr_of = |index: u64| window.start.wrapping_add(index << 12);
    let stop = played.stop.map(|stop| {
        let addr = addr_of(played.got);
        let record = mirror.machine.host().recorder().record();
        let faulted = record.failed.get(&addr);
        // Where the fault refused by a rule of its own, that one says more than "the fault failed".
        let inner = record.in_fault.get(&addr).filter(|rule| rule.row().errno.is_some());
        let rule = if stop.rule == c::C_52 { *inner.unwrap_or(&c::C_52) } else { stop.rule };
        StopAt {
            index: played.got,
            addr,
            errno: stop.errno,
            rule,
            place: window.place_at(addr).cloned(),
            fault: faulted.map(|end| sentence(*end)).or_else(|| unasked(request, mirror, addr)),
        }
    });
    let gup = match played.stop {
        Some(stop) if played.got == 0 => Err(stop.errno),
        Some(_) | None => Ok(played.got),
    };
    Verdict {
        consumer: request.ask.consumer(),
        flags: flags_of(request, mirror),
        start: window.start,
        nr_pages: window.pages.len() as u64,
        gup,
        call: played.call,
        segments: segments(window, mirror, played.got),
        stop,
        unseen: Vec::new(),
    }
}

/// The flags that reach GUP in the mirror's kernel.
fn flags_of(request: &Request, mirror: &Mirror) -> Foll {
    let start = VirtAddr::new(request.range.start());
    let of = |consumer| history::flags(mirror.machine.host(), consumer, start);
    request.ask.consumer().map_or(request.ask.flags(), of)
}

/// Why the call asks GUP about nothing at `addr`, if it does not.
fn unasked(request: &Request, mirror: &Mirror, addr: u64) -> Option<&'static str> {
    let consumer = request.ask.consumer();
    if consumer == Some(Consumer::Coredump) && !mirror.is_dumped(addr) {
        return Some(
            "the process keeps this area out of core dumps (/proc/PID/coredump_filter, \
             MADV_DONTDUMP)",
        );
    }
    if consumer == Some(Consumer::Uprobe) && !mirror.has_breakpoints(addr) {
        return Some(
            "breakpoints are set in private text of a file only, where it is not writable",
        );
    }
    malformed(request, mirror)
}

/// What the call asks of its address and length, if that refuses it.
fn malformed(request: &Request, mirror: &Mirror) -> Option<&'static str> {
    let consumer = request.ask.consumer()?;
    let lowest = mirror.machine.sysctl.mmap_min_addr;
    form::refusal(consumer, span(request.range), lowest).and_then(|_| form::asks(consumer))
}

/// How a fault ended, for a person.
const fn sentence(end: FaultEnd) -> &'static str {
    match end {
        FaultEnd::Sigbus => {
            "the fault ends in SIGBUS: the file ends before this page, its data cannot be read, or \
             userfaultfd refuses"
        }
        FaultEnd::Sigsegv => {
            "the fault ends in SIGSEGV: the area, or a guard region in it, refuses"
        }
        FaultEnd::Oom => "the fault finds no memory",
        FaultEnd::HwPoison => "the memory of this page has failed",
        FaultEnd::Minor
        | FaultEnd::Major
        | FaultEnd::Kept
        | FaultEnd::Retry
        | FaultEnd::Completed
        | FaultEnd::Fallback => "the fault could not be finished",
    }
}

/// What was done to the first `got` pages.
fn segments(window: &Window, mirror: &Mirror, got: u64) -> Vec<Segment> {
    let record = mirror.machine.host().recorder().record();
    let count = usize::try_from(got).unwrap_or(usize::MAX);
    let mut segments = Vec::new();
    for (index, page) in window.pages.iter().enumerate().take(count) {
        let start = window.start.wrapping_add((index as u64) << 12);
        let after = after(mirror, index, start);
        let grown = window.place_at(start).is_none() && after != After::Nothing;
        let action = if grown { Action::Grow } else { Action::between(page.state, after) };
        let faulted = if action == Action::Take { None } else { record.in_fault.get(&start) };
        let rule = faulted.copied();
        push(&mut segments, Segment { start, pages: 1, state: page.state, action, rule });
    }
    segments
}

/// What the engine's table holds now for a page, compared with what it held before.
fn after(mirror: &Mirror, index: usize, addr: u64) -> After {
    let Some(now) = mirror.frame_now(addr) else { return After::Nothing };
    if mirror.frame_before(index) == Some(now) {
        return After::Same;
    }
    if is_zero(mirror, now) {
        return After::Zero;
    }
    let frames = mirror.machine.frames();
    match frames.kind(frames.head(now)) {
        Kind::File | Kind::Shmem | Kind::Secret | Kind::Special => After::File,
        Kind::Free | Kind::Table | Kind::Anon | Kind::Hugetlb | Kind::Kernel | Kind::Slab => {
            After::Anon
        }
    }
}

fn is_zero(mirror: &Mirror, pfn: Pfn) -> bool {
    let machine = &mirror.machine;
    let huge = machine.huge_zero_page();
    pfn == machine.zero_page() || huge.is_some_and(|huge| machine.frames().head(pfn) == huge)
}
