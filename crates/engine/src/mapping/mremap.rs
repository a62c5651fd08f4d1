//! mremap: longer, shorter, or elsewhere, with the pages that are there.
//!
//! *Move*: the entries go to the new place, the pages stay where they are. The old place is flushed
//! before its lock is dropped (row S-24).
//! Linux: mm/mremap.c (6.18).

use super::edit::{bookkeeping, join, join_around, page_align};
use super::moving::{copy_area, forget_moved_tables, move_entries};
use super::munmap::{munmap, unmap};
use super::place::{Wanted, find_place};
use super::{limits, request};
use crate::addr::{PAGE_SHIFT, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::{MapFlags, VmFlags};
use crate::host::Host;
use crate::mm::MmWrite;
use crate::pgtable::task_size;
use crate::rule;
use crate::task::Task;
use bitflags::bitflags;
use core::sync::atomic::Ordering::Relaxed;

bitflags! {
    /// `MREMAP_…`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MremapFlags: u32 {
        /// It may go elsewhere.
        const MAYMOVE = 1;
        /// It goes to the address given, in place of whatever is there.
        const FIXED = 2;
        /// The old area stays, without its pages.
        const DONTUNMAP = 4;
    }
}

/// What mremap is asked. Unknown bits in `flags` may be retained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MremapRequest {
    /// Where the memory is.
    pub addr: VirtAddr,
    /// How much of it, in bytes; 0 makes a second mapping of shared memory.
    pub old_bytes: u64,
    /// How much it will be, in bytes.
    pub new_bytes: u64,
    /// How.
    pub flags: MremapFlags,
    /// Where it is to go, with `FIXED`; a hint with `DONTUNMAP`.
    pub new_addr: VirtAddr,
}

/// Where it is now, and the new part of a locked area, to be populated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remapped {
    /// The address.
    pub addr: VirtAddr,
    /// What a locked area has grown by; empty if nothing is to be populated.
    pub populate: VirtRange,
}

/// Makes a mapping longer or shorter, or moves it; several areas at once with `FIXED` and equal
/// lengths (row M-05).
///
/// Nothing is populated: [`super::sys::mremap`] does that too.
/// # Errors
/// - EINVAL: unaligned, no length, unknown or contradicting flags, old and new overlap, private
///   memory with `old_bytes` 0, a range outside user space, huge pages cut;
/// - EFAULT: no area there, or it ends before the range does, or it may not grow;
/// - ENOMEM: no room in place and `MAYMOVE` not given, no gap, too many areas, `RLIMIT_AS`,
///   overcommit;
/// - EAGAIN: `RLIMIT_MEMLOCK`; EPERM: sealed.
/// # Linux
/// `mremap()`.
pub fn mremap<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    request: &MremapRequest,
) -> Result<Remapped, Errno> {
    let mut vrm = Vrm {
        addr: request.addr,
        old: page_align(request.old_bytes),
        new: page_align(request.new_bytes),
        flags: request.flags,
        new_addr: request.new_addr,
    };
    check(lock, &vrm)?;
    if vrm.flags.contains(MremapFlags::FIXED) && vrm.old == vrm.new && vrm.old != 0 {
        return move_all(lock, task, &vrm);
    }
    if let Some(vma) = lock.lookup(vrm.addr) {
        let shift = request::huge_shift(vma);
        vrm.old = round_to(vrm.old, shift);
        vrm.new = round_to(vrm.new, shift);
    }
    prepare(lock, task, &vrm)?;
    if vrm.places() { to(lock, task, &vrm) } else { at(lock, task, &vrm) }
}

/// A remap in progress: whole pages.
#[derive(Clone, Copy)]
struct Vrm {
    addr: VirtAddr,
    old: u64,
    new: u64,
    flags: MremapFlags,
    new_addr: VirtAddr,
}

impl Vrm {
    /// It goes elsewhere, whether it must or not.
    fn places(&self) -> bool {
        self.flags.intersects(MremapFlags::FIXED | MremapFlags::DONTUNMAP)
    }
    fn source(&self) -> VirtRange {
        VirtRange::new(self.addr, self.addr.saturating_add(self.old))
    }
    fn delta(&self) -> u64 {
        self.new.saturating_sub(self.old)
    }
    /// The new area maps pages that the old one has not, or elsewhere.
    fn maps_new(&self) -> bool {
        self.places() || self.new > self.old
    }
}

fn round_to(bytes: u64, shift: u32) -> u64 {
    let mask = (1 << shift) - 1;
    bytes.checked_add(mask).map_or(bytes, |sum| sum & !mask)
}

