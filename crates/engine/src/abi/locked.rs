//! The entry points that go on after the lock was dropped, v4.4: `get_user_pages_locked` and
//! `_unlocked`.
//!
//! *Round*: one pass with permission to drop the lock, and, where it was dropped, one more for the
//! page that waited, without that permission. `int *locked` is the [`Lock`] itself: held is 1,
//! dropped is 0. Invariant: what was obtained before a drop stays obtained, and is not asked for
//! again.
//! Linux: mm/gup.c `__get_user_pages_locked`, v4.4.

use super::entry::access;
use super::get::{locked_pass, settle};
use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::{End, Output, Page, Pass, Request};
use crate::host::Host;
use crate::mm::{Lock, Mm};
use crate::rule::a;
use crate::task::Task;

/// Gets user pages, and may drop the lock while it waits.
///
/// `mm` must be held; with `pages` the call goes on after a drop until all pages are there or one
/// fails, and drops the lock for good before it returns, since what the caller knew under it is
/// stale: `mm` is [`Lock::Dropped`] then. Without `pages` a dropped lock ends the call at once.
/// There is no `vmas`: areas would be stale too (the kernel asserts that).
/// # Errors
/// The first page's error, negative, if no page was obtained at all (row A-153); see
/// [`__get_user_pages`](super::__get_user_pages). -EINVAL, and a [`Host::bug`], if `mm` is not held
/// on entry.
/// # Linux
/// mm/gup.c `get_user_pages_locked`, v4.4. Rows.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn get_user_pages_locked<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    write: i32,
    force: i32,
    pages: Option<&mut [Option<Page>]>,
) -> i64 {
    if !mm.is_held() {
        mm.mm().machine().host().bug(a::A_151);
        return Errno::EINVAL.negated();
    }
    let foll = access(write, force) | Foll::TOUCH;
    let Some(done) = rounds(Who { current, tsk }, mm, (start, nr_pages), foll, pages) else {
        return Errno::EINVAL.negated();
    };
    if done.dropped {
        mm.drop_lock();
    }
    done.pass.code()
}

/// Gets user pages of an address space whose lock the caller does not hold; takes it, and has
/// released it when it returns. Otherwise as [`get_user_pages_locked`].
/// # Errors
/// As [`get_user_pages_locked`]; -EINVAL only if `pages` is too short.
/// # Linux
/// mm/gup.c `get_user_pages_unlocked`, v4.4. Rows.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn get_user_pages_unlocked<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &Mm<H>,
    start: u64,
    nr_pages: u64,
    write: i32,
    force: i32,
    pages: Option<&mut [Option<Page>]>,
) -> i64 {
    let flags = access(write, force) | Foll::TOUCH;
    unlocked(Who { current, tsk }, mm, (start, nr_pages), flags, pages)
}

/// As [`get_user_pages_unlocked`], with more flags; `FOLL_TOUCH` is set only if `gup_flags` has it.
///
/// With `FOLL_NOWAIT` a page that is not ready is tried once more with `FOLL_TRIED` and then ends
/// the call; v4.4 also takes the lock a second time there, and keeps it (oddity O-06), which a
/// guard cannot do.
/// # Errors
/// As [`get_user_pages_unlocked`].
/// # Linux
/// mm/gup.c `__get_user_pages_unlocked`, v4.4. Rows.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn __get_user_pages_unlocked<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &Mm<H>,
    start: u64,
    nr_pages: u64,
    write: i32,
    force: i32,
    pages: Option<&mut [Option<Page>]>,
    gup_flags: u32,
) -> i64 {
    let foll = Foll::from_v4_4(gup_flags) | access(write, force);
    unlocked(Who { current, tsk }, mm, (start, nr_pages), foll, pages)
}

/// Who acts, and who is charged.
#[derive(Clone, Copy)]
struct Who<'t> {
    current: &'t Task,
    tsk: Option<&'t Task>,
}

/// What all rounds together gave.
struct Done {
    pass: Pass,
    /// The lock was dropped at least once.
    dropped: bool,
}

fn unlocked<H: Host>(
    who: Who<'_>,
    mm: &Mm<H>,
    range: (u64, u64),
    foll: Foll,
    pages: Option<&mut [Option<Page>]>,
) -> i64 {
    let mut lock = Lock::Dropped(mm);
    lock.take();
    let done = rounds(who, &mut lock, range, foll, pages);
    mm.machine().host().decided(a::A_152, VirtAddr::new(range.0));
    lock.drop_lock();
    done.map_or(Errno::EINVAL.negated(), |done| done.pass.code())
}

/// Rounds over `range` (start, pages) until everything is there, a page fails, or the lock was
/// dropped and no pages are wanted; `None` if the lock is not held or `pages` is too short.
fn rounds<H: Host>(
    who: Who<'_>,
    mm: &mut Lock<'_, H>,
    range: (u64, u64),
    foll: Foll,
    mut pages: Option<&mut [Option<Page>]>,
) -> Option<Done> {
    let get = if pages.is_some() { Foll::GET } else { Foll::empty() };
    let mut rest = Request { start: VirtAddr::new(range.0), nr_pages: range.1, foll: foll | get };
    let mut got = 0;
    let mut dropped = false;
    let end = loop {
        let pass = round(who, mm, &rest, pages.as_deref_mut(), true)?;
        pages = skip(pages, &mut rest, pass.got);
        got += pass.got;
        let End::Busy(busy) = pass.end else { break pass.end };
        dropped |= busy.drops();
        let host = mm.mm().machine().host();
        if pages.is_none() || !host.rule(a::A_151, true, rest.start) {
            break pass.end;
        }
        mm.take();
        // The page that waited, alone: a second wait would be under the lock (row A-135).
        let one = Request { nr_pages: 1, foll: rest.foll | Foll::TRIED, ..rest };
        let pass = round(who, mm, &one, pages.as_deref_mut(), false)?;
        pages = skip(pages, &mut rest, pass.got);
        got += pass.got;
        if rest.nr_pages == 0 || pass.got != 1 {
            break pass.end;
        }
    };
    if let (End::Stop(_), 1..) = (end, got) {
        mm.mm().machine().host().decided(a::A_153, rest.start);
    }
    Some(Done { pass: Pass { got, end }, dropped })
}

/// One pass, after which the lock is as the pass left it.
fn round<H: Host>(
    who: Who<'_>,
    mm: &mut Lock<'_, H>,
    request: &Request,
    pages: Option<&mut [Option<Page>]>,
    may_drop: bool,
) -> Option<Pass> {
    let mut out = Output { pages, vmas: None };
    let pass = locked_pass(who.current, who.tsk, mm, request, &mut out, may_drop)?;
    settle(mm, who.current, pass);
    Some(pass)
}

/// Moves request and output past `got` pages.
fn skip<'p>(
    pages: Option<&'p mut [Option<Page>]>,
    request: &mut Request,
    got: u64,
) -> Option<&'p mut [Option<Page>]> {
    request.nr_pages = request.nr_pages.saturating_sub(got);
    request.start = request.start.wrapping_add(got << PAGE_SHIFT);
    let got = usize::try_from(got).unwrap_or(usize::MAX);
    pages.map(|pages| pages.get_mut(got..).unwrap_or_default())
}
