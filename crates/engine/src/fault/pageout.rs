//! Taking one page back from a process: `MADV_PAGEOUT`, and what reclaim would do.
//!
//! Anonymous and shared memory goes to swap, a clean file page just leaves the cache, lazily freed
//! memory vanishes. What is mapped more than once, may be pinned, or is referred to by anybody
//! else, stays (rows M-09, F-33). Invariants: the entry is emptied and flushed before the pin test
//! (row F-34); a page leaves memory only while the cache and this function have its only
//! references. Absent: which pages, and when.
//! Linux: `madvise_cold_or_pageout_pte_range`, `shrink_folio_list`, `try_to_unmap_one`
//! (mm/madvise.c, mm/vmscan.c, mm/rmap.c, 6.18).

use super::page::{normal_page, remove_mapping};
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::file::{File, Slot};
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Frames, Kind, Owner};
use crate::host::{Gap, Host};
use crate::mm::{Counter, Mm};
use crate::pgtable::{ENTRIES, Entry, Place, SwapEntry, Walked};
use crate::rule::{f, m};
use crate::sync::fence;
use crate::vma::Vma;
use core::sync::atomic::Ordering::Acquire;

/// On a page of a file: reclaim wanted it, but it is dirty, and reclaim writes no files. Until it
/// is dirtied again or faulted in by itself, fault-around passes it over (row M-08).
///
/// Linux: `PG_reclaim`, which is `PG_readahead` as well.
pub(super) const WANTED: FrameFlags = FrameFlags::PRIVATE_2;

/// The page was dirtied again.
pub(super) fn forget_wanted<H: Host>(frames: &Frames<H>, page: Pfn) {
    if is_passed_over(frames, page) {
        frames.clear(page, WANTED);
    }
}

/// Whether fault-around does not map the page, though it is cached.
pub(super) fn is_passed_over<H: Host>(frames: &Frames<H>, page: Pfn) -> bool {
    frames.kind(page) == Kind::File && frames.has(page, WANTED)
}

/// What became of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageOut {
    /// It is in memory no more.
    Out,
    /// It is still in memory, though maybe not mapped any more.
    Kept,
}

/// The page that is taken, and its entry. One reference is held.
struct Victim<'a, H: Host> {
    mm: &'a Mm<H>,
    vma: &'a Vma<H>,
    addr: VirtAddr,
    place: Place,
    page: Pfn,
}

/// Takes the page at `addr` of `vma` out of memory, if that may be done.
///
/// The mmap lock is held, no table's. Huge pages stay. Writes to swap, and waits for that.
pub fn page_out<H: Host>(mm: &Mm<H>, vma: &Vma<H>, addr: VirtAddr) -> PageOut {
    mm.machine().drain_batches();
    let addr = addr.page_floor();
    let found = mm.tables().walk(addr);
    let place = found.place;
    if place.level != 0 || !found.entry.is_present() {
        return PageOut::Kept;
    }
    let guard = mm.tables().lock(place.table);
    let entry = mm.tables().load(place);
    let page = Some(entry).filter(|entry| entry.is_present()).and_then(normal_page);
    let Some(page) = page else { return PageOut::Kept };
    let frames = mm.machine().frames();
    let host = mm.machine().host();
    let locked = frames.has(page, FrameFlags::MLOCKED) || vma.flags.contains(VmFlags::LOCKED);
    if host.rule(m::M_13, locked, addr) {
        return PageOut::Kept;
    }
    let shared = frames.folio_mapcount(page) != 1;
    if host.rule(m::M_09, shared, addr) || frames.is_large(page) || frames.get(page, 1).is_err() {
        return PageOut::Kept;
    }
    let victim = Victim { mm, vma, addr, place, page };
    let unmapped = match frames.kind(page) {
        Kind::Anon if !frames.has(page, FrameFlags::SWAPBACKED) => victim.unmap_lazily_freed(),
        Kind::Anon => victim.unmap_to_swap(),
        Kind::File | Kind::Shmem => Some(victim.unmap_cached()),
        Kind::Free
        | Kind::Table
        | Kind::Hugetlb
        | Kind::Secret
        | Kind::Special
        | Kind::Kernel
        | Kind::Slab => None,
    };
    drop(guard);
    let result = unmapped.map_or(PageOut::Kept, |unmapped| victim.finish(&unmapped));
    mm.machine().put_page(page);
    result
}

