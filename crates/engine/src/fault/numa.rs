//! NUMA hints: a leaf without access in an accessible area asks only to be noticed.
//!
//! Absent: placement of pages; there is nothing to decide but whether stores are allowed again.
//! Linux: `do_numa_page`, `can_change_pte_writable` (mm/memory.c, mm/mprotect.c, 6.18).

use super::outcome::Fault;
use super::page::{leaf_perms, normal_page, tracks_dirty};
use super::site::Site;
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind};
use crate::host::Host;
use crate::pgtable::Entry;
use crate::rule::f;
use crate::vma::Vma;

/// Takes the hint away.
pub(super) fn hint<H: Host>(site: &Site<'_, H>) -> Fault {
    let Some(_guard) = site.lock() else { return Fault::MINOR };
    let vma = site.cx.vma;
    let fresh = leaf_perms(vma);
    let entry = site.seen.map_perms(site.place.level, |perms| {
        perms.protnone = false;
        perms.exec = fresh.exec;
        perms.young = true;
    });
    let upgrade = !entry.is_writable() && may_write(site, vma, entry);
    let entry = entry.map_perms(site.place.level, |perms| perms.write |= upgrade);
    site.update(entry);
    Fault::MINOR
}

/// The leaf may be made writable without a fault (row F-32).
fn may_write<H: Host>(site: &Site<'_, H>, vma: &Vma<H>, entry: Entry<H::Format>) -> bool {
    if !vma.flags.contains(VmFlags::WRITE) || entry.is_uffd_wp() {
        return false;
    }
    let frames = site.frames();
    let upgrade = if vma.flags.contains(VmFlags::SHARED) {
        !tracks_dirty(vma) || entry.is_dirty()
    } else {
        normal_page(entry).is_some_and(|page| {
            frames.kind(page) == Kind::Anon && frames.has(page, FrameFlags::ANON_EXCLUSIVE)
        })
    };
    site.host().rule(f::F_32, upgrade, site.addr)
}
