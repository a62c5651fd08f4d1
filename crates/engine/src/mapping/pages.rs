//! Advice about pages: not needed, free to take, cold.
//!
//! Linux: mm/madvise.c `madvise_dontneed_free`, `madvise_free_pte_range`,
//! `madvise_cold_or_pageout_pte_range` (6.18).

use super::madvise::Advice;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use crate::errno::Errno;
use crate::fault::{
    Zap, normal_page, page_out, page_out_folio, split_page, split_page_and_zeroes, zap_range_as,
};
use crate::file::FileKind;
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind, OutOfMemory};
use crate::host::Host;
use crate::mm::{Machine, Mm, MmRead};
use crate::pgtable::{Action, Decoded, Part, SwapEntry, Visit, level_pages};
use crate::rule::m;
use crate::vma::Vma;
use alloc::vec::Vec;

/// Takes one piece of advice about `range`, a part of `vma`. The lock is held for reading.
/// # Errors
/// EINVAL: not for such an area. ENOMEM: a huge entry that a driver made is to go in part, and no
/// frame is left for the table of the rest; nothing of this area is dropped.
pub(super) fn advise<H: Host>(
    map: &MmRead<'_, H>,
    vma: &Vma<H>,
    range: VirtRange,
    advice: Advice,
) -> Result<(), Errno> {
    let mm = map.mm();
    let host = mm.machine().host();
    if host.rule(m::M_03, refuses(vma, range, advice), range.start) {
        return Err(Errno::EINVAL);
    }
    match advice {
        Advice::DontNeed | Advice::DontNeedLocked => {
            let range = whole_huge_pages(vma, range);
            zap_range_as(mm, vma, range, Zap::PAGES).map_err(|_| Errno::ENOMEM)?;
        }
        Advice::Free => free(map, vma, range),
        Advice::Cold => cold(map, range),
        Advice::PageOut => pageout(map, vma, range),
        Advice::WillNeed => will_need(mm, vma, range),
        // The rest is not about pages.
        Advice::Normal
        | Advice::Random
        | Advice::Sequential
        | Advice::Remove
        | Advice::DontFork
        | Advice::DoFork
        | Advice::Mergeable
        | Advice::Unmergeable
        | Advice::HugePage
        | Advice::NoHugePage
        | Advice::DontDump
        | Advice::DoDump
        | Advice::WipeOnFork
        | Advice::KeepOnFork
        | Advice::PopulateRead
        | Advice::PopulateWrite
        | Advice::Collapse
        | Advice::GuardInstall
        | Advice::GuardRemove => {}
    }
    Ok(())
}

/// Whether such an area refuses such advice with EINVAL.
fn refuses<H: Host>(vma: &Vma<H>, range: VirtRange, advice: Advice) -> bool {
    let flags = vma.flags;
    let locked = flags.contains(VmFlags::LOCKED);
    let pfn = flags.contains(VmFlags::PFNMAP);
    let cut = vma.is_hugetlb() && !range.start.is_aligned(super::request::huge_shift(vma));
    match advice {
        Advice::DontNeed => cut || pfn || locked,
        Advice::DontNeedLocked => cut || pfn,
        Advice::Free => pfn || locked || !vma.is_anonymous(),
        Advice::Cold | Advice::PageOut => pfn || locked || vma.is_hugetlb(),
        Advice::Normal
        | Advice::Random
        | Advice::Sequential
        | Advice::WillNeed
        | Advice::Remove
        | Advice::DontFork
        | Advice::DoFork
        | Advice::Mergeable
        | Advice::Unmergeable
        | Advice::HugePage
        | Advice::NoHugePage
        | Advice::DontDump
        | Advice::DoDump
        | Advice::WipeOnFork
        | Advice::KeepOnFork
        | Advice::PopulateRead
        | Advice::PopulateWrite
        | Advice::Collapse
        | Advice::GuardInstall
        | Advice::GuardRemove => false,
    }
}

