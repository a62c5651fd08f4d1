//! Stores to write-protected pages, and unsharing: reuse the page, or copy it.
//!
//! *Reuse*: the page is the writer's alone, so its entry becomes writable. *Unshare*: as a store,
//! but the entry stays read-only; a read-only pin asks for it (row F-27). Invariants: a page
//! becomes exclusive only while nothing else can refer to it (row F-23); the copy is in place
//! before the old page is given back (row F-31).
//! Linux: `do_wp_page`, `wp_page_copy`, `wp_page_reuse`, `wp_can_reuse_anon_folio` (mm/memory.c,
//! 6.18).

use super::mlocked;
use super::outcome::{Fault, FaultError};
use super::page::{add_first_mapping, leaf_perms, new_anon_page, normal_page, remove_mapping};
use super::pageout::forget_wanted;
use super::site::Site;
use super::thp;
use super::userfault::{self, Reason};
use crate::addr::Pfn;
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{FrameFlags, Kind, TableGuard};
use crate::host::{Host, Memory};
use crate::pgtable::Entry;
use crate::rule::{f, s};

/// Serves a store, or an unshare request, at a present entry that allows no stores.
pub(super) fn write_protected<H: Host>(mut site: Site<'_, H>) -> Fault {
    match site.lock() {
        Some(guard) => write_protected_locked(&mut site, guard),
        None => Fault::MINOR,
    }
}

/// The same, with the table's lock held.
pub(super) fn write_protected_locked<H: Host>(
    site: &mut Site<'_, H>,
    guard: TableGuard<'_>,
) -> Fault {
    if !site.has(FaultFlags::UNSHARE) && userfault::is_write_protected(site) {
        if !site.cx.vma.uffd.as_ref().is_some_and(|context| context.wp_async()) {
            drop(guard);
            return userfault::deliver(site, Reason::WriteProtected);
        }
        let entry = site.seen.map_perms(0, |perms| perms.uffd_wp = false);
        site.update(entry);
        site.seen = entry;
    }
    let page = normal_page(site.seen);
    if site.cx.vma.flags.intersects(VmFlags::SHARED | VmFlags::MAYSHARE) {
        return share(site, page, &guard);
    }
    let Some(old) = page else {
        drop(guard);
        return copy(site, None);
    };
    let own = site.frames().kind(old) == Kind::Anon && may_reuse(site, old);
    if site.host().rule(f::F_04, own, site.addr) {
        site.frames().set(old, FrameFlags::ANON_EXCLUSIVE);
        if site.has(FaultFlags::UNSHARE) {
            return Fault::MINOR;
        }
        return reuse(site, &guard);
    }
    let held = site.frames().get(old, 1);
    drop(guard);
    match held {
        Ok(()) => copy(site, Some(old)),
        Err(_) => Fault::OOM,
    }
}

/// The page is this entry's alone, or proves to be (rows F-21, F-23, F-24).
fn may_reuse<H: Host>(site: &Site<'_, H>, page: Pfn) -> bool {
    let host = site.host();
    let exclusive = site.frames().has(page, FrameFlags::ANON_EXCLUSIVE);
    if host.rule(f::F_21, exclusive, site.addr) {
        return true;
    }
    let frames = site.frames();
    if host.rule(f::F_07, frames.has(page, FrameFlags::KSM), site.addr) {
        return false;
    }
    if frames.is_large(page) {
        return host.rule(f::F_24, thp::all_ours(frames, page), site.addr);
    }
    site.machine().lazyfree().drain_if_new(frames, page);
    let cached = u32::from(frames.has(page, FrameFlags::SWAPCACHE));
    // Whoever else has a reference may look at the page later (I-03).
    if host.rule(s::S_04, frames.linux_refcount(page) > 1 + cached, site.addr) {
        return false;
    }
    if cached == 1 {
        site.machine().swap().try_free(site.machine(), page);
    }
    let alone = frames.linux_refcount(page) == 1;
    host.rule(f::F_23, alone, site.addr) || !alone && !s::S_04.when(true)
}

/// Makes the entry writable, if the area is, and dirty. The table's lock is held.
fn reuse<H: Host>(site: &Site<'_, H>, _held: &TableGuard<'_>) -> Fault {
    let write = site.may_store();
    let entry = site.seen.map_perms(0, |perms| {
        perms.young = true;
        perms.dirty = true;
        perms.soft_dirty = true;
        perms.write = write;
    });
    site.update(entry);
    Fault::WROTE
}

/// A store to a shared page: its file is told, and the entry becomes writable. The table's lock is
/// held.
fn share<H: Host>(site: &Site<'_, H>, page: Option<Pfn>, held: &TableGuard<'_>) -> Fault {
    let fault = reuse(site, held);
    let Some(page) = page else { return fault };
    let dirtied = !site.frames().test_and_set(page, FrameFlags::DIRTY);
    forget_wanted(site.frames(), page);
    site.wrote_shared(dirtied, fault)
}

/// Copies `old`, to which the caller has a reference (the zero page if there is none), into a page
/// of its own.
fn copy<H: Host>(site: &Site<'_, H>, old: Option<Pfn>) -> Fault {
    let fault = copy_from(site, old);
    if let Some(old) = old {
        site.put(old);
    }
    fault
}

fn copy_from<H: Host>(site: &Site<'_, H>, old: Option<Pfn>) -> Fault {
    let vma = site.cx.vma;
    if let Err(failed) = site.cx.prepare_anon_vma() {
        return failed;
    }
    if old.is_some_and(|old| site.frames().has(old, FrameFlags::HWPOISON)) {
        return Fault::Failed(FaultError::HwPoison);
    }
    let Ok(new) = new_anon_page(site.machine(), vma, site.addr, site.user_memory()) else {
        return Fault::OOM;
    };
    match old {
        Some(old) => site.machine().memory().copy(new, old, 1),
        None => site.machine().memory().copy(new, site.seen.pfn(), 1),
    }
    let Some(_guard) = site.lock() else {
        site.put(new);
        return Fault::MINOR;
    };
    let unshare = site.has(FaultFlags::UNSHARE);
    let mut perms = leaf_perms(vma);
    let before = site.seen.perms(0).unwrap_or_default();
    if unshare {
        perms.uffd_wp = before.uffd_wp;
        perms.soft_dirty = before.soft_dirty;
    } else {
        perms.dirty = true;
        perms.soft_dirty = true;
        perms.write = site.may_store();
    }
    site.host().decided(if unshare { f::F_27 } else { f::F_31 }, site.addr);
    mlocked::got_new(site.cx.mm, vma, new);
    add_first_mapping(site.cx.mm, new);
    site.replace(Entry::leaf(new, perms, 0));
    if let Some(old) = old {
        mlocked::loses(site.cx.mm, vma, old);
        remove_mapping(site.cx.mm, old);
    }
    if unshare { Fault::MINOR } else { Fault::WROTE }
}
