//! Faulting a range of one area in, without taking its pages: what mlock, `MAP_POPULATE` and stack
//! growth do.
//!
//! Absent: which areas ([`crate::abi::__mm_populate`]). Linux: mm/gup.c `populate_vma_page_range`,
//! v4.4.

use super::request::{Cx, Output, Request};
use super::slow::pass;
use super::stop::Pass;
use super::v4_4::V4_4;
use crate::addr::VirtRange;
use crate::flags::{Foll, VmFlags};
use crate::host::Host;
use crate::mm::Mm;
use crate::rule::a;
use crate::task::Task;
use crate::vma::{Map, Vma};

/// Whether a fault may drop the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// It is held throughout.
    Keep,
    /// It may be dropped.
    MayDrop,
}

/// Faults the pages of `range`, which lies in `vma`, in. Charged to `current`.
pub(crate) fn populate<H: Host>(
    mm: &Mm<H>,
    map: &Map<H>,
    current: &Task,
    vma: &Vma<H>,
    range: VirtRange,
    hold: Hold,
) -> Pass {
    mm.machine().host().decided(a::A_158, range.start);
    let cx = Cx {
        current,
        charged: Some(current),
        mm,
        map,
        wants_pages: false,
        wants_vmas: false,
        may_drop: hold == Hold::MayDrop,
    };
    let request = Request { start: range.start, nr_pages: range.pages(), foll: flags(vma.flags) };
    pass::<V4_4, H>(&cx, &request, &mut Output { pages: None, vmas: None })
}

/// The flags that an area is populated with: for write where that cannot be seen by others, forced
/// where anything may be done with it at all.
fn flags(vm: VmFlags) -> Foll {
    let mut foll = Foll::TOUCH | Foll::POPULATE | Foll::MLOCK;
    if vm.contains(VmFlags::LOCKONFAULT) {
        foll -= Foll::POPULATE;
    }
    let unseen = vm.intersection(VmFlags::WRITE.union(VmFlags::SHARED)) == VmFlags::WRITE;
    if a::A_158.when(unseen) {
        foll |= Foll::WRITE;
    }
    if vm.intersects(VmFlags::ACCESS) {
        foll |= Foll::FORCE;
    }
    foll
}
