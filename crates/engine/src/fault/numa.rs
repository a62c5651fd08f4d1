//! NUMA hints: a leaf without access in an accessible area asks only to be noticed.
//!
//! Absent: placement of pages, and when to look; there is nothing to decide but who is marked, and
//! whether stores are allowed again.
//! Linux: `do_numa_page` (mm/memory.c, 6.18).

use super::outcome::Fault;
use super::page::{leaf_perms, normal_page};
use super::site::Site;
use super::upgrade::is_made_writable;
use crate::addr::VirtRange;
use crate::frame::FrameFlags;
use crate::host::Host;
use crate::mm::Mm;
use crate::pgtable::{Action, Part, Visit};
use crate::rule::f;
use crate::vma::Vma;

/// Takes the access from the leaves of `range`, a part of `vma`, so that the next access is noticed
/// (what NUMA balancing does before it moves pages). Answers how many entries were marked.
///
/// The mmap lock is held. In areas with private pages, those stay that may be pinned (row F-40), or
/// are shared: they would not be moved.
pub fn mark_hinted<H: Host>(mm: &Mm<H>, vma: &Vma<H>, range: VirtRange) -> u64 {
    let (machine, frames) = (mm.machine(), mm.machine().frames());
    let mut marked = 0;
    // Nothing is split, so nothing can fail.
    let _ = mm.tables().for_each(range.intersect(vma.range()), &mut |visit: &Visit<H::Format>| {
        let (entry, level) = (visit.entry, visit.place.level);
        let leaf = entry.is_leaf(level) && !entry.is_protnone() && visit.part == Part::Whole;
        let page = Some(entry).filter(|_| leaf).and_then(normal_page);
        let Some(page) = page.filter(|page| !frames.has(*page, FrameFlags::KSM)) else {
            return Action::Keep;
        };
        let cow = vma.flags.is_cow_mapping();
        let pinned = cow && machine.maybe_pinned(page);
        let shared = cow && frames.folio_mapcount(page) > 1 && !frames.is_large(page);
        if machine.host().rule(f::F_40, pinned, visit.addr) || shared {
            return Action::Keep;
        }
        marked += 1;
        Action::Replace(entry.map_perms(level, |perms| perms.protnone = true))
    });
    marked
}

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
    let upgrade = !entry.is_writable() && is_made_writable(site.machine(), vma, entry, site.addr);
    let entry = entry.map_perms(site.place.level, |perms| perms.write |= upgrade);
    site.update(entry);
    Fault::MINOR
}
