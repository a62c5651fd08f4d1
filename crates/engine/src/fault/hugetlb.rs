//! Pages of hugetlbfs: from the page cache or the pool, by one entry of the middle or upper level.
//!
//! Such an area has no small pages: an entry is filled whole, copied whole, and never split.
//! *Promise*: a page that the pool keeps for this area ([`crate::hugetlb`]). An empty pool is
//! SIGBUS, not out of memory. Invariants: pages do not count in the resident set; an anonymous one
//! is told by its flag; what was taken for a fault that somebody else served returns with its
//! promise.
//! Linux: `hugetlb_fault`, `hugetlb_no_page`, `hugetlb_wp` (mm/hugetlb.c, 6.18).

use super::handle::FaultCx;
use super::outcome::{Fault, FaultError};
use super::page::leaf_perms;
use super::site::Site;
use super::userfault::{self, Reason};
use super::zap::zap_range;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::file::{File, Slot};
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{FrameFlags, Kind, Last, Owner, TableGuard};
use crate::host::{Host, Memory};
use crate::hugetlb::{BROKEN, PoolEmpty, Promised, order_of, promise_of, put_page};
use crate::linux::Linux;
use crate::mm::{Machine, Mm};
use crate::pgtable::{
    Decoded, Entry, MakeError, Perms, Place, SwapEntry, Walked, level_pages, level_shift,
    level_span,
};
use crate::rule::{a, c, f, s};
use crate::vma::Vma;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Release};

/// A fault in a hugetlb area.
struct Huge<'s, 'a, H: Host> {
    site: &'s Site<'a, H>,
    file: &'a File<H>,
    order: u8,
    /// The address that was touched.
    addr: VirtAddr,
}

/// The level of entries that map pages of `1 << order` frames.
pub(crate) const fn level_of(order: u8) -> u8 {
    order / 9
}

/// Serves a fault in a hugetlb area.
pub(super) fn serve<H: Host>(cx: &FaultCx<'_, H>, addr: VirtAddr, flags: FaultFlags) -> Fault {
    let (Some(order), Some(file)) = (order_of(cx.vma), cx.vma.backing.file()) else {
        return Fault::SIGBUS;
    };
    let level = level_of(order);
    let base = addr.align_down(level_shift(level));
    let place = match cx.mm.tables().make(base, level) {
        Ok(place) => place,
        Err(MakeError::OutOfMemory) => return Fault::OOM,
        Err(MakeError::HugeLeaf(_)) => return Fault::SIGBUS,
        Err(MakeError::Unaddressable) => return Fault::SIGSEGV,
    };
    let seen = cx.mm.tables().load(place);
    let site = Site { cx: *cx, addr: base, flags, place, seen, new_table: false };
    let huge = Huge { site: &site, file, order, addr };
    match seen.decode(level) {
        Decoded::None | Decoded::Swap(SwapEntry::UffdWp) => huge.missing(),
        Decoded::Swap(SwapEntry::HwPoison(_) | SwapEntry::Poisoned) => huge.poisoned(),
        Decoded::Swap(SwapEntry::Guard) => Fault::SIGSEGV,
        Decoded::Table(_) | Decoded::Swap(SwapEntry::Swap { .. }) => Fault::SIGBUS,
        Decoded::Swap(SwapEntry::Migration { .. }) => {
            site.host().relax();
            Fault::MINOR
        }
        Decoded::Leaf(_, perms) => huge.present(perms),
    }
}

/// A page for an empty entry, with a reference.
struct Found {
    page: Pfn,
    /// It was taken from the pool for this area alone: who promised it.
    private: bool,
    promised: Promised,
}

impl<H: Host> Huge<'_, '_, H> {
    fn vma(&self) -> &Vma<H> {
        self.site.cx.vma
    }
    fn has(&self, flags: VmFlags) -> bool {
        self.vma().flags.contains(flags)
    }
    /// Index in the file of the huge page's first page, in base pages.
    fn index(&self) -> u64 {
        self.vma().index_of(self.site.addr) & !((1 << self.order) - 1)
    }
    fn level(&self) -> u8 {
        self.site.place.level
    }
    fn poisoned(&self) -> Fault {
        Fault::Failed(FaultError::HwPoisonLarge(self.order))
    }
    /// Tells the area's userfault context of the page that was touched.
    fn tell(&self, reason: Reason) -> Fault {
        let Site { cx, flags, place, seen, .. } = *self.site;
        userfault::deliver(
            &Site { cx, addr: self.addr, flags, place, seen, new_table: false },
            reason,
        )
    }

