//! userfaultfd: faults that another task serves, and what it serves them with.
//!
//! *Missing*: nothing is there yet. *Minor*: the page is in the page cache, but not mapped.
//! *Write-protected*: a store to a page whose entry is marked. The fault is delivered to the area's
//! context, and taken again once its ticket is ready. Invariant: nobody is told of a fault that the
//! faulting task will not wait for.
//! Linux: fs/userfaultfd.c `handle_userfault`, mm/userfaultfd.c (6.18).

use super::history::change_entries;
use super::mlocked;
use super::outcome::Fault;
use super::page::{add_mapping, leaf_perms, new_anon_page, normal_page};
use super::site::Site;
use super::split::split_edges;
use super::upgrade::is_made_writable;
use crate::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::file::{File, FileKind};
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{AllocFlags, FrameFlags};
use crate::host::{Host, Memory, ReadMode, Ticket};
use crate::mm::{Mm, MmRead};
use crate::pgtable::{Decoded, Entry, MakeError, Perms, SwapEntry, Visit};
use crate::rule::c;
use crate::vma::{Backing, UserFaultMessage, Vma, anon_vma_prepare};
use core::sync::atomic::Ordering::Relaxed;

/// What a fault that may not wait is given instead of a ticket: nobody was told, so nothing will be
/// ready.
pub const UNDELIVERED: Ticket = Ticket(0);

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Missing,
    Minor,
    WriteProtected,
}

/// The area's context is told of missing pages.
pub(super) fn wants_missing<H: Host>(vma: &Vma<H>) -> bool {
    vma.flags.contains(VmFlags::UFFD_MISSING)
}

/// Delivers the fault, or says why not (row C-63). No table's lock is held.
pub(super) fn deliver<H: Host>(site: &Site<'_, H>, reason: Reason) -> Fault {
    let Some(context) = &site.cx.vma.uffd else { return Fault::SIGBUS };
    let refused = context.sigbus()
        || site.cx.task.dumping.load(Relaxed)
        || !site.has(FaultFlags::ALLOW_RETRY);
    if site.host().rule(c::C_63, refused, site.addr) {
        return Fault::SIGBUS;
    }
    if site.has(FaultFlags::RETRY_NOWAIT) {
        return Fault::Kept(UNDELIVERED);
    }
    Fault::Retry(context.deliver(UserFaultMessage {
        addr: site.addr,
        write: site.has(FaultFlags::WRITE),
        write_protect: reason == Reason::WriteProtected,
        minor: reason == Reason::Minor,
    }))
}

/// The page is cached, and not mapped: whoever is registered for minor faults maps it.
/// # Errors
/// The fault's end.
pub(super) fn minor<H: Host>(site: &Site<'_, H>) -> Result<(), Fault> {
    if site.cx.vma.flags.contains(VmFlags::UFFD_MINOR) {
        return Err(deliver(site, Reason::Minor));
    }
    Ok(())
}

/// The page is in no cache: whoever is registered for missing pages of shared memory brings it.
/// # Errors
/// The fault's end.
pub(super) fn missing_in_file<H: Host>(site: &Site<'_, H>, file: &File<H>) -> Result<(), Fault> {
    if file.kind() == FileKind::Shmem && wants_missing(site.cx.vma) {
        return Err(deliver(site, Reason::Missing));
    }
    Ok(())
}

/// A store to a page that is marked is served by the handler (row F-21).
pub(super) fn is_write_protected<H: Host>(site: &Site<'_, H>) -> bool {
    site.cx.vma.flags.contains(VmFlags::UFFD_WP) && site.seen.is_uffd_wp()
}

/// What a new leaf allows where the entry was a marker: no stores, and the mark.
pub(super) fn keep_wp<H: Host>(site: &Site<'_, H>, perms: Perms) -> Perms {
    match site.seen.decode(0) {
        Decoded::Swap(SwapEntry::UffdWp) => Perms { uffd_wp: true, write: false, ..perms },
        Decoded::None | Decoded::Table(_) | Decoded::Leaf(..) | Decoded::Swap(_) => perms,
    }
}

