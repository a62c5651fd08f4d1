//! Pages of files, shared memory and special mappings: read, copied for a private store, or stored
//! to.
//!
//! A read maps the cache's page, and its cached neighbours with it (*fault-around*, row M-08). A
//! store to a private area copies; a store to a shared one tells the file. Past the end of the file
//! there is nothing: SIGBUS. Invariant: the page's index was within the file when its page was
//! taken, and the mmap lock is held until the entry is made ([`crate::file`] says why that is
//! enough).
//! Linux: `do_read_fault`, `do_cow_fault`, `do_shared_fault`, `filemap_fault`, `filemap_map_pages`,
//! `special_mapping_fault` (mm/memory.c, mm/filemap.c, 6.18).

use super::handle::FaultCx;
use super::mlocked;
use super::outcome::{Fault, FaultError};
use super::page::{add_mapping, leaf_perms, new_anon_page};
use super::pageout::{WANTED, forget_wanted, is_passed_over};
use super::site::Site;
use super::userfault;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::file::{File, FileKind, LoadError, Slot};
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::FrameFlags;
use crate::host::{Host, Memory, ReadMode};
use crate::linux::Linux;
use crate::pgtable::{ENTRIES, Entry, Perms, Place};
use crate::rule::{f, m};
use crate::vma::{Backing, Special, Vma};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Pages that one read fault maps at most (`fault_around_bytes`).
const AROUND: usize = 16;

/// A page to map, with a reference.
struct Found {
    page: Pfn,
    /// It had to be read.
    major: bool,
    /// Fault-around passed it over, and will not any more.
    passed_over: bool,
}

/// Serves a fault at an empty entry of an area that is not anonymous.
pub(super) fn missing<H: Host>(site: &Site<'_, H>) -> Fault {
    let served = if !site.has(FaultFlags::WRITE) {
        read(site)
    } else if site.cx.vma.flags.contains(VmFlags::SHARED) {
        find(site).map(|found| map(site, &found))
    } else {
        copy(site)
    };
    served.unwrap_or_else(|failed| failed)
}

/// The end of a fault for which there is no table yet, and which makes none: it lies past the end
/// of its file, and fault-around maps nothing either.
pub(super) fn is_for_nothing<H: Host>(
    cx: &FaultCx<'_, H>,
    addr: VirtAddr,
    flags: FaultFlags,
) -> Option<Fault> {
    let write = flags.contains(FaultFlags::WRITE);
    let file = cx.vma.backing.file().filter(|file| file.kind() != FileKind::Fsdax)?;
    if cx.vma.index_of(addr) < file.size_pages() {
        return None;
    }
    if write && !cx.vma.flags.contains(VmFlags::SHARED) {
        // The area has been made ready for copies by then.
        return Some(cx.prepare_anon_vma().err().unwrap_or(Fault::SIGBUS));
    }
    let maps = !write && maps_around(cx.vma, file);
    (!maps || !makes_table(cx, addr, file, &file.pages.lock())).then_some(Fault::SIGBUS)
}

fn read<H: Host>(site: &Site<'_, H>) -> Result<Fault, Fault> {
    let around = || site.cx.vma.backing.file().is_some_and(|file| map_around(site, file));
    if around() {
        return Ok(Fault::MINOR);
    }
    let found = find(site)?;
    if found.passed_over && site.has(FaultFlags::ALLOW_RETRY) && around() {
        // The fault is taken again.
        site.put(found.page);
        return Ok(Fault::MINOR);
    }
    Ok(map(site, &found))
}

/// The page that belongs here.
fn find<H: Host>(site: &Site<'_, H>) -> Result<Found, Fault> {
    let found = match &site.cx.vma.backing {
        Backing::Anonymous => Err(Fault::SIGBUS),
        Backing::File(mapping) => in_file(site, &mapping.file),
        Backing::Special(special) => in_special(site, special),
    }?;
    if site.frames().has(found.page, FrameFlags::HWPOISON) {
        site.put(found.page);
        return Err(Fault::Failed(FaultError::HwPoison));
    }
    Ok(found)
}

fn in_special<H: Host>(site: &Site<'_, H>, special: &Special) -> Result<Found, Fault> {
    let index = usize::try_from(site.cx.vma.index_of(site.addr)).unwrap_or(usize::MAX);
    let page = *special.pages.get(index).ok_or(Fault::SIGBUS)?;
    site.frames().get(page, 1).map_err(|_| Fault::OOM)?;
    Ok(Found { page, major: false, passed_over: false })
}

