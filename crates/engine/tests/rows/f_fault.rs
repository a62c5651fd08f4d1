//! Rows F-21 … F-32: stores, unsharing, and who may have a page to himself.

use crate::six::row6;
use crate::stage::{
    Handler, SHARED, child, exclusive, frame, get, out, pin, protect, references, refs,
    register_wp, swap_cached, swap_on, thp, writable,
};
use crate::store::quick_file;
use crate::support::{World, page, ro, rw};
use gup::fault::{Fault, PageOut};
use gup::flags::{FaultFlags, Foll, Prot, VmFlags};
use gup::frame::FrameFlags;
use gup::host::Ticket;
use gup::rule::f;
use std::sync::{Arc, Mutex};

const WRITE: FaultFlags = FaultFlags::WRITE;

/// Takes the store permission from the entry of page `at`, and nothing else.
fn write_protect(w: &World, at: u64) {
    w.change_entry(page(at), |perms| perms.write = false);
}

#[test]
fn f_21_an_exclusive_page_is_reused_whatever_references_it_has_but_userfaults_come_first() {
    row6(f::F_21, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        let held = references(w, pfn, 3);
        write_protect(w, 0);
        assert_eq!(w.fault(page(0), WRITE), Fault::WROTE);
        assert_eq!(w.mapped(page(0), true), Some(pfn));
        drop(held);
        w.change_entry(page(0), |perms| (perms.write, perms.uffd_wp) = (false, true));
        let handler = Arc::new(Handler::default());
        register_wp(w, 0, &handler);
        w.forget();
        let told = w.fault(page(0), WRITE | FaultFlags::ALLOW_RETRY);
        assert_eq!((told, w.count(f::F_21)), (Fault::Retry(Ticket(1)), 0));
        register_wp(w, 0, &Arc::new(Handler { wp_async: true, ..Handler::default() }));
        assert_eq!(w.fault(page(0), WRITE), Fault::WROTE);
        assert!(!w.entry(page(0)).is_uffd_wp() && writable(w, 0));
    });
}
#[test]
fn f_22_a_page_read_back_is_exclusive_if_its_entry_says_so_or_nobody_else_has_it() {
    row6(f::F_22, |w| {
        swap_on(w);
        w.area(0, 1, rw());
        w.store(page(0), 6);
        assert_eq!(out(w, 0), PageOut::Out);
        w.load(page(0));
        assert!(exclusive(w, 0) && writable(w, 0), "a load makes it writable at once");
        assert_eq!(out(w, 0), PageOut::Out);
        let other = child(w);
        w.forget();
        assert_eq!((w.load(page(0)), w.seen(f::F_22).is_some()), (Some(6), false));
        assert!(!exclusive(w, 0) && !writable(w, 0), "the child's entry names the slot, too");
        drop(other);
        w.store(page(0), 7);
        assert!(exclusive(w, 0));
        let pfn = swap_cached(w, 0);
        let held = get(w, Foll::WRITE, 0, 1);
        assert_eq!(out(w, 0), PageOut::Kept);
        w.machine.frames().set(pfn, FrameFlags::KSM);
        w.load(page(0));
        assert!(frame(w, 0) == pfn && !exclusive(w, 0), "never a merged page");
        w.machine.frames().clear(pfn, FrameFlags::KSM);
        drop(held);
    });
}
#[test]
fn f_23_a_small_page_is_reused_only_if_nothing_else_refers_to_it() {
    row6(f::F_23, |w| {
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        let there = [frame(w, 0), frame(w, 1)];
        drop(child(w));
        let held = get(w, Foll::empty(), 1, 1);
        (0..2).for_each(|n| assert!(w.store(page(n), 2)));
        assert_eq!(frame(w, 0), there[0]);
        assert_ne!(frame(w, 1), there[1], "a GET forces the copy");
        drop(held);
        swap_on(w);
        let cached = swap_cached(w, 0);
        w.machine.frames().clear(cached, FrameFlags::ANON_EXCLUSIVE);
        write_protect(w, 0);
        w.store(page(0), 3);
        assert_eq!((frame(w, 0), refs(w, cached)), (cached, 1), "its swap slot went first");
    });
}
#[test]
fn f_27_unsharing_gives_a_page_of_its_own_and_leaves_the_entry_read_only() {
    row6(f::F_27, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, rw(), World::backing(&file), 0);
        w.area(2, 3, rw());
        w.store(page(2), 4);
        w.store(page(4), 4);
        w.change_entry(page(2), |perms| (perms.soft_dirty, perms.uffd_wp) = (true, true));
        let other = child(w);
        w.forget();
        let file_page = pin(w, Foll::LONGTERM, 0, 1);
        assert_eq!(w.faults(), [FaultFlags::empty(), FaultFlags::UNSHARE], "absent, then shared");
        assert!(exclusive(w, 0) && !writable(w, 0) && w.byte(file_page.frames[0]) == 1);
        let shared = pin(w, Foll::empty(), 2, 1);
        assert!(exclusive(w, 2) && !writable(w, 2) && frame(w, 2) != frame(&other, 2));
        assert!(w.entry(page(2)).is_soft_dirty() && w.entry(page(2)).is_uffd_wp());
        let zero = pin(w, Foll::LONGTERM, 3, 1);
        assert!(zero.frames[0] != w.machine.zero_page() && exclusive(w, 3) && !writable(w, 3));
        drop(other);
        let last = frame(w, 4);
        let before = w.entry(page(4));
        let own = pin(w, Foll::empty(), 4, 1);
        assert_eq!(own.frames, [last], "nobody else has it: kept");
        assert_eq!(w.entry(page(4)), before);
        drop((file_page, shared, zero));
    });
}
#[test]
fn f_29_a_forced_write_leaves_the_entry_read_only_and_mprotect_may_open_it() {
    row6(f::F_29, |w| {
        w.area(0, 1, ro());
        w.load(page(0));
        let held = get(w, Foll::WRITE | Foll::FORCE, 0, 1);
        assert_eq!(held.frames, [frame(w, 0)]);
        assert!(exclusive(w, 0) && w.entry(page(0)).is_dirty() && !writable(w, 0));
        let faults = w.faults().len();
        protect(w, 0, 1, Prot::READ | Prot::WRITE);
        assert!(writable(w, 0) && w.faults().len() == faults, "without a fault");
    });
}
#[test]
fn f_30_the_zero_page_is_not_counted_and_a_long_pin_gets_a_page_of_its_own() {
    row6(f::F_30, |w| {
        w.area(0, 2, rw());
        let zero = w.machine.zero_page();
        let before = (refs(w, zero), w.machine.frames().pins(zero));
        let short = pin(w, Foll::empty(), 0, 1);
        assert_eq!((&short.frames[..], w.pinned()), (&[zero][..], 0));
        assert_eq!((refs(w, zero), w.machine.frames().pins(zero)), before);
        let long = pin(w, Foll::LONGTERM, 1, 1);
        w.store(page(0), 1);
        w.store(page(1), 2);
        assert_eq!((w.byte(short.frames[0]), w.byte(long.frames[0])), (0, 2));
    });
}
#[test]
fn f_31_a_copy_is_in_place_only_after_the_old_entry_was_flushed_and_the_old_page_goes_last() {
    row6(f::F_31, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 8);
        let old = frame(w, 0);
        let other = child(w);
        let (machine, mm) = (Arc::clone(&w.machine), Arc::clone(&w.mm));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        *w.host().on_flush.lock().unwrap() = Some(Box::new(move |_, range| {
            let entry = mm.tables().walk(range.start).entry;
            let mapped = machine.frames().folio_mapcount(old);
            log.lock().unwrap().push((entry.is_none(), mapped));
        }));
        w.store(page(0), 9);
        *w.host().on_flush.lock().unwrap() = None;
        assert_eq!(*seen.lock().unwrap(), [(true, 2)], "empty, and the old page still counted");
        assert!(frame(w, 0) != old && exclusive(w, 0));
        assert_eq!((w.load(page(0)), other.load(page(0))), (Some(9), Some(8)));
        assert_eq!(w.machine.frames().folio_mapcount(old), 1);
    });
}
#[test]
fn f_32_mprotect_opens_exclusive_pages_and_dirty_shared_ones_without_a_fault() {
    row6(f::F_32, |w| {
        let all = Prot::READ | Prot::WRITE;
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 1)));
        w.change_entry(page(2), |perms| (perms.write, perms.uffd_wp) = (false, true));
        w.machine.frames().clear(frame(w, 1), FrameFlags::ANON_EXCLUSIVE);
        let file = quick_file(w, 2);
        w.area_of(8, 2, rw() | SHARED, World::backing(&file), 0);
        w.store(page(8), 1);
        w.load(page(9));
        for (at, pages) in [(0, 3), (8, 2)] {
            protect(w, at, pages, Prot::READ);
            assert!((at..at + pages).all(|n| !writable(w, n)));
            protect(w, at, pages, all);
        }
        let open = [0, 1, 2, 8, 9].map(|n| writable(w, n));
        assert_eq!(open, [true, false, false, true, false]);
        assert!(w.mm.read().lookup(page(0)).unwrap().flags.contains(VmFlags::WRITE));
    });
}
#[test]
fn f_32_pages_of_one_large_folio_that_change_together_remember_what_any_of_them_does() {
    row6(f::F_32, |w| {
        thp(w, 0);
        assert!(w.store(page(0), 1));
        gup::fault::split_leaf(&w.mm, page(0)).unwrap();
        let forget = |n: u64| w.change_entry(page(n), |p| (p.young, p.dirty) = (false, false));
        (0..16).filter(|n| *n != 5).for_each(forget);
        w.change_entry(page(9), |perms| perms.write = false);
        protect(w, 2, 10, Prot::READ);
        let remembers = |n: &u64| w.entry(page(*n)).is_young() && w.entry(page(*n)).is_dirty();
        let all: Vec<u64> = (0..16).filter(remembers).collect();
        assert_eq!(all, [2, 3, 4, 5, 6, 7, 8], "up to one that allows something else");
        protect(w, 2, 10, Prot::READ | Prot::WRITE);
        assert!(writable(w, 2) && writable(w, 9));
    });
}
