//! Entries under an edit: other permissions for all of a range.
//!
//! Linux: mm/mprotect.c `change_protection` (6.18).

use crate::addr::VirtRange;
use crate::fault::{self, is_made_writable, leaf_perms};
use crate::host::Host;
use crate::mm::{Machine, MmWrite};
use crate::pgtable::{Decoded, Entry, Perms, SwapEntry, Visit};
use crate::vma::Vma;

/// Gives all entries in `range`, which lies in one area, what the area's flags allow.
pub(super) fn change_entries<H: Host>(lock: &MmWrite<'_, H>, range: VirtRange) {
    let mm = lock.mm();
    let Some(vma) = lock.lookup(range.start) else { return };
    let new = leaf_perms(vma);
    // Areas are split together with the huge leaves across their borders, so there is nothing left
    // to split here, and nothing can fail.
    let change = |visit: &Visit<H::Format>, entry| changed(mm.machine(), vma, visit, entry, new);
    let _ = fault::change_entries(mm, range, change);
}

fn changed<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    visit: &Visit<H::Format>,
    entry: Entry<H::Format>,
    new: Perms,
) -> Entry<H::Format> {
    let level = visit.place.level;
    match entry.decode(level) {
        Decoded::Leaf(..) => {
            let write = is_made_writable(machine, vma, entry, visit.addr);
            entry.map_perms(level, |perms| {
                (perms.write, perms.exec, perms.protnone) = (write, new.exec, new.protnone);
            })
        }
        Decoded::Swap(SwapEntry::Migration { pfn, write: true, exclusive }) => {
            Entry::swap(SwapEntry::Migration { pfn, write: false, exclusive })
        }
        Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => entry,
    }
}
