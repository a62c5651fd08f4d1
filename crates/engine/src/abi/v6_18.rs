//! The kernel's signatures with an MMU, 6.18: `count / 0 / -errno`, flag words, pages that must be
//! given back by hand.
//!
//! `vmas`, `tsk` and `nonblocking` are gone; `int *locked` is the [`Lock`] itself, and whether it
//! is given is [`Locked`]. Thin: every decision is [`crate::gup`]'s.
//! Linux: mm/gup.c of 6.18.

use crate::addr::{TASK_SIZE, VirtAddr};
use crate::errno::Errno;
use crate::file::File;
use crate::flags::Foll;
use crate::gup::fast::{FastEntry, fast};
use crate::gup::{Entry, Locked, Page, gup, memfd};
use crate::host::Host;
use crate::mm::{Lock, Machine, Mm};
use crate::rule::c;
use crate::task::Task;
use alloc::sync::Arc;

pub use crate::gup::dump::get_dump_page;
pub use crate::gup::unpin::{folio_add_pin, folio_add_pins, unpin_folios, unpin_user_page};
pub use crate::gup::unpin::{unpin_user_pages, unpin_user_pages_dirty_lock};

type Slots<'p> = Option<&'p mut [Option<Page>]>;

#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
fn call<H: Host>(
    entry: Entry,
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Slots<'_>,
    locked: Locked,
) -> i64 {
    let (start, foll) = (VirtAddr::new(start), Foll::from_v6_18(gup_flags));
    entry.code(gup(entry, current, mm, start, nr_pages, foll, pages, locked))
}

/// Gets pages of the acting task's own address space, whose lock is held, and stays so.
/// # Errors
/// As negative numbers, when no page was obtained; see `docs/semantics.md`, rows C-01 … C-63.
/// # Linux
/// `get_user_pages()`.
pub fn get_user_pages<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Slots<'_>,
) -> i64 {
    call(Entry::Get, current, mm, start, nr_pages, gup_flags, pages, Locked::Null)
}

/// Gets pages of any address space, whose lock is held; with `locked` it may be dropped.
/// # Errors
/// As [`get_user_pages`].
/// # Linux
/// `get_user_pages_remote()`.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn get_user_pages_remote<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Slots<'_>,
    locked: Locked,
) -> i64 {
    call(Entry::GetRemote, current, mm, start, nr_pages, gup_flags, pages, locked)
}

/// Gets pages of the acting task's own address space; takes the lock itself.
/// # Errors
/// As [`get_user_pages`]; -EAGAIN if SIGKILL came before the lock.
/// # Linux
/// `get_user_pages_unlocked()`.
pub fn get_user_pages_unlocked<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: u64,
    pages: Slots<'_>,
    gup_flags: u32,
) -> i64 {
    let (entry, lock) = (Entry::GetUnlocked, &mut Lock::Dropped(mm));
    call(entry, current, lock, start, nr_pages, gup_flags, pages, Locked::Null)
}

/// As [`get_user_pages`], pinned. A rejected flag set gives 0 (oddity O-01).
/// # Errors
/// As [`get_user_pages`].
/// # Linux
/// `pin_user_pages()`.
pub fn pin_user_pages<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Slots<'_>,
) -> i64 {
    call(Entry::Pin, current, mm, start, nr_pages, gup_flags, pages, Locked::Null)
}

/// As [`get_user_pages_remote`], pinned. A rejected flag set gives 0 (oddity O-01).
/// # Errors
/// As [`get_user_pages`].
/// # Linux
/// `pin_user_pages_remote()`.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn pin_user_pages_remote<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Slots<'_>,
    locked: Locked,
) -> i64 {
    call(Entry::PinRemote, current, mm, start, nr_pages, gup_flags, pages, locked)
}

