//! What the two kernels do differently on the slow path, as one sealed trait.
//!
//! Chosen once, where a call enters; nothing below matches on a version. Absent: the loop itself
//! ([`super::slow`]), which both share.

use super::request::{Cx, Request};
use super::stop::{Busy, Stop};
use crate::addr::{Pfn, VirtAddr};
use crate::flags::Foll;
use crate::host::Host;
use crate::pgtable::{Entry, Place};
use crate::rule::Rule;
use crate::vma::Vma;

/// What a lookup of one page finds (the kernel's NULL, -EMLINK, -EEXIST and page pointer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The page.
    Page(Pfn),
    /// A mapping without a page behind it, and nobody asked for the page (-EEXIST with `pages`
    /// NULL).
    NoStruct,
    /// Nothing that serves: fault (NULL).
    Absent,
    /// It must be unshared first (-EMLINK).
    Unshare,
    /// It is refused.
    Stop(Stop),
}

/// What a fault taken for a page leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faulted {
    /// Look again; with these flags for this page from now on (v4.4 changes them, rows A-143,
    ///
    Again(Foll),
    /// Count the page without having it (v4.4's -ENOENT, row A-15).
    Skip,
    /// Not finished.
    Busy(Busy),
    /// Refused.
    Stop(Stop),
}

/// What an address without a usable VMA leads to.
pub(crate) enum Found<'a, H: Host> {
    /// The VMA.
    Vma(&'a Vma<H>),
    /// No VMA, but the gate page.
    Gate,
}

mod sealed {
    pub(crate) trait Sealed {}
    impl Sealed for crate::gup::v4_4::V4_4 {}
    impl Sealed for crate::gup::v6_18::V6_18 {}
}
pub(crate) use sealed::Sealed;

/// One kernel's slow path.
pub(crate) trait Semantics: Sealed {
    /// The rule of a pending SIGKILL (A-13, C-18).
    const KILLED: Rule;
    /// The rule of an empty request (A-01, C-13).
    const EMPTY: Rule;

    /// The flags the walk works with.
    fn working_flags<H: Host>(cx: &Cx<'_, H>, foll: Foll, start: VirtAddr) -> Foll;
    /// Finds and checks what covers `addr`.
    fn find<'a, H: Host>(
        cx: &Cx<'a, H>,
        request: &Request,
        addr: VirtAddr,
    ) -> Result<Found<'a, H>, Stop>;
    /// The gate page, grabbed if pages are wanted.
    fn gate<H: Host>(cx: &Cx<'_, H>, foll: Foll, addr: VirtAddr) -> Result<Option<Pfn>, Stop>;
    /// Whether hugetlb areas take the path of their own (v4.4).
    fn has_hugetlb_path() -> bool;
    /// Reads a PTE (`follow_page_pte`), its table locked, and grabs the page if it serves.
    fn look_pte<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        entry: Entry<H::Format>,
        place: Place,
        foll: Foll,
    ) -> Look;
    /// Reads a huge leaf, its table locked; grabs `count` pages from `addr` on.
    fn look_huge<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        entry: Entry<H::Format>,
        place: Place,
        foll: Foll,
        count: u64,
    ) -> Look;
    /// The walk ended above the leaf level in nothing, or in something not present
    /// (`no_page_table`).
    fn no_table<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        entry: Entry<H::Format>,
        foll: Foll,
    ) -> Look;
    /// How many pages of a huge leaf one lookup covers: `left` are in the leaf from `addr` on.
    fn huge_step<H: Host>(cx: &Cx<'_, H>, look: Look, left: u64) -> u64;
    /// Whether a huge leaf must be split before the page is taken, and does so.
    fn split_huge<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        foll: Foll,
    ) -> Option<Result<(), Stop>>;
    /// Takes the fault (`faultin_page`).
    fn faultin<H: Host>(
        cx: &Cx<'_, H>,
        vma: &Vma<H>,
        addr: VirtAddr,
        foll: Foll,
        look: Look,
    ) -> Faulted;
}