/// The arguments alone (`check_mremap_params`).
fn check<H: Host>(lock: &MmWrite<'_, H>, vrm: &Vrm) -> Result<(), Errno> {
    let may_move = vrm.flags.contains(MremapFlags::MAYMOVE);
    let stays = vrm.flags.contains(MremapFlags::DONTUNMAP);
    let unknown = vrm.flags.bits() & !MremapFlags::all().bits() != 0;
    let bad = unknown
        || vrm.addr.page_offset() != 0
        || vrm.new == 0
        || vrm.new > task_size::<H>()
        || vrm.places() && !may_move
        || stays && vrm.old != vrm.new;
    if bad {
        return Err(Errno::EINVAL);
    }
    if !vrm.places() {
        return Ok(());
    }
    let outside =
        vrm.new_addr.page_offset() != 0 || vrm.new_addr.get() > task_size::<H>() - vrm.new;
    let below = vrm.new_addr.wrapping_add(vrm.new) <= vrm.addr;
    let above = vrm.addr.wrapping_add(vrm.old) <= vrm.new_addr;
    if outside || !(below || above) {
        return Err(Errno::EINVAL);
    }
    let max = lock.mm().machine().sysctl.max_map_count;
    if lock.len() + 2 >= max.saturating_sub(3) { Err(Errno::ENOMEM) } else { Ok(()) }
}

/// The area, and what it forbids (`check_prep_vma`).
fn prepare<H: Host>(lock: &MmWrite<'_, H>, task: &Task, vrm: &Vrm) -> Result<(), Errno> {
    let vma = lock.lookup(vrm.addr).ok_or(Errno::EFAULT)?;
    if vma.flags.contains(VmFlags::SEALED) {
        return Err(Errno::EPERM);
    }
    let shift = request::huge_shift(vma);
    // Of hugetlb, where it would go is looked at even if it goes nowhere.
    let target = vrm.places() || vma.is_hugetlb();
    if !vrm.addr.is_aligned(shift) || target && !vrm.new_addr.is_aligned(shift) {
        return Err(Errno::EINVAL);
    }
    if vma.is_hugetlb() && vrm.new > vrm.old {
        return Err(Errno::EINVAL);
    }
    if !vrm.maps_new() {
        return Ok(());
    }
    if vrm.old == 0 && !vma.flags.intersects(VmFlags::SHARED | VmFlags::MAYSHARE) {
        return Err(Errno::EINVAL);
    }
    let fixed_size = vma.flags.intersects(VmFlags::DONTEXPAND | VmFlags::PFNMAP);
    if vrm.flags.contains(MremapFlags::DONTUNMAP) && fixed_size {
        return Err(Errno::EINVAL);
    }
    if vrm.old.min(vrm.new) > vma.end().bytes_from(vrm.addr) {
        return Err(Errno::EFAULT);
    }
    if vrm.new <= vrm.old {
        return Ok(());
    }
    let pgoff = vma.index_of(vrm.addr);
    pgoff.checked_add(vrm.new >> PAGE_SHIFT).ok_or(Errno::EINVAL)?;
    if fixed_size {
        return Err(Errno::EFAULT);
    }
    let pages = vrm.delta() >> PAGE_SHIFT;
    if !limits::may_lock(lock.mm(), task, vma.flags, pages) {
        return Err(Errno::EAGAIN);
    }
    let may = limits::may_expand(lock.mm(), lock, task, vma.flags, pages);
    if may { Ok(()) } else { Err(Errno::ENOMEM) }
}

/// In place if possible (`mremap_at`).
fn at<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, vrm: &Vrm) -> Result<Remapped, Errno> {
    let stays = Remapped { addr: vrm.addr, populate: VirtRange::new(vrm.addr, vrm.addr) };
    if vrm.new < vrm.old {
        munmap(lock, vrm.addr.saturating_add(vrm.new), vrm.old - vrm.new)?;
        return Ok(stays);
    }
    if vrm.new == vrm.old {
        return Ok(stays);
    }
    if grows_in_place(lock, vrm) {
        return grow(lock, vrm);
    }
    if !vrm.flags.contains(MremapFlags::MAYMOVE) {
        return Err(Errno::ENOMEM);
    }
    let new_addr = place(lock, task, vrm)?;
    relocate(lock, &Vrm { new_addr, ..*vrm })
}

