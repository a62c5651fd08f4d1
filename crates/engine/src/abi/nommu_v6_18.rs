//! The kernel's signatures without an MMU, 6.18: one helper that takes the lock if it is not held.
//!
//! `vmas`, `tsk` and `nonblocking` are gone. A pin is one plain reference, as a get is, so every
//! page should be given back with [`super::put_page`]. The kernel's callers cannot know that and
//! use [`unpin_user_page`], which takes 1024: its count goes wrong, and the page is lost. That is
//! shown here as it is ([`crate::nommu::FlatMemory::linux_refcount`]); the engine's own counts stay
//! right (I-12), and the typed [`crate::nommu::Pins`] cannot do it. Flag sets are checked as with
//! an MMU (rows C-01 … C-07); of those that pass, `FOLL_WRITE` and `FOLL_FORCE` count.
//! Linux: mm/gup.c of 6.18 for `!CONFIG_MMU`, row N-11.

use super::nommu::locked;
use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::flags::Foll;
use crate::gup::args::{self, WantsPages};
use crate::gup::{Entry, Page};
use crate::host::Host;
use crate::nommu::{Lock, NommuMm, Walked};
use crate::observe::Event;
use crate::rule::{c, n, w};
use crate::task::Task;

/// References pages with the lock that `mm` holds; if it holds none, takes it killably and gives it
/// back.
///
/// Returns the pages counted, fewer than asked if a later one was refused; 0 for `nr_pages` 0,
/// before anything.
/// # Errors
/// -EAGAIN: SIGKILL came while waiting for the lock. -EFAULT as in v4.4. -EINVAL: `pages` is too
/// short, or a get function is given flags that it refuses (a pin function returns 0 then, row
/// C-07).
/// # Linux
/// mm/gup.c `__get_user_pages_locked` for `!CONFIG_MMU`.
fn get_locked<H: Host>(
    entry: Entry,
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Option<&mut [Option<Page>]>,
) -> i64 {
    let (space, at) = (mm.mm(), VirtAddr::new(start));
    let host = space.host();
    host.decided(c::C_102, at);
    let wants = if pages.is_some() { WantsPages::Yes } else { WantsPages::No };
    let Ok(foll) = args::slow(host, at, Foll::from_v6_18(gup_flags), entry.adds(), wants) else {
        host.decided(c::C_07, at);
        return if entry.adds().contains(Foll::PIN) { 0 } else { Errno::EINVAL.negated() };
    };
    if host.rule(n::N_11, nr_pages == 0, at) {
        host.decided(w::W_04, at);
        return 0;
    }
    let walked = match mm.map() {
        Some(map) => locked(space, map, start, nr_pages, foll, pages, None),
        None => match space.read_killable(current) {
            None => {
                host.decided(n::N_11, at);
                return Errno::EAGAIN.negated();
            }
            Some(guard) => locked(space, &guard, start, nr_pages, foll, pages, None),
        },
    };
    walked.map_or(Errno::EINVAL.negated(), Walked::code)
}

/// References up to `nr_pages` pages from the one that contains `start` on. `mm` is held.
/// # Errors
/// -EFAULT as in v4.4; -EINVAL: `pages` is too short, or flags that are refused
/// (rows C-01 … C-06).
/// # Linux
/// mm/gup.c `get_user_pages`.
pub fn get_user_pages<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: Option<&mut [Option<Page>]>,
) -> i64 {
    get_locked(Entry::Get, current, mm, start, nr_pages, gup_flags, pages)
}

/// [`get_user_pages`], taking the lock for the time of the call.
/// # Errors
/// -EAGAIN: SIGKILL came first; others as [`get_user_pages`].
/// # Linux
/// mm/gup.c `get_user_pages_unlocked`.
pub fn get_user_pages_unlocked<H: Host>(
    current: &Task,
    mm: &NommuMm<H>,
    start: u64,
    nr_pages: u64,
    pages: &mut [Option<Page>],
    gup_flags: u32,
) -> i64 {
    let mut lock = Lock::Dropped(mm);
    get_locked(Entry::GetUnlocked, current, &mut lock, start, nr_pages, gup_flags, Some(pages))
}

/// Returns 0, whatever is asked (row N-11): without an MMU nobody else's pages are had this way.
/// # Linux
/// mm/gup.c `get_user_pages_remote` for `!CONFIG_MMU`.
pub fn get_user_pages_remote<H: Host>(
    mm: &mut Lock<'_, H>,
    start: u64,
    _nr_pages: u64,
    _gup_flags: u32,
    _pages: Option<&mut [Option<Page>]>,
    _locked: Option<&mut i32>,
) -> i64 {
    mm.mm().host().decided(n::N_11, VirtAddr::new(start));
    0
}

/// As [`get_user_pages`]: one plain reference a page, not a pin (row N-11). 0 for flags that are
/// refused.
/// # Errors
/// As [`get_user_pages`], but for flags.
/// # Linux
/// mm/gup.c `pin_user_pages`.
pub fn pin_user_pages<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: &mut [Option<Page>],
) -> i64 {
    mm.mm().host().decided(n::N_11, VirtAddr::new(start));
    get_locked(Entry::Pin, current, mm, start, nr_pages, gup_flags, Some(pages))
}

/// As [`pin_user_pages`]. Unlike [`get_user_pages_remote`] it does find pages. With `mm` not held
/// it takes the lock and gives it back.
/// # Errors
/// As [`get_user_pages_unlocked`].
/// # Linux
/// mm/gup.c `pin_user_pages_remote`.
pub fn pin_user_pages_remote<H: Host>(
    current: &Task,
    mm: &mut Lock<'_, H>,
    start: u64,
    nr_pages: u64,
    gup_flags: u32,
    pages: &mut [Option<Page>],
) -> i64 {
    pin_user_pages(current, mm, start, nr_pages, gup_flags, pages)
}

/// As [`pin_user_pages`], taking the lock for the time of the call.
/// # Errors
/// As [`get_user_pages_unlocked`].
/// # Linux
/// mm/gup.c `pin_user_pages_unlocked`.
pub fn pin_user_pages_unlocked<H: Host>(
    current: &Task,
    mm: &NommuMm<H>,
    start: u64,
    nr_pages: u64,
    pages: &mut [Option<Page>],
    gup_flags: u32,
) -> i64 {
    pin_user_pages(current, &mut Lock::Dropped(mm), start, nr_pages, gup_flags, pages)
}

/// Gives a page back as a pin, as code written for machines with an MMU does.
///
/// The pin was one plain reference, and this takes 1024: the count that Linux shows falls below
/// zero and never comes back to it, so the page is never freed. Of the engine's own counts nothing
/// is taken; the page keeps the reference.
/// # Linux
/// mm/gup.c `unpin_user_page`, `gup_put_folio` (row N-11).
pub fn unpin_user_page<H: Host>(mm: &NommuMm<H>, page: Page) {
    let (flat, pfn) = (mm.flat(), page.pfn());
    let is_plain = flat.machine().frames().pins(pfn) == 0;
    if mm.host().rule(n::N_11, is_plain, flat.address_of(pfn)) {
        mm.host().see(Event::Unpinned(1));
        flat.overdraw(pfn);
    } else {
        flat.machine().unpin_pages(pfn, 1);
    }
}

/// As [`unpin_user_page`] for each page that is there.
/// # Linux
/// mm/gup.c `unpin_user_pages`.
pub fn unpin_user_pages<H: Host>(mm: &NommuMm<H>, pages: &mut [Option<Page>]) {
    for page in pages.iter_mut().filter_map(Option::take) {
        unpin_user_page(mm, page);
    }
}
