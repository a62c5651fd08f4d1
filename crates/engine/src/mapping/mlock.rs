//! mlock and its family: which areas are locked, how much may be, and faulting them in.
//!
//! *Locked*: `VM_LOCKED`; with `VM_LOCKONFAULT` pages are locked as they come, and not faulted in.
//! What an area is made of may make locking it pointless: then nothing is done, and that is no
//! error.
//! Linux: mm/mlock.c (6.18).

use super::edit::{modify, page_align};
use super::limits;
use super::populate::populate;
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::fault::mlocked::{Becomes, mark_range};
use crate::file::FileKind;
use crate::flags::VmFlags;
use crate::gup::populate::OnError;
use crate::host::Host;
use crate::mm::{Mm, MmWrite};
use crate::pgtable::task_size;
use crate::rule;
use crate::task::Task;
use crate::vma::{SPECIAL, Vma};
use alloc::vec::Vec;
use bitflags::bitflags;
use core::sync::atomic::Ordering::Relaxed;

bitflags! {
    /// `MLOCK_…`: what mlock2 is told.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MlockFlags: u32 {
        /// Lock pages as they are faulted in.
        const ONFAULT = 1;
    }
}

bitflags! {
    /// `MCL_…`: what mlockall is told.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MclFlags: u32 {
        /// All areas there are.
        const CURRENT = 1;
        /// All areas to come.
        const FUTURE = 2;
        /// Lock pages as they are faulted in.
        const ONFAULT = 4;
    }
}

const LOCKED_MASK: VmFlags = VmFlags::LOCKED.union(VmFlags::LOCKONFAULT);

/// Locks the pages that contain the `bytes` bytes from `addr`, and faults them in.
/// # Errors
/// - EPERM: the task may lock nothing;
/// - ENOMEM: more than `RLIMIT_MEMLOCK`, too many areas, a hole (what lies before it is locked, and
///   nothing is faulted in: rows M-01, M-02), or a page that cannot be had: then the area is locked
///   all the same;
/// - EINVAL: the range wraps; EAGAIN: no memory for a page.
/// # Linux
/// `mlock()`.
pub fn mlock<H: Host>(mm: &Mm<H>, task: &Task, addr: VirtAddr, bytes: u64) -> Result<(), Errno> {
    lock_range(mm, task, addr, bytes, VmFlags::LOCKED)
}

/// As [`mlock`]; with `ONFAULT` nothing is faulted in.
/// # Errors
/// As [`mlock`]; EINVAL: an unknown flag.
/// # Linux
/// `mlock2()`.
pub fn mlock2<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    addr: VirtAddr,
    bytes: u64,
    flags: MlockFlags,
) -> Result<(), Errno> {
    if flags.bits() & !MlockFlags::all().bits() != 0 {
        return Err(Errno::EINVAL);
    }
    let on_fault = flags.contains(MlockFlags::ONFAULT);
    lock_range(mm, task, addr, bytes, if on_fault { LOCKED_MASK } else { VmFlags::LOCKED })
}

fn lock_range<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    addr: VirtAddr,
    bytes: u64,
    flags: VmFlags,
) -> Result<(), Errno> {
    if !limits::can_lock(task) {
        return Err(Errno::EPERM);
    }
    let (start, length) = whole_pages(addr, bytes);
    let mut lock = mm.write();
    let limit = limits::memlock_limit(task);
    let mut locked = (length >> PAGE_SHIFT).saturating_add(mm.locked_vm.load(Relaxed));
    if locked > limit {
        locked = locked.saturating_sub(locked_in(&lock, start, length));
    }
    if locked > limit {
        return Err(Errno::ENOMEM);
    }
    apply(&mut lock, start, length, flags)?;
    drop(lock);
    populate(mm, task, VirtRange::new(start, start.saturating_add(length)), OnError::Return)
}

/// Unlocks the pages that contain the `bytes` bytes from `addr`.
/// # Errors
/// ENOMEM: too many areas, or a hole; what lies before it is unlocked (row M-01). EINVAL: the range
/// wraps.
/// # Linux
/// `munlock()`.
pub fn munlock<H: Host>(mm: &Mm<H>, addr: VirtAddr, bytes: u64) -> Result<(), Errno> {
    let (start, length) = whole_pages(addr, bytes);
    apply(&mut mm.write(), start, length, VmFlags::empty())
}

/// Locks all areas there are, all areas to come, or both.
/// # Errors
/// EINVAL: no flag, an unknown one, or `ONFAULT` alone; EPERM: the task may lock nothing; ENOMEM:
/// it is more than `RLIMIT_MEMLOCK`. Pages that cannot be had are no error.
/// # Linux
/// `mlockall()`.
pub fn mlockall<H: Host>(mm: &Mm<H>, task: &Task, flags: MclFlags) -> Result<(), Errno> {
    let unknown = flags.bits() & !MclFlags::all().bits() != 0;
    if flags.is_empty() || unknown || flags == MclFlags::ONFAULT {
        return Err(Errno::EINVAL);
    }
    if !limits::can_lock(task) {
        return Err(Errno::EPERM);
    }
    let current = flags.contains(MclFlags::CURRENT);
    let mut lock = mm.write();
    if current && mm.total_vm.load(Relaxed) > limits::memlock_limit(task) {
        return Err(Errno::ENOMEM);
    }
    apply_all(&mut lock, flags);
    drop(lock);
    if current {
        let all = VirtRange::new(VirtAddr::new(0), VirtAddr::new(task_size::<H>()));
        populate(mm, task, all, OnError::Ignore)?;
    }
    Ok(())
}