/// Elsewhere (`mremap_to`).
fn to<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, vrm: &Vrm) -> Result<Remapped, Errno> {
    let mut vrm = *vrm;
    if vrm.flags.contains(MremapFlags::FIXED) {
        munmap(lock, vrm.new_addr, vrm.new)?;
        // What is to move may have been part of what had to go.
        lock.lookup(vrm.addr).ok_or(Errno::EFAULT)?;
    }
    if vrm.new < vrm.old {
        munmap(lock, vrm.addr.saturating_add(vrm.new), vrm.old - vrm.new)?;
        vrm.old = vrm.new;
    }
    if vrm.flags.contains(MremapFlags::DONTUNMAP) {
        let flags = lock.lookup(vrm.addr).map_or(VmFlags::empty(), |vma| vma.flags);
        if !limits::may_expand(lock.mm(), lock, task, flags, vrm.old >> PAGE_SHIFT) {
            return Err(Errno::ENOMEM);
        }
    }
    vrm.new_addr = place(lock, task, &vrm)?;
    relocate(lock, &vrm)
}

fn place<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, vrm: &Vrm) -> Result<VirtAddr, Errno> {
    let vma = lock.lookup(vrm.addr).ok_or(Errno::EFAULT)?;
    let fixed = vrm.flags.contains(MremapFlags::FIXED);
    let flags = if fixed { MapFlags::FIXED } else { MapFlags::empty() };
    let addr = if vrm.places() { vrm.new_addr } else { VirtAddr::new(0) };
    let anonymous = vma.backing.file().is_none();
    let shift = request::huge_shift(vma);
    find_place(lock, task, &Wanted { addr, bytes: vrm.new, flags, shift, anonymous })
}

/// Whether the range ends where its area does, and the next pages are free
/// (`vrm_can_expand_in_place`).
fn grows_in_place<H: Host>(lock: &MmWrite<'_, H>, vrm: &Vrm) -> bool {
    let end = vrm.addr.saturating_add(vrm.old);
    let Some(vma) = lock.lookup(vrm.addr).filter(|vma| vma.end() == end) else { return false };
    let Some(new) = VirtRange::from_len(end, vrm.delta()) else { return false };
    new.end.get() <= task_size::<H>()
        && lock.overlapping(new).next().is_none()
        && vma.start().get() <= task_size::<H>()
}

/// Longer in place.
fn grow<H: Host>(lock: &mut MmWrite<'_, H>, vrm: &Vrm) -> Result<Remapped, Errno> {
    let end = vrm.addr.saturating_add(vrm.old);
    let new = VirtRange::new(end, end.saturating_add(vrm.delta()));
    let vma = lock.lookup(vrm.addr).ok_or(Errno::EFAULT)?;
    let flags = vma.flags;
    if flags.contains(VmFlags::ACCOUNT) {
        limits::charge(lock.mm().machine(), new.pages())?;
    }
    lock.lengthen(end, new.end);
    join(lock, new.end);
    Ok(Remapped { addr: vrm.addr, populate: account_new(lock, flags, new) })
}

/// Adds a grown part to the accounts; what of it is to be populated.
fn account_new<H: Host>(lock: &mut MmWrite<'_, H>, flags: VmFlags, new: VirtRange) -> VirtRange {
    limits::account(lock, flags, new.pages());
    if flags.contains(VmFlags::LOCKED) {
        lock.mm().locked_vm.fetch_add(new.pages(), Relaxed);
        return new;
    }
    VirtRange::new(new.start, new.start)
}

/// The area elsewhere, with its entries; the old one goes, or stays empty (`move_vma`).
fn relocate<H: Host>(lock: &mut MmWrite<'_, H>, vrm: &Vrm) -> Result<Remapped, Errno> {
    let max = lock.mm().machine().sysctl.max_map_count;
    if lock.len() >= max.saturating_sub(3) {
        return Err(Errno::ENOMEM);
    }
    bookkeeping(lock)?;
    let keeps = vrm.flags.contains(MremapFlags::DONTUNMAP);
    let flags = lock.lookup(vrm.addr).ok_or(Errno::EFAULT)?.flags;
    let charged = if keeps { vrm.new } else { vrm.delta() } >> PAGE_SHIFT;
    if flags.contains(VmFlags::ACCOUNT) {
        limits::charge(lock.mm().machine(), charged)?;
        limits::adopt(lock.mm().machine(), (vrm.new >> PAGE_SHIFT) - charged);
    }
    let range = VirtRange::new(vrm.new_addr, vrm.new_addr.saturating_add(vrm.new));
    let watched = lock.lookup(vrm.addr).is_some_and(|vma| vma.uffd.is_some());
    // Where an area that was never touched meets the one that it is copied from.
    let border = lock.lookup(vrm.addr).and_then(|vma| {
        let fresh = vma.is_anonymous() && vma.anon_vma().is_none() && !watched;
        let meets = |addr: &VirtAddr| *addr == vma.start() || *addr == vma.end();
        [range.end, range.start].into_iter().find(meets).filter(|_| fresh)
    });
    copy_area(lock, vrm.addr, range);
    if move_entries(lock, vrm.source(), range.start).is_err() {
        return give_up(lock, vrm, range);
    }
    limits::account(lock, flags, range.pages());
    if flags.contains(VmFlags::LOCKED) {
        lock.mm().locked_vm.fetch_add(range.pages(), Relaxed);
    }
    if keeps {
        forget_moved_tables(lock, vrm.source(), range.start);
        leave_empty(lock, vrm.source());
        if border.is_some() {
            unlock(lock, range.start);
        }
    } else if vrm.old > 0 {
        munmap(lock, vrm.addr, vrm.old)?;
    }
    let met_as_locked = border.filter(|_| keeps && flags.contains(VmFlags::LOCKED));
    // A watched area finds no neighbours like it, and is watched no longer only then. One that was
    // locked when it met its source is like no other that it meets.
    if let Some(border) = met_as_locked {
        join(lock, border);
    } else if !watched {
        join_around(lock, range);
    }
    let grown = VirtRange::new(range.start.saturating_add(vrm.old), range.end);
    let populate = if flags.contains(VmFlags::LOCKED) {
        grown
    } else {
        VirtRange::new(range.start, range.start)
    };
    Ok(Remapped { addr: range.start, populate })
}

