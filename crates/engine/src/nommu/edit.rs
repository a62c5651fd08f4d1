//! Edits of a map: `mmap`, `munmap`, and a driver that lays an area over memory of its own.
//!
//! A mapping is memory: it is allocated, zeroed and, for a file, read at once. Nothing moves later,
//! so there is no `MAP_FIXED`, no hint, no `mprotect`. An anonymous area can be unmapped in part, a
//! file's only whole.
//! Linux: mm/nommu.c `do_mmap`, `do_munmap`, `split_vma`, `shrink_vma` (v4.4).

use super::area::Area;
use super::error::MapError;
use super::flat::Shown;
use super::lock::NommuWrite;
use super::space::NommuMm;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::file::File;
use crate::flags::{MapFlags, Prot, VmFlags};
use crate::host::{Host, Memory, ReadMode, StoreRead};

/// What a mapping shows.
pub enum Source<'a, H: Host> {
    /// Zeroes.
    Anonymous,
    /// A file, from page `pgoff` on: a copy of it if private, else memory that all its shared
    /// mappings share.
    File {
        /// The file.
        file: &'a File<H>,
        /// Its first page shown.
        pgoff: u64,
    },
}

/// What is to be mapped.
pub struct MapRequest<'a, H: Host> {
    /// Bytes; rounded up to pages.
    pub len: u64,
    /// Permissions.
    pub prot: Prot,
    /// SHARED or PRIVATE, exactly one of them. No FIXED.
    pub flags: MapFlags,
    /// What it shows.
    pub source: Source<'a, H>,
}

/// The permission bits of a new area (`determine_vm_flags`).
fn area_flags<H: Host>(request: &MapRequest<'_, H>) -> VmFlags {
    let bits =
        [(Prot::READ, VmFlags::READ), (Prot::WRITE, VmFlags::WRITE), (Prot::EXEC, VmFlags::EXEC)];
    let granted = bits.iter().filter(|(prot, _)| request.prot.contains(*prot));
    let may = VmFlags::MAYREAD.union(VmFlags::MAYWRITE).union(VmFlags::MAYEXEC);
    let mut flags = granted.fold(may, |flags, (_, bit)| flags | *bit);
    let shared = request.flags.contains(MapFlags::SHARED);
    let of_file = matches!(request.source, Source::File { .. });
    if shared || of_file && !request.prot.contains(Prot::WRITE) {
        flags |= VmFlags::MAYSHARE;
    }
    if shared {
        flags |= VmFlags::SHARED;
    }
    flags
}

