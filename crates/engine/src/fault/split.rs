//! Splitting a huge leaf into a table of small ones, with the counts of the folio behind it.
//!
//! A huge mapping counts once and holds one reference; 512 small ones hold 512. A leaf behind which no counted
//! folio stands is split without counts. Invariant: counts are raised before the parts can be seen.
//! Absent: huge faults, splits of the folio itself. Linux: `__split_huge_pmd_locked` (mm/huge_memory.c, 6.18).

use super::page::normal_page;
use crate::addr::{Pfn, VirtAddr};
use crate::frame::{AllocFlags, FrameFlags, Kind, OutOfMemory};
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Decoded, Split, level_pages};

/// Splits the huge leaf or huge swap entry that covers `addr`, if one does, one level down.
///
/// No table's lock is held.
/// # Errors
/// [`OutOfMemory`]: no frame for the table; nothing changed.
pub fn split_leaf<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    let tables = mm.tables();
    let found = tables.walk(addr);
    let level = found.place.level;
    let folio = match found.entry.decode(level) {
        Decoded::Leaf(..) if level == 1 => normal_page(found.entry),
        Decoded::None | Decoded::Table(_) | Decoded::Leaf(..) | Decoded::Swap(_) => None,
    };
    let Some(first) = folio else { return tables.split(addr).map(|_| ()) };
    let machine = mm.machine();
    let how = AllocFlags::empty();
    let spare = machine.frames().alloc(machine.host(), 0, Kind::Table, how)?;
    raise(mm, first).inspect_err(|_| machine.put_page(spare))?;
    match tables.split_into(addr, found.place, spare) {
        Split::Done => {
            let frames = machine.frames();
            frames.unmap_huge(frames.head(first));
        }
        Split::NotHuge => {
            lower(mm, first);
            machine.put_page(spare);
        }
    }
    Ok(())
}

/// Counts 512 small mappings of the folio; one reference is there already.
fn raise<H: Host>(mm: &Mm<H>, first: Pfn) -> Result<(), OutOfMemory> {
    let frames = mm.machine().frames();
    let pages = level_pages(1);
    #[allow(clippy::cast_possible_truncation, reason = "511")]
    frames.get(first, pages as u32 - 1).map_err(|_| OutOfMemory)?;
    let exclusive = frames.has(frames.head(first), FrameFlags::ANON_EXCLUSIVE);
    for page in (0..pages).map(|n| first.offset(n)) {
        if exclusive {
            frames.set(page, FrameFlags::ANON_EXCLUSIVE);
        }
        frames.map(page);
    }
    Ok(())
}

fn lower<H: Host>(mm: &Mm<H>, first: Pfn) {
    let frames = mm.machine().frames();
    let pages = level_pages(1);
    for page in (0..pages).map(|n| first.offset(n)) {
        frames.unmap(page);
    }
    #[allow(clippy::cast_possible_truncation, reason = "511")]
    mm.machine().put_pages(first, pages as u32 - 1);
}
