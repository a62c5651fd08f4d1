//! `__get_user_pages`, v4.4, with an MMU.

use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::v4_4::V4_4;
use crate::gup::{Busy, Cx, End, Output, Page, Pass, Request, pass};
use crate::host::{Host, WaitMode};
use crate::mm::Lock;
use crate::rule::a;
use crate::task::Task;
use crate::vma::VmaId;

/// Pins user pages in memory: walks `mm`'s page tables from `start` on, faults in what is missing,
/// breaks copy-on-write where it must, and takes a reference to each page.
///
/// `start` is a byte address, aligned or not (row A-20); `nr_pages` counts base pages. `gup_flags`
/// are [`flags`](super::flags). `pages` receives the pages if `FOLL_GET` is set, `vmas` their
/// areas' ids; both must hold `nr_pages` slots. `current` is the acting task (signals, limits),
/// `tsk` is charged for faults.
///
/// `mm` must be held. With `nonblocking` (which points to 1) the lock may be dropped: then
/// `*nonblocking` is 0 after the call and `mm` is [`Lock::Dropped`]. With `FOLL_NOWAIT` it is kept,
/// but v4.4 writes the 0 all the same (row A-142, oddity O-06).
///
/// Returns the number of pages obtained, which may be less than `nr_pages`: an error after the
/// first page is hidden. 0 for `nr_pages` 0, and where a fault could not finish now
///
/// # Errors
/// As negative numbers, when no page was obtained: -EFAULT (no area, or it refuses, or the fault
/// failed), -ENOMEM, -EHWPOISON (only with `FOLL_HWPOISON`), -ERESTARTSYS (SIGKILL is pending for
/// `current`), -EEXIST never leaves with `pages`. -EINVAL if `pages` or `vmas` is too short, or
/// `mm` is not held: nothing is touched.
/// # Linux
/// mm/gup.c `__get_user_pages`, v4.4. Rows A-01 … A-146.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn __get_user_pages<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Option<&mut [Option<Page>]>,
    vmas: Option<&mut [Option<VmaId>]>,
    nonblocking: Option<&mut i32>,
) -> i64 {
    let request =
        Request { start: VirtAddr::new(start), nr_pages, foll: Foll::from_v4_4(gup_flags) };
    let mut out = Output { pages, vmas };
    let may_drop = nonblocking.is_some();
    if misuses_lock(mm, request.foll, may_drop) {
        mm.mm().machine().host().bug(a::A_04);
    }
    let Some(pass) = locked_pass(current, tsk, mm, &request, &mut out, may_drop) else {
        return Errno::EINVAL.negated();
    };
    if let (End::Busy(busy), Some(flag)) = (pass.end, nonblocking)
        && (busy.drops() || a::A_142.when(true))
    {
        *flag = 0;
    }
    settle(mm, current, pass);
    pass.code()
}

/// A caller's bug: the lock is not held, or held for writing though it may be dropped (row A-04).
fn misuses_lock<H: Host>(mm: &Lock<'_, H>, foll: Foll, may_drop: bool) -> bool {
    let drops = may_drop && !foll.contains(Foll::NOWAIT);
    let misuse = match mm {
        Lock::Read(_) => false,
        Lock::Write(_) => drops,
        Lock::Dropped(_) => true,
    };
    mm.mm().machine().host().rule(a::A_04, misuse, VirtAddr::new(0))
}

/// One pass with the lock that `mm` holds; `None` if it is not held or an output is too short.
pub(crate) fn locked_pass<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &Lock<'_, H>,
    request: &Request,
    out: &mut Output<'_>,
    may_drop: bool,
) -> Option<Pass> {
    let map = mm.map()?;
    if !out.holds(request.nr_pages) {
        return None;
    }
    let cx = Cx {
        current,
        charged: tsk,
        mm: mm.mm(),
        map,
        wants_pages: out.pages.is_some(),
        wants_vmas: out.vmas.is_some(),
        may_drop,
    };
    Some(pass::<V4_4, H>(&cx, request, out))
}

/// Does what an unfinished pass asks of the lock's holder: drops it, and waits for what the fault
/// waits for.
pub(crate) fn settle<H: Host>(mm: &mut Lock<'_, H>, current: &Task, pass: Pass) {
    let End::Busy(busy) = pass.end else { return };
    match busy {
        Busy::Kept => {}
        Busy::Completed => mm.drop_lock(),
        Busy::Retry(ticket) => {
            mm.drop_lock();
            let host = mm.mm().machine().host();
            host.see(crate::observe::Event::Wait(ticket.0));
            host.wait(ticket, WaitMode::Uninterruptible, current);
        }
    }
}
