//! Entries under an edit: other permissions for all of a range.
//!
//! *Upgrade*: a leaf whose page needs no copy and no notice becomes writable without a fault (row
//! F-32).
//! Linux: mm/mprotect.c `change_protection`, `can_change_pte_writable` (6.18).

use crate::addr::VirtRange;
use crate::fault::{leaf_perms, normal_page};
use crate::flags::VmFlags;
use crate::frame::{FrameFlags, Kind};
use crate::host::Host;
use crate::mm::{Machine, MmWrite};
use crate::pgtable::{Action, Decoded, Entry, Part, Perms, SwapEntry, Visit};
use crate::rule;
use crate::vma::Vma;

/// Gives all entries in `range`, which lies in one area, what the area's flags allow.
pub(super) fn change_entries<H: Host>(lock: &MmWrite<'_, H>, range: VirtRange) {
    let mm = lock.mm();
    let Some(vma) = lock.lookup(range.start) else { return };
    let new = leaf_perms(vma);
    // Areas are split together with the huge leaves across their borders, so there is nothing left
    // to split here, and nothing can fail.
    let _ = mm.tables().for_each(range, &mut |visit: &Visit<H::Format>| {
        let entry = changed(mm.machine(), vma, visit, new);
        match visit.part {
            _ if entry == visit.entry => Action::Keep,
            Part::Whole => Action::Replace(entry),
            Part::Some => Action::Keep,
        }
    });
}

fn changed<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    visit: &Visit<H::Format>,
    new: Perms,
) -> Entry<H::Format> {
    let level = visit.place.level;
    match visit.entry.decode(level) {
        Decoded::Leaf(_, old) => {
            let write = new.write && !old.uffd_wp || upgrades(machine, vma, visit, old, new);
            visit.entry.map_perms(level, |perms| {
                (perms.write, perms.exec, perms.protnone) = (write, new.exec, new.protnone);
            })
        }
        Decoded::Swap(SwapEntry::Migration { pfn, write: true, exclusive }) => {
            Entry::swap(SwapEntry::Migration { pfn, write: false, exclusive })
        }
        Decoded::None | Decoded::Table(_) | Decoded::Swap(_) => visit.entry,
    }
}

/// Whether a leaf may become writable without a fault (row F-32).
fn upgrades<H: Host>(
    machine: &Machine<H>,
    vma: &Vma<H>,
    visit: &Visit<H::Format>,
    old: Perms,
    new: Perms,
) -> bool {
    let frames = machine.frames();
    let own = || {
        normal_page(visit.entry).is_some_and(|page| {
            frames.kind(page) == Kind::Anon && frames.has(page, FrameFlags::ANON_EXCLUSIVE)
        })
    };
    let shared = vma.flags.contains(VmFlags::SHARED);
    let enough = if shared { old.dirty } else { own() };
    let may =
        vma.flags.contains(VmFlags::WRITE) && !vma.is_hugetlb() && !old.uffd_wp && !new.protnone;
    machine.host().rule(rule::f::F_32, may && enough, visit.addr)
}