/// No memory for tables: the entries go back, and the new area goes.
fn give_up<H: Host>(
    lock: &mut MmWrite<'_, H>,
    vrm: &Vrm,
    range: VirtRange,
) -> Result<Remapped, Errno> {
    // The old place still has its tables, so this cannot fail.
    let back = VirtRange::new(range.start, range.start.saturating_add(vrm.old));
    let _ = move_entries(lock, back, vrm.addr);
    let flags = lock.lookup(range.start).map_or(VmFlags::empty(), |vma| vma.flags);
    limits::account(lock, flags, range.pages());
    if flags.contains(VmFlags::LOCKED) {
        lock.mm().locked_vm.fetch_add(range.pages(), Relaxed);
    }
    let _ = unmap(lock, range);
    Err(Errno::ENOMEM)
}

/// `DONTUNMAP`: the old area stays, unlocked, and forgets its anonymous pages' history if it is
/// whole.
fn leave_empty<H: Host>(lock: &mut MmWrite<'_, H>, source: VirtRange) {
    unlock(lock, source.start);
    if let Some(vma) = lock.lookup_mut(source.start).filter(|vma| vma.range() == source) {
        vma.set_anon_vma(None);
    }
}

/// The area at `addr` is not locked any more. One that has never been touched is one with its
/// source, where they meet, already before that one is unlocked: it loses its lock as well.
fn unlock<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr) {
    let Some(vma) = lock.lookup_mut(addr) else { return };
    let was = vma.flags.contains(VmFlags::LOCKED);
    let pages = vma.range().pages();
    vma.flags = vma.flags.difference(VmFlags::LOCKED | VmFlags::LOCKONFAULT);
    if was {
        lock.mm().locked_vm.fetch_sub(pages, Relaxed);
    }
}

/// Several areas, and the gaps between them, to one place (row M-05; `remap_move`).
fn move_all<H: Host>(lock: &mut MmWrite<'_, H>, task: &Task, vrm: &Vrm) -> Result<Remapped, Errno> {
    let (source, host) = (vrm.source(), lock.mm().machine().host());
    let (mut at, mut target, mut first) = (source.start, vrm.new_addr, None);
    while at < source.end {
        let Some(vma) = lock.find(at).filter(|vma| vma.start() < source.end) else { break };
        let part = vma.range().intersect(VirtRange::new(at, source.end));
        let hole = first.is_none() && part.start > source.start;
        if host.rule(rule::m::M_05, hole, part.start) {
            return Err(Errno::EFAULT);
        }
        let alone = vma.uffd.is_some();
        if alone && (first.is_some() || vma.end() < source.end) {
            return Err(Errno::EFAULT);
        }
        let offset = if first.is_some() { part.start.bytes_from(at) } else { 0 };
        target = target.saturating_add(offset);
        let bytes = round_to(part.bytes(), request::huge_shift(vma));
        let one =
            Vrm { addr: part.start, old: bytes, new: bytes, new_addr: target, flags: vrm.flags };
        prepare(lock, task, &one)?;
        let moved = to(lock, task, &one)?;
        if first.is_some() {
            host.decided(rule::m::M_05, part.start);
        }
        first = first.or(Some(moved.addr));
        (at, target) = (part.end, moved.addr.saturating_add(part.bytes()));
    }
    if host.rule(rule::m::M_05, first.is_none(), source.start) {
        return Err(Errno::EFAULT);
    }
    let addr = first.ok_or(Errno::EFAULT)?;
    Ok(Remapped { addr, populate: VirtRange::new(addr, addr) })
}
