//! The kernel's signatures without an MMU, v4.4. Those of 6.18 are in [`super::nommu_v6_18`].
//!
//! The same parameters as with an MMU, most of them ignored. No function here drops a lock that it
//! was given, takes a fault, or looks at a signal. Pages are given back with [`super::put_page`].
//! Linux: mm/nommu.c of v4.4, rows N-01 … N-10.

use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::Page;
use crate::host::Host;
use crate::nommu::{Area, Lock, NommuMm, Output, RegionMap, Walked, walk};
use crate::rule::{n, w};
use crate::task::Task;
use crate::vma::VmaId;

/// Takes a reference to each of `nr_pages` pages, beginning with the one that contains `start`.
///
/// Of `gup_flags` `FOLL_WRITE` and `FOLL_FORCE` count; `current`, `tsk`, `nonblocking` and all
/// other flags are ignored (row N-05), `FOLL_GET` too: with `pages` every page is referenced (row
/// N-04). A page is `None` where an area covers no memory; it counts all the same. `vmas` receives
/// ids that are good while `mm` is held. Both slices must hold `nr_pages` slots. `mm` must be held,
/// and stays so.
///
/// Returns the pages counted; fewer than asked if a later one was refused; 0 for `nr_pages` 0. A
/// huge number (a negative one, once) ends at the first refusal (row W-04).
/// # Errors
/// -EFAULT: no area contains `start`, or it forbids the access, or it is a device's (row N-03).
/// -EINVAL: `mm` is not held or a slice is too short; nothing is touched.
/// # Linux
/// mm/nommu.c `__get_user_pages`, v4.4.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn __get_user_pages<H: Host>(
    _current: &Task,
    _tsk: Option<&Task>,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Option<&mut [Option<Page>]>,
    vmas: Option<&mut [Option<VmaId>]>,
    _nonblocking: Option<&mut i32>,
) -> i64 {
    let foll = Foll::from_v4_4(gup_flags);
    let Some(map) = mm.map() else { return Errno::EINVAL.negated() };
    locked(mm.mm(), map, start, nr_pages, foll, pages, vmas)
        .map_or(Errno::EINVAL.negated(), Walked::code)
}

/// The walk with the lock held; `None` if a slice is too short.
pub(super) fn locked<H: Host>(
    mm: &NommuMm<H>,
    map: &RegionMap,
    start: u64,
    nr_pages: u64,
    foll: Foll,
    pages: Option<&mut [Option<Page>]>,
    vmas: Option<&mut [Option<VmaId>]>,
) -> Option<Walked> {
    let enough = |len: usize| len as u64 >= nr_pages;
    let holds = pages.as_ref().is_none_or(|slots| enough(slots.len()))
        && vmas.as_ref().is_none_or(|slots| enough(slots.len()));
    let mut out = Output { pages, vmas };
    let start = VirtAddr::new(start);
    holds.then(|| walk(mm.flat(), map, start, nr_pages, foll, &mut out, n::N_05))
}

/// [`__get_user_pages`] as the first twins had it, with a signed count: 0 or negative gives 0 (row
/// W-04).
/// # Errors
/// As [`__get_user_pages`].
/// # Linux
/// mm/nommu.c `__get_user_pages` before 2.6.39; the published description still says so in v4.4.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn __get_user_pages_int<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: i32,
    gup_flags: u32,
    pages: Option<&mut [Option<Page>]>,
    vmas: Option<&mut [Option<VmaId>]>,
) -> i64 {
    if mm.mm().host().rule(w::W_04, nr_pages <= 0, VirtAddr::new(start)) {
        return 0;
    }
    let count = i64::from(nr_pages).cast_unsigned();
    __get_user_pages(current, tsk, mm, start, count, gup_flags, pages, vmas, None)
}

/// The flags that `write` and `force` stand for, and no other (row N-07).
fn flags_of(write: i32, force: i32) -> u32 {
    let mut foll = Foll::empty();
    foll.set(Foll::WRITE, write != 0);
    foll.set(Foll::FORCE, force != 0);
    foll.to_v4_4()
}

