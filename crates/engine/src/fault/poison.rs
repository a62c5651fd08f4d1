//! Memory failure: a page whose frame went bad leaves its entries, and never comes back.
//!
//! Whoever has a reference keeps the bad page (row F-44). Absent: who finds out.
//! Linux: mm/memory-failure.c (6.18).

use super::page::{normal_page, remove_mapping};
use super::split::split_page;
use crate::addr::{PAGE_SIZE, VirtAddr, VirtRange};
use crate::frame::FrameFlags;
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Entry, SwapEntry};
use crate::rule::f;

/// The frame behind `addr` failed: marks it, and replaces this entry by a poisoned one. Answers
/// whether a page was mapped there.
///
/// The mmap lock is held, no table's. Other entries that map the page keep it.
pub fn memory_failure<H: Host>(mm: &Mm<H>, addr: VirtAddr) -> bool {
    let tables = mm.tables();
    let addr = addr.page_floor();
    let mut place = tables.walk(addr).place;
    if place.level != 0 {
        if let Some(found) = super::hugetlb::memory_failure(mm, addr, place) {
            return found;
        }
        // Of a huge page, only the part that failed is lost.
        if split_page(mm, addr).is_err() {
            return false;
        }
        place = tables.walk(addr).place;
    }
    if place.level != 0 {
        return false;
    }
    let _guard = tables.lock(place.table);
    let entry = tables.load(place);
    let page = Some(entry).filter(|entry| entry.is_present()).and_then(normal_page);
    let Some(page) = page else { return false };
    mm.machine().host().decided(f::F_44, addr);
    mm.machine().frames().set(page, FrameFlags::HWPOISON);
    tables.store(place, Entry::NONE);
    let range = VirtRange::new(addr, addr.saturating_add(PAGE_SIZE));
    mm.machine().host().flush_tlb(mm.root(), range);
    tables.store(place, Entry::swap(SwapEntry::HwPoison(page)));
    remove_mapping(mm, page);
    true
}
