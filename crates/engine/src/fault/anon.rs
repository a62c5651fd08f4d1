//! Anonymous memory that was never touched: the zero page for a read, a page of its own for a
//! write.
//!
//! Invariant: a new page is exclusive to its entry (row F-01), and everything is undone if the
//! entry was filled meanwhile.
//! Linux: `do_anonymous_page` (mm/memory.c, 6.18).

use super::large;
use super::mlocked;
use super::outcome::Fault;
use super::page::{add_first_mapping, leaf_perms, new_zeroed_page};
use super::site::Site;
use super::stack_guard;
use super::userfault::{self, Reason};
use crate::flags::{FaultFlags, VmFlags};
use crate::host::Host;
use crate::pgtable::Entry;
use crate::rule::{f, s};

/// Serves a fault at an empty entry of an anonymous area.
pub(super) fn missing<H: Host>(site: &Site<'_, H>) -> Fault {
    if site.host().rule(s::S_32, site.cx.vma.flags.contains(VmFlags::SHARED), site.addr) {
        return Fault::SIGBUS;
    }
    if let Err(failed) = stack_guard::check(site) {
        return failed;
    }
    if site.has(FaultFlags::WRITE) { own_page(site) } else { zero_page(site) }
}

/// Maps the zero page, which counts nowhere.
fn zero_page<H: Host>(site: &Site<'_, H>) -> Fault {
    let mut perms = leaf_perms(site.cx.vma);
    perms.special = true;
    perms = userfault::keep_wp(site, perms);
    let Some(guard) = site.lock() else { return Fault::MINOR };
    if userfault::wants_missing(site.cx.vma) {
        drop(guard);
        return userfault::deliver(site, Reason::Missing);
    }
    site.set(Entry::leaf(site.machine().zero_page(), perms, 0));
    Fault::MINOR
}

/// Maps a zeroed page of its own.
fn own_page<H: Host>(site: &Site<'_, H>) -> Fault {
    let vma = site.cx.vma;
    if let Err(failed) = site.cx.prepare_anon_vma() {
        return failed;
    }
    if let Some(served) = large::own_folio(site) {
        return served;
    }
    let Ok(page) = new_zeroed_page(site.machine(), vma, site.addr, site.user_memory()) else {
        return Fault::OOM;
    };
    let Some(guard) = site.lock() else {
        site.put(page);
        return Fault::MINOR;
    };
    if userfault::wants_missing(vma) {
        drop(guard);
        site.put(page);
        return userfault::deliver(site, Reason::Missing);
    }
    let mut perms = leaf_perms(vma);
    if vma.flags.contains(VmFlags::WRITE) {
        perms.write = true;
        perms.dirty = true;
        perms.soft_dirty = true;
    }
    perms = userfault::keep_wp(site, perms);
    site.host().decided(f::F_01, site.addr);
    mlocked::got_new(site.cx.mm, vma, page);
    add_first_mapping(site.cx.mm, page);
    site.set(Entry::leaf(page, perms, 0));
    Fault::MINOR
}