impl<H: Host> NommuWrite<'_, H> {
    /// Maps memory; its first address, which the memory decides.
    /// # Errors
    /// [`MapError`]; nothing is mapped.
    /// # Linux
    /// mm/nommu.c `do_mmap` (v4.4).
    pub fn mmap(&mut self, request: &MapRequest<'_, H>) -> Result<VirtAddr, MapError> {
        let kinds = MapFlags::SHARED.union(MapFlags::PRIVATE);
        let kind = request.flags.intersection(kinds);
        let fixed = MapFlags::FIXED.union(MapFlags::FIXED_NOREPLACE);
        if request.len == 0 || kind.is_empty() || kind == kinds || request.flags.intersects(fixed) {
            return Err(MapError::Invalid);
        }
        let bytes = request.len.checked_next_multiple_of(PAGE_SIZE).ok_or(MapError::OutOfMemory)?;
        if self.len() >= self.mm().flat().machine().sysctl.max_map_count {
            return Err(MapError::OutOfMemory);
        }
        let pages = bytes >> PAGE_SHIFT;
        let (region, first) = self.place(request, pages)?;
        let range = self.mm().flat().range(first, pages);
        let of_file = matches!(request.source, Source::File { .. });
        let id = self.new_id();
        let flags = area_flags(request);
        self.insert(Area { id, range, flags, region: Some(region), of_file });
        Ok(range.start)
    }
    /// The region and the first frame of a new mapping.
    fn place(&self, request: &MapRequest<'_, H>, pages: u64) -> Result<(Pfn, Pfn), MapError> {
        let flat = self.mm().flat();
        let Source::File { file, pgoff } = &request.source else {
            return flat.new_region(pages).map(|start| (start, start));
        };
        let shared = request.flags.contains(MapFlags::SHARED);
        let shown = shared.then_some(Shown { file: file.id(), pgoff: *pgoff });
        if let Some(shown) = shown
            && let Some(joined) = flat.join_region(shown, pages)?
        {
            return self.joined(joined, pages);
        }
        let start = flat.new_region(pages)?;
        let filled = fill(self.mm(), start, pages, file, *pgoff);
        let shows = |shown| flat.show_region(start, shown, pages);
        match filled.and_then(|()| shown.map_or(Ok(None), shows)) {
            Ok(None) => Ok((start, start)),
            Ok(Some(joined)) => {
                flat.leave_region(start);
                self.joined(joined, pages)
            }
            Err(error) => {
                flat.leave_region(start);
                Err(error)
            }
        }
    }
    /// A region of somebody else's, unless this address space shows these pages already.
    fn joined(&self, (region, first): (Pfn, Pfn), pages: u64) -> Result<(Pfn, Pfn), MapError> {
        let flat = self.mm().flat();
        if self.overlaps(flat.range(first, pages)) {
            flat.leave_region(region);
            return Err(MapError::Sharing);
        }
        Ok((region, first))
    }

    /// Unmaps `len` bytes from `start` on: a whole area, or a part of an anonymous one.
    /// # Errors
    /// [`MapError::Invalid`]: no area contains the range, or it is a part of a file's area, or it
    /// is not page-aligned. [`MapError::OutOfMemory`]: a hole would make one area too many.
    /// # Linux
    /// mm/nommu.c `do_munmap` (v4.4).
    pub fn munmap(&mut self, start: VirtAddr, len: u64) -> Result<(), MapError> {
        let bytes = len.checked_next_multiple_of(PAGE_SIZE).filter(|bytes| *bytes != 0);
        let range = bytes.and_then(|bytes| VirtRange::from_len(start, bytes));
        let range =
            range.filter(|range| range.start.page_offset() == 0).ok_or(MapError::Invalid)?;
        let area = self.find(start).cloned().ok_or(MapError::Invalid)?;
        if range == area.range {
            self.remove(area.start());
            if let Some(region) = area.region {
                self.mm().flat().leave_region(region);
            }
            return Ok(());
        }
        let inside = area.range.intersect(range) == range;
        match area.region {
            Some(region) if inside && !area.of_file => self.cut(&area, region, range),
            Some(_) | None => Err(MapError::Invalid),
        }
    }
    /// Cuts `hole` out of an anonymous area.
    fn cut(&mut self, area: &Area, region: Pfn, hole: VirtRange) -> Result<(), MapError> {
        let before = VirtRange::new(area.start(), hole.start);
        let after = VirtRange::new(hole.end, area.end());
        let flat = self.mm().flat();
        let two = !before.is_empty() && !after.is_empty();
        if two && self.len() >= flat.machine().sysctl.max_map_count {
            return Err(MapError::OutOfMemory);
        }
        flat.cut_region(region, before.pages(), hole.pages());
        self.remove(area.start());
        if !before.is_empty() {
            self.insert(Area { range: before, ..area.clone() });
        }
        if !after.is_empty() {
            let id = if two { self.new_id() } else { area.id };
            let region = Some(region.offset(before.pages() + hole.pages()));
            self.insert(Area { id, range: after, region, ..area.clone() });
        }
        Ok(())
    }

    /// Lays an area over memory that a driver owns: device registers, a frame buffer, or frames it
    /// allocated. Nothing is allocated, and unmapping gives nothing back. `range` may lie outside
    /// the flat memory.
    /// # Errors
    /// [`MapError::Invalid`]: the range is empty, not page-aligned, or overlaps an area.
    /// # Linux
    /// mm/nommu.c `do_mmap` with `NOMMU_MAP_DIRECT`; the driver's `mmap` may change `vm_flags`.
    pub fn map_driver(&mut self, range: VirtRange, flags: VmFlags) -> Result<(), MapError> {
        let aligned = range.start.page_offset() == 0 && range.end.page_offset() == 0;
        if range.is_empty() || !aligned || self.overlaps(range) {
            return Err(MapError::Invalid);
        }
        let id = self.new_id();
        self.insert(Area { id, range, flags, region: None, of_file: true });
        Ok(())
    }
}

/// Reads `pages` pages of `file` into frames from `start` on; what lies past the file's end stays
/// zero.
fn fill<H: Host>(
    mm: &NommuMm<H>,
    start: Pfn,
    pages: u64,
    file: &File<H>,
    pgoff: u64,
) -> Result<(), MapError> {
    let Some(store) = file.store() else { return Ok(()) };
    let mut bytes = [0; PAGE_SIZE as usize];
    for n in 0..pages {
        let index = pgoff.checked_add(n).ok_or(MapError::Invalid)?;
        let left = file.size().saturating_sub(index.saturating_mul(PAGE_SIZE)).min(PAGE_SIZE);
        if left == 0 {
            break;
        }
        match store.read_page(index, ReadMode::Block, &mut bytes) {
            StoreRead::Ready => {}
            StoreRead::NotYet(_) | StoreRead::Failed => return Err(MapError::Io),
        }
        mm.host().memory().write(start.offset(n), 0, &bytes[..left as usize]);
    }
    Ok(())
}