fn in_file<H: Host>(site: &Site<'_, H>, file: &File<H>) -> Result<Found, Fault> {
    let machine = site.machine();
    let index = site.cx.vma.index_of(site.addr);
    let mut mode = ReadMode::Start;
    let mut major = false;
    loop {
        if index >= file.size_pages() {
            return Err(Fault::SIGBUS);
        }
        if let Some(page) = file.find(machine, index) {
            let passed_over = look_at(site, page);
            userfault::minor(site).inspect_err(|_| site.put(page))?;
            return Ok(Found { page, major, passed_over });
        }
        let slot = file.pages.lock().get(&index).copied();
        let swapped = matches!(slot, Some(Slot::Swapped(_)));
        // Whoever meets a read that somebody has started is not charged for it.
        let started = matches!(slot, Some(Slot::Reading(..)));
        if !swapped {
            userfault::missing_in_file(site, file)?;
        }
        major |= swapped || (reads_are_major(file.kind()) && !started);
        match file.load_for(machine, index, mode, site.user_memory()) {
            Ok(page) => return Ok(Found { page, major, passed_over: false }),
            Err(LoadError::NotYet(ticket)) => {
                site.wait(ticket)?;
                mode = ReadMode::Block;
            }
            Err(LoadError::PastEnd | LoadError::Failed) => return Err(Fault::SIGBUS),
            Err(LoadError::OutOfMemory) => return Err(Fault::OOM),
        }
    }
}

/// A fault of its own found the page. The mark of reclaim, which fault-around passes over, looks
/// like one that more is to be read ahead here: unless the area is read at random, it goes. Answers
/// whether it did.
fn look_at<H: Host>(site: &Site<'_, H>, page: Pfn) -> bool {
    let goes =
        is_passed_over(site.frames(), page) && !site.cx.vma.flags.contains(VmFlags::RAND_READ);
    if goes {
        site.frames().clear(page, WANTED);
    }
    goes
}

/// A page that is not cached has to be read; memory that is its own store is just zeroed.
fn reads_are_major(kind: FileKind) -> bool {
    match kind {
        FileKind::Regular | FileKind::NoWriteback | FileKind::Fsdax => true,
        FileKind::Shmem | FileKind::Hugetlb(_) | FileKind::Secret => false,
    }
}

/// Maps the page, and with it all of its folio where that fits (row M-08); the entry takes over its
/// reference.
fn map<H: Host>(site: &Site<'_, H>, found: &Found) -> Fault {
    let done = Fault::Done { major: found.major, wrote: false };
    let Some(_guard) = site.lock() else {
        site.put(found.page);
        return done;
    };
    let mut perms = perms_of(site, found.page);
    let mut dirtied = false;
    if site.has(FaultFlags::WRITE) {
        perms.write = true;
        perms.dirty = true;
        dirtied = !site.frames().test_and_set(found.page, FrameFlags::DIRTY);
        forget_wanted(site.frames(), found.page);
    }
    for (place, page) in rest_of_folio(site, found.page) {
        if site.frames().get(page, 1).is_ok() {
            mlocked::got(site.cx.mm, site.cx.vma, page);
            add_mapping(site.cx.mm, page);
            site.tables().store(place, Entry::leaf(page, perms, 0));
        }
    }
    perms = userfault::keep_wp(site, perms);
    mlocked::got(site.cx.mm, site.cx.vma, found.page);
    add_mapping(site.cx.mm, found.page);
    site.set(Entry::leaf(found.page, perms, 0));
    if site.has(FaultFlags::WRITE) { site.wrote_shared(dirtied, done) } else { done }
}

/// What an entry says that a load maps `page` with: dirty where stores need no fault and the page
/// is dirty already (6.18).
fn perms_of<H: Host>(site: &Site<'_, H>, page: Pfn) -> Perms {
    let perms = leaf_perms(site.cx.vma);
    let knows = site.machine().linux() == Linux::V6_18;
    let dirty = knows && perms.write && site.frames().has(page, FrameFlags::DIRTY);
    Perms { dirty, soft_dirty: dirty, ..perms }
}

/// The other pages of the large folio of `page`, and where they go: if all of it lies in the area
/// and the table, not past the end of its file, and none of its entries is in use. Nothing
/// otherwise.
fn rest_of_folio<H: Host>(site: &Site<'_, H>, page: Pfn) -> Vec<(Place, Pfn)> {
    let (frames, vma) = (site.frames(), site.cx.vma);
    let Some(file) = vma.backing.file().filter(|_| frames.is_large(page)) else {
        return Vec::new();
    };
    let head = frames.head(page);
    let (pages, before) = (frames.folio_frames(head), page.get() - head.get());
    let behind = pages - before;
    let (below, above) = (site.addr.pages_from(vma.start()), vma.end().pages_from(site.addr));
    let index = site.place.index as u64;
    let inside = before <= below.min(index) && behind <= above.min(ENTRIES as u64 - index);
    let next = vma.index_of(site.addr).saturating_add(behind);
    let ends = file.kind() != FileKind::Shmem && next > file.size_pages();
    if !inside || ends || vma.uffd.is_some() {
        return Vec::new();
    }
    let first = site.place.index - before as usize;
    let places = (0..pages).map(|n| Place { index: first + n as usize, ..site.place });
    let all: Vec<(Place, Pfn)> = places.zip((0..pages).map(|n| head.offset(n))).collect();
    if all.iter().any(|(place, _)| !site.tables().load(*place).is_none()) {
        return Vec::new();
    }
    all.into_iter().filter(|(place, _)| *place != site.place).collect()
}

