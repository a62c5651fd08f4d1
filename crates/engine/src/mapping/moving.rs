//! Moving an area's entries to another address, page by page or huge page by huge page.
//!
//! Invariants: tables for the new place are made before any entry goes; an entry is flushed before
//! its table's lock is released (row S-24), and only then put at its new place. Meanwhile the mmap
//! lock, held for writing, keeps everybody out who would miss it. A page's index does not change:
//! the new area counts from another offset.
//! Linux: mm/mremap.c `move_page_tables`, `copy_vma_and_data`; mm/vma.c `copy_vma` (6.18).

use super::mmap::note_mapper;
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::fault::{huge, split_leaf};
use crate::flags::VmFlags;
use crate::frame::OutOfMemory;
use crate::host::Host;
use crate::mm::{Mm, MmWrite};
use crate::observe::Event;
use crate::pgtable::{
    Action, Decoded, Entry, MakeError, Part, SwapEntry, Visit, level_shift, level_span,
};
use crate::rule::{f, m, s};
use crate::vma::{Backing, Vma};
use alloc::vec::Vec;

/// Adds an area like the one that contains `addr` at `range`, its first page being that of `addr`.
///
/// Anonymous memory that was never touched counts from its new address, so that it may merge there.
/// A userfaultfd does not follow.
pub(super) fn copy_area<H: Host>(lock: &mut MmWrite<'_, H>, addr: VirtAddr, range: VirtRange) {
    let id = lock.new_id();
    let mm = lock.mm();
    let Some(old) = lock.lookup(addr) else { return };
    let fresh = old.is_anonymous() && old.anon_vma().is_none();
    let pgoff = if fresh { range.start.page_number() } else { old.index_of(addr) };
    let uffd = VmFlags::UFFD_MISSING | VmFlags::UFFD_WP | VmFlags::UFFD_MINOR;
    let mut new = Vma::new(id, range, old.flags - uffd, old.backing.clone(), pgoff);
    new.set_anon_vma(old.anon_vma());
    let all = old.range().pages() == range.pages();
    if let Backing::File(mapping) = &new.backing {
        note_mapper(mm, &mapping.file);
    }
    if all && let Some(old) = lock.lookup_mut(addr) {
        // The promises of huge pages go with them.
        new.promise = old.promise.take();
    }
    lock.insert(new);
}

/// Splits the huge pages that cannot stand at the new place as they are, or are moved in part.
fn split_misplaced<H: Host>(
    mm: &Mm<H>,
    source: VirtRange,
    there: impl Fn(VirtAddr) -> VirtAddr,
) -> Result<(), OutOfMemory> {
    let mut misplaced: Vec<VirtAddr> = Vec::new();
    mm.tables().for_each(source, &mut |visit: &Visit<H::Format>| {
        let level = visit.place.level;
        let fits = visit.part == Part::Whole && there(visit.addr).is_aligned(level_shift(level));
        if level > 0 && !fits {
            misplaced.push(visit.addr);
        }
        Action::Keep
    })?;
    misplaced.into_iter().try_for_each(|addr| split_leaf(mm, addr))
}

/// Makes a table at the new place for each that the old place has, entries in it or not (row M-17).
fn make_tables<H: Host>(
    mm: &Mm<H>,
    source: VirtRange,
    there: impl Fn(VirtAddr) -> VirtAddr,
) -> Result<(), OutOfMemory> {
    let tables = mm.tables();
    let left = |addr: VirtAddr, level| level_span(level) - addr.get() % level_span(level);
    let mut at = source.start;
    while at < source.end {
        let found = tables.walk_to(at, huge::PMD);
        let level = found.place.level;
        let mut step = left(at, level);
        if found.entry.is_table(level) {
            step = step.min(left(there(at), level));
            if mm.machine().host().rule(m::M_17, true, at) {
                tables.make(there(at), 0).map_err(no_table)?;
            }
        }
        at = at.saturating_add(step);
    }
    Ok(())
}