/// As [`get_user_pages_unlocked`], pinned. A rejected flag set gives 0 (oddity O-01).
/// # Errors
/// As [`get_user_pages_unlocked`].
/// # Linux
/// `pin_user_pages_unlocked()`.
pub fn pin_user_pages_unlocked<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: u64,
    pages: Slots<'_>,
    gup_flags: u32,
) -> i64 {
    let (entry, lock) = (Entry::PinUnlocked, &mut Lock::Dropped(mm));
    call(entry, current, lock, start, nr_pages, gup_flags, pages, Locked::Null)
}

/// The fast forms' `int nr_pages`: a negative one is a huge one (row C-65).
fn call_fast<H: Host>(
    entry: FastEntry,
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    gup_flags: u32,
    pages: &mut [Option<Page>],
) -> i32 {
    let at = VirtAddr::new(start);
    let negative = nr_pages < 0;
    if mm.machine().host().rule(c::C_65, negative, at) {
        let bytes = (i64::from(nr_pages) << 12).cast_unsigned();
        let end = mm.untagged(at).page_floor().checked_add(bytes);
        let beyond = end.is_some_and(|end| end.get() > TASK_SIZE);
        let errno = if beyond { Errno::EFAULT } else { Errno::EOVERFLOW };
        return -errno.raw();
    }
    let foll = Foll::from_v6_18(gup_flags);
    let nr_pages = u64::from(nr_pages.unsigned_abs());
    let outcome = fast(entry, current, mm, at, nr_pages, foll, pages);
    i32::try_from(outcome.code()).unwrap_or(i32::MAX)
}

/// Gets pages of the acting task's own address space, without the lock where that can be done. The
/// lock is not held.
/// # Errors
/// As [`get_user_pages_unlocked`]; -EOVERFLOW and -EFAULT for a range that is none.
/// # Linux
/// `get_user_pages_fast()`. Documented to give 0 for 0 pages, which must not be asked for.
pub fn get_user_pages_fast<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    gup_flags: u32,
    pages: &mut [Option<Page>],
) -> i32 {
    call_fast(FastEntry::Get, current, mm, start, nr_pages, gup_flags, pages)
}

/// As [`get_user_pages_fast`], but only what can be had without the lock.
/// # Errors
/// -EINVAL, -EOVERFLOW, -EFAULT as there.
/// # Linux
/// `get_user_pages_fast_only()`.
pub fn get_user_pages_fast_only<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    gup_flags: u32,
    pages: &mut [Option<Page>],
) -> i32 {
    call_fast(FastEntry::GetOnly, current, mm, start, nr_pages, gup_flags, pages)
}

/// As [`get_user_pages_fast`], pinned.
/// # Errors
/// As there.
/// # Linux
/// `pin_user_pages_fast()`.
pub fn pin_user_pages_fast<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    gup_flags: u32,
    pages: &mut [Option<Page>],
) -> i32 {
    call_fast(FastEntry::Pin, current, mm, start, nr_pages, gup_flags, pages)
}

/// Pins at most `max_folios` folios of a memfd, and says in `offset` where `start` lies in the
/// first.
/// # Errors
/// -EINVAL, -ENOMEM, -EFAULT: see [`memfd::memfd_pin_folios`].
/// # Linux
/// `memfd_pin_folios()`.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn memfd_pin_folios<H: Host>(
    machine: &Machine<H>,
    current: &Task,
    memfd: Option<&Arc<File<H>>>,
    start: i64,
    end: i64,
    folios: &mut [Option<Page>],
    max_folios: u32,
    offset: &mut u64,
) -> i64 {
    let most = usize::try_from(max_folios).unwrap_or(usize::MAX).min(folios.len());
    let slots = folios.get_mut(..most).unwrap_or_default();
    match memfd::memfd_pin_folios(machine, current, memfd, start, end, slots) {
        Ok(pinned) => {
            *offset = pinned.offset;
            i64::try_from(pinned.count).unwrap_or(i64::MAX)
        }
        Err(stop) => stop.errno.negated(),
    }
}
