//! Rows F-01 … F-07: whose a page is.

use crate::six::row6;
use crate::stage::{
    advise, child, exclusive, frame, get, is_exclusive, out, pin, protect, swap_cached, swap_entry,
    swap_on, writable,
};
use crate::support::{page, rw};
use gup::fault::PageOut;
use gup::flags::{FaultFlags, Foll, Prot};
use gup::frame::FrameFlags;
use gup::mapping::Advice;
use gup::pgtable::SwapEntry;
use gup::rule::f;

#[test]
fn f_01_new_copied_reused_and_read_back_pages_are_exclusive() {
    row6(f::F_01, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        assert!(exclusive(w, 0), "new");
        let old = frame(w, 0);
        let other = child(w);
        assert!(!exclusive(w, 0));
        other.store(page(0), 2);
        assert!(frame(&other, 0) != old && exclusive(&other, 0), "copied");
        assert!(!exclusive(w, 0), "the one left does not know yet");
        w.store(page(0), 3);
        assert!(frame(w, 0) == old && exclusive(w, 0), "reused");
        swap_on(w);
        assert_eq!(out(w, 0), PageOut::Out);
        assert_eq!(w.load(page(0)), Some(3));
        assert!(exclusive(w, 0), "read back");
    });
}
#[test]
fn f_02_fork_and_swap_out_end_exclusivity_and_mprotect_does_not() {
    row6(f::F_02, |w| {
        swap_on(w);
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 1)));
        let held = get(w, Foll::WRITE, 1, 1);
        assert_eq!(out(w, 1), PageOut::Kept);
        assert!(!is_exclusive(w, held.frames[0]), "swapped out, though still in memory");
        assert!(matches!(swap_entry(w, 1), Some(SwapEntry::Swap { exclusive: true, .. })));
        protect(w, 2, 1, Prot::READ);
        assert!(exclusive(w, 2) && !writable(w, 2));
        let _child = child(w);
        assert!(!exclusive(w, 0) && !exclusive(w, 2));
    });
}
#[test]
fn f_03_a_page_that_may_be_pinned_does_not_lose_its_exclusivity() {
    row6(f::F_03, |w| {
        swap_on(w);
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = swap_cached(w, 0);
        let pinned = pin(w, Foll::WRITE, 0, 1);
        assert_eq!(pinned.frames, [pfn]);
        assert_eq!(out(w, 0), PageOut::Kept);
        assert_eq!(w.mapped(page(0), true), Some(pfn));
        assert!(exclusive(w, 0));
        drop(pinned);
        assert_eq!(out(w, 0), PageOut::Out, "unpinned, it goes");
    });
}
#[test]
fn f_04_a_writable_anonymous_entry_has_an_exclusive_page_but_not_the_other_way_round() {
    row6(f::F_04, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        drop(child(w));
        assert!(!exclusive(w, 0) && !writable(w, 0));
        w.forget();
        w.store(page(0), 2);
        assert!(w.seen(f::F_04).is_some() && exclusive(w, 0) && writable(w, 0));
        protect(w, 0, 1, Prot::READ);
        assert!(exclusive(w, 0) && !writable(w, 0));
    });
}
#[test]
fn f_05_a_shared_anonymous_page_is_unshared_before_it_is_pinned() {
    row6(f::F_05, |w| {
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 7)));
        let other = child(w);
        let pinned = [pin(w, Foll::empty(), 0, 1), pin(w, Foll::WRITE, 1, 1)];
        for (n, held) in (0..2).zip(&pinned) {
            assert_eq!(frame(w, n), held.frames[0]);
            assert_ne!(frame(w, n), frame(&other, n), "its own");
            assert!(exclusive(w, n) && w.byte(held.frames[0]) == 7);
            assert_eq!(w.machine.frames().pins(frame(&other, n)), 0);
        }
        assert!(!writable(w, 0) && writable(w, 1));
        let there = frame(w, 0);
        w.store(page(0), 8);
        assert_eq!(frame(w, 0), there, "the pin sees what the process stores");
    });
}
#[test]
fn f_06_a_reference_on_a_shared_page_keeps_the_old_page_after_copy_on_write() {
    row6(f::F_06, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let other = child(w);
        let held = get(w, Foll::empty(), 0, 1);
        assert_eq!(held.frames, [frame(w, 0)], "nothing was unshared");
        w.store(page(0), 2);
        assert_ne!(held.frames, [frame(w, 0)]);
        assert_eq!((w.byte(held.frames[0]), held.frames[0]), (1, frame(&other, 0)));
        drop(other);
        assert_eq!(w.byte(held.frames[0]), 1, "it lives on with the reference");
    });
}
#[test]
fn f_07_a_page_merged_by_ksm_is_unshared_before_it_is_pinned_and_never_reused() {
    row6(f::F_07, |w| {
        let merged = |w: &crate::support::World, n| {
            w.store(page(n), 5);
            let pfn = frame(w, n);
            w.machine.frames().set(pfn, FrameFlags::KSM);
            w.machine.frames().clear(pfn, FrameFlags::ANON_EXCLUSIVE);
            w.change_entry(page(n), |perms| perms.write = false);
            pfn
        };
        w.area(0, 2, rw());
        let (first, second) = (merged(w, 0), merged(w, 1));
        w.forget();
        let held = pin(w, Foll::empty(), 0, 1);
        assert!(held.frames != [first] && exclusive(w, 0) && w.byte(held.frames[0]) == 5);
        assert_eq!(w.faults(), [FaultFlags::UNSHARE]);
        w.store(page(1), 6);
        assert_ne!(frame(w, 1), second, "though its only reference was this entry's");
        advise(w, 0, 2, Advice::DontNeed);
    });
}
