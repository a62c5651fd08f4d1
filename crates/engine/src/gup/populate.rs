//! Pre-faulting: mlock, `MAP_POPULATE` and `MADV_POPULATE_READ`/`_WRITE`. No pages are handed out.
//!
//! Areas are visited one by one; the lock is taken lazily, may be dropped by a fault, and every
//! visit begins with a fresh lookup.
//! Linux: mm/gup.c `__mm_populate`, `populate_vma_page_range`, `faultin_page_range` (rows C-93 …
//! C-95).

use super::outcome::Outcome;
use super::relock;
use super::request::Request;
use super::stop::Stop;
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::{Foll, VmFlags};
use crate::host::Host;
use crate::mm::{Lock, Mm};
use crate::rule::c;
use crate::task::Task;
use crate::vma::Vma;

/// What becomes of an area that cannot be populated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Go on with the next area (`MAP_POPULATE`, `mlockall`).
    Ignore,
    /// Return the error (mlock).
    Return,
}

/// Which access `madvise` pre-faults for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MadvisePopulate {
    /// `MADV_POPULATE_READ`.
    Read,
    /// `MADV_POPULATE_WRITE`.
    Write,
}

/// Populates all areas in `range` (widened to whole pages) as their permissions say: for writing if
/// private and writable. Takes the mmap lock for reading; holes end it quietly.
/// # Errors
/// With [`OnError::Return`]: what stopped the first area that could not be populated.
pub fn mm_populate<H: Host>(
    mm: &Mm<H>,
    current: &Task,
    range: VirtRange,
    on_error: OnError,
) -> Result<(), Stop> {
    let range = range.widened();
    let mut at = range.start;
    let mut lock = Lock::Dropped(mm);
    while at < range.end {
        lock.take();
        let Some(part) = lock.map().and_then(|map| next_part(map.find(at)?, at, range.end)) else {
            break;
        };
        mm.machine().host().decided(c::C_94, part.range.start);
        if part.skip {
            at = part.range.end;
            continue;
        }
        let outcome = populate_part(current, &mut lock, &part);
        match outcome.stop {
            Some(stop) if outcome.got == 0 && on_error == OnError::Return => return Err(stop),
            Some(_) if outcome.got == 0 => at = part.range.end,
            Some(_) | None => at = part.range.start.wrapping_add(outcome.got << PAGE_SHIFT),
        }
    }
    Ok(())
}

/// The part of one area that is to be populated.
struct Part {
    range: VirtRange,
    foll: Foll,
    /// `VM_IO`, `VM_PFNMAP`: passed over.
    skip: bool,
    /// `VM_LOCKONFAULT`: counted as done (row C-93).
    on_fault: bool,
    /// No access at all: EFAULT (row C-93).
    inaccessible: bool,
}

fn next_part<H: Host>(vma: &Vma<H>, at: VirtAddr, end: VirtAddr) -> Option<Part> {
    if vma.start() >= end {
        return None;
    }
    let range = vma.range().intersect(VirtRange::new(at, end));
    let write = vma.flags & (VmFlags::WRITE | VmFlags::SHARED) == VmFlags::WRITE;
    let foll = Foll::TOUCH | Foll::UNLOCKABLE;
    Some(Part {
        range,
        foll: foll | if write { Foll::WRITE } else { Foll::FORCE },
        skip: vma.flags.intersects(VmFlags::IO | VmFlags::PFNMAP),
        on_fault: vma.flags.contains(VmFlags::LOCKONFAULT),
        inaccessible: !vma.is_accessible(),
    })
}

fn populate_part<H: Host>(current: &Task, lock: &mut Lock<'_, H>, part: &Part) -> Outcome {
    let nr_pages = part.range.pages();
    let start = part.range.start;
    let host = lock.mm().machine().host();
    host.decided(c::C_93, start);
    if part.on_fault {
        return Outcome::full(nr_pages);
    }
    if part.inaccessible {
        return Outcome::stopped(0, Stop::with(c::C_93, Errno::EFAULT));
    }
    let machine = lock.mm().machine().clone();
    let outcome = relock::once(current, lock, Request { start, nr_pages, foll: part.foll });
    machine.drain_batches();
    outcome
}

/// `madvise(MADV_POPULATE_READ or _WRITE)` on `range`, widened to whole pages.
/// # Errors
/// EINTR; EINVAL (an area refuses); EHWPOISON; EFAULT (a fault failed); ENOMEM (a hole, or no
/// memory). What came before stays populated (row C-95).
pub fn madvise_populate<H: Host>(
    mm: &Mm<H>,
    current: &Task,
    range: VirtRange,
    access: MadvisePopulate,
) -> Result<(), Stop> {
    let host = mm.machine().host();
    let base = Foll::TOUCH | Foll::HWPOISON | Foll::UNLOCKABLE | Foll::MADV_POPULATE;
    let foll = match access {
        MadvisePopulate::Read => base,
        MadvisePopulate::Write => base | Foll::WRITE,
    };
    let range = range.widened();
    let mut lock = Lock::Dropped(mm);
    let mut at = range.start;
    while at < range.end {
        lock.take();
        let nr_pages = range.end.pages_from(at);
        let outcome = relock::run(current, &mut lock, Request { start: at, nr_pages, foll }, None);
        mm.machine().drain_batches();
        host.decided(c::C_95, at);
        if let Some(stop) = outcome.stop
            && outcome.got == 0
        {
            return Err(stop);
        }
        at = at.wrapping_add(outcome.got << PAGE_SHIFT);
    }
    Ok(())
}
