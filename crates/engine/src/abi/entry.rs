//! `get_user_pages`, v4.4: the plain entry point.
//!
//! Absent: dropping the lock ([`super::locked`]), the walk without a lock ([`super::fast`]).
//! Linux: mm/gup.c of v4.4.

use super::get::locked_pass;
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::{Output, Page, Request};
use crate::host::Host;
use crate::mm::Lock;
use crate::rule::a;
use crate::task::Task;
use crate::vma::VmaId;

/// Gets `nr_pages` user pages from `start` on; `write` and `force` are flags, 0 or not.
///
/// As [`__get_user_pages`](super::__get_user_pages) with `FOLL_TOUCH`, `FOLL_GET` if `pages` is
/// given, and no `nonblocking`: `mm` must be held, and is held all along, so `vmas` stays valid
/// until the caller drops it.
/// # Errors
/// As [`__get_user_pages`](super::__get_user_pages).
/// # Linux
/// mm/gup.c `get_user_pages`, v4.4. Row A-150.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn get_user_pages<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    write: i32,
    force: i32,
    pages: Option<&mut [Option<Page>]>,
    vmas: Option<&mut [Option<VmaId>]>,
) -> i64 {
    let addr = VirtAddr::new(start);
    let mut foll = access(write, force);
    if mm.mm().machine().host().rule(a::A_150, true, addr) {
        foll |= Foll::TOUCH;
    }
    if pages.is_some() {
        foll |= Foll::GET;
    }
    let request = Request { start: addr, nr_pages, foll };
    let mut out = Output { pages, vmas };
    match locked_pass(current, tsk, mm, &request, &mut out, false) {
        Some(pass) => pass.code(),
        None => Errno::EINVAL.negated(),
    }
}

/// `FOLL_WRITE` and `FOLL_FORCE` from two ints.
pub(super) fn access(write: i32, force: i32) -> Foll {
    let write = if write == 0 { Foll::empty() } else { Foll::WRITE };
    let force = if force == 0 { Foll::empty() } else { Foll::FORCE };
    write | force
}
