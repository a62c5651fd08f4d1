//! Assembling a huge page from small ones (`MADV_COLLAPSE`, khugepaged).
//!
//! Invariants: the upper entry is empty and flushed before a small one is looked at, so that a
//! lockless walk that counted a page finds another entry above it and gives up (row S-18); a page
//! with a reference that is no mapping stops the assembly, and everything is as before (row F-38);
//! the old table is put aside for the huge page (row F-58) after the walkers have left.
//! Pages that are shared, with a child say, are copied like others: whoever else maps them keeps
//! them. A large folio's references are counted as a whole.
//! Absent: files, swapped pages, merged pages, and the daemon with its limits.
//! Linux: mm/khugepaged.c `collapse_huge_page`, `__collapse_huge_page_isolate` (6.18).

use super::mlocked;
use super::page::{normal_page, remove_mapping};
use super::thp::{HPAGE_PMD_NR, add_mapping, new_folio};
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::VmFlags;
use crate::frame::{AllocFlags, FrameFlags, Kind};
use crate::host::{Host, Memory};
use crate::mm::{Mm, MmWrite};
use crate::pgtable::{Entry, Perms, Place, level_shift, level_span};
use crate::rule::f;
use crate::vma::Vma;

/// The level of a huge page's entry.
const PMD: u8 = 1;

/// Replaces the small pages of the 2 MiB around `addr` by one huge page with their bytes; what was
/// never touched becomes zeroes.
/// # Errors
/// - EINVAL: not in a private anonymous area that has all of the 2 MiB, or it is a huge page
///   already, or nothing is mapped there;
/// - EBUSY: a page is swapped out or merged, or somebody refers to it who does not map it (row
///   F-38);
/// - ENOMEM: no huge page is free.
pub fn collapse<H: Host>(lock: &MmWrite<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    let (mm, base) = (lock.mm(), addr.align_down(level_shift(PMD)));
    let range = VirtRange::new(base, base.saturating_add(level_span(PMD)));
    let vma = lock.lookup(addr).ok_or(Errno::EINVAL)?;
    let whole = vma.start() <= range.start && range.end <= vma.end();
    let plain = vma.is_anonymous() && !vma.flags.contains(VmFlags::SHARED);
    if !whole || !plain || vma.anon_vma().is_none() || vma.flags.contains(VmFlags::UFFD_WP) {
        return Err(Errno::EINVAL);
    }
    let machine = mm.machine();
    let tables = mm.tables();
    let upper = tables.make(base, PMD).map_err(|_| Errno::EINVAL)?;
    let below = tables.load(upper);
    if !below.is_table(PMD) {
        return Err(Errno::EINVAL);
    }
    let new = new_folio(machine, vma, base, AllocFlags::MOVABLE).map_err(|_| Errno::ENOMEM)?;
    let guard = tables.lock(upper.table);
    tables.empty(upper, range);
    drop(guard);
    let table = below.pfn();
    let assembled = assemble(mm, vma, table, base, new);
    if assembled.is_ok() {
        tables.wait_for_walkers();
    }
    let guard = tables.lock(upper.table);
    if let Err(errno) = assembled {
        tables.store(upper, below);
        machine.put_page(new);
        return Err(errno);
    }
    mlocked::got_new(mm, vma, new);
    add_mapping(mm, new);
    tables.deposit(upper.table, table);
    let write = vma.flags.contains(VmFlags::WRITE);
    let exec = vma.flags.contains(VmFlags::EXEC);
    let protnone = !vma.is_accessible();
    let perms = Perms { write, exec, protnone, young: true, dirty: true, ..Perms::default() };
    tables.store(upper, Entry::leaf(new, perms, PMD));
    drop(guard);
    Ok(())
}

/// Copies the pages of `table`, which nothing points to, into `new`, and unmaps them.
fn assemble<H: Host>(
    mm: &Mm<H>,
    vma: &Vma<H>,
    table: Pfn,
    base: VirtAddr,
    new: Pfn,
) -> Result<(), Errno> {
    let (machine, tables) = (mm.machine(), mm.tables());
    let _guard = tables.lock(table);
    let mut any = false;
    let places = || (0..HPAGE_PMD_NR as usize).map(|index| Place { table, index, level: 0 });
    for (place, at) in places().zip(0..) {
        let addr = base.saturating_add(at << level_shift(0));
        any |= may_move(mm, addr, tables.load(place))?;
    }
    if !any {
        return Err(Errno::EINVAL);
    }
    machine.memory().zero(new, HPAGE_PMD_NR);
    for (place, at) in places().zip(0..) {
        let entry = tables.swap(place, Entry::NONE);
        if let Some(page) = Some(entry).filter(|e| e.is_present()).and_then(normal_page) {
            machine.memory().copy(new.offset(at), page, 1);
            mlocked::loses(mm, vma, page);
            remove_mapping(mm, page);
        }
    }
    Ok(())
}

/// Whether there is a page to be moved.
/// # Errors
/// EBUSY: it has to stay.
fn may_move<H: Host>(mm: &Mm<H>, addr: VirtAddr, entry: Entry<H::Format>) -> Result<bool, Errno> {
    let (machine, frames) = (mm.machine(), mm.machine().frames());
    if entry.is_none() {
        return Ok(false);
    }
    if !entry.is_present() {
        return Err(Errno::EBUSY);
    }
    let Some(page) = normal_page(entry) else {
        return if entry.pfn() == machine.zero_page() { Ok(false) } else { Err(Errno::EBUSY) };
    };
    if frames.kind(page) != Kind::Anon || entry.is_uffd_wp() {
        return Err(Errno::EBUSY);
    }
    let cached = u32::from(frames.has(page, FrameFlags::SWAPCACHE));
    let held = frames.linux_refcount(page) != frames.folio_mapcount(page) + cached;
    let merged = frames.has(page, FrameFlags::KSM);
    if machine.host().rule(f::F_38, held, addr) || merged { Err(Errno::EBUSY) } else { Ok(true) }
}
