//! The entry points that try without the lock first, v4.4 on x86-64.
//!
//! The walk is [`crate::gup`]'s; here are the bounds of the range and the remainder through the
//! lock. Absent: 6.18's fast path. Linux: arch/x86/mm/gup.c of v4.4; mm/gup.c for kernels without a
//! fast walk.

use super::locked::get_user_pages_unlocked;
use crate::addr::{PAGE_SHIFT, VirtAddr};
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::{Page, fast_v4_4};
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::Format;
use crate::rule::a;
use crate::task::Task;

/// Gets `nr_pages` user pages of the acting task's own `mm`: what is present without any lock, the
/// rest as [`get_user_pages_unlocked`] does (never forced).
///
/// `start` is rounded down to its page. The lock of `mm` must not be held. Returns how many pages
/// `pages` received; an error of the rest is hidden if the walk got any. At least one page must be
/// asked for (row A-156): the kernel's documentation promises 0 otherwise, its code does not look;
/// here 0 is returned.
/// # Errors
/// As [`get_user_pages_unlocked`], if the walk got nothing; -EINVAL if `pages` is too short.
/// # Linux
/// arch/x86/mm/gup.c `get_user_pages_fast`, v4.4. Rows.
pub fn get_user_pages_fast<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    write: i32,
    pages: &mut [Option<Page>],
) -> i32 {
    let Some(pages) = wanted(mm, start, nr_pages, pages) else { return 0 };
    let Ok(pages) = pages else { return narrow(Errno::EINVAL.negated()) };
    let start = VirtAddr::new(start).page_floor();
    let fast = a::A_154.when(in_user_half::<H>(start, pages.len()));
    let got = if fast { walk(mm, start, write, pages) } else { 0 };
    let rest = pages.get_mut(got..).unwrap_or_default();
    if rest.is_empty() {
        return narrow(got as i64);
    }
    let (next, left) = (start.wrapping_add((got as u64) << PAGE_SHIFT), rest.len() as u64);
    let slow =
        get_user_pages_unlocked(current, Some(current), mm, next.get(), left, write, 0, Some(rest));
    narrow(if slow >= 0 || got == 0 { slow + got as i64 } else { got as i64 })
}

/// Gets those first pages of the range that are present, without any lock and without faults; how
/// many. May be called where sleeping is not allowed. Never negative: a range outside user space
/// gives 0.
/// # Linux
/// arch/x86/mm/gup.c `__get_user_pages_fast`, v4.4. Row A-155.
pub fn __get_user_pages_fast<H: Host>(
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    write: i32,
    pages: &mut [Option<Page>],
) -> i32 {
    let Some(Ok(pages)) = wanted(mm, start, nr_pages, pages) else { return 0 };
    let start = VirtAddr::new(start).page_floor();
    let outside = !in_user_half::<H>(start, pages.len());
    if mm.machine().host().rule(a::A_155, outside, start) {
        return 0;
    }
    let got = walk(mm, start, write, pages);
    mm.machine().host().decided(a::A_155, start);
    narrow(got as i64)
}

/// `get_user_pages_fast` of an architecture without a walk of its own: all of it is the slow path.
/// # Errors
/// As [`get_user_pages_unlocked`].
/// # Linux
/// mm/util.c `get_user_pages_fast` (weak), v4.4. Row A-157.
pub fn get_user_pages_fast_weak<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    write: i32,
    pages: &mut [Option<Page>],
) -> i32 {
    mm.machine().host().decided(a::A_157, VirtAddr::new(start));
    // A negative number becomes a huge one, which no `pages` holds.
    let nr_pages = i64::from(nr_pages).cast_unsigned();
    let got =
        get_user_pages_unlocked(current, Some(current), mm, start, nr_pages, write, 0, Some(pages));
    narrow(got)
}

/// `__get_user_pages_fast` of an architecture without a walk of its own: 0.
/// # Linux
/// mm/util.c `__get_user_pages_fast` (weak), v4.4. Row A-157.
pub fn __get_user_pages_fast_weak<H: Host>(
    mm: &Mm<H>,
    start: u64,
    _nr_pages: i32,
    _write: i32,
    _pages: &mut [Option<Page>],
) -> i32 {
    mm.machine().host().decided(a::A_157, VirtAddr::new(start));
    0
}

/// The slots asked for: `None` for fewer than one page, an error if there are not so many.
fn wanted<'p, H: Host>(
    mm: &Mm<H>,
    start: u64,
    nr_pages: i32,
    pages: &'p mut [Option<Page>],
) -> Option<Result<&'p mut [Option<Page>], Errno>> {
    let none = nr_pages <= 0;
    let count = usize::try_from(nr_pages).unwrap_or(0);
    mm.machine().host().decided_if(a::A_156, none, VirtAddr::new(start));
    if count == 0 {
        return None;
    }
    Some(pages.get_mut(..count).ok_or(Errno::EINVAL))
}

/// Whether `pages` pages from `start` end, without wrapping, below the last address that user space
/// can have.
fn in_user_half<H: Host>(start: VirtAddr, pages: usize) -> bool {
    let end = start.checked_add((pages as u64) << PAGE_SHIFT);
    end.is_some_and(|end| end.get() >> <H::Format as Format>::USER_BITS == 0)
}

fn walk<H: Host>(mm: &Mm<H>, start: VirtAddr, write: i32, pages: &mut [Option<Page>]) -> usize {
    let foll = if write == 0 { Foll::empty() } else { Foll::WRITE };
    fast_v4_4::walk(mm, start, foll, pages)
}

/// A count that fits an int, or an errno.
fn narrow(code: i64) -> i32 {
    i32::try_from(code).unwrap_or(i32::MAX)
}
