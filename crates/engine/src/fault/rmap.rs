//! From a page to the entries that map it: the reverse map, by search.
//!
//! No list of mappings is kept. A page knows its place in its owner (a file's page, or an
//! anonymous page of a linear range of areas), so in each area there is one address where it can
//! be mapped, and its mapcount says when all were found. Invariant: what is found stays mapped at
//! most there while the mmap locks of the address spaces are held. Absent: huge entries.
//! Linux: `rmap_walk`, `vma_address` (mm/rmap.c, 6.18).

use super::page::normal_page;
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::file::File;
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Entry, Place};
use crate::vma::{Map, Vma};
use alloc::sync::Arc;
use alloc::vec::Vec;

/// An address space whose mmap lock is held.
pub(super) struct Held<'m, H: Host> {
    pub(super) mm: &'m Mm<H>,
    pub(super) map: &'m Map<H>,
}

/// One entry that maps a page.
pub(super) struct Mapping<'m, H: Host> {
    pub(super) mm: &'m Mm<H>,
    pub(super) addr: VirtAddr,
    pub(super) place: Place,
    /// What it was when it was last looked at.
    pub(super) entry: Entry<H::Format>,
}

/// The entries of `spaces` that map the page of a small folio; `None` if others may exist.
pub(super) fn mappings<'m, H: Host>(
    spaces: &[Held<'m, H>],
    page: Pfn,
) -> Option<Vec<Mapping<'m, H>>> {
    let mut found = Vec::new();
    let frames = spaces.first().map(|space| space.mm.machine().frames())?;
    let index = frames.index_of(page);
    for space in spaces {
        for vma in space.map.iter() {
            found.extend(place_of(vma, index).and_then(|addr| mapped_at(space.mm, addr, page)));
        }
    }
    (found.len() as u64 == u64::from(frames.folio_mapcount(page))).then_some(found)
}

/// The address at which `vma` can map the page with this index, known modulo 2^32.
fn place_of<H: Host>(vma: &Vma<H>, index: u64) -> Option<VirtAddr> {
    let pages = index.wrapping_sub(vma.pgoff()) & u64::from(u32::MAX);
    (pages < vma.range().pages()).then(|| vma.start().saturating_add(pages << PAGE_SHIFT))
}

fn mapped_at<H: Host>(mm: &Mm<H>, addr: VirtAddr, page: Pfn) -> Option<Mapping<'_, H>> {
    let walked = mm.tables().walk(addr);
    let entry = walked.entry;
    let maps = walked.place.level == 0 && entry.is_present() && normal_page(entry) == Some(page);
    maps.then_some(Mapping { mm, addr, place: walked.place, entry })
}

/// The file with this number, if an area of `spaces` maps it.
pub(super) fn file_of<H: Host>(spaces: &[Held<'_, H>], id: u32) -> Option<Arc<File<H>>> {
    let areas = spaces.iter().flat_map(|space| space.map.iter());
    areas.filter_map(|vma| vma.backing.file()).find(|file| file.id() == id).cloned()
}
