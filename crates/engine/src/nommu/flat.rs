//! Flat memory: the machine's frames at addresses of the host's choosing, and the regions in use.
//!
//! *Base*: the address of frame 0. The host may choose the address of a buffer that it owns: then
//! an address of this engine and a pointer of the host's are the same number. Frame 0 itself is
//! never handed out. Regions are page-granular: a folio of the next power of two is taken, and the
//! excess goes back at once. Lock order: mmap lock, then the regions' lock, then frame lists.
//! Linux: mm/nommu.c, `nommu_region_tree`.

use super::error::MapError;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::frame::{AllocFlags, GUP_PIN_COUNTING_BIAS, Kind};
use crate::host::{Host, Memory};
use crate::mm::Machine;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use lock_api::Mutex;

/// The file part that a shared region shows: the file's id, and pages of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) file: u32,
    pub(super) pgoff: u64,
}

/// Frames that mappings hold.
#[derive(Clone, Copy, Debug)]
struct Region {
    pages: u64,
    /// Areas that lie in it.
    users: u64,
    shown: Option<Shown>,
}

/// One region, as [`FlatMemory::regions`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Its addresses.
    pub range: VirtRange,
    /// How many areas, of all address spaces, lie in it.
    pub users: u64,
}

/// A region joined: its first frame, and the first frame of the part wanted.
pub(super) type Joined = Option<(Pfn, Pfn)>;

fn join(
    regions: &mut BTreeMap<Pfn, Region>,
    wanted: Shown,
    pages: u64,
) -> Result<Joined, MapError> {
    let end = wanted.pgoff.saturating_add(pages);
    for (start, region) in regions.iter_mut() {
        let Some(shown) = region.shown.filter(|shown| shown.file == wanted.file) else {
            continue;
        };
        let shown_end = shown.pgoff.saturating_add(region.pages);
        if wanted.pgoff >= shown_end || end <= shown.pgoff {
            continue;
        }
        if wanted.pgoff < shown.pgoff || end > shown_end {
            return Err(MapError::Sharing);
        }
        region.users += 1;
        return Ok(Some((*start, start.offset(wanted.pgoff - shown.pgoff))));
    }
    Ok(None)
}

/// One flat memory. All address spaces on it see the same bytes at the same address.
pub struct FlatMemory<H: Host> {
    machine: Arc<Machine<H>>,
    base: VirtAddr,
    regions: Mutex<H::RawMutex, BTreeMap<Pfn, Region>>,
    /// How often a page was given back as a pin, though a pin is a plain reference (row N-11).
    overdrawn: Mutex<H::RawMutex, BTreeMap<Pfn, u32>>,
}

