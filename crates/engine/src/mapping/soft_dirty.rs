//! Which pages are stored to from now on: clearing the soft-dirty marks (`clear_refs`, value 4).
//!
//! A cleared entry allows no stores, so that the next one faults and marks it again. Invariants: a
//! page that may be pinned stays writable, and marked, because a copy of it would part it from its
//! pin (row F-41); no page is shared or unshared by this.
//! Absent: reading the marks, which entries show.
//! Linux: `fs/proc/task_mmu.c` `clear_refs_write`, `clear_soft_dirty`, `pte_is_pinned` (6.18).

use crate::fault::normal_page;
use crate::host::Host;
use crate::mm::{Mm, MmWrite};
use crate::pgtable::{Action, Decoded, Entry, Part, SwapEntry, Visit};
use crate::rule::f;
use crate::vma::Vma;
use core::sync::atomic::Ordering::SeqCst;

/// Takes the soft-dirty marks and the store permissions from all entries, but for those of private
/// pages that may be pinned, of a process that has pinned (row F-41).
///
/// Huge entries are cleared whatever is pinned, as the kernel does.
pub fn clear_soft_dirty<H: Host>(lock: &MmWrite<'_, H>) {
    let mm = lock.mm();
    for vma in lock.iter() {
        // Nothing is split: areas end where huge entries do.
        let _ = mm.tables().for_each(vma.range(), &mut |visit: &Visit<H::Format>| {
            let new = cleared(mm, vma, visit);
            if new == visit.entry || visit.part == Part::Some {
                Action::Keep
            } else {
                Action::Replace(new)
            }
        });
    }
}

fn cleared<H: Host>(mm: &Mm<H>, vma: &Vma<H>, visit: &Visit<H::Format>) -> Entry<H::Format> {
    let (machine, level) = (mm.machine(), visit.place.level);
    match visit.entry.decode(level) {
        Decoded::Leaf(_, perms) => {
            let looked_at = level == 0 && perms.write && vma.flags.is_cow_mapping();
            let pinned = looked_at
                && mm.has_pinned.load(SeqCst)
                && normal_page(visit.entry).is_some_and(|page| machine.maybe_pinned(page));
            if machine.host().rule(f::F_41, pinned, visit.addr) {
                return visit.entry;
            }
            visit.entry.map_perms(level, |perms| {
                (perms.write, perms.soft_dirty) = (false, false);
            })
        }
        Decoded::Swap(SwapEntry::Swap { slot, exclusive, uffd_wp, .. }) => {
            Entry::swap(SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty: false })
        }
        Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => visit.entry,
    }
}