/// Puts a page with these bytes at `addr`, where a page is missing (`UFFDIO_COPY`).
///
/// `bytes` are at most one page; the rest is zero.
/// # Errors
/// - EINVAL: not a page's address, too many bytes, or an area that is neither anonymous memory's
///   nor shared memory's, nor of huge pages;
/// - ENOENT: the area there is not registered, for whatever faults;
/// - EEXIST: something is there already;
/// - ENOMEM, EFAULT: no frame; past the end of the file.
pub fn copy<H: Host>(map: &MmRead<'_, H>, addr: VirtAddr, bytes: &[u8]) -> Result<(), Errno> {
    if bytes.len() as u64 > PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    let vma = fillable(map, addr)?;
    let machine = map.mm().machine();
    let write = |page: Pfn| {
        machine.memory().zero(page, 1);
        machine.memory().write(page, 0, bytes);
    };
    let shared = vma.flags.contains(VmFlags::SHARED);
    let page = match vma.backing.file().filter(|_| shared) {
        None => {
            anon_vma_prepare(machine, map, vma);
            let page = new_anon_page(machine, vma, addr, AllocFlags::MOVABLE)
                .map_err(|_| Errno::ENOMEM)?;
            write(page);
            page
        }
        Some(file) => {
            let index = vma.index_of(addr);
            if let Some(there) = file.find(machine, index) {
                machine.put_page(there);
                return Err(Errno::EEXIST);
            }
            let page = file.load(machine, index, ReadMode::Block).map_err(|_| Errno::EFAULT)?;
            write(page);
            machine.frames().set(page, FrameFlags::DIRTY);
            page
        }
    };
    let mut perms = leaf_perms(vma);
    perms.dirty = true;
    perms.write = vma.flags.contains(VmFlags::WRITE);
    let result = install(map.mm(), vma, addr, Entry::leaf(page, perms, 0));
    if result.is_err() {
        machine.put_page(page);
    }
    result
}

/// The registered area at `addr`, if missing pages may be brought there: what it is registered for
/// does not matter, only that it is anonymous memory, shared memory or huge pages.
/// # Errors
/// As [`registered`]; EINVAL also in any other area.
/// # Linux
/// `mfill_atomic()`, before it reads what it is to copy.
pub fn fillable<'m, H: Host>(map: &'m MmRead<'_, H>, addr: VirtAddr) -> Result<&'m Vma<H>, Errno> {
    let vma = registered(map, addr)?;
    let fillable = match &vma.backing {
        Backing::Anonymous => true,
        Backing::Special(_) => false,
        Backing::File(mapping) => match mapping.file.kind() {
            FileKind::Shmem | FileKind::Hugetlb(_) => true,
            FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax | FileKind::Secret => false,
        },
    };
    if fillable { Ok(vma) } else { Err(Errno::EINVAL) }
}

/// Maps the zero page at `addr`, where a page is missing, or in shared memory a new page of zeroes
/// (`UFFDIO_ZEROPAGE`).
/// # Errors
/// As [`copy`]; EINVAL also in an area that is neither anonymous nor shared memory's.
pub fn zeropage<H: Host>(map: &MmRead<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    let vma = registered(map, addr)?;
    match vma.backing.file() {
        Some(file) if file.kind() != FileKind::Shmem => return Err(Errno::EINVAL),
        Some(_) if vma.flags.contains(VmFlags::SHARED) => return copy(map, addr, &[]),
        None if !vma.is_anonymous() => return Err(Errno::EINVAL),
        Some(_) | None => {}
    }
    let perms = Perms { special: true, ..leaf_perms(vma) };
    let zero = map.mm().machine().zero_page();
    install(map.mm(), vma, addr, Entry::leaf(zero, perms, 0))
}