/// Takes the large folio of a file at `addr` of `vma` out of memory, if it has `pages` pages, which
/// are all mapped there in order, and nowhere else; if it may not go, it is not mapped any more all
/// the same.
///
/// The mmap lock is held, no table's.
pub(crate) fn page_out_folio<H: Host>(
    mm: &Mm<H>,
    vma: &Vma<H>,
    addr: VirtAddr,
    pages: u64,
) -> PageOut {
    let (tables, machine) = (mm.tables(), mm.machine());
    let frames = machine.frames();
    let Walked { place, entry } = tables.walk(addr);
    let head = Some(entry).filter(|entry| place.level == 0 && entry.is_present());
    let head = head.and_then(normal_page).filter(|head| frames.kind(*head) == Kind::File);
    let Some(head) = head else { return PageOut::Kept };
    let guard = tables.lock(place.table);
    let entries = || (0..pages).map(|n| (n, Place { index: place.index + n as usize, ..place }));
    let whole = pages == frames.folio_frames(head)
        && place.index as u64 + pages <= ENTRIES as u64
        && entries().all(|(n, place)| {
            let entry = tables.load(place);
            entry.is_present() && entry.pfn() == head.offset(n)
        });
    let shared = u64::from(frames.folio_mapcount(head)) != pages;
    if machine.host().rule(m::M_09, shared, addr) || !whole || frames.get(head, 1).is_err() {
        return PageOut::Kept;
    }
    for (n, place) in entries() {
        let addr = addr.saturating_add(n << PAGE_SHIFT);
        let _ = Victim { mm, vma, addr, place, page: head.offset(n) }.unmap_cached();
    }
    drop(guard);
    let file = vma.backing.file();
    let left = file.is_some_and(|file| {
        let victim = Victim { mm, vma, addr, place, page: head };
        victim.take_from(file, None)
    });
    machine.put_page(head);
    if left { PageOut::Out } else { PageOut::Kept }
}

/// Where an unmapped page still is.
enum Unmapped {
    /// Nowhere.
    Nowhere,
    /// In the swap cache, for this slot, which keeps its number while its victim is a user.
    SwapCache(u64),
    /// In its file's cache.
    PageCache,
}

