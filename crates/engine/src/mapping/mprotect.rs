//! mprotect: other permissions for a range, area by area, up to the first hole.
//!
//! *Upgrade*: entries of pages that are this process's alone become writable at once (row F-32);
//! all others wait for a write fault.
//! Linux: mm/mprotect.c `do_mprotect_pkey`, `mprotect_fixup`, `can_change_pte_writable` (6.18).

use super::edit::{modify, page_align};
use super::entries::change_entries;
use super::limits;
use crate::addr::{VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::{Prot, VmFlags};
use crate::host::Host;
use crate::mm::MmWrite;
use crate::rule;
use crate::task::Task;
use crate::vma::{Vma, anon_vma_prepare};
use alloc::vec::Vec;

/// Whether a range that begins inside a stack extends to its start (`PROT_GROWSDOWN`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrowProt {
    /// No.
    Exact,
    /// It does, and must.
    Down,
}

/// Gives `bytes` bytes, rounded up to pages, from `addr` the permissions `prot`.
///
/// Locked memory that becomes writable is not populated here (row M-04): [`super::sys::mprotect`]
/// does.
/// # Errors
/// What was done before the error stays (row M-01).
/// - EINVAL: `addr` is not at a page, or `prot` has unknown bits;
/// - ENOMEM: a hole, a range that wraps, too many areas, or too much committed memory;
/// - EACCES: the area may never have such permissions;
/// - EPERM: the area is sealed.
/// # Linux
/// `mprotect()`.
pub fn mprotect<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    addr: VirtAddr,
    bytes: u64,
    prot: Prot,
) -> Result<(), Errno> {
    protect(lock, task, Request { addr, bytes, prot, grow: GrowProt::Exact }, &mut Vec::new())
}

/// What mprotect is asked.
pub(super) struct Request {
    pub(super) addr: VirtAddr,
    pub(super) bytes: u64,
    pub(super) prot: Prot,
    pub(super) grow: GrowProt,
}

/// As [`mprotect`]; adds to `populate` what is to be populated for writing, whatever the result.
pub(super) fn protect<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    request: Request,
    populate: &mut Vec<VirtRange>,
) -> Result<(), Errno> {
    let Some(range) = check(&request)? else { return Ok(()) };
    let range = first_area(lock, range, request.grow)?;
    let mut at = range.start;
    while at < range.end {
        let vma = lock.lookup(at);
        if lock.mm().machine().host().rule(rule::m::M_01, vma.is_none(), at) {
            return Err(Errno::ENOMEM);
        }
        let Some(vma) = vma else { return Err(Errno::ENOMEM) };
        let part = VirtRange::new(at, vma.end().min(range.end));
        let flags = new_flags(vma, request.prot)?;
        fixup(lock, task, part, flags, populate)?;
        at = part.end;
    }
    Ok(())
}

/// The arguments as a range of whole pages; `None` if it is empty.
fn check(request: &Request) -> Result<Option<VirtRange>, Errno> {
    if request.addr.page_offset() != 0 {
        return Err(Errno::EINVAL);
    }
    if request.bytes == 0 {
        return Ok(None);
    }
    let end = request.addr.wrapping_add(page_align(request.bytes));
    if end <= request.addr {
        return Err(Errno::ENOMEM);
    }
    if request.prot.bits() & !(Prot::all().bits() | PROT_SEM) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Some(VirtRange::new(request.addr, end)))
}

/// `PROT_SEM`: accepted, without meaning.
const PROT_SEM: u32 = 8;

/// The range, which an area must cover from its start; from the start of the stack for `Down`.
fn first_area<H: Host>(
    lock: &MmWrite<'_, H>,
    range: VirtRange,
    grow: GrowProt,
) -> Result<VirtRange, Errno> {
    let first = lock.find(range.start).ok_or(Errno::ENOMEM)?;
    match grow {
        GrowProt::Exact => Ok(range),
        GrowProt::Down if first.start() >= range.end => Err(Errno::ENOMEM),
        GrowProt::Down if !first.flags.contains(VmFlags::GROWSDOWN) => Err(Errno::EINVAL),
        GrowProt::Down => Ok(VirtRange::new(first.start(), range.end)),
    }
}