impl<H: Host> FlatMemory<H> {
    /// The memory of `machine`, with frame 0 at `base`.
    /// # Errors
    /// [`MapError::Invalid`]: `base` is not page-aligned, or the memory would pass the last
    /// address.
    pub fn new(machine: &Arc<Machine<H>>, base: VirtAddr) -> Result<Arc<Self>, MapError> {
        let bytes = machine.frames().len().checked_mul(PAGE_SIZE).ok_or(MapError::Invalid)?;
        if base.page_offset() != 0 || base.checked_add(bytes).is_none() {
            return Err(MapError::Invalid);
        }
        let (regions, overdrawn) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeMap::new()));
        Ok(Arc::new(Self { machine: Arc::clone(machine), base, regions, overdrawn }))
    }
    /// The machine.
    #[inline]
    pub fn machine(&self) -> &Arc<Machine<H>> {
        &self.machine
    }
    /// The address of frame 0.
    #[inline]
    pub fn base(&self) -> VirtAddr {
        self.base
    }
    /// The frame at `addr` (`virt_to_page`); `None` outside the memory, and for frame 0.
    #[inline]
    pub fn frame_at(&self, addr: VirtAddr) -> Option<Pfn> {
        let pfn = Pfn::new(addr.get().checked_sub(self.base.get())? >> PAGE_SHIFT);
        (pfn.get() != 0 && self.machine.frames().pfn_valid(pfn)).then_some(pfn)
    }
    /// The count that Linux shows for the folio of `pfn`. It goes wrong, and below zero, where
    /// pages are given back as pins (row N-11); the engine's own counts do not.
    pub fn linux_refcount(&self, pfn: Pfn) -> i64 {
        let head = self.machine.frames().head(pfn);
        let taken = self.overdrawn.lock().get(&head).copied().unwrap_or(0);
        let bias = i64::from(GUP_PIN_COUNTING_BIAS);
        i64::from(self.machine.frames().linux_refcount(head)) - i64::from(taken) * bias
    }
    /// Takes what a pin would be from Linux's count of the folio of `pfn`. The reference that was
    /// to be given back stays for ever: with that count, the kernel does not free the page either.
    pub(crate) fn overdraw(&self, pfn: Pfn) {
        let head = self.machine.frames().head(pfn);
        let mut overdrawn = self.overdrawn.lock();
        let times = overdrawn.entry(head).or_insert(0);
        *times = times.saturating_add(1);
    }
    /// The address of frame `pfn`, which exists.
    #[inline]
    pub fn address_of(&self, pfn: Pfn) -> VirtAddr {
        self.base.wrapping_add(pfn.get() << PAGE_SHIFT)
    }
    /// All regions, lowest first.
    pub fn regions(&self) -> Vec<RegionInfo> {
        let info = |(start, region): (&Pfn, &Region)| RegionInfo {
            range: self.range(*start, region.pages),
            users: region.users,
        };
        self.regions.lock().iter().map(info).collect()
    }
    pub(super) fn range(&self, start: Pfn, pages: u64) -> VirtRange {
        VirtRange::new(self.address_of(start), self.address_of(start.offset(pages)))
    }

    /// Reads bytes at `addr`, as any program on such a machine may; how many were inside the
    /// memory.
    pub fn read(&self, addr: VirtAddr, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some((pfn, offset, part)) = self.span(addr, done, into.len()) {
            self.machine.memory().read(pfn, offset, &mut into[done..done + part]);
            done += part;
        }
        done
    }
    /// Writes bytes at `addr`, likewise.
    pub fn write(&self, addr: VirtAddr, from: &[u8]) -> usize {
        let mut done = 0;
        while let Some((pfn, offset, part)) = self.span(addr, done, from.len()) {
            self.machine.memory().write(pfn, offset, &from[done..done + part]);
            done += part;
        }
        done
    }
    /// The part of one frame that comes `done` bytes after `addr`, `len` bytes in all.
    fn span(&self, addr: VirtAddr, done: usize, len: usize) -> Option<(Pfn, usize, usize)> {
        let at = addr.checked_add(done as u64).filter(|_| done < len)?;
        let offset = at.page_offset() as usize;
        Some((self.frame_at(at)?, offset, (PAGE_SIZE as usize - offset).min(len - done)))
    }

    /// A new region of `pages` zeroed pages with one user, which nobody can join yet; its first
    /// frame.
    pub(super) fn new_region(&self, pages: u64) -> Result<Pfn, MapError> {
        let order = u8::try_from(pages.checked_next_power_of_two().unwrap_or(0).trailing_zeros());
        let order = order.map_err(|_| MapError::OutOfMemory)?;
        let (host, frames) = (self.machine.host(), self.machine.frames());
        let start = frames
            .alloc(host, order, Kind::Anon, AllocFlags::empty())
            .map_err(|_| MapError::OutOfMemory)?;
        if order > 0 {
            // Nobody else knows the folio, so its one reference can be frozen.
            let frozen = frames.freeze(start, 1);
            let end = start.offset(pages);
            let split = frozen && frames.split(start, |page, _| u32::from(page < end));
            debug_assert!(split, "a new folio is split");
        }
        host.memory().zero(start, pages);
        self.regions.lock().insert(start, Region { pages, users: 1, shown: None });
        Ok(start)
    }
    /// Joins a shared region that shows `pages` pages of the same file part: where they are in
    /// memory.
    /// # Errors
    /// [`MapError::Sharing`]: a region shows some of the pages, but not all.
    pub(super) fn join_region(&self, wanted: Shown, pages: u64) -> Result<Joined, MapError> {
        join(&mut self.regions.lock(), wanted, pages)
    }
    /// Lets others join the region at `start`, whose pages have the file's bytes by now; or joins
    /// one that somebody else showed meanwhile, and leaves `start` to the caller.
    /// # Errors
    /// As [`Self::join_region`].
    pub(super) fn show_region(
        &self,
        start: Pfn,
        shown: Shown,
        pages: u64,
    ) -> Result<Joined, MapError> {
        let mut regions = self.regions.lock();
        let joined = join(&mut regions, shown, pages)?;
        if joined.is_none()
            && let Some(region) = regions.get_mut(&start)
        {
            region.shown = Some(shown);
        }
        Ok(joined)
    }
    /// One user less; the last one frees the pages, of which those that somebody has a reference to
    /// stay.
    pub(super) fn leave_region(&self, start: Pfn) {
        let mut regions = self.regions.lock();
        let Some(region) = regions.get_mut(&start) else { return };
        region.users -= 1;
        if region.users == 0 {
            let pages = region.pages;
            regions.remove(&start);
            drop(regions);
            self.free(start, pages);
        }
    }
    /// Cuts `pages` pages, `skip` pages in, out of a region with one user; what is left stays as
    /// one or two regions, with one user each.
    pub(super) fn cut_region(&self, start: Pfn, skip: u64, pages: u64) {
        let mut regions = self.regions.lock();
        let Some(region) = regions.remove(&start) else { return };
        let after = region.pages.saturating_sub(skip).saturating_sub(pages);
        let hole = start.offset(skip);
        if skip > 0 {
            regions.insert(start, Region { pages: skip, users: 1, shown: None });
        }
        if after > 0 {
            regions.insert(hole.offset(pages), Region { pages: after, users: 1, shown: None });
        }
        drop(regions);
        self.free(hole, pages);
    }
    fn free(&self, start: Pfn, pages: u64) {
        for n in 0..pages {
            self.machine.put_page(start.offset(n));
        }
    }
}
