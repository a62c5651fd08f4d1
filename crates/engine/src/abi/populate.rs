//! Pre-faulting, v4.4: `populate_vma_page_range` and `__mm_populate`.
//!
//! Absent: the flags of the walk ([`crate::gup`]), who may lock how much ([`crate::mapping`]).
//! Linux: mm/gup.c and mm/mlock.c of v4.4.

use super::get::settle;
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::gup::{End, Pass, populate_v4_4};
use crate::host::Host;
use crate::mm::{Lock, Mm};
use crate::rule::a;
use crate::task::Task;
use crate::vma::{Vma, VmaId};
use populate_v4_4::{Hold, populate};

/// Faults the pages `start..end` (bytes, page-aligned, inside the area `vma`) in; how many were
/// passed over.
///
/// `mm` must be held. With `nonblocking` the lock may be dropped: then it is 0 after the call and
/// `mm` is [`Lock::Dropped`].
/// # Errors
/// As [`__get_user_pages`](super::__get_user_pages) if not one page was passed. -EINVAL, and a
/// [`Host::bug`], if `mm` is not held or the range is not in that area.
/// # Linux
/// mm/gup.c `populate_vma_page_range`, v4.4. Row A-158.
pub fn populate_vma_page_range<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    vma: VmaId,
    start: u64,
    end: u64,
    nonblocking: Option<&mut i32>,
) -> i64 {
    let hold = if nonblocking.is_some() { Hold::MayDrop } else { Hold::Keep };
    let range = VirtRange::new(VirtAddr::new(start), VirtAddr::new(end));
    let Some(pass) = populate_id(current, mm, vma, range, hold) else {
        mm.mm().machine().host().bug(a::A_158);
        return Errno::EINVAL.negated();
    };
    settle(mm, current, pass);
    if let (End::Busy(_), Some(flag)) = (pass.end, nonblocking) {
        *flag = 0;
    }
    pass.code()
}

/// One pass over `range` if it lies in the area of that name.
fn populate_id<H: Host>(
    current: &Task,
    mm: &Lock<'_, H>,
    id: VmaId,
    range: VirtRange,
    hold: Hold,
) -> Option<Pass> {
    let map = mm.map()?;
    let vma = map.lookup(range.start).filter(|vma| vma.id() == id)?;
    let aligned = range.start.page_offset() == 0 && range.end.page_offset() == 0;
    let inside = aligned && range.end <= vma.end();
    inside.then(|| populate(mm.mm(), map, current, vma, range, hold))
}

/// Faults all areas in `start..start + len` (bytes, widened to whole pages) in; 0, or the first
/// error.
///
/// Takes the lock of `mm` itself, lets faults drop it, and has released it when it returns. Holes
/// end nothing; areas of devices are passed over. With `ignore_errors` not 0, an area that fails is
/// left and 0 is returned.
/// # Errors
/// As [`__get_user_pages`](super::__get_user_pages), negative; what mlock makes of them:
/// [`__mlock_posix_error_return`].
/// # Linux
/// mm/gup.c `__mm_populate`, v4.4. Row A-159.
pub fn __mm_populate<H: Host>(
    current: &Task,
    mm: &Mm<H>,
    start: u64,
    len: u64,
    ignore_errors: i32,
) -> i32 {
    let start = VirtAddr::new(start);
    // A part of less than a page would never be done with.
    let mut rest = VirtRange::new(start, start.saturating_add(len)).widened();
    let mut lock = Lock::Dropped(mm);
    let host = mm.machine().host();
    let mut code = 0;
    while !rest.is_empty() {
        lock.take();
        let Some(part) = next_part(&lock, rest) else { break };
        rest.start = part.end;
        let Some(pass) = populate_part(current, &lock, part) else { continue };
        settle(&mut lock, current, pass);
        code = pass.code();
        if code >= 0 {
            rest.start = part.start.wrapping_add(pass.got << PAGE_SHIFT);
        } else if !host.rule(a::A_159, ignore_errors != 0, part.start) {
            host.decided(a::A_159, part.start);
            break;
        }
        code = 0;
    }
    lock.drop_lock();
    i32::try_from(code).unwrap_or(i32::MIN)
}

/// The first part of `rest` that lies in one area.
fn next_part<H: Host>(lock: &Lock<'_, H>, rest: VirtRange) -> Option<VirtRange> {
    let vma = lock.map()?.find(rest.start)?;
    Some(rest.intersect(vma.range())).filter(|part| !part.is_empty())
}

/// One pass over `part`, unless its area is a device's.
fn populate_part<H: Host>(current: &Task, lock: &Lock<'_, H>, part: VirtRange) -> Option<Pass> {
    let map = lock.map()?;
    let vma = map.lookup(part.start)?;
    if lock.mm().machine().host().rule(a::A_159, is_device(vma), part.start) {
        return None;
    }
    Some(populate(lock.mm(), map, current, vma, part, Hold::MayDrop))
}

/// Memory that no page stands behind.
fn is_device<H: Host>(vma: &Vma<H>) -> bool {
    vma.flags.intersects(VmFlags::IO.union(VmFlags::PFNMAP))
}

/// What `mlock` tells its caller about an error of [`__mm_populate`]: -EFAULT becomes -ENOMEM,
/// -ENOMEM becomes -EAGAIN, all else stays.
/// # Linux
/// mm/mlock.c `__mlock_posix_error_return`, v4.4. Row A-159.
pub fn __mlock_posix_error_return(retval: i32) -> i32 {
    if retval == -Errno::EFAULT.raw() {
        -Errno::ENOMEM.raw()
    } else if retval == -Errno::ENOMEM.raw() {
        -Errno::EAGAIN.raw()
    } else {
        retval
    }
}
