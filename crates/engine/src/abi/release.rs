//! What the caller owes for each page: dirty it if it was written, then give it back (row W-05).

use crate::addr::VirtAddr;
use crate::frame::FrameFlags;
use crate::gup::Page;
use crate::host::Host;
use crate::mm::Machine;
use crate::rule::w;

/// Gives one reference back; the page is freed if that was the last. Takes no lock, does not sleep.
/// # Linux
/// include/linux/mm.h `put_page`.
pub fn put_page<H: Host>(machine: &Machine<H>, page: Page) {
    machine.host().decided(w::W_05, VirtAddr::new(0));
    machine.put_page(page.pfn());
}

/// Marks the page's folio dirty; whether it was not dirty before. For callers that exclude
/// truncation themselves.
/// # Linux
/// mm/page-writeback.c `set_page_dirty`.
pub fn set_page_dirty<H: Host>(machine: &Machine<H>, page: &Page) -> bool {
    !machine.frames().test_and_set(page.pfn(), FrameFlags::DIRTY)
}

/// Marks the page's folio dirty under its lock, so that truncation cannot pass between (row F-52).
/// May wait for the folio's lock.
/// # Linux
/// mm/page-writeback.c `set_page_dirty_lock`.
pub fn set_page_dirty_lock<H: Host>(machine: &Machine<H>, page: &Page) -> bool {
    let _locked = machine.frames().lock_folio(page.pfn());
    set_page_dirty(machine, page)
}
