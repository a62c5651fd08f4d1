//! Large anonymous folios below a huge page: 2 to 256 pages at once, mapped page by page.
//!
//! A fault at an empty entry may fill its neighbours too, if such sizes are switched on
//! ([`crate::mm::Sysctl::thp_orders`]). The largest size is taken whose aligned range lies in the
//! area and is empty. Invariants: each page is exclusive to its entry and counts for itself, with
//! one reference; all entries appear under one lock of their table, or none does. Absent: sizes
//! mapped by one entry ([`super::thp`]), keeping a folio together across swap.
//! Linux: `alloc_anon_folio`, `do_anonymous_page` (mm/memory.c, 6.18).

use super::mlocked;
use super::outcome::Fault;
use super::page::{add_mapping, fresh_flags, leaf_perms};
use super::site::Site;
use crate::addr::{PAGE_SHIFT, PMD_ORDER, Pfn, VirtAddr};
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind, OutOfMemory, Owner};
use crate::host::{Host, Memory};
use crate::pgtable::{Entry, Place};
use crate::rule::f;

/// The smallest such folio: the mapcounts of a folio as a whole need more than two pages.
const ORDER_MIN: u8 = 2;

/// Serves a store to an empty entry with a large folio; `None`: one page is to serve it.
pub(super) fn own_folio<H: Host>(site: &Site<'_, H>) -> Option<Fault> {
    let vma = site.cx.vma;
    let orders = site.machine().sysctl.thp_orders;
    // A userfaultfd is told of each page.
    let never = vma.flags.contains(VmFlags::NOHUGEPAGE) || vma.uffd.is_some();
    if orders == 0 || never {
        return None;
    }
    let mut sizes = (ORDER_MIN..PMD_ORDER).rev().filter(|order| orders & 1 << order != 0);
    let order = sizes.find(|order| Folio::around(site, *order).fits(site))?;
    let folio = Folio::around(site, order);
    let head = folio.allocate(site).ok()?;
    let _guard = site.tables().lock(site.place.table);
    if !folio.is_empty(site) {
        site.put(head);
        return Some(Fault::MINOR);
    }
    site.host().decided(f::F_01, site.addr);
    folio.install(site, head);
    Some(Fault::MINOR)
}

/// A folio's range and its entries.
struct Folio {
    order: u8,
    start: VirtAddr,
    /// The first entry.
    first: Place,
}

impl Folio {
    /// The aligned range around the fault's address.
    fn around<H: Host>(site: &Site<'_, H>, order: u8) -> Self {
        let start = site.addr.align_down(PAGE_SHIFT + u32::from(order));
        let index = site.place.index & !((1usize << order) - 1);
        Self { order, start, first: Place { index, ..site.place } }
    }
    fn pages(&self) -> u64 {
        1 << self.order
    }
    fn entries(&self) -> impl Iterator<Item = Place> {
        let first = self.first;
        (0..1usize << self.order).map(move |n| Place { index: first.index + n, ..first })
    }
    /// It lies in the area, and nothing stands there.
    fn fits<H: Host>(&self, site: &Site<'_, H>) -> bool {
        let end = self.start.checked_add(self.pages() << PAGE_SHIFT);
        let inside = end.is_some_and(|end| end <= site.cx.vma.end());
        self.start >= site.cx.vma.start() && inside && self.is_empty(site)
    }
    fn is_empty<H: Host>(&self, site: &Site<'_, H>) -> bool {
        self.entries().all(|place| site.tables().load(place).is_none())
    }
    /// A zeroed folio with one reference.
    fn allocate<H: Host>(&self, site: &Site<'_, H>) -> Result<Pfn, OutOfMemory> {
        let (machine, frames) = (site.machine(), site.frames());
        let head = frames.alloc(machine.host(), self.order, Kind::Anon, site.user_memory())?;
        machine.memory().zero(head, self.pages());
        let owner = site.cx.vma.anon_vma().map_or(0, |anon| anon.id);
        #[allow(clippy::cast_possible_truncation, reason = "the place in the area, modulo 16 TiB")]
        let index = site.cx.vma.index_of(self.start) as u32;
        frames.set_owner(head, Owner { owner, index });
        frames.set(head, fresh_flags(site.cx.vma));
        Ok(head)
    }
    /// Maps it, one reference for each page. The table's lock is held.
    fn install<H: Host>(&self, site: &Site<'_, H>, head: Pfn) {
        let vma = site.cx.vma;
        let mut perms = leaf_perms(vma);
        perms.write = vma.flags.contains(VmFlags::WRITE);
        perms.dirty = perms.write;
        perms.soft_dirty = perms.write;
        mlocked::got_new(site.cx.mm, vma, head);
        for (n, place) in (0..).zip(self.entries()) {
            let page = head.offset(n);
            // The new folio has one reference already; more of them cannot reach the limit.
            if n > 0 && site.frames().get(head, 1).is_err() {
                return;
            }
            site.frames().set(page, FrameFlags::ANON_EXCLUSIVE);
            add_mapping(site.cx.mm, page);
            site.tables().store(place, Entry::leaf(page, perms, 0));
        }
    }
}
