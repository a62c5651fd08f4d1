//! What a pass works with: where and for whom, what is asked for, where pages go.

use super::page::Page;
use crate::addr::{Pfn, VirtAddr};
use crate::flags::Foll;
use crate::host::Host;
use crate::mm::Mm;
use crate::task::Task;
use crate::vma::{Map, VmaId};

/// Where a pass works, and for whom.
pub(crate) struct Cx<'a, H: Host> {
    /// The acting task: signals, limits.
    pub(crate) current: &'a Task,
    /// Who is charged for faults, if anyone (v4.4's `tsk`).
    pub(crate) charged: Option<&'a Task>,
    /// The address space.
    pub(crate) mm: &'a Mm<H>,
    /// Its areas, the lock held.
    pub(crate) map: &'a Map<H>,
    /// Pages are wanted (`pages != NULL`).
    pub(crate) wants_pages: bool,
    /// Areas are wanted (`vmas != NULL`).
    pub(crate) wants_vmas: bool,
    /// The lock may be dropped (v4.4: `nonblocking != NULL`).
    pub(crate) may_drop: bool,
}

impl<'a, H: Host> Cx<'a, H> {
    /// The host.
    #[inline]
    pub(crate) fn host(&self) -> &'a H {
        self.mm.machine().host()
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// First byte.
    pub(crate) start: VirtAddr,
    /// Pages.
    pub(crate) nr_pages: u64,
    /// How.
    pub(crate) foll: Foll,
}

/// Where pages and areas go.
pub(crate) struct Output<'o> {
    /// `pages`, at least `nr_pages` long.
    pub(crate) pages: Option<&'o mut [Option<Page>]>,
    /// `vmas`, at least `nr_pages` long.
    pub(crate) vmas: Option<&'o mut [Option<VmaId>]>,
}

impl Output<'_> {
    /// Whether both outputs have at least `nr_pages` slots.
    pub(crate) fn holds(&self, nr_pages: u64) -> bool {
        let enough = |len: usize| len as u64 >= nr_pages;
        self.pages.as_ref().is_none_or(|p| enough(p.len()))
            && self.vmas.as_ref().is_none_or(|v| enough(v.len()))
    }
    /// Writes pages `index..index + count` that stand in frames from `pfn` on.
    #[inline]
    pub(super) fn pages(&mut self, index: u64, pfn: Pfn, count: u64) {
        let Some(pages) = &mut self.pages else { return };
        for n in 0..count {
            if let Some(slot) = usize::try_from(index + n).ok().and_then(|at| pages.get_mut(at)) {
                *slot = Page::from_pfn(pfn.offset(n));
            }
        }
    }
    /// Writes the area of pages `index..index + count`.
    #[inline]
    pub(super) fn vmas(&mut self, index: u64, id: VmaId, count: u64) {
        let Some(vmas) = &mut self.vmas else { return };
        for n in 0..count {
            if let Some(slot) = usize::try_from(index + n).ok().and_then(|at| vmas.get_mut(at)) {
                *slot = Some(id);
            }
        }
    }
}