    /// The entry is empty (`hugetlb_no_page`).
    fn missing(&self) -> Fault {
        if self.vma().robbed.load(Acquire) {
            return Fault::SIGBUS;
        }
        let found = match self.find() {
            Ok(found) => found,
            Err(fault) => return fault,
        };
        let Some(guard) = self.site.lock() else {
            self.undo(&found);
            return Fault::MINOR;
        };
        let frames = self.site.frames();
        let shared = self.has(VmFlags::SHARED);
        let mut perms = userfault::keep_wp(self.site, leaf_perms(self.vma()));
        perms.dirty = perms.write;
        if found.private {
            self.site.host().decided(f::F_01, self.site.addr);
        }
        frames.map_huge(found.page, self.site.cx.mm.mapper());
        let entry = Entry::leaf(found.page, perms, self.level());
        self.site.set(entry);
        if !self.site.has(FaultFlags::WRITE) || shared {
            return Fault::MINOR;
        }
        // A store to a private page: copied now, without a second fault.
        let Site { cx, addr, flags, place, .. } = *self.site;
        let site = Site { cx, addr, flags, place, seen: entry, new_table: false };
        Huge { site: &site, ..*self }.write_protected(guard)
    }

    /// The page that belongs here: the file's, or a new one.
    fn find(&self) -> Result<Found, Fault> {
        let index = self.index();
        let cached = self.cached(index)?;
        if let Some(page) = cached {
            if self.has(VmFlags::UFFD_MINOR) {
                self.site.put(page);
                return Err(self.tell(Reason::Minor));
            }
            if self.site.frames().has(page, BROKEN) {
                self.site.put(page);
                return Err(self.poisoned());
            }
            return Ok(Found { page, private: false, promised: Promised::No });
        }
        if index >= self.file.size_pages() {
            return Err(Fault::SIGBUS);
        }
        if userfault::wants_missing(self.vma()) {
            return Err(self.tell(Reason::Missing));
        }
        if self.has(VmFlags::MAYSHARE) { self.new_cached(index) } else { self.new_private() }
    }

    /// The page cache's page, with a reference.
    fn cached(&self, index: u64) -> Result<Option<Pfn>, Fault> {
        let pages = self.file.pages.lock();
        match pages.get(&index) {
            Some(Slot::Page(page)) => {
                self.site.frames().get(*page, 1).map_err(|_| Fault::OOM)?;
                Ok(Some(*page))
            }
            Some(Slot::Reading(..) | Slot::Swapped(_)) | None => Ok(None),
        }
    }

    fn new_private(&self) -> Result<Found, Fault> {
        self.site.cx.prepare_anon_vma()?;
        let (page, promised) = self.take().map_err(|PoolEmpty| Fault::SIGBUS)?;
        self.site.machine().memory().zero(page, 1 << self.order);
        make_anon(self.site.machine(), self.vma(), self.site.addr, page);
        Ok(Found { page, private: true, promised })
    }

    fn new_cached(&self, index: u64) -> Result<Found, Fault> {
        let (page, promised) = self.take().map_err(|PoolEmpty| Fault::SIGBUS)?;
        let frames = self.site.frames();
        self.site.machine().memory().zero(page, 1 << self.order);
        frames.set(page, FrameFlags::UPTODATE | FrameFlags::DIRTY);
        #[allow(clippy::cast_possible_truncation, reason = "the place in the file, modulo 16 TiB")]
        frames.set_owner(page, Owner { owner: self.file.id(), index: index as u32 });
        let mut pages = self.file.pages.lock();
        if pages.contains_key(&index) {
            drop(pages);
            self.undo(&Found { page, private: true, promised });
            return self.cached(index)?.ok_or(Fault::SIGBUS).map(|page| Found {
                page,
                private: false,
                promised: Promised::No,
            });
        }
        // Its second reference is the cache's.
        frames.get(page, 1).map_err(|_| Fault::OOM)?;
        pages.insert(index, Slot::Page(page));
        Ok(Found { page, private: false, promised: Promised::No })
    }

    /// A page of the pool, by the area's promise if it has one for this page.
    fn take(&self) -> Result<(Pfn, Promised), PoolEmpty> {
        let machine = self.site.machine();
        let index = self.index() >> self.order;
        let promise = promise_of(self.vma());
        let promised = promise.as_ref().map_or(Promised::No, |promise| promise.take(index));
        let taken = machine.take_hugetlb(self.order, promised, self.site.user_memory());
        if let (Err(PoolEmpty), Promised::Yes, Some(promise)) = (taken, promised, promise) {
            promise.restore(index);
        }
        taken.map(|page| (page, promised))
    }

