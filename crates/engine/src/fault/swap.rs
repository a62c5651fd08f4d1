//! Entries that are not present: swapped-out pages, pages under migration, failed memory, markers.
//!
//! *Exclusive mark*: the swap entry remembers that its page was exclusive; fork takes the mark away
//! (row F-16). Invariant: the slot loses its user when the page gets its entry, and not before.
//! Linux: `do_swap_page`, `handle_pte_marker` (mm/memory.c, 6.18).

use super::cow;
use super::handle::missing;
use super::mlocked;
use super::outcome::{Fault, FaultError};
use super::page::{add_mapping, leaf_perms};
use super::site::Site;
use super::swap_ahead;
use crate::addr::Pfn;
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{FrameFlags, Owner, TableGuard};
use crate::host::{Host, ReadMode};
use crate::mm::Counter;
use crate::pgtable::{Entry, SwapEntry};
use crate::rule::{c, f, m};
use crate::swap::{SwapError, SwappedIn};

/// What a swap entry says.
#[derive(Clone, Copy)]
struct Swapped {
    slot: u64,
    exclusive: bool,
    uffd_wp: bool,
    soft_dirty: bool,
}

/// Serves a fault at an entry that is neither empty nor present.
pub(super) fn not_present<H: Host>(site: Site<'_, H>, entry: SwapEntry) -> Fault {
    let host = site.host();
    match entry {
        SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty } => {
            swap_in(site, Swapped { slot, exclusive, uffd_wp, soft_dirty })
        }
        SwapEntry::Migration { .. } => {
            host.relax();
            Fault::MINOR
        }
        SwapEntry::HwPoison(_) => Fault::Failed(FaultError::HwPoison),
        SwapEntry::Poisoned => {
            host.decided(c::C_63, site.addr);
            Fault::Failed(FaultError::HwPoison)
        }
        SwapEntry::Guard => {
            host.decided(c::C_63, site.addr);
            Fault::SIGSEGV
        }
        SwapEntry::UffdWp if site.cx.vma.flags.contains(VmFlags::UFFD_WP) => missing(&site),
        SwapEntry::UffdWp => {
            if let Some(_guard) = site.lock() {
                site.set(Entry::NONE);
            }
            Fault::MINOR
        }
    }
}

fn swap_in<H: Host>(site: Site<'_, H>, swapped: Swapped) -> Fault {
    let generation = site.machine().swap().generation(swapped.slot);
    if site.machine().swap().is_shared_and_away(swapped.slot) {
        swap_ahead::read_around(&site);
        site.machine().drain_batches();
    }
    let got = match read(&site, swapped.slot) {
        Ok(got) => got,
        Err(failed) => return failed,
    };
    let (page, major) = match got {
        SwappedIn::Cached(page) => (page, false),
        SwappedIn::Read(page) | SwappedIn::Fresh(page) => (page, true),
    };
    if matches!(got, SwappedIn::Cached(_)) {
        swap_ahead::found(&site, page);
    }
    if site.frames().has(page, FrameFlags::HWPOISON) {
        site.put(page);
        return Fault::Failed(FaultError::HwPoison);
    }
    // The same entry may name the same slot again, for another page or later bytes of this one.
    let same =
        |_: &TableGuard<'_>| site.machine().swap().is_page_of(swapped.slot, generation, page);
    let Some(guard) = site.lock().filter(same) else {
        site.put(page);
        return Fault::Done { major, wrote: false };
    };
    let fresh = matches!(got, SwappedIn::Fresh(_));
    // Only a page that was anonymous memory before, and still is, counts as locked now.
    if site.frames().owner(page) != Owner::default() {
        mlocked::got(site.cx.mm, site.cx.vma, page);
    }
    site.host().decided_if(m::M_12, fresh, site.addr);
    if fresh || !site.frames().is_mapped(page) {
        adopt(&site, page);
    }
    let fault = map(site, swapped, page, fresh, guard);
    with_major(fault, major)
}

/// The page of the slot, with a reference.
fn read<H: Host>(site: &Site<'_, H>, slot: u64) -> Result<SwappedIn, Fault> {
    let mut mode = ReadMode::Start;
    loop {
        match site.machine().swap().read(site.machine(), slot, mode, site.user_memory()) {
            Ok(got) => return Ok(got),
            Err(SwapError::NotYet(ticket)) => {
                site.wait(ticket)?;
                mode = ReadMode::Block;
            }
            Err(SwapError::Failed) => return Err(Fault::SIGBUS),
            Err(SwapError::OutOfMemory) => return Err(Fault::OOM),
        }
    }
}

/// A page that nobody maps belongs to whoever maps it first.
fn adopt<H: Host>(site: &Site<'_, H>, page: Pfn) {
    let owner = site.cx.vma.anon_vma().map_or(0, |anon| anon.id);
    #[allow(clippy::cast_possible_truncation, reason = "the place in the area, modulo 16 TiB")]
    let index = site.cx.vma.index_of(site.addr) as u32;
    site.frames().set_owner(page, Owner { owner, index });
}

/// Maps the page where its swap entry was (row F-22). The table's lock is held.
fn map<H: Host>(
    mut site: Site<'_, H>,
    swapped: Swapped,
    page: Pfn,
    fresh: bool,
    guard: TableGuard<'_>,
) -> Fault {
    let vma = site.cx.vma;
    let (machine, frames) = (site.machine(), site.frames());
    add_mapping(site.cx.mm, page);
    site.cx.mm.add_rss(Counter::Swap, -1);
    machine.swap().drop_user(machine, swapped.slot);
    let write = site.has(FaultFlags::WRITE);
    // The entry's reference and the swap cache's: the writer is likely to be the only user.
    let alone = write && frames.linux_refcount(page) == 2;
    if alone || vma.flags.contains(VmFlags::LOCKED) {
        machine.swap().try_free(machine, page);
    }
    let ksm = site.host().rule(f::F_07, frames.has(page, FrameFlags::KSM), site.addr);
    let sole = swapped.exclusive || fresh || frames.linux_refcount(page) == 1;
    let exclusive = site.host().rule(f::F_22, sole && !ksm, site.addr);
    let mut perms = leaf_perms(vma);
    perms.uffd_wp = swapped.uffd_wp;
    perms.soft_dirty = swapped.soft_dirty;
    let mut fault = Fault::MINOR;
    if exclusive {
        frames.set(page, FrameFlags::ANON_EXCLUSIVE);
        let writable = vma.flags.contains(VmFlags::WRITE) && !swapped.uffd_wp;
        if site.host().rule(f::F_04, writable, site.addr) {
            perms.write = true;
            perms.dirty = write;
            if write {
                site.flags -= FaultFlags::WRITE;
                fault = Fault::WROTE;
            }
        }
    } else {
        frames.clear(page, FrameFlags::ANON_EXCLUSIVE);
    }
    let entry = Entry::leaf(page, perms, 0);
    site.set(entry);
    site.seen = entry;
    if site.has(FaultFlags::WRITE) {
        fault = cow::write_protected_locked(&mut site, guard);
    }
    fault
}

fn with_major(fault: Fault, read: bool) -> Fault {
    match fault {
        Fault::Done { major, wrote } => Fault::Done { major: major || read, wrote },
        Fault::Kept(_) | Fault::Retry(_) | Fault::Completed { .. } | Fault::Failed(_) => fault,
    }
}
