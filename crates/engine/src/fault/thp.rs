//! Transparent huge pages: anonymous memory mapped by one entry of the middle level.
//!
//! *Fallback*: a huge page is not possible here, or not any more; its 512 pages are then served one
//! by one. It stays inside this folder. Invariants: a huge entry counts once and holds one
//! reference to its folio, and 512 pages in the resident set; whether it is exclusive stands on the
//! folio's first page. Absent: huge pages of files, khugepaged, partial copies. Linux:
//! `mm/huge_memory.c` `do_huge_pmd_anonymous_page`, `do_huge_pmd_wp_page`, `do_huge_zero_wp_pmd`,
//! mm/memory.c `wp_huge_pmd` (6.18).

use super::handle::FaultCx;
use super::mlocked;
use super::numa;
use super::outcome::{Fault, FaultError};
use super::page::{fresh_flags, leaf_perms, normal_page};
use super::site::Site;
use super::split::split_leaf;
use super::userfault::{self, Reason};
use crate::addr::{PMD_ORDER, Pfn, VirtAddr};
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{AllocFlags, FrameFlags, Frames, Kind, OutOfMemory, Owner};
use crate::host::{Host, Memory};
use crate::mm::{Counter, Machine, Mm};
use crate::pgtable::{
    Decoded, ENTRIES, Entry, Format, MakeError, Place, SwapEntry, level_pages, level_shift,
    level_span,
};
use crate::rule::{f, s};
use crate::vma::Vma;

/// The level of a huge page's entry.
pub(crate) const PMD: u8 = 1;
/// Base pages of a huge page.
pub(crate) const HPAGE_PMD_NR: u64 = level_pages(PMD);

const FALLBACK: Fault = Fault::Failed(FaultError::Fallback);

/// Whether a huge page may be made for `addr`: the area wants them, and has all of the 2 MiB around
/// it.
pub(super) fn allowed<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr) -> bool {
    let vma = cx.vma;
    let always = cx.mm.machine().sysctl.thp_always;
    let wants = always || vma.flags.contains(VmFlags::HUGEPAGE);
    if !wants || vma.flags.contains(VmFlags::NOHUGEPAGE) || !vma.is_anonymous() {
        return false;
    }
    let base = addr.align_down(level_shift(PMD));
    let end = base.checked_add(level_span(PMD));
    base >= vma.start() && end.is_some_and(|end| end <= vma.end())
}

/// Serves a fault where no table stands yet. [`FaultError::Fallback`]: small pages are to serve it.
pub(super) fn missing<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr, flags: FaultFlags) -> Fault {
    if cx.vma.flags.contains(VmFlags::SHARED) {
        return FALLBACK;
    }
    let base = addr.align_down(level_shift(PMD));
    let place = match cx.mm.tables().make(base, PMD) {
        Ok(place) => place,
        Err(MakeError::OutOfMemory) => return Fault::OOM,
        Err(MakeError::Unaddressable) => return Fault::SIGSEGV,
        Err(MakeError::HugeLeaf(_)) => return FALLBACK,
    };
    let seen = cx.mm.tables().load(place);
    if !seen.is_none() {
        return FALLBACK;
    }
    let site = Site { cx: *cx, addr: base, flags, place, seen, new_table: false };
    if let Err(failed) = site.cx.prepare_anon_vma() {
        return failed;
    }
    if site.has(FaultFlags::WRITE) { own_page(&site, addr) } else { zero_page(&site, addr) }
}

/// Delivers the fault at `addr`, which lies in the huge page.
fn tell<H: Host>(site: &Site<'_, H>, addr: VirtAddr, reason: Reason) -> Fault {
    let Site { cx, flags, place, seen, .. } = *site;
    userfault::deliver(&Site { cx, addr, flags, place, seen, new_table: false }, reason)
}

/// Maps the huge zero page, which counts nowhere.
fn zero_page<H: Host>(site: &Site<'_, H>, addr: VirtAddr) -> Fault {
    let Ok(spare) = site.tables().new_deposit() else { return Fault::OOM };
    let Ok(zero) = site.machine().make_huge_zero_page() else {
        site.put(spare);
        return FALLBACK;
    };
    let mut perms = leaf_perms(site.cx.vma);
    perms.special = true;
    install(site, addr, Entry::leaf(zero, perms, PMD), spare)
}