/// Unlocks all areas, those to come too.
/// # Linux
/// `munlockall()`, which has no errors but a signal.
pub fn munlockall<H: Host>(mm: &Mm<H>) {
    apply_all(&mut mm.write(), MclFlags::empty());
}

/// The start of the first page, and the bytes up to the end of the last; sums wrap, as in the
/// kernel.
fn whole_pages(addr: VirtAddr, bytes: u64) -> (VirtAddr, u64) {
    (addr.page_floor(), page_align(bytes.wrapping_add(addr.page_offset())))
}

/// Pages of the range that are locked already (`count_mm_mlocked_page_nr`).
fn locked_in<H: Host>(lock: &MmWrite<'_, H>, start: VirtAddr, length: u64) -> u64 {
    let range = VirtRange::new(start, start.saturating_add(length));
    let locked = lock.overlapping(range).filter(|vma| vma.flags.contains(VmFlags::LOCKED));
    locked.map(|vma| vma.range().intersect(range).pages()).sum()
}

/// Gives the areas of a range other lock flags, up to the first hole (`apply_vma_lock_flags`).
fn apply<H: Host>(
    lock: &mut MmWrite<'_, H>,
    start: VirtAddr,
    length: u64,
    flags: VmFlags,
) -> Result<(), Errno> {
    let end = start.checked_add(length).ok_or(Errno::EINVAL)?;
    let mut at = start;
    while at < end {
        let next = lock.lookup(at).map(|vma| vma.end().min(end));
        if lock.mm().machine().host().rule(rule::m::M_01, next.is_none(), at) {
            lock.mm().machine().host().decided(rule::m::M_02, at);
            return Err(Errno::ENOMEM);
        }
        let Some(next) = next else { return Err(Errno::ENOMEM) };
        fixup(lock, VirtRange::new(at, next), flags)?;
        at = next;
    }
    Ok(())
}

/// The same for all areas, and for those to come (`apply_mlockall_flags`).
fn apply_all<H: Host>(lock: &mut MmWrite<'_, H>, flags: MclFlags) {
    let wanted = |kind: MclFlags| match (flags.contains(kind), flags.contains(MclFlags::ONFAULT)) {
        (false, _) => VmFlags::empty(),
        (true, false) => VmFlags::LOCKED,
        (true, true) => LOCKED_MASK,
    };
    lock.def_flags = lock.def_flags.difference(LOCKED_MASK) | wanted(MclFlags::FUTURE);
    if flags.contains(MclFlags::FUTURE) && !flags.contains(MclFlags::CURRENT) {
        return;
    }
    let ranges: Vec<VirtRange> = lock.iter().map(Vma::range).collect();
    for range in ranges {
        // An area that cannot be split stays as it is; here none has to be.
        let _ = fixup(lock, range, wanted(MclFlags::CURRENT));
    }
}

/// Gives the part `range` of one area the lock flags `flags` (`mlock_fixup`).
fn fixup<H: Host>(
    lock: &mut MmWrite<'_, H>,
    range: VirtRange,
    flags: VmFlags,
) -> Result<(), Errno> {
    let Some(vma) = lock.lookup(range.start) else { return Ok(()) };
    let old = vma.flags;
    let new = old.difference(LOCKED_MASK) | flags;
    if old == new || never_locked(vma) {
        return Ok(());
    }
    modify(lock, range, new)?;
    let (was, is) = (old.contains(VmFlags::LOCKED), new.contains(VmFlags::LOCKED));
    let locked_vm = &lock.mm().locked_vm;
    if is && !was {
        locked_vm.fetch_add(range.pages(), Relaxed);
    } else if was && !is {
        locked_vm.fetch_sub(range.pages(), Relaxed);
    }
    if is != was {
        let becomes = if is { Becomes::Locked } else { Becomes::Unlocked };
        mark_range(lock.mm(), range, becomes);
    }
    Ok(())
}

/// Its pages are never reclaimed, or may vanish at any time: locking means nothing.
fn never_locked<H: Host>(vma: &Vma<H>) -> bool {
    let kind = vma.backing.file().map(|file| file.kind());
    let by_kind = matches!(kind, Some(FileKind::Fsdax | FileKind::Secret | FileKind::Hugetlb(_)));
    by_kind || vma.flags.intersects(SPECIAL | VmFlags::HUGETLB | VmFlags::DROPPABLE)
}
