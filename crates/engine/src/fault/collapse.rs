//! Assembling a huge page from small ones (`MADV_COLLAPSE`, khugepaged).
//!
//! Invariants: the upper entry is empty and flushed before a small one is looked at, so that a
//! lockless walk that counted a page finds another entry above it and gives up (row S-18); a page
//! with a reference that is no mapping stops the assembly, and everything is as before (row F-38);
//! the old table is put aside for the huge page (row F-58) after the walkers have left.
//! Pages that are shared, with a child say, are copied like others: whoever else maps them keeps
//! them. A large folio's references are counted as a whole.
//! Absent: files, and the daemon with its limits.
//! Linux: mm/khugepaged.c `madvise_collapse`, `collapse_huge_page`,
//! `__collapse_huge_page_isolate` (6.18).

use super::handle::{FaultCx, enter};
use super::mlocked;
use super::page::{normal_page, remove_mapping};
use super::thp::{HPAGE_PMD_NR, PMD, add_mapping, new_folio};
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{AllocFlags, FrameFlags, Kind};
use crate::host::{Host, Memory};
use crate::mm::{Mm, MmWrite};
use crate::pgtable::{
    Action, Decoded, Entry, Perms, Place, SwapEntry, Visit, level_shift, level_span,
};
use crate::rule::{f, m};
use crate::task::Task;
use crate::vma::{SPECIAL, Vma};
use alloc::vec::Vec;

/// Why a huge page is not assembled. Everything is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is one already.
    Already,
    /// Such an area, or such entries, have none, or no table stands there.
    Unfit,
    /// A userfaultfd protects a page.
    Protected,
    /// A userfaultfd is to be told of each page that is missing.
    Watched,
    /// Somebody refers to a page who does not map it (row F-38).
    Held,
    /// No huge page is free.
    NoMemory,
}

impl Refusal {
    /// What `MADV_COLLAPSE` answers (`madvise_collapse_errno`).
    fn errno(self) -> Errno {
        match self {
            Self::Already | Self::Unfit | Self::Protected => Errno::EINVAL,
            Self::Watched => Errno::EBUSY,
            Self::Held => Errno::EAGAIN,
            Self::NoMemory => Errno::ENOMEM,
        }
    }
    /// Whether the next 2 MiB are looked at all the same.
    fn goes_on(self) -> bool {
        match self {
            Self::Already | Self::Protected | Self::Held => true,
            Self::Unfit | Self::Watched | Self::NoMemory => false,
        }
    }
}

/// Replaces the small pages of the 2 MiB around `addr` by one huge page with their bytes; what was
/// never touched becomes zeroes.
/// # Errors
/// - EINVAL: not in a private anonymous area that has all of the 2 MiB and was written to, or it is
///   a huge page already, or no table stands there, or a page is swapped out or write-protected by
///   a userfaultfd;
/// - EBUSY: a userfaultfd waits for a page that is missing;
/// - EAGAIN: somebody refers to a page who does not map it (row F-38);
/// - ENOMEM: no huge page is free.
pub fn collapse<H: Host>(lock: &MmWrite<'_, H>, addr: VirtAddr) -> Result<(), Errno> {
    attempt(lock, addr).map_err(Refusal::errno)
}

/// Does so for every 2 MiB of `range`, a part of one area, whose swapped pages are read first. The
/// lock is not held on entry, and is dropped in between. `task` waits.
/// # Errors
/// As [`collapse`]; what could be assembled is. Also EINVAL: `range` lies within 2 MiB.
/// # Linux
/// `madvise_collapse()`.
pub(crate) fn collapse_range<H: Host>(
    mm: &Mm<H>,
    task: &Task,
    range: VirtRange,
) -> Result<(), Errno> {
    let fits = mm.read().lookup(range.start).is_some_and(|vma| suits(vma));
    let host = mm.machine().host();
    let span = level_span(PMD);
    let up = range.start.get().checked_add(span - 1).ok_or(Errno::EINVAL)?;
    let first = VirtAddr::new(up).align_down(level_shift(PMD));
    let end = range.end.align_down(level_shift(PMD));
    if host.rule(m::M_14, !fits || end < first, range.start) {
        return Err(Errno::EINVAL);
    }
    host.decided(m::M_14, range.start);
    let (mut at, mut failed) = (first, None);
    while at < end {
        swap_in(mm, task, at);
        let result = attempt(&mm.write(), at);
        if let Err(refusal) = result
            && refusal != Refusal::Already
        {
            failed = Some(refusal);
            if !refusal.goes_on() {
                break;
            }
        }
        at = at.saturating_add(span);
    }
    failed.map_or(Ok(()), |refusal| Err(refusal.errno()))
}

