//! Progress of a pass: where it stands, what it has, with which flags the next page is looked up.
//!
//! Invariant: a page is in the output when it is counted. Absent: decisions.

use super::request::{Cx, Output, Request};
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr};
use crate::flags::Foll;
use crate::host::Host;
use crate::observe::{Event, Observer};
use crate::rule::{a, w};
use crate::vma::{Vma, VmaId};

/// Progress of a pass.
pub(super) struct Walk<'o, 'p> {
    /// The address of the page at hand.
    pub(super) addr: VirtAddr,
    /// Pages obtained.
    pub(super) got: u64,
    nr_pages: u64,
    /// The request's flags, and those of the page at hand (row A-05).
    foll: Foll,
    pub(super) page_foll: Foll,
    out: &'o mut Output<'p>,
}

impl<'o, 'p> Walk<'o, 'p> {
    /// Before the first page.
    pub(super) fn new(request: &Request, foll: Foll, out: &'o mut Output<'p>) -> Self {
        let (addr, nr_pages) = (request.start, request.nr_pages);
        Self { addr, got: 0, nr_pages, foll, page_foll: foll, out }
    }
    /// Pages of the request that lie in `vma` from here on.
    #[inline]
    pub(super) fn left_in<H: Host>(&self, vma: &Vma<H>) -> u64 {
        vma.end().pages_from(self.addr.page_floor()).min(self.left())
    }
    #[inline]
    pub(super) fn left(&self) -> u64 {
        self.nr_pages - self.got
    }
    /// Counts `count` pages and moves on; the next page starts with the request's own flags (row
    ///
    #[inline]
    pub(super) fn advance<H: Host>(&mut self, cx: &Cx<'_, H>, vma: Option<VmaId>, count: u64) {
        if let Some(id) = vma
            && cx.wants_vmas
        {
            cx.host().decided(a::A_18, self.addr);
            cx.host().decided(w::W_06, self.addr);
            self.out.vmas(self.got, id, count);
        }
        if cx.host().rule(a::A_05, self.page_foll != self.foll, self.addr) {
            self.page_foll = self.foll;
        }
        self.got += count;
        self.addr = self.addr.wrapping_add(count << PAGE_SHIFT);
    }
    /// Stores `count` pages from `pfn` on and counts them.
    #[inline]
    pub(super) fn take<H: Host>(
        &mut self,
        cx: &Cx<'_, H>,
        vma: Option<VmaId>,
        pfn: Pfn,
        count: u64,
    ) {
        if H::Observer::ON {
            cx.host().see(Event::Grab { index: self.got, pfn });
            cx.host().decided(w::W_01, self.addr);
        }
        self.out.pages(self.got, pfn, count);
        self.advance(cx, vma, count);
    }
}

/// Pages from `addr` to the end of the leaf of `level` that contains it.
#[inline]
pub(super) fn pages_in_leaf(addr: VirtAddr, level: u8) -> u64 {
    let pages = 1 << (9 * u32::from(level));
    pages - (addr.page_number() & (pages - 1))
}