impl<H: Host> Victim<'_, H> {
    /// Empties the entry, and forgets its translations.
    fn clear(&self) -> Entry<H::Format> {
        let end = self.addr.saturating_add(PAGE_SIZE);
        self.mm.tables().empty(self.place, VirtRange::new(self.addr, end))
    }
    fn restore(&self, entry: Entry<H::Format>) {
        self.mm.tables().store(self.place, entry);
    }

    /// Memory that `MADV_FREE` gave away vanishes if it was not written since (rows F-35, M-10).
    fn unmap_lazily_freed(&self) -> Option<Unmapped> {
        let machine = self.mm.machine();
        let (frames, host) = (machine.frames(), machine.host());
        let old = self.clear();
        // The entry's reference, and the one held here. Whoever dirtied the page had another: asked
        // only then, the answer is the last (row F-49).
        let held = frames.linux_refcount(self.page) != 2;
        fence(Acquire);
        let dirty = old.is_dirty() || frames.has(self.page, FrameFlags::DIRTY);
        let kept = dirty && !self.vma.flags.contains(VmFlags::DROPPABLE);
        if host.rule(m::M_10, kept, self.addr) {
            self.restore(old);
            frames.set(self.page, FrameFlags::SWAPBACKED | FrameFlags::DIRTY);
            return None;
        }
        if host.rule(f::F_35, held, self.addr) {
            self.restore(old);
            return None;
        }
        remove_mapping(self.mm, self.page);
        Some(Unmapped::Nowhere)
    }

    /// Puts a swap entry in the entry's place.
    fn unmap_to_swap(&self) -> Option<Unmapped> {
        let machine = self.mm.machine();
        let (frames, host) = (machine.frames(), machine.host());
        let slot = match machine.swap().slot_of(self.page) {
            Some(slot) => slot,
            None if host.rule(f::F_33, frames.maybe_pinned(self.page), self.addr) => return None,
            None => machine.swap().add_page(machine, self.page)?,
        };
        let old = self.clear();
        let exclusive = frames.has(self.page, FrameFlags::ANON_EXCLUSIVE);
        let pinned = exclusive && frames.maybe_pinned(self.page);
        let pinned = host.rule(f::F_03, pinned, self.addr);
        if host.rule(f::F_34, pinned, self.addr) {
            self.restore(old);
            return None;
        }
        host.gap(Gap::Unpinned);
        if exclusive {
            host.decided(f::F_02, self.addr);
            frames.clear(self.page, FrameFlags::ANON_EXCLUSIVE);
        }
        if old.is_dirty() {
            frames.set(self.page, FrameFlags::DIRTY);
        }
        // The entry, and this function: nobody else gets the slot while it is written to.
        machine.swap().add_user(slot);
        machine.swap().add_user(slot);
        let (uffd_wp, soft_dirty) = (old.is_uffd_wp(), old.is_soft_dirty());
        self.restore(Entry::swap(SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty }));
        self.mm.add_rss(Counter::Swap, 1);
        remove_mapping(self.mm, self.page);
        Some(Unmapped::SwapCache(slot))
    }

    /// Empties the entry of a page that its file still has.
    fn unmap_cached(&self) -> Unmapped {
        let old = self.clear();
        let frames = self.mm.machine().frames();
        if old.is_dirty() {
            frames.set(self.page, FrameFlags::DIRTY);
        }
        // Reclaim writes no files; write-back does, some other time.
        if frames.kind(self.page) == Kind::File && frames.has(self.page, FrameFlags::DIRTY) {
            frames.set(self.page, WANTED);
        }
        remove_mapping(self.mm, self.page);
        Unmapped::PageCache
    }

    /// Frees the page, if nobody but its cache has it.
    fn finish(&self, unmapped: &Unmapped) -> PageOut {
        let machine = self.mm.machine();
        let alone = machine.frames().linux_refcount(self.page) == 2;
        match unmapped {
            Unmapped::Nowhere => PageOut::Out,
            &Unmapped::SwapCache(slot) => {
                let result = if alone { self.write_out(slot) } else { PageOut::Kept };
                machine.swap().drop_user(machine, slot);
                result
            }
            Unmapped::PageCache => {
                let file = self.vma.backing.file().filter(|_| alone);
                file.map_or(PageOut::Kept, |file| self.leave_cache(file))
            }
        }
    }

    /// Writes the page to its slot if need be, and takes it out of the swap cache.
    fn write_out(&self, slot: u64) -> PageOut {
        let machine = self.mm.machine();
        // Clean first: whoever stores from now on makes it dirty again.
        if machine.frames().test_and_clear(self.page, FrameFlags::DIRTY)
            && !machine.swap().write(machine, slot, self.page)
        {
            machine.frames().set(self.page, FrameFlags::DIRTY);
            return PageOut::Kept;
        }
        let out = machine.swap().forget_page(machine, self.page, 2);
        if out { PageOut::Out } else { PageOut::Kept }
    }

    fn leave_cache(&self, file: &File<H>) -> PageOut {
        let machine = self.mm.machine();
        let frames = machine.frames();
        let dirty = frames.has(self.page, FrameFlags::DIRTY);
        let left = if dirty && frames.kind(self.page) == Kind::Shmem {
            self.to_swap(file)
        } else {
            self.take_from(file, None)
        };
        if left { PageOut::Out } else { PageOut::Kept }
    }

    /// Writes a page of shared memory to swap.
    fn to_swap(&self, file: &File<H>) -> bool {
        let machine = self.mm.machine();
        let Some(slot) = machine.swap().add_page(machine, self.page) else { return false };
        machine.swap().add_user(slot);
        let frames = machine.frames();
        frames.clear(self.page, FrameFlags::DIRTY);
        if machine.swap().write(machine, slot, self.page)
            && machine.swap().forget_page(machine, self.page, 3)
            && self.take_from(file, Some(Slot::Swapped(slot)))
        {
            return true;
        }
        frames.set(self.page, FrameFlags::DIRTY);
        machine.swap().drop_user(machine, slot);
        machine.swap().try_free(machine, self.page);
        false
    }

    /// Takes the folio out of the file's cache, and leaves `instead` there, while nobody else can
    /// have it (row F-49).
    fn take_from(&self, file: &File<H>, instead: Option<Slot>) -> bool {
        let machine = self.mm.machine();
        let frames = machine.frames();
        let (index, all) = (frames.index_of(self.page), frames.folio_frames(self.page));
        let mut pages = file.pages.lock();
        let ours =
            (0..all).all(|n| pages.get(&(index + n)) == Some(&Slot::Page(self.page.offset(n))));
        #[allow(clippy::cast_possible_truncation, reason = "at most 1 << MAX_ORDER")]
        let held = all as u32 + 1;
        if !ours || !frames.freeze(self.page, held) {
            return false;
        }
        // Whoever dirtied the page had a reference: asked only now, the answer is the last.
        let dirtied = frames.has(self.page, FrameFlags::DIRTY);
        if machine.host().rule(f::F_49, dirtied, self.addr) {
            frames.unfreeze(self.page, held);
            return false;
        }
        match instead {
            Some(slot) => drop(pages.insert(index, slot)),
            None => pages.retain(|at, _| !(index..index + all).contains(at)),
        }
        frames.set_owner(self.page, Owner::default());
        frames.unfreeze(self.page, 1);
        true
    }
}