/// Maps a zeroed huge page of its own.
fn own_page<H: Host>(site: &Site<'_, H>, addr: VirtAddr) -> Fault {
    let Ok(page) = new_zeroed(site) else { return FALLBACK };
    let Ok(spare) = site.tables().new_deposit() else {
        site.put(page);
        return Fault::OOM;
    };
    install(site, addr, own_leaf(site, page), spare)
}

/// Puts `entry` where nothing stands, with a table put aside for it, and counts its page.
fn install<H: Host>(
    site: &Site<'_, H>,
    addr: VirtAddr,
    entry: Entry<H::Format>,
    spare: Pfn,
) -> Fault {
    let page = normal_page(entry);
    let guard = site.lock();
    let tells = guard.is_some() && userfault::wants_missing(site.cx.vma);
    if guard.is_none() || tells {
        drop(guard);
        site.put(spare);
        page.inspect(|page| site.put(*page));
        return if tells { tell(site, addr, Reason::Missing) } else { Fault::MINOR };
    }
    if let Some(page) = page {
        site.host().decided(f::F_01, site.addr);
        mlocked::got_new(site.cx.mm, site.cx.vma, page);
        add_mapping(site.cx.mm, page);
    }
    site.tables().deposit(site.place.table, spare);
    site.set(entry);
    Fault::MINOR
}

/// An entry for a page of the area's own: dirty, and writable if the area is.
fn own_leaf<H: Host>(site: &Site<'_, H>, page: Pfn) -> Entry<H::Format> {
    let mut perms = leaf_perms(site.cx.vma);
    perms.dirty = true;
    perms.soft_dirty = true;
    perms.write = site.cx.vma.flags.contains(VmFlags::WRITE);
    Entry::leaf(page, perms, PMD)
}

fn new_zeroed<H: Host>(site: &Site<'_, H>) -> Result<Pfn, OutOfMemory> {
    let page = new_folio(site.machine(), site.cx.vma, site.addr, site.user_memory())?;
    site.machine().memory().zero(page, HPAGE_PMD_NR);
    Ok(page)
}

/// A new anonymous huge page of `vma` for `base`: one reference, exclusive, its bytes still
/// undefined.
/// # Errors
/// [`OutOfMemory`].
pub(crate) fn new_folio<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    base: VirtAddr,
    how: AllocFlags,
) -> Result<Pfn, OutOfMemory> {
    let frames = machine.frames();
    let page = frames.alloc(machine.host(), PMD_ORDER, Kind::Anon, how)?;
    let owner = vma.anon_vma().map_or(0, |anon| anon.id);
    #[allow(clippy::cast_possible_truncation, reason = "the place in the area, modulo 16 TiB")]
    let index = vma.index_of(base) as u32;
    frames.set_owner(page, Owner { owner, index });
    frames.set(page, fresh_flags(vma));
    frames.set(page, FrameFlags::ANON_EXCLUSIVE);
    Ok(page)
}

/// Counts a new huge entry of `mm` for the folio; the entry takes over the caller's reference.
pub(crate) fn add_mapping<H: Host>(mm: &Mm<H>, head: Pfn) {
    mm.machine().frames().map_huge(head, mm.mapper());
    #[allow(clippy::cast_possible_wrap, reason = "512")]
    mm.add_rss(Counter::Anon, HPAGE_PMD_NR as i64);
}

/// Serves a fault where a leaf or a swap entry stands above level 0. [`FaultError::Fallback`]:
/// there is a table of small ones now.
pub(super) fn present<H: Host>(
    cx: &FaultCx<'_, H>,
    addr: VirtAddr,
    flags: FaultFlags,
    place: Place,
) -> Fault {
    let seen = cx.mm.tables().load(place);
    let base = addr.align_down(level_shift(place.level));
    let site = Site { cx: *cx, addr: base, flags, place, seen, new_table: false };
    match seen.decode(place.level) {
        // Gone, or split, meanwhile.
        Decoded::None | Decoded::Table(_) => FALLBACK,
        // It comes back where it goes to, or stays.
        Decoded::Swap(SwapEntry::Migration { .. }) => {
            site.host().relax();
            Fault::MINOR
        }
        Decoded::Swap(
            SwapEntry::Swap { .. }
            | SwapEntry::HwPoison(_)
            | SwapEntry::UffdWp
            | SwapEntry::Poisoned
            | SwapEntry::Guard,
        ) => split(&site),
        Decoded::Leaf(_, perms) if perms.protnone && cx.vma.is_accessible() => numa::hint(&site),
        Decoded::Leaf(_, perms) => {
            let wants = flags.intersects(FaultFlags::WRITE | FaultFlags::UNSHARE);
            if wants && !perms.write { write_protected(&site, addr) } else { mark_accessed(&site) }
        }
    }
}

