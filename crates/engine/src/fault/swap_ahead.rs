//! Reading ahead from swap: which neighbours of a swapped-out page come into the swap cache too.
//!
//! The *window* is as wide as reading ahead in this area has been useful: each page that was read
//! ahead and then asked for is a *hit*. Only a page that several entries name is read this way
//! (row M-12: one with a single user goes past the cache, alone).
//! Absent: readahead by slots, for rotating disks.
//! Linux: `mm/swap_state.c`: `swap_vma_readahead`, `swap_vma_ra_win`, `swap_update_readahead`.

use super::site::Site;
use crate::addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use crate::host::Host;
use crate::pgtable::{Decoded, SwapEntry, level_span};
use crate::swap::READ_AHEAD;
use core::sync::atomic::Ordering::Relaxed;

/// Pages of a window at most (`page-cluster` 3).
const WINDOW_MAX: u64 = 8;
/// Hits of an area from which nothing was swapped in yet.
const FIRST_HITS: u64 = 4;
/// Bits of the hits, and of the window, in the area's word below the address.
const BITS: u32 = PAGE_SHIFT / 2;
const MASK: u64 = (1 << BITS) - 1;

/// The last swapped page's address, the window, and the hits since.
#[derive(Clone, Copy)]
struct Past {
    addr: u64,
    window: u64,
    hits: u64,
}

impl Past {
    fn of(word: u64) -> Self {
        let word = if word == 0 { FIRST_HITS } else { word };
        Self { addr: word & !(PAGE_SIZE - 1), window: word >> BITS & MASK, hits: word & MASK }
    }
    fn word(self) -> u64 {
        self.addr | self.window << BITS | self.hits
    }
}

/// Notes that the page was in the swap cache.
pub(super) fn found<H: Host>(site: &Site<'_, H>, page: Pfn) {
    let word = &site.cx.vma.swap_ahead;
    let past = Past::of(word.load(Relaxed));
    let ahead = site.frames().has(page, READ_AHEAD);
    if ahead {
        site.frames().clear(page, READ_AHEAD);
    }
    let hits = (past.hits + u64::from(ahead)).min(MASK);
    word.store(Past { addr: site.addr.get(), hits, ..past }.word(), Relaxed);
}

/// Reads the window around the fault into the swap cache, without the faulting page itself.
pub(super) fn read_around<H: Host>(site: &Site<'_, H>) {
    let Some(window) = window(site) else { return };
    let (swap, tables) = (site.machine().swap(), site.tables());
    let mut addr = window.start;
    while addr < window.end {
        let entry = tables.walk(addr).entry;
        if let Decoded::Swap(SwapEntry::Swap { slot, .. }) = entry.decode(0)
            && addr != site.addr
        {
            swap.read_ahead(site.machine(), slot, site.user_memory());
        }
        addr = addr.saturating_add(PAGE_SIZE);
    }
}

/// The window, if it has more than the faulting page; notes where and how wide it is.
fn window<H: Host>(site: &Site<'_, H>) -> Option<VirtRange> {
    let vma = site.cx.vma;
    let past = Past::of(vma.swap_ahead.load(Relaxed));
    let addr = site.addr.get();
    let pages = width(past, addr);
    vma.swap_ahead.store(Past { addr, window: pages, hits: 0 }.word(), Relaxed);
    if pages == 1 {
        return None;
    }
    let bytes = pages << PAGE_SHIFT;
    let left = if addr == past.addr.wrapping_add(PAGE_SIZE) {
        addr
    } else if past.addr == addr.wrapping_add(PAGE_SIZE) {
        addr.saturating_sub(bytes - PAGE_SIZE)
    } else {
        addr.saturating_sub((pages - 1) / 2 * PAGE_SIZE)
    };
    let table = site.addr.align_down(level_span(1).trailing_zeros());
    let start = VirtAddr::new(left).max(vma.start()).max(table);
    let end = VirtAddr::new(left.saturating_add(bytes));
    let end = end.min(vma.end()).min(table.saturating_add(level_span(1)));
    Some(VirtRange::new(start, end))
}

/// Pages to read, the faulting one included (`__swapin_nr_pages`).
fn width(past: Past, addr: u64) -> u64 {
    let wanted = past.hits + 2;
    let next_to_it = addr.abs_diff(past.addr) == PAGE_SIZE;
    let pages = match wanted {
        2 if next_to_it => 2,
        2 => 1,
        more => more.next_power_of_two().max(4),
    };
    pages.min(WINDOW_MAX).max(past.window / 2)
}