/// Maps the page that the file has at `addr` (`UFFDIO_CONTINUE`).
/// # Errors
/// As [`copy`]; EINVAL in an area that is not shared memory's, and past the end of the file;
/// EFAULT: the file has no page there; EIO: its memory failed.
/// # Linux
/// `mfill_atomic_pte_continue()`.
pub fn map_cached<H: Host>(map: &MmRead<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    let (vma, machine) = (registered(map, addr)?, map.mm().machine());
    let file = vma.backing.file().filter(|file| file.kind() == FileKind::Shmem);
    let file = file.ok_or(Errno::EINVAL)?;
    let index = vma.index_of(addr);
    if index >= file.size_pages() {
        return Err(Errno::EINVAL);
    }
    let has = file.pages.lock().contains_key(&index);
    if !has {
        return Err(Errno::EFAULT);
    }
    let page = file.load(machine, index, ReadMode::Block).map_err(|_| Errno::EFAULT)?;
    if machine.frames().has(page, FrameFlags::HWPOISON) {
        machine.put_page(page);
        return Err(Errno::EIO);
    }
    let mut perms = leaf_perms(vma);
    perms.dirty = true;
    perms.write = vma.flags.contains(VmFlags::SHARED | VmFlags::WRITE);
    let result = install(map.mm(), vma, addr, Entry::leaf(page, perms, 0));
    if result.is_err() {
        machine.put_page(page);
    }
    result
}

/// Lets accesses to the page at `addr`, which is missing, fail as if its memory had failed
/// (`UFFDIO_POISON`).
/// # Errors
/// As [`copy`].
/// # Linux
/// `mfill_atomic_pte_poison()`.
pub fn poison<H: Host>(map: &MmRead<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    let vma = fillable(map, addr)?;
    let tables = map.mm().tables();
    let place = tables.make(addr, 0).map_err(no_place)?;
    let _guard = tables.lock(place.table);
    if is_past_end(vma, addr) {
        return Err(Errno::EFAULT);
    }
    if !tables.load(place).is_none() {
        return Err(Errno::EEXIST);
    }
    tables.store(place, Entry::swap(SwapEntry::Poisoned));
    Ok(())
}

fn is_past_end<H: Host>(vma: &Vma<H>, addr: VirtAddr) -> bool {
    vma.backing.file().is_some_and(|file| vma.index_of(addr) >= file.size_pages())
}

fn no_place(error: MakeError) -> Errno {
    match error {
        MakeError::OutOfMemory => Errno::ENOMEM,
        MakeError::HugeLeaf(_) => Errno::EEXIST,
        MakeError::Unaddressable => Errno::EINVAL,
    }
}

/// Whether pages are to be protected, or protected no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Stores fault, and the handler is told.
    On,
    /// Stores fault once more, and are served as usual.
    Off,
}

/// Marks the pages of `range`, or unmarks them (`UFFDIO_WRITEPROTECT`): the present ones, and those
/// of files, or watched by a context that resolves protection itself, also where they are missing.
/// Holes are passed over.
/// # Errors
/// - EINVAL: not pages' addresses;
/// - ENOENT: no area lies in `range`, or one that is not registered for this: what is before it is
///   done;
/// - ENOMEM: a huge leaf could not be split.
pub fn write_protect<H: Host>(
    map: &MmRead<'_, H>,
    range: VirtRange,
    protection: Protection,
) -> Result<(), Errno> {
    if range.start.page_offset() != 0 || range.end.page_offset() != 0 {
        return Err(Errno::EINVAL);
    }
    let mut done = Err(Errno::ENOENT);
    for vma in map.overlapping(range) {
        if vma.uffd.is_none() || !vma.flags.contains(VmFlags::UFFD_WP) {
            return Err(Errno::ENOENT);
        }
        let part = vma.range().intersect(range);
        done = protect_part(map.mm(), vma, part, protection);
        done?;
    }
    done
}