fn split<H: Host>(site: &Site<'_, H>) -> Fault {
    match split_leaf(site.cx.mm, site.addr) {
        Ok(()) => FALLBACK,
        Err(OutOfMemory) => Fault::OOM,
    }
}

fn mark_accessed<H: Host>(site: &Site<'_, H>) -> Fault {
    if let Some(_guard) = site.lock() {
        let write = site.has(FaultFlags::WRITE);
        let entry = site.seen.map_perms(site.place.level, |perms| {
            perms.young |= write || H::Format::LOADS_MARK;
            perms.dirty |= write;
        });
        site.update(entry);
    }
    Fault::MINOR
}

/// A store, or an unshare request, at a huge entry that allows no stores.
fn write_protected<H: Host>(site: &Site<'_, H>, addr: VirtAddr) -> Fault {
    if !site.cx.vma.is_anonymous() || site.place.level != PMD {
        return split(site);
    }
    let tells = !site.has(FaultFlags::UNSHARE) && userfault::is_write_protected(site);
    if tells {
        let quietly = site.cx.vma.uffd.as_ref().is_some_and(|context| context.wp_async());
        return if quietly { split(site) } else { tell(site, addr, Reason::WriteProtected) };
    }
    if site.seen.is_special() {
        return replace_zero(site);
    }
    let Some(guard) = site.lock() else { return Fault::MINOR };
    let head = site.seen.pfn();
    let frames = site.frames();
    let own = frames.has(head, FrameFlags::ANON_EXCLUSIVE)
        || (frames.kind(head) == Kind::Anon
            && !frames.has(head, FrameFlags::KSM)
            && !frames.has(head, FrameFlags::SWAPCACHE)
            && frames.order(head) == PMD_ORDER
            && !site.host().rule(s::S_07, frames.refs(head) != 1, site.addr));
    if !site.host().rule(f::F_25, own, site.addr) {
        drop(guard);
        return split(site);
    }
    frames.set(head, FrameFlags::ANON_EXCLUSIVE);
    if site.has(FaultFlags::UNSHARE) {
        return Fault::MINOR;
    }
    let entry = site.seen.map_perms(PMD, |perms| {
        perms.young = true;
        perms.dirty = true;
        perms.soft_dirty = true;
        perms.write = site.cx.vma.flags.contains(VmFlags::WRITE);
    });
    site.update(entry);
    Fault::WROTE
}

/// The huge zero page gives way to a zeroed huge page (row F-28), or is split into small zero
/// pages.
fn replace_zero<H: Host>(site: &Site<'_, H>) -> Fault {
    if let Err(failed) = site.cx.prepare_anon_vma() {
        return failed;
    }
    if site.has(FaultFlags::UNSHARE) {
        site.host().decided(f::F_28, site.addr);
    }
    let Ok(page) = new_zeroed(site) else { return split(site) };
    let Some(_guard) = site.lock() else {
        site.put(page);
        return Fault::MINOR;
    };
    site.host().decided(f::F_01, site.addr);
    mlocked::got_new(site.cx.mm, site.cx.vma, page);
    add_mapping(site.cx.mm, page);
    site.replace(own_leaf(site, page));
    Fault::WROTE
}

/// Whether all references to the large folio of `page` are mappings, two at least, and all of them
/// are one address space's, in whatever table (row F-24).
pub(super) fn all_ours<H: Host>(frames: &Frames<H>, page: Pfn) -> bool {
    let shared = frames.maybe_mapped_shared(page) || frames.entire_mapcount(page) != 0;
    let mapped = frames.folio_mapcount(page);
    !shared && mapped > 1 && frames.refs(page) == mapped
}

/// How many entries of the table of `place`, which is locked, map the large folio of `page`, if
/// they are all of its references.
pub(super) fn mapped_only_in<H: Host>(mm: &Mm<H>, place: Place, page: Pfn) -> Option<u32> {
    let frames = mm.machine().frames();
    let mapped = frames.folio_mapcount(page);
    if frames.entire_mapcount(page) != 0 || frames.refs(page) != mapped {
        return None;
    }
    let head = frames.head(page);
    let folio = head.get()..head.get() + frames.folio_frames(page);
    let ours = (0..ENTRIES).filter(|&index| {
        let entry = mm.tables().load(Place { index, ..place });
        entry.is_present() && folio.contains(&entry.pfn().get())
    });
    (ours.count() as u64 == u64::from(mapped)).then_some(mapped)
}