    /// Gives a page back that the fault did not need, and its promise with it.
    fn undo(&self, found: &Found) {
        let last = put_page(self.site.machine(), found.page);
        if found.private && last == Last::Yes && found.promised == Promised::Yes {
            let index = self.index() >> self.order;
            if let Some(promise) = promise_of(self.vma()) {
                promise.restore(index);
            }
        }
    }

    /// The entry maps a page already.
    fn present(&self, perms: Perms) -> Fault {
        // Of the table that the entry stands in, at whatever level.
        let guard = if s::S_19.when(true) {
            self.site.lock()
        } else {
            Some(self.site.tables().lock(self.site.cx.mm.root()))
        };
        let Some(guard) = guard else { return Fault::MINOR };
        self.site.host().decided(s::S_19, self.site.addr);
        let wants = self.site.flags.intersects(FaultFlags::WRITE | FaultFlags::UNSHARE);
        if wants && !perms.write {
            return self.write_protected(guard);
        }
        let write = self.site.has(FaultFlags::WRITE);
        let entry = self.site.seen.map_perms(self.level(), |perms| {
            perms.young = true;
            perms.dirty |= write;
        });
        self.site.update(entry);
        Fault::MINOR
    }

    /// A store, or an unshare request, at an entry that allows no stores (`hugetlb_wp`). Its table
    /// is locked.
    fn write_protected(&self, guard: TableGuard<'_>) -> Fault {
        let unshare = self.site.has(FaultFlags::UNSHARE);
        if !unshare && userfault::is_write_protected(self.site) {
            drop(guard);
            return self.tell(Reason::WriteProtected);
        }
        if self.has(VmFlags::MAYSHARE) {
            return self.make_writable();
        }
        let frames = self.site.frames();
        let old = self.site.seen.pfn();
        let alone = frames.is_anon(old) && frames.folio_mapcount(old) == 1;
        if self.site.host().rule(f::F_26, alone, self.site.addr) {
            frames.set(old, FrameFlags::ANON_EXCLUSIVE);
            return if unshare { Fault::MINOR } else { self.make_writable() };
        }
        let held = frames.get(old, 1);
        drop(guard);
        if held.is_err() {
            return Fault::OOM;
        }
        let fault = self.copy(old);
        self.site.put(old);
        fault
    }

    /// Whether a store gives this area a writable entry: v4.4 does so even where the area is
    /// read-only (row A-80).
    fn entry_writable(&self) -> bool {
        if self.has(VmFlags::WRITE) {
            return true;
        }
        let defect = self.site.machine().linux() == Linux::V4_4;
        if self.site.host().rule(a::A_80, defect, self.site.addr) {
            return true;
        }
        self.site.host().decided(c::C_22, self.site.addr);
        false
    }

    /// The table's lock is held.
    fn make_writable(&self) -> Fault {
        let write = self.entry_writable();
        let entry = self.site.seen.map_perms(self.level(), |perms| {
            perms.young = true;
            perms.dirty = true;
            perms.write = write;
        });
        self.site.update(entry);
        Fault::WROTE
    }

    /// Copies `old`, to which the caller has a reference.
    fn copy(&self, old: Pfn) -> Fault {
        let (site, machine) = (self.site, self.site.machine());
        if let Err(failed) = site.cx.prepare_anon_vma() {
            return failed;
        }
        // The promise of an area's owner was for its first page; a copy has to be free for all.
        let owner = self.vma().promise.is_some() && site.frames().is_anon(old);
        let taken = if owner {
            let taken = machine.take_hugetlb(self.order, Promised::No, site.user_memory());
            taken.map(|page| (page, Promised::No))
        } else {
            self.take()
        };
        let Ok((new, promised)) = taken else {
            return if owner && self.rob(old) { Fault::MINOR } else { Fault::SIGBUS };
        };
        machine.memory().copy(new, old, 1 << self.order);
        make_anon(machine, self.vma(), site.addr, new);
        let Some(_guard) = site.lock() else {
            self.undo(&Found { page: new, private: true, promised });
            return Fault::MINOR;
        };
        let unshare = site.has(FaultFlags::UNSHARE);
        let mut perms = leaf_perms(self.vma());
        perms.write = !unshare && self.entry_writable();
        perms.dirty = perms.write;
        site.host().decided(if unshare { f::F_27 } else { f::F_31 }, site.addr);
        site.frames().map_huge(new, site.cx.mm.mapper());
        site.replace(Entry::leaf(new, perms, self.level()));
        site.frames().unmap_huge(old, site.cx.mm.mapper());
        site.put(old);
        if unshare { Fault::MINOR } else { Fault::WROTE }
    }
}