/// [`__get_user_pages`] with only `FOLL_WRITE` if `write`, and `FOLL_FORCE` if `force`, is not 0
/// (row N-07).
/// # Errors
/// As [`__get_user_pages`].
/// # Linux
/// mm/nommu.c `get_user_pages`, v4.4.
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
    let flags = flags_of(write, force);
    mm.mm().host().decided(n::N_07, VirtAddr::new(start));
    __get_user_pages(current, tsk, mm, start, nr_pages, flags, pages, vmas, None)
}

/// [`get_user_pages`] without `vmas`. `locked` is ignored: the lock is never dropped (row N-07).
/// # Errors
/// As [`__get_user_pages`].
/// # Linux
/// mm/nommu.c `get_user_pages_locked`, v4.4.
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
    _locked: Option<&mut i32>,
) -> i64 {
    get_user_pages(current, tsk, mm, start, nr_pages, write, force, pages, None)
}

/// Takes the lock for reading, does what [`get_user_pages`] does without `vmas`, and gives the lock
/// back. `gup_flags` are ignored (row N-07).
/// # Errors
/// As [`__get_user_pages`].
/// # Linux
/// mm/nommu.c `__get_user_pages_unlocked`, v4.4.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn __get_user_pages_unlocked<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &NommuMm<H>,
    start: u64,
    nr_pages: u64,
    write: i32,
    force: i32,
    pages: Option<&mut [Option<Page>]>,
    gup_flags: u32,
) -> i64 {
    let ignored = mm.host().rule(n::N_07, true, VirtAddr::new(start));
    let flags = flags_of(write, force) | if ignored { 0 } else { gup_flags };
    let mut lock = Lock::Read(mm.read());
    __get_user_pages(current, tsk, &mut lock, start, nr_pages, flags, pages, None, None)
}

/// [`__get_user_pages_unlocked`] without flags.
/// # Errors
/// As [`__get_user_pages`].
/// # Linux
/// mm/nommu.c `get_user_pages_unlocked`, v4.4.
#[allow(clippy::too_many_arguments, reason = "the kernel's signature")]
pub fn get_user_pages_unlocked<H: Host>(
    current: &Task,
    tsk: Option<&Task>,
    mm: &NommuMm<H>,
    start: u64,
    nr_pages: u64,
    write: i32,
    force: i32,
    pages: Option<&mut [Option<Page>]>,
) -> i64 {
    __get_user_pages_unlocked(current, tsk, mm, start, nr_pages, write, force, pages, 0)
}

/// Stores the frame number of device memory at `address` in `pfn`, and returns 0 (row N-09).
/// # Errors
/// -EINVAL: `area` is ordinary memory; `pfn` is as it was.
/// # Linux
/// mm/nommu.c `follow_pfn`, v4.4.
pub fn follow_pfn<H: Host>(mm: &NommuMm<H>, area: &Area, address: u64, pfn: &mut u64) -> i64 {
    match crate::nommu::follow_pfn(mm.host(), area, VirtAddr::new(address)) {
        Ok(found) => {
            *pfn = found.get();
            0
        }
        Err(refused) => refused.errno.negated(),
    }
}

/// Copies bytes of another address space, under its lock, out of it or (`write` not 0) into it.
/// Returns how many: those in the one area that contains `addr`, 0 if it may not be accessed so
/// (row N-10).
/// # Linux
/// mm/nommu.c `access_remote_vm`, v4.4.
pub fn access_remote_vm<H: Host>(mm: &NommuMm<H>, addr: u64, buf: &mut [u8], write: i32) -> i64 {
    let (guard, addr) = (mm.read(), VirtAddr::new(addr));
    let copied = if write == 0 { guard.copy_out(addr, buf) } else { guard.copy_in(addr, buf) };
    copied as i64
}