/// Reads what is in the file or in swap and not in memory, and maps nothing. A store that is not
/// ready goes on with it.
fn will_need<H: Host>(mm: &Mm<H>, vma: &Vma<H>, range: VirtRange) {
    let machine = mm.machine();
    if !machine.host().rule(m::M_15, true, range.start) {
        return;
    }
    let Some(file) = vma.backing.file() else {
        let mut slots: Vec<u64> = Vec::new();
        let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
            if let Decoded::Swap(SwapEntry::Swap { slot, .. }) =
                visit.entry.decode(visit.place.level)
            {
                slots.push(slot);
            }
            Action::Keep
        });
        for slot in slots {
            machine.swap().prefetch(machine, slot);
        }
        return;
    };
    let first = vma.index_of(range.start);
    match file.kind() {
        FileKind::Regular | FileKind::NoWriteback => {
            let end = first.saturating_add(range.pages()).min(file.size_pages());
            for index in first..end {
                file.prefetch(machine, index);
            }
        }
        FileKind::Shmem => {
            for slot in file.swapped_in(first..first.saturating_add(range.pages())) {
                machine.swap().prefetch(machine, slot);
            }
        }
        FileKind::Fsdax | FileKind::Hugetlb(_) | FileKind::Secret => {}
    }
}

/// The end of a huge area's part is rounded down to a whole page.
fn whole_huge_pages<H: Host>(vma: &Vma<H>, range: VirtRange) -> VirtRange {
    VirtRange::new(range.start, range.end.align_down(super::request::huge_shift(vma)))
}

/// Anonymous pages that may go when memory is short, unless they are written to before (row M-10).
fn free<H: Host>(map: &MmRead<'_, H>, vma: &Vma<H>, range: VirtRange) {
    let mm = map.mm();
    let machine = mm.machine();
    machine.drain_batches();
    split_partly_advised(map, range);
    let mut swapped: Vec<VirtRange> = Vec::new();
    // An entry that cannot be split for want of memory is left alone: it is only advice.
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let level = visit.place.level;
        match visit.entry.decode(level) {
            Decoded::Swap(
                SwapEntry::Swap { .. } | SwapEntry::HwPoison(_) | SwapEntry::Poisoned,
            ) => {
                swapped.extend(VirtRange::from_len(visit.addr, 1 << 12));
                Action::Keep
            }
            Decoded::Leaf(..) if visit.part == Part::Some => Action::Keep,
            Decoded::Leaf(..) => {
                let page = normal_page(visit.entry);
                if page.is_some_and(|page| make_lazy(machine, page, level, visit.addr)) {
                    Action::Replace(visit.entry.map_perms(level, |perms| {
                        (perms.young, perms.dirty) = (false, false);
                    }))
                } else {
                    Action::Keep
                }
            }
            Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => Action::Keep,
        }
    });
    for part in swapped {
        // One entry of the lowest level: nothing is split.
        let _ = zap_range_as(mm, vma, part, Zap::PAGES);
    }
}

/// Takes back what the engine knows of the page's use, and lets it go when memory is short; whether
/// its entry is to forget the use as well. The table of its entry is locked.
fn make_lazy<H: Host>(machine: &Machine<H>, page: Pfn, level: u8, addr: VirtAddr) -> bool {
    let frames = machine.frames();
    if frames.kind(page) != Kind::Anon || frames.is_large(page) && level == 0 {
        return false;
    }
    let Some(_locked) = frames.try_lock_folio(page) else { return false };
    let used = frames.has(page, FrameFlags::DIRTY) || frames.has(page, FrameFlags::SWAPCACHE);
    let shared = used && frames.folio_mapcount(page) != 1;
    if machine.host().rule(m::M_10, shared, addr) {
        return false;
    }
    if frames.has(page, FrameFlags::SWAPCACHE) && !machine.swap().try_free(machine, page) {
        return false;
    }
    frames.clear(page, FrameFlags::DIRTY);
    // A locked page stays memory that counts: only its entry is clean.
    if !machine.host().rule(m::M_13, frames.has(page, FrameFlags::MLOCKED), addr) {
        if frames.has(page, FrameFlags::SWAPBACKED) {
            machine.lazyfree().give(frames, page);
        }
        frames.clear(page, FrameFlags::SWAPBACKED | FrameFlags::REFERENCED);
    }
    true
}

/// Pages that nobody has used lately: the entries forget that they were used.
fn cold<H: Host>(map: &MmRead<'_, H>, range: VirtRange) {
    let mm = map.mm();
    mm.machine().drain_batches();
    split_partly_advised(map, range);
    let frames = mm.machine().frames();
    // The large folios all of which is mapped here, page by page, and nowhere else.
    let whole: Vec<Pfn> = large_folios(mm, range)
        .into_iter()
        .filter_map(|(addr, mapped)| {
            let found = mm.tables().walk(addr);
            let head = normal_page(found.entry).map(|page| frames.head(page))?;
            let all = u64::from(frames.folio_mapcount(head)) == mapped;
            (all && frames.folio_frames(head) == mapped).then_some(head)
        })
        .collect();
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let level = visit.place.level;
        let page = Some(visit.entry).filter(|e| e.is_leaf(level)).and_then(normal_page);
        let alone = |page: &Pfn| {
            if level == 0 && frames.is_large(*page) {
                whole.contains(&frames.head(*page))
            } else {
                frames.folio_mapcount(*page) == 1
            }
        };
        match page.filter(alone) {
            Some(page) if visit.part == Part::Whole => {
                frames.clear(page, FrameFlags::ACTIVE | FrameFlags::REFERENCED);
                Action::Replace(visit.entry.map_perms(level, |perms| perms.young = false))
            }
            Some(_) | None => Action::Keep,
        }
    });
}