/// Whether the area can have huge pages when they are asked for, whatever the settings are
/// (`thp_vma_allowable_order`).
fn suits<H: Host>(vma: &Vma<H>) -> bool {
    let never = SPECIAL | VmFlags::SHARED | VmFlags::HUGETLB | VmFlags::NOHUGEPAGE;
    let first = vma.start().get().saturating_add(level_span(PMD) - 1) & !(level_span(PMD) - 1);
    let room = first.saturating_add(level_span(PMD)) <= vma.end().get();
    room && vma.is_anonymous() && !vma.flags.intersects(never) && vma.anon_vma().is_some()
}

/// Reads the swapped pages of the 2 MiB from `base`. Nobody is charged.
fn swap_in<H: Host>(mm: &Mm<H>, task: &Task, base: VirtAddr) {
    let map = mm.read();
    let range = VirtRange::new(base, base.saturating_add(level_span(PMD)));
    let mut swapped: Vec<VirtAddr> = Vec::new();
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let swap = visit.entry.decode(visit.place.level);
        let out = matches!(swap, Decoded::Swap(SwapEntry::Swap { .. }));
        swapped.extend(out.then_some(visit.addr));
        Action::Keep
    });
    let Some(vma) = map.lookup(base).filter(|vma| suits(vma)) else { return };
    let cx = FaultCx { mm, map: &map, vma, task };
    for addr in swapped {
        let _ = enter(&cx, addr, FaultFlags::empty());
    }
}

fn attempt<H: Host>(lock: &MmWrite<'_, H>, addr: VirtAddr) -> Result<(), Refusal> {
    let (mm, base) = (lock.mm(), addr.align_down(level_shift(PMD)));
    let range = VirtRange::new(base, base.saturating_add(level_span(PMD)));
    let vma = lock.lookup(addr).ok_or(Refusal::Unfit)?;
    let whole = vma.start() <= range.start && range.end <= vma.end();
    if !whole || !suits(vma) {
        return Err(Refusal::Unfit);
    }
    let machine = mm.machine();
    machine.drain_batches();
    let tables = mm.tables();
    let upper = tables.make(base, PMD).map_err(|_| Refusal::Unfit)?;
    let below = tables.load(upper);
    if !below.is_table(PMD) {
        let huge = below.is_leaf(PMD);
        return Err(if huge { Refusal::Already } else { Refusal::Unfit });
    }
    let new = new_folio(machine, vma, base, AllocFlags::MOVABLE).map_err(|_| Refusal::NoMemory)?;
    let guard = tables.lock(upper.table);
    tables.empty(upper, range);
    drop(guard);
    let table = below.pfn();
    let assembled = assemble(mm, vma, table, base, new);
    if assembled.is_ok() {
        tables.wait_for_walkers();
    }
    let guard = tables.lock(upper.table);
    if let Err(refusal) = assembled {
        tables.store(upper, below);
        machine.put_page(new);
        return Err(refusal);
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
) -> Result<(), Refusal> {
    let (machine, tables) = (mm.machine(), mm.tables());
    let _guard = tables.lock(table);
    let places = || (0..HPAGE_PMD_NR as usize).map(|index| Place { table, index, level: 0 });
    for (place, at) in places().zip(0..) {
        let addr = base.saturating_add(at << level_shift(0));
        may_move(mm, vma, addr, tables.load(place))?;
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

/// Whether what the entry maps can be a part of the huge page.
/// # Errors
/// Why it cannot.
fn may_move<H: Host>(
    mm: &Mm<H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
) -> Result<(), Refusal> {
    let (machine, frames) = (mm.machine(), mm.machine().frames());
    if entry.is_none() || entry.is_present() && entry.pfn() == machine.zero_page() {
        return if vma.uffd.is_some() { Err(Refusal::Watched) } else { Ok(()) };
    }
    if !entry.is_present() {
        return Err(Refusal::Unfit);
    }
    if entry.is_uffd_wp() {
        return Err(Refusal::Protected);
    }
    let page = normal_page(entry).filter(|page| frames.kind(*page) == Kind::Anon);
    let page = page.ok_or(Refusal::Unfit)?;
    let cached = u32::from(frames.has(page, FrameFlags::SWAPCACHE));
    let held = frames.linux_refcount(page) != frames.folio_mapcount(page) + cached;
    if machine.host().rule(f::F_38, held, addr) { Err(Refusal::Held) } else { Ok(()) }
}
