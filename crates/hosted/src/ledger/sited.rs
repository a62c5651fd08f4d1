//! The calls that a driver makes, from one site: the engine's, and entries in the ledger.

use super::book::{Ledger, Place};
use super::report::Held;
use super::site::Site;
use gup::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use gup::errno::Errno;
use gup::flags::Foll;
use gup::gup::Page;
use gup::gup::fast::{FastEntry, fast};
use gup::host::Host;
use gup::mm::{Machine, Mm};
use gup::task::Task;

/// A ledger, and the site on whose behalf it is written.
#[derive(Clone, Copy, Debug)]
#[must_use = "it is the beginning of a call"]
pub struct Sited<'l> {
    pub(super) ledger: &'l Ledger,
    pub(super) site: Site,
}

impl Sited<'_> {
    /// Gets `count` pages by reference; fewer if a later one is refused. As
    /// [`fast`](gup::gup::fast::fast): the mmap lock must not be held.
    /// # Errors
    /// The errno, if not even the first page could be had.
    pub fn get_user_pages<H: Host>(
        self,
        task: &Task,
        mm: &Mm<H>,
        start: VirtAddr,
        count: usize,
        foll: Foll,
    ) -> Result<Vec<Page>, Errno> {
        self.take(FastEntry::Get, task, mm, start, count, foll)
    }
    /// Pins `count` pages; otherwise as [`Sited::get_user_pages`].
    /// # Errors
    /// Likewise.
    pub fn pin_user_pages<H: Host>(
        self,
        task: &Task,
        mm: &Mm<H>,
        start: VirtAddr,
        count: usize,
        foll: Foll,
    ) -> Result<Vec<Page>, Errno> {
        self.take(FastEntry::Pin, task, mm, start, count, foll)
    }
    fn take<H: Host>(
        self,
        entry: FastEntry,
        task: &Task,
        mm: &Mm<H>,
        start: VirtAddr,
        count: usize,
        foll: Foll,
    ) -> Result<Vec<Page>, Errno> {
        let mut pages = Vec::new();
        pages.resize_with(count, || None);
        let outcome = fast(entry, task, mm, start, count as u64, foll, &mut pages);
        if let Some(errno) = outcome.errno() {
            return Err(errno);
        }
        let pages: Vec<Page> = pages.into_iter().flatten().collect();
        let how = match entry {
            FastEntry::Get | FastEntry::GetOnly => Held::Get,
            FastEntry::Pin => Held::Pin,
        };
        self.took(how, mm, start, pages.iter().map(Page::pfn));
        Ok(pages)
    }
    /// Gives a page back with `put_page`.
    pub fn put_page<H: Host>(self, machine: &Machine<H>, page: Page) {
        self.give_back(Held::Get, machine, page.pfn());
    }
    /// Gives a page back with `unpin_user_page`.
    pub fn unpin_user_page<H: Host>(self, machine: &Machine<H>, page: Page) {
        self.give_back(Held::Pin, machine, page.pfn());
    }
    fn give_back<H: Host>(self, as_if: Held, machine: &Machine<H>, pfn: Pfn) {
        match self.gave_back(as_if, pfn) {
            Some(Held::Get) => machine.put_page(pfn),
            Some(Held::Pin) => machine.unpin_pages(pfn, 1),
            // The engine's counts belong to others.
            None => {}
        }
    }

    /// Enters pages that were taken otherwise: `frames`, from the page of `start` on.
    pub fn took<H: Host>(
        self,
        how: Held,
        mm: &Mm<H>,
        start: VirtAddr,
        frames: impl IntoIterator<Item = Pfn>,
    ) {
        for (place, pfn) in places(mm, start).zip(frames) {
            self.ledger.enter(how, place, pfn, self.site);
        }
    }
    /// Strikes one page out that is given back otherwise: how it was taken, if it was.
    pub fn gave_back(self, as_if: Held, pfn: Pfn) -> Option<Held> {
        self.ledger.strike(as_if, pfn, self.site)
    }
    /// Uses a remembered translation: `frames`, from the page of `start` on. Whether all of it is
    /// still true: held, not unmapped since, and no other frame stands there.
    pub fn uses<H: Host>(
        self,
        mm: &Mm<H>,
        start: VirtAddr,
        frames: impl IntoIterator<Item = Pfn>,
    ) -> bool {
        let mut good = true;
        for (place, pfn) in places(mm, start).zip(frames) {
            let now = mm.tables().walk(place.addr).frame(place.addr);
            good &= self.ledger.look(place, pfn, now, self.site);
        }
        good
    }
}

/// The pages of `mm` from that of `start` on.
fn places<H: Host>(mm: &Mm<H>, start: VirtAddr) -> impl Iterator<Item = Place> {
    let (root, start) = (mm.root(), start.page_floor());
    (0..).map(move |n: u64| Place { root, addr: start.wrapping_add(n << PAGE_SHIFT) })
}