/// Makes a page of the pool an anonymous one of `vma`, for `base`: exclusive.
pub(crate) fn make_anon<H: Host>(machine: &Machine<H>, vma: &Vma<H>, base: VirtAddr, page: Pfn) {
    let frames = machine.frames();
    let owner = vma.anon_vma().map_or(0, |anon| anon.id);
    #[allow(clippy::cast_possible_truncation, reason = "the place in the file, modulo 16 TiB")]
    frames.set_owner(page, Owner { owner, index: vma.index_of(base) as u32 });
    frames.set(page, FrameFlags::UPTODATE | FrameFlags::DIRTY | FrameFlags::SWAPBACKED);
    frames.set(page, FrameFlags::ANON_EXCLUSIVE);
}

impl<H: Host> Huge<'_, '_, H> {
    /// The pool is empty, and this area was promised its page: takes the page away from the
    /// children that share it (`unmap_ref_private`). Answers whether the store can be tried again.
    fn rob(&self, old: Pfn) -> bool {
        let index = self.index();
        let mappers: Vec<_> =
            self.file.mappers.lock().iter().filter_map(alloc::sync::Weak::upgrade).collect();
        for mm in mappers {
            if core::ptr::eq(&raw const *mm, self.site.cx.mm) {
                continue;
            }
            // Whoever holds the lock for writing may wait for us.
            let Some(map) = mm.try_read() else { continue };
            let shares = |vma: &&Vma<H>| {
                vma.promise.is_none()
                    && vma.backing.file().is_some_and(|file| file.id() == self.file.id())
                    && (vma.pgoff()..vma.pgoff() + vma.range().pages()).contains(&index)
            };
            for vma in map.iter().filter(shares) {
                let start = vma.start().saturating_add((index - vma.pgoff()) << PAGE_SHIFT);
                let end = start.saturating_add(PAGE_SIZE << self.order);
                if mm.tables().walk(start).frame(start) == Some(old) {
                    self.site.host().decided(f::F_26, start);
                    vma.robbed.store(true, Release);
                    // Hugetlb pages go whole: nothing is split.
                    let _ = zap_range(&mm, vma, VirtRange::new(start, end));
                }
            }
        }
        self.site.frames().folio_mapcount(old) == 1
    }
}

/// A frame of the page behind `addr` failed, whose entry is at `place`: the page is lost whole.
/// `None`: it is no hugetlb page.
pub(super) fn memory_failure<H: Host>(mm: &Mm<H>, addr: VirtAddr, place: Place) -> Option<bool> {
    let (tables, frames) = (mm.tables(), mm.machine().frames());
    let _guard = tables.lock(place.table);
    let walked = Walked { place, entry: tables.load(place) };
    let page = walked.frame(addr).filter(|page| frames.kind(*page) == Kind::Hugetlb)?;
    mm.machine().host().decided(f::F_44, addr);
    frames.set(page, FrameFlags::HWPOISON);
    frames.set(page, BROKEN);
    tables.store(place, Entry::NONE);
    let base = addr.align_down(level_shift(place.level));
    let range = VirtRange::new(base, base.saturating_add(level_span(place.level)));
    mm.machine().host().flush_tlb(mm.root(), range);
    tables.store(place, Entry::swap(SwapEntry::HwPoison(page)));
    let head = frames.head(page);
    frames.unmap_huge(head, mm.mapper());
    let _ = put_page(mm.machine(), head);
    Some(true)
}

/// Base pages of the area's huge pages.
pub(crate) fn pages_of<H: Host>(vma: &Vma<H>) -> u64 {
    order_of(vma).map_or(1, |order| level_pages(level_of(order)))
}

/// Uncounts an entry of `vma`, a hugetlb area of `mm`, that covered `addr`, and returns its
/// reference to the page `head`.
///
/// If that was the last one to a private page, the area's owner is promised a page for it again.
pub(super) fn remove_hugetlb<H: Host>(mm: &Mm<H>, vma: &Vma<H>, addr: VirtAddr, head: Pfn) {
    let frames = mm.machine().frames();
    let anon = frames.is_anon(head);
    frames.unmap_huge(head, mm.mapper());
    let last = put_page(mm.machine(), head);
    let Some(promise) = vma.promise.as_ref().filter(|_| anon && last == Last::Yes) else { return };
    promise.restore(vma.index_of(addr) >> order_of(vma).unwrap_or(0));
}