/// The same for a part of one area, `vma`.
pub(crate) fn protect_part<H: Host>(
    mm: &Mm<H>,
    vma: &Vma<H>,
    range: VirtRange,
    protection: Protection,
) -> Result<(), Errno> {
    split_edges(mm, range).map_err(|_| Errno::ENOMEM)?;
    let on = protection == Protection::On;
    let change = |visit: &Visit<H::Format>, entry: Entry<H::Format>| {
        let level = visit.place.level;
        let new = entry.map_perms(level, |perms| perms.uffd_wp = on);
        let write = new.is_leaf(level) && is_made_writable(mm.machine(), vma, new, visit.addr);
        let new = new.map_perms(level, |perms| perms.write = write);
        match entry.decode(level) {
            Decoded::Swap(SwapEntry::Swap { slot, exclusive, soft_dirty, .. }) => {
                Entry::swap(SwapEntry::Swap { slot, exclusive, uffd_wp: on, soft_dirty })
            }
            Decoded::Swap(SwapEntry::UffdWp) if !on => Entry::NONE,
            Decoded::None | Decoded::Table(_) | Decoded::Leaf(..) | Decoded::Swap(_) => new,
        }
    };
    change_entries(mm, range, change).map_err(|_| Errno::ENOMEM)?;
    if on && marks_missing(vma) { mark_missing(mm, range) } else { Ok(()) }
}

/// Whether protection leaves marks where pages are missing (`userfaultfd_wp_use_markers`).
fn marks_missing<H: Host>(vma: &Vma<H>) -> bool {
    let unpopulated = || vma.uffd.as_ref().is_some_and(|context| context.wp_async());
    !vma.is_hugetlb() && (!vma.is_anonymous() || unpopulated())
}

/// Puts a mark into each empty entry.
fn mark_missing<H: Host>(mm: &Mm<H>, range: VirtRange) -> Result<(), Errno> {
    let tables = mm.tables();
    let mut addr = range.start;
    while addr < range.end {
        match tables.make(addr, 0) {
            Ok(place) => {
                let _guard = tables.lock(place.table);
                if tables.load(place).is_none() {
                    tables.store(place, Entry::swap(SwapEntry::UffdWp));
                }
            }
            Err(MakeError::HugeLeaf(_)) => {}
            Err(MakeError::OutOfMemory | MakeError::Unaddressable) => return Err(Errno::ENOMEM),
        }
        addr = addr.saturating_add(PAGE_SIZE);
    }
    Ok(())
}

/// The area at `addr`, if it is registered for anything; a private one is ready for anonymous pages
/// from then on, registered or not.
/// # Errors
/// EINVAL: not a page's address. ENOENT: no such area.
/// # Linux
/// `uffd_mfill_lock()`.
pub fn registered<'m, H: Host>(
    map: &'m MmRead<'_, H>,
    addr: VirtAddr,
) -> Result<&'m Vma<H>, Errno> {
    if addr.page_offset() != 0 {
        return Err(Errno::EINVAL);
    }
    let vma = map.lookup(addr).ok_or(Errno::ENOENT)?;
    if !vma.flags.contains(VmFlags::SHARED) {
        anon_vma_prepare(map.mm().machine(), map, vma);
    }
    if vma.uffd.is_some() { Ok(vma) } else { Err(Errno::ENOENT) }
}

/// Fills the entry of `addr`, which is in `vma`: an empty one, or for a page also a marker (of a
/// guard, too).
fn install<H: Host>(
    mm: &Mm<H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
) -> Result<(), Errno> {
    let tables = mm.tables();
    let place = tables.make(addr, 0).map_err(no_place)?;
    let _guard = tables.lock(place.table);
    if is_past_end(vma, addr) {
        return Err(Errno::EFAULT);
    }
    let page = normal_page(entry);
    let is_free = match tables.load(place).decode(0) {
        Decoded::None => true,
        Decoded::Swap(SwapEntry::UffdWp | SwapEntry::Poisoned | SwapEntry::Guard) => page.is_some(),
        Decoded::Swap(
            SwapEntry::Swap { .. } | SwapEntry::Migration { .. } | SwapEntry::HwPoison(_),
        )
        | Decoded::Leaf(..)
        | Decoded::Table(_) => false,
    };
    if !is_free {
        return Err(Errno::EEXIST);
    }
    if let Some(page) = page {
        mlocked::got(mm, vma, page);
        add_mapping(mm, page);
    }
    tables.store(place, entry);
    Ok(())
}