/// Maps a copy of the page, for a store to a private area.
fn copy<H: Host>(site: &Site<'_, H>) -> Result<Fault, Fault> {
    let vma = site.cx.vma;
    site.cx.prepare_anon_vma()?;
    let new = new_anon_page(site.machine(), vma, site.addr, site.user_memory())
        .map_err(|_| Fault::OOM)?;
    let found = find(site).inspect_err(|_| site.put(new))?;
    site.machine().memory().copy(new, found.page, 1);
    site.put(found.page);
    let done = Fault::Done { major: found.major, wrote: false };
    let Some(_guard) = site.lock() else {
        site.put(new);
        return Ok(done);
    };
    let mut perms = leaf_perms(vma);
    perms.dirty = true;
    perms.write = site.may_store();
    perms = userfault::keep_wp(site, perms);
    site.host().decided(f::F_01, site.addr);
    mlocked::got_new(site.cx.mm, vma, new);
    add_mapping(site.cx.mm, new);
    site.set(Entry::leaf(new, perms, 0));
    Ok(done)
}

/// Whether read faults of the area map more than their own page.
fn maps_around<H: Host>(vma: &Vma<H>, file: &File<H>) -> bool {
    let maps = match file.kind() {
        FileKind::Regular | FileKind::NoWriteback | FileKind::Shmem => true,
        FileKind::Fsdax | FileKind::Hugetlb(_) | FileKind::Secret => false,
    };
    maps && !vma.flags.intersects(VmFlags::UFFD_MINOR | VmFlags::UFFD_WP)
}

/// Maps every cached page of the window around the fault (row M-08). Answers whether the faulting
/// page is mapped now.
///
/// The window is 16 pages, aligned in the address space; it begins no lower than the area and ends
/// with the table.
fn map_around<H: Host>(site: &Site<'_, H>, file: &File<H>) -> bool {
    if !maps_around(site.cx.vma, file) || !site.seen.is_none() {
        return false;
    }
    let tables = site.tables();
    let _guard = tables.lock(site.place.table);
    if !tables.load(site.place).is_none() {
        return true;
    }
    let (first, end) = window(site.cx.vma, site.addr);
    let pages = file.pages.lock();
    let size = file.size_pages();
    if site.new_table && !makes_table(&site.cx, site.addr, file, &pages) {
        return false;
    }
    for index in first..end {
        let place = Place { index, ..site.place };
        if !tables.load(place).is_none() {
            continue;
        }
        let addr = if index < site.place.index {
            site.addr.saturating_sub(((site.place.index - index) as u64) << PAGE_SHIFT)
        } else {
            site.addr.saturating_add(((index - site.place.index) as u64) << PAGE_SHIFT)
        };
        let at = site.cx.vma.index_of(addr);
        let Some(Slot::Page(page)) = pages.get(&at).filter(|_| at < size) else { continue };
        let usable =
            !site.frames().has(*page, FrameFlags::HWPOISON) && !site.frames().has(*page, WANTED);
        if site.host().rule(m::M_08, usable, addr) && site.frames().get(*page, 1).is_ok() {
            mlocked::got(site.cx.mm, site.cx.vma, *page);
            add_mapping(site.cx.mm, *page);
            tables.store(place, Entry::leaf(*page, perms_of(site, *page), 0));
        }
    }
    !tables.load(site.place).is_none()
}

/// Whether fault-around makes a table for its window where there is none: it has a cached page, and
/// the first one's folio does not reach the end of its file, unless that is shared memory. Where
/// 6.18.44 makes none, only the faulting page is mapped (row M-08).
fn makes_table<H: Host>(
    cx: &FaultCx<'_, H>,
    addr: VirtAddr,
    file: &File<H>,
    pages: &BTreeMap<u64, Slot>,
) -> bool {
    let (first, end) = window(cx.vma, addr);
    let from = cx.vma.index_of(addr).saturating_sub((index_in_table(addr) - first) as u64);
    let mut window = pages.range(from..from.saturating_add((end - first) as u64));
    let first = window.find_map(|(at, slot)| match slot {
        Slot::Page(page) if is_passed_over(cx.mm.machine().frames(), *page) => None,
        Slot::Page(page) => Some((*at, *page)),
        Slot::Reading(..) | Slot::Swapped(_) => None,
    });
    first.is_some_and(|(at, page)| {
        let frames = cx.mm.machine().frames();
        let head = frames.head(page);
        let next = at.saturating_sub(page.get() - head.get()) + (1 << frames.order(head));
        file.kind() == FileKind::Shmem || next < file.size_pages()
    })
}

/// The window's first entry in the table, and its end.
fn window<H: Host>(vma: &Vma<H>, addr: VirtAddr) -> (usize, usize) {
    let at = index_in_table(addr);
    let below = usize::try_from(addr.pages_from(vma.start())).unwrap_or(usize::MAX);
    let above = usize::try_from(vma.end().pages_from(addr)).unwrap_or(usize::MAX);
    let first = (at - at % AROUND).max(at.saturating_sub(below));
    let end = (first + AROUND).min(ENTRIES).min(at.saturating_add(above));
    (first, end)
}

/// Where the entry of `addr` is in its table of the lowest level.
fn index_in_table(addr: VirtAddr) -> usize {
    (addr.get() >> PAGE_SHIFT) as usize % ENTRIES
}
