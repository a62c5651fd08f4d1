//! Giving pins back by hand, and pinning again what is pinned: what C drivers do.
//!
//! Rust programs use [`super::Pins`], whose drop does this. Neighbours of one folio are given back
//! together. Absent: runs of frames that are named by a first page and a length.
//! Linux: mm/gup.c `unpin_user_pages`, `unpin_user_pages_dirty_lock`, `folio_add_pin` (rows C-85,
//! C-90, C-91).

use super::page::Page;
use crate::addr::{Pfn, VirtAddr};
use crate::frame::{CountError, FrameFlags};
use crate::host::Host;
use crate::mm::Machine;
use crate::rule::c;

/// What whoever held the pins did to the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Wrote to them: they are marked dirty before they are given back.
    Yes,
    /// Only read them.
    No,
}

/// Gives one pin back.
/// # Linux
/// `unpin_user_page()`.
pub fn unpin_user_page<H: Host>(machine: &Machine<H>, page: Page) {
    machine.unpin_pages(page.pfn(), 1);
}

/// Gives the pins of `pages` back, and empties the slots; empty slots are passed over (row C-90).
/// # Linux
/// `unpin_user_pages()`.
pub fn unpin_user_pages<H: Host>(machine: &Machine<H>, pages: &mut [Option<Page>]) {
    let mut run = Run { machine, head: Pfn::new(0), count: 0 };
    for page in pages.iter_mut().filter_map(Option::take) {
        run.add(page.pfn());
    }
    run.flush();
}

/// As [`unpin_user_pages`], for folios that are pinned once each.
/// # Linux
/// `unpin_folios()`.
pub fn unpin_folios<H: Host>(machine: &Machine<H>, folios: &mut [Option<Page>]) {
    unpin_user_pages(machine, folios);
}

/// As [`unpin_user_pages`]; pages that were written to are marked dirty first, each folio under its
/// lock, so that truncation cannot pass between (row C-91). May wait for that lock.
///
/// The kernel does not look for empty slots here; this does.
/// # Linux
/// `unpin_user_pages_dirty_lock()`.
pub fn unpin_user_pages_dirty_lock<H: Host>(
    machine: &Machine<H>,
    pages: &mut [Option<Page>],
    written: Written,
) {
    let frames = machine.frames();
    if written == Written::Yes {
        for page in pages.iter().flatten() {
            let clean = !frames.has(page.pfn(), FrameFlags::DIRTY);
            if machine.host().rule(c::C_91, clean, VirtAddr::new(0)) {
                let _locked = frames.lock_folio(page.pfn());
                frames.set(page.pfn(), FrameFlags::DIRTY);
            }
        }
    }
    unpin_user_pages(machine, pages);
}

/// Pins the folio of `page`, which the caller has pinned, `count` times more.
///
/// It warns if the folio is not pinned (row C-85), and does nothing for the zero page. These pins
/// are not counted as acquired (row C-92), though they are as released.
/// # Errors
/// [`CountError`]: nothing was pinned.
/// # Linux
/// `folio_add_pins()`.
pub fn folio_add_pins<H: Host>(
    machine: &Machine<H>,
    page: &Page,
    count: u32,
) -> Result<(), CountError> {
    let head = machine.frames().head(page.pfn());
    if head == machine.zero_page() {
        return Ok(());
    }
    if machine.host().rule(c::C_85, !machine.maybe_pinned(head), VirtAddr::new(0)) {
        machine.host().warn(c::C_85);
    }
    machine.frames().pin(head, count)
}

/// [`folio_add_pins`] for one more.
/// # Errors
/// As there.
/// # Linux
/// `folio_add_pin()`.
pub fn folio_add_pin<H: Host>(machine: &Machine<H>, page: &Page) -> Result<(), CountError> {
    folio_add_pins(machine, page, 1)
}

/// Pins of one folio that are given back together.
struct Run<'m, H: Host> {
    machine: &'m Machine<H>,
    head: Pfn,
    count: u32,
}

impl<H: Host> Run<'_, H> {
    fn add(&mut self, page: Pfn) {
        let head = self.machine.frames().head(page);
        if head != self.head {
            self.flush();
            self.head = head;
        }
        self.count += 1;
    }
    fn flush(&mut self) {
        if self.count > 0 {
            self.machine.unpin_pages(self.head, self.count);
        }
        self.count = 0;
    }
}
