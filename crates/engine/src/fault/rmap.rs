//! From a page to the entries that map it: the reverse map, by search.
//!
//! No list of mappings is kept. A page knows its place in its owner (a file's page, or an
//! anonymous page of a linear range of areas), so in each area there is one address where it can
//! be mapped, and its mapcount says when all were found. Invariant: what is found stays mapped at
//! most there while the mmap locks of the address spaces are held. Absent: folios whose pages lie
//! in another order than their indexes, which there are none of.
//! Linux: `rmap_walk`, `vma_address` (mm/rmap.c, 6.18).

use super::page::normal_page;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use crate::file::File;
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Entry, Place, level_pages, level_shift};
use crate::vma::{Map, Vma};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// An address space whose mmap lock is held.
pub(super) struct Held<'m, H: Host> {
    pub(super) mm: &'m Mm<H>,
    pub(super) map: &'m Map<H>,
}

/// One entry that maps a folio, or a page of it.
pub(super) struct Mapping<'m, H: Host> {
    pub(super) mm: &'m Mm<H>,
    /// The first address that the entry covers.
    pub(super) addr: VirtAddr,
    pub(super) place: Place,
    /// What it was when it was last looked at.
    pub(super) entry: Entry<H::Format>,
    /// The first page that it maps.
    pub(super) page: Pfn,
}

/// The entries of `spaces` that map the folio `head` or pages of it; `None` if others may exist.
pub(super) fn mappings<'m, H: Host>(
    spaces: &[Held<'m, H>],
    head: Pfn,
) -> Option<Vec<Mapping<'m, H>>> {
    let mut found = Vec::new();
    let frames = spaces.first().map(|space| space.mm.machine().frames())?;
    let (index, pages) = (frames.index_of(head), frames.folio_frames(head));
    for space in spaces {
        for vma in space.map.iter() {
            if let Some((addr, skipped)) = place_of(vma, index, pages) {
                let range = VirtRange::new(addr, vma.end());
                in_area(space.mm, range, head.offset(skipped), pages - skipped, &mut found);
            }
        }
    }
    (found.len() as u64 == u64::from(frames.folio_mapcount(head))).then_some(found)
}

/// The first address at which `vma` can map one of `pages` pages whose indexes begin with `index`,
/// known modulo 2^32, and how many of them lie below the area.
fn place_of<H: Host>(vma: &Vma<H>, index: u64, pages: u64) -> Option<(VirtAddr, u64)> {
    const INDEXES: u64 = 1 << u32::BITS;
    let above = index.wrapping_sub(vma.pgoff()) % INDEXES;
    if above < vma.range().pages() {
        return Some((vma.start().saturating_add(above << PAGE_SHIFT), 0));
    }
    let below = INDEXES - above;
    (below < pages).then_some((vma.start(), below))
}

/// Adds the entries of `range`, one area's, that map the pages from `first` on in order.
fn in_area<'m, H: Host>(
    mm: &'m Mm<H>,
    range: VirtRange,
    first: Pfn,
    pages: u64,
    found: &mut Vec<Mapping<'m, H>>,
) {
    let mut n = 0;
    while n < pages.min(range.pages()) {
        let addr = range.start.saturating_add(n << PAGE_SHIFT);
        let walked = mm.tables().walk(addr);
        let (level, entry) = (walked.place.level, walked.entry);
        let page = walked.frame(addr).filter(|_| normal_page(entry).is_some());
        if page == Some(first.offset(n)) {
            let (addr, page) = (addr.align_down(level_shift(level)), entry.pfn());
            found.push(Mapping { mm, addr, place: walked.place, entry, page });
        }
        n += level_pages(level) - addr.page_number() % level_pages(level);
    }
}

/// The file with this number, if an area of `spaces` maps it.
pub(super) fn file_of<H: Host>(spaces: &[Held<'_, H>], id: u32) -> Option<Arc<File<H>>> {
    let areas = spaces.iter().flat_map(|space| space.map.iter());
    areas.filter_map(|vma| vma.backing.file()).find(|file| file.id() == id).cloned()
}