/// Takes the pages of `range` out of memory, those that may go. A file that the area shares is
/// written back only where nobody else maps it.
fn pageout<H: Host>(map: &MmRead<'_, H>, vma: &Vma<H>, range: VirtRange) {
    let mm = map.mm();
    mm.machine().drain_batches();
    split_partly_advised(map, range);
    // A large folio goes to swap page by page; one that cannot be split stays. A file's leaves its
    // entries whole.
    let swaps = mm.machine().swap().free_slots() > 0;
    for (addr, mapped) in large_folios(mm, range) {
        let whole = folio_pages(mm, addr) == mapped;
        let _ = match (whole, swaps) {
            (true, true) if !stays_whole(mm, addr) => split_page(mm, addr),
            (true, false) => split_unheld(map, addr),
            (true | false, _) => Ok(()),
        };
        let _ = page_out_folio(mm, vma, addr, mapped);
    }
    let mut present: Vec<VirtAddr> = Vec::new();
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let leaf = visit.place.level == 0 && visit.entry.is_present();
        present.extend(leaf.then_some(visit.addr));
        Action::Keep
    });
    for addr in present {
        let _ = page_out(mm, vma, addr);
    }
}

/// Splits the large folios that are mapped in `range`, but not all of which is.
fn split_partly_advised<H: Host>(map: &MmRead<'_, H>, range: VirtRange) {
    let mm = map.mm();
    for (addr, mapped) in large_folios(mm, range) {
        if mapped < folio_pages(mm, addr) {
            // What cannot be split is left alone: it is only advice.
            let _ = split_unheld(map, addr);
        }
    }
}

/// The page that the leaf at `addr` maps, if one is there.
fn page_at<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> Option<Pfn> {
    let found = mm.tables().walk(addr);
    let entry = Some(found.entry).filter(|entry| entry.is_leaf(found.place.level));
    entry.and_then(normal_page)
}

/// Pages of the folio at `addr`; 0 if there is none.
fn folio_pages<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> u64 {
    page_at(mm, addr).map_or(0, |page| mm.machine().frames().folio_frames(page))
}

/// Whether the folio at `addr` cannot be split: somebody holds it who maps it not, or others may
/// map it (row M-09).
fn stays_whole<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> bool {
    let frames = mm.machine().frames();
    page_at(mm, addr).is_some_and(|page| {
        frames.refs(page) != frames.folio_mapcount(page) || frames.maybe_mapped_shared(page)
    })
}

/// Splits the large folio at `addr`, if that can be done.
fn split_unheld<H: Host>(map: &MmRead<'_, H>, addr: VirtAddr) -> Result<(), OutOfMemory> {
    if stays_whole(map.mm(), addr) { Ok(()) } else { split_page_and_zeroes(map.mm(), map, addr) }
}

/// Where the large folios of `range` are mapped, once each where their entries are neighbours, and
/// how many of their pages the range has there. Those that one entry maps only if none else does.
fn large_folios<H: Host>(mm: &Mm<H>, range: VirtRange) -> Vec<(VirtAddr, u64)> {
    let frames = mm.machine().frames();
    let mut found: Vec<(VirtAddr, u64)> = Vec::new();
    let mut last = None;
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let level = visit.place.level;
        let leaf = Some(visit.entry).filter(|entry| level < 2 && entry.is_leaf(level));
        let folio = leaf.and_then(normal_page).map(|page| frames.head(page));
        let folio = folio.filter(|head| frames.is_large(*head));
        let alone = folio.is_some_and(|head| level == 0 || !frames.maybe_mapped_shared(head));
        let here = VirtRange::from_len(visit.addr, level_pages(level) << PAGE_SHIFT);
        let pages = here.map_or(0, |here| here.intersect(range).pages());
        if alone && folio != last {
            found.push((visit.addr, pages));
        } else if alone && let Some((_, count)) = found.last_mut() {
            *count += pages;
        }
        last = folio;
        Action::Keep
    });
    found
}