/// Frees the tables that moved from `source` to `target` as they were: those of whole 2 MiB at
/// both places, where no userfaultfd has to be told of each page (row M-17).
pub(super) fn forget_moved_tables<H: Host>(
    lock: &MmWrite<'_, H>,
    source: VirtRange,
    target: VirtAddr,
) {
    let aligned =
        source.start.get() % level_span(huge::PMD) == target.get() % level_span(huge::PMD);
    let watched = lock.lookup(source.start).is_some_and(|vma| vma.uffd.is_some());
    let moved = aligned && !watched;
    if moved && lock.mm().machine().host().rule(m::M_17, moved, source.start) {
        lock.mm().tables().free_leaf_tables(source);
    }
}

/// An entry on its way.
struct Moved<H: Host> {
    /// Where it was.
    addr: VirtAddr,
    entry: Entry<H::Format>,
    level: u8,
    /// The table that was put aside for it.
    spare: Option<Pfn>,
}

/// Moves all entries of `source` to `target` and on. The new place is empty.
/// # Errors
/// [`OutOfMemory`]: no frame for a table; nothing has moved.
pub(super) fn move_entries<H: Host>(
    lock: &MmWrite<'_, H>,
    source: VirtRange,
    target: VirtAddr,
) -> Result<(), OutOfMemory> {
    let tables = lock.mm().tables();
    let there = |addr: VirtAddr| target.wrapping_add(addr.bytes_from(source.start));
    split_misplaced(lock.mm(), source, there)?;
    make_tables(lock.mm(), source, there)?;
    let mut present: Vec<(VirtAddr, u8)> = Vec::new();
    tables.for_each(source, &mut |visit: &Visit<H::Format>| {
        let level = visit.place.level;
        // One entry of each table stands for all.
        let same = |last: &(VirtAddr, u8)| {
            last.1 == level
                && there(last.0).align_down(level_shift(level + 1))
                    == there(visit.addr).align_down(level_shift(level + 1))
        };
        if !present.last().is_some_and(same) {
            present.push((visit.addr, level));
        }
        Action::Keep
    })?;
    for (addr, level) in present {
        tables.make(there(addr), level).map_err(no_table)?;
    }
    let mut moved: Vec<Moved<H>> = Vec::new();
    let host = lock.mm().machine().host();
    let anon = lock.lookup(source.start).is_some_and(Vma::is_anonymous);
    tables.unmap(source, |addr, entry, level| {
        // Flushed already, with the table still locked.
        host.decided(s::S_24, addr);
        host.decided_if(s::S_26, level > 0, addr);
        let from = || tables.walk_to(addr, level).place.table;
        let huge = anon && level == huge::PMD;
        let spare = huge.then(from).and_then(|from| tables.withdraw(from));
        moved.push(Moved { addr, entry, level, spare });
    })?;
    for Moved { addr, entry, level, spare } in moved {
        let place = tables.make(there(addr), level).map_err(no_table)?;
        let _guard = tables.lock(place.table);
        let leaf = entry.is_leaf(level);
        let huge = leaf && level > 0;
        if host.rule(s::S_27, huge, addr) != huge {
            continue;
        }
        host.decided_if(f::F_43, leaf, addr);
        if let Some(spare) = spare {
            tables.deposit(place.table, spare);
        }
        tables.store(place, without_uffd(entry, level));
    }
    let (root, start, end) = (lock.mm().root(), source.start, source.end);
    host.see(Event::Unmapped { root, start, end });
    Ok(())
}

fn no_table(_: MakeError) -> OutOfMemory {
    OutOfMemory
}

/// The entry without userfaultfd's marks, which do not follow it.
fn without_uffd<F: crate::pgtable::Format>(entry: Entry<F>, level: u8) -> Entry<F> {
    match entry.decode(level) {
        Decoded::Leaf(..) => entry.map_perms(level, |perms| perms.uffd_wp = false),
        Decoded::Swap(SwapEntry::Swap { slot, exclusive, uffd_wp: true, soft_dirty }) => {
            Entry::swap(SwapEntry::Swap { slot, exclusive, uffd_wp: false, soft_dirty })
        }
        Decoded::Swap(SwapEntry::UffdWp) => Entry::NONE,
        Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => entry,
    }
}
