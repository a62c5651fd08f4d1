//! Whether a leaf allows stores once it is made anew: by `mprotect`, when userfaultfd's protection
//! is taken back, when a hint is.
//!
//! *Upgrade*: what the area's fresh leaves would not allow is allowed at once, without a fault, of
//! a page that needs no copy, and of a dirty one of a file that wants to be told of stores (row
//! F-32). Shared memory whose stores only userfaultfd wants is left to the fault. Absent:
//! soft-dirty tracking, which would want the fault.
//! Linux: mm/mprotect.c `can_change_pte_writable`, `vma_wants_manual_pte_write_upgrade` (6.18).

use super::page::{leaf_perms, normal_page, tracks_dirty};
use crate::addr::VirtAddr;
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind};
use crate::host::Host;
use crate::mm::Machine;
use crate::pgtable::Entry;
use crate::rule::f;
use crate::vma::Vma;

/// Whether the leaf `entry` at `addr`, with the marks it is to keep, is made writable.
pub(crate) fn is_made_writable<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    entry: Entry<H::Format>,
    addr: VirtAddr,
) -> bool {
    let fresh = leaf_perms(vma);
    if fresh.write && !entry.is_uffd_wp() {
        return true;
    }
    let frames = machine.frames();
    let own = || {
        normal_page(entry).is_some_and(|page| {
            frames.kind(page) == Kind::Anon && frames.has(page, FrameFlags::ANON_EXCLUSIVE)
        })
    };
    let shared = vma.flags.contains(VmFlags::SHARED);
    let enough = if shared { tracks_dirty(vma) && entry.is_dirty() } else { own() };
    let may = vma.flags.contains(VmFlags::WRITE) && !vma.is_hugetlb() && !entry.is_uffd_wp();
    machine.host().rule(f::F_32, may && !fresh.protnone && enough, addr)
}