/// The area's flags with `prot`'s permissions, none of which it may lack for ever.
fn new_flags<H: Host>(vma: &Vma<H>, prot: Prot) -> Result<VmFlags, Errno> {
    let wanted = prot_flags(prot);
    let may = VmFlags::from_bits_retain(wanted.bits() << 4);
    // What it may never have is refused before what is sealed.
    if !vma.flags.contains(may) {
        return Err(Errno::EACCES);
    }
    if vma.flags.contains(VmFlags::SEALED) {
        return Err(Errno::EPERM);
    }
    Ok(vma.flags.difference(VmFlags::ACCESS) | wanted)
}

/// READ, WRITE, EXEC as an area has them (`calc_vm_prot_bits`).
pub(super) fn prot_flags(prot: Prot) -> VmFlags {
    VmFlags::from_bits_retain(u64::from(prot.bits())) & VmFlags::ACCESS
}

/// Changes the part `range` of one area to `flags`, entries and all (`mprotect_fixup`).
fn fixup<H: Host>(
    lock: &mut MmWrite<'_, H>,
    task: &Task,
    range: VirtRange,
    flags: VmFlags,
    populate: &mut Vec<VirtRange>,
) -> Result<(), Errno> {
    let Some(vma) = lock.lookup(range.start) else { return Ok(()) };
    let (old, fresh) = (vma.flags, vma.is_anonymous() && vma.anon_vma().is_none());
    if old == flags {
        return Ok(());
    }
    let pages = range.pages();
    let flags = recharge(lock, task, (old, flags), pages, fresh)?;
    if let Err(errno) = modify(lock, range, flags) {
        if flags.contains(VmFlags::ACCOUNT) && !old.contains(VmFlags::ACCOUNT) {
            limits::uncharge(lock.mm().machine(), pages);
        }
        return Err(errno);
    }
    change_entries(lock, range);
    if old.contains(VmFlags::ACCOUNT) && !flags.contains(VmFlags::ACCOUNT) {
        limits::uncharge(lock.mm().machine(), pages);
    }
    limits::unaccount(lock, old, pages);
    limits::account(lock, flags, pages);
    let locked = old & (VmFlags::WRITE | VmFlags::SHARED | VmFlags::LOCKED) == VmFlags::LOCKED;
    let now = locked && flags.contains(VmFlags::WRITE);
    if lock.mm().machine().host().rule(rule::m::M_04, now, range.start) {
        // Populating comes before the next area here: that one finds an area with pages of its own,
        // unless those are to come with their faults.
        let at_once = |vma: &&Vma<H>| !vma.flags.contains(VmFlags::LOCKONFAULT);
        if let Some(vma) = lock.lookup(range.start).filter(at_once) {
            anon_vma_prepare(lock.mm().machine(), lock, vma);
        }
        populate.push(range);
    }
    Ok(())
}

/// Charges memory that becomes private and writable; takes the charge back where nothing was
/// written yet.
fn recharge<H: Host>(
    lock: &MmWrite<'_, H>,
    task: &Task,
    (old, new): (VmFlags, VmFlags),
    pages: u64,
    fresh: bool,
) -> Result<VmFlags, Errno> {
    let mm = lock.mm();
    if !new.contains(VmFlags::WRITE) {
        let gone = old.contains(VmFlags::ACCOUNT) && fresh;
        return Ok(if gone { new - VmFlags::ACCOUNT } else { new });
    }
    if !limits::may_expand(mm, lock, task, new, pages)
        && limits::may_expand(mm, lock, task, old, pages)
    {
        return Err(Errno::ENOMEM);
    }
    let never = VmFlags::ACCOUNT | VmFlags::WRITE | VmFlags::HUGETLB | VmFlags::SHARED;
    if old.intersects(never | VmFlags::NORESERVE) {
        return Ok(new);
    }
    limits::charge(mm.machine(), pages)?;
    Ok(new | VmFlags::ACCOUNT)
}
