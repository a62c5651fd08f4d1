//! Faulting in what an edit left to be populated, with the lock not held on entry.
//!
//! Linux: mm/gup.c `__mm_populate`; mm/mlock.c `__mlock_posix_error_return`.

use crate::abi;
use crate::addr::VirtRange;
use crate::errno::Errno;
use crate::gup::populate::{OnError, mm_populate};
use crate::host::Host;
use crate::linux::Linux;
use crate::mm::Mm;
use crate::task::Task;

/// Populates the areas of `range` as this machine's kernel does.
/// # Errors
/// With [`OnError::Return`]: ENOMEM for a page that its area or its file refuses, EAGAIN for want
/// of memory.
pub(super) fn populate<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    range: VirtRange,
    on_error: OnError,
) -> Result<(), Errno> {
    if range.is_empty() {
        return Ok(());
    }
    let done = match mm.machine().linux() {
        Linux::V4_4 => populate_v4_4(mm, task, range, on_error),
        Linux::V6_18 => mm_populate(mm, task, range, on_error).map_err(|stop| stop.errno),
    };
    match on_error {
        OnError::Ignore => Ok(()),
        OnError::Return => done.map_err(as_posix_wants),
    }
}

fn populate_v4_4<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    range: VirtRange,
    on_error: OnError,
) -> Result<(), Errno> {
    let ignore = match on_error {
        OnError::Ignore => 1,
        OnError::Return => 0,
    };
    let code = abi::__mm_populate(task, mm, range.start.get(), range.bytes(), ignore);
    if code == 0 { Ok(()) } else { Err(Errno::from_raw(-code)) }
}

fn as_posix_wants(errno: Errno) -> Errno {
    match errno {
        Errno::EFAULT => Errno::ENOMEM,
        Errno::ENOMEM => Errno::EAGAIN,
        other => other,
    }
}
