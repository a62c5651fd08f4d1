//! Anonymous memory: first touch, copy on write, unsharing, unmapping, v4.4's guard page.

use crate::world::{RO, RW, RWS, Space, assert_empty, fail_everywhere, page, pages};
use gup::addr::PAGE_SIZE;
use gup::fault::Fault;
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::linux::Linux;
use gup::mm::Counter;
use gup::rule::{a, c, f};
use std::sync::atomic::Ordering::Relaxed;

const BOTH: [Linux; 2] = [Linux::V4_4, Linux::V6_18];

#[test]
fn a_read_of_untouched_memory_maps_the_zero_page_and_counts_nothing() {
    for linux in BOTH {
        let space = Space::new(linux);
        space.anon(0, 4, RW);
        assert_eq!(space.read(1), Fault::MINOR);
        assert_eq!(space.state(1), "Zr");
        assert_eq!(space.pfn(1), space.machine().zero_page());
        assert_eq!(space.mm.rss(Counter::Anon), 0);
        assert_eq!(space.refs(1), 1, "the zero page is never counted");
        assert!(space.mm.read().lookup(page(1)).unwrap().anon_vma().is_none());
    }
}

#[test]
fn f_01_a_write_to_untouched_memory_gets_a_zeroed_page_of_its_own() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 4, RW);
    assert_eq!(space.write(2), Fault::MINOR, "nothing was copied or reused");
    assert_eq!(space.state(2), "Ax1w");
    assert!(space.leaf(2).unwrap().1.dirty);
    assert_eq!((space.refs(2), space.mm.rss(Counter::Anon)), (1, 1));
    assert_eq!(space.peek(2), 0);
    assert!(space.decided(f::F_01, 2));
    assert!(space.mm.read().lookup(page(2)).unwrap().anon_vma().is_some());
}

#[test]
fn a_write_after_a_read_replaces_the_zero_page() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 1, RW);
    assert_eq!(space.read(0), Fault::MINOR);
    assert_eq!(space.write(0), Fault::WROTE, "the zero page was copied");
    assert_eq!(space.state(0), "Ax1w");
    assert_eq!(space.peek(0), 0);
    assert!(space.decided(f::F_31, 0));
    assert_eq!(space.machine().frames().refs(space.machine().zero_page()), 1);
}

#[test]
fn a_forced_write_to_read_only_memory_is_exclusive_but_not_writable() {
    let space = Space::new(Linux::V4_4);
    space.anon(0, 1, RO);
    assert_eq!(space.write(0), Fault::MINOR, "a new page is no COW");
    assert_eq!(space.state(0), "Ax1r");
    assert!(!space.leaf(0).unwrap().1.dirty);
    assert_eq!(space.write(0), Fault::WROTE, "v4.4's VM_FAULT_WRITE comes with the second fault");
    assert_eq!(space.state(0), "Ax1r");
    assert!(space.leaf(0).unwrap().1.dirty);
}

#[test]
fn f_21_an_exclusive_page_is_reused_whatever_its_references() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 1, RO);
    let _ = space.write(0);
    let old = space.pfn(0);
    space.machine().frames().get(old, 5).unwrap();
    assert_eq!(space.write(0), Fault::WROTE);
    assert_eq!(space.pfn(0), old);
    assert!(space.decided(f::F_21, 0));
    space.machine().put_pages(old, 5);
}

#[test]
fn f_23_a_shared_page_is_reused_only_by_its_last_user() {
    for (extra, reused) in [(0, true), (1, false)] {
        let space = Space::new(Linux::V6_18);
        space.anon(0, 1, RO);
        let _ = space.write(0);
        let old = space.pfn(0);
        let machine = space.machine();
        machine.frames().clear(old, FrameFlags::ANON_EXCLUSIVE);
        machine.frames().get(old, extra).unwrap();
        assert_eq!(space.write(0), Fault::WROTE);
        assert_eq!(space.pfn(0) == old, reused, "{extra} further references");
        assert_eq!(space.decided(f::F_23, 0), reused);
        assert_eq!(space.state(0), "Ax1r");
        machine.put_pages(old, extra);
        drop(space);
        assert_empty(&machine);
    }
}

#[test]
fn f_27_unsharing_gives_an_exclusive_copy_that_stays_read_only() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 2, RW);
    let _ = (space.read(0), space.write(1));
    assert_eq!(space.unshare(0), Fault::MINOR);
    assert_eq!(space.state(0), "Ax1r", "the zero page was replaced by a copy");
    assert!(!space.leaf(0).unwrap().1.dirty);
    assert!(space.decided(f::F_27, 0));
    let before = space.leaf(1);
    assert_eq!(space.unshare(1), Fault::MINOR);
    assert_eq!(space.leaf(1), before, "a writable page is not shared");
}

#[test]
fn c_55_faults_that_contradict_the_area_are_refused() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 1, RW - VmFlags::MAYWRITE);
    assert_eq!(space.write(0), Fault::SIGSEGV);
    assert!(space.decided(c::C_55, 0));
    space.anon(1, 2, RW);
    assert_eq!(space.fault(1, FaultFlags::WRITE | FaultFlags::UNSHARE), Fault::SIGSEGV);
    assert_eq!(space.state(1), "-");
}

#[test]
fn an_anonymous_area_that_is_shared_has_no_pages() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 1, RWS);
    assert_eq!(space.read(0), Fault::SIGBUS);
}

#[test]
fn c_54_faults_are_charged_to_the_task_on_6_18_only() {
    for (linux, minor, major) in [(Linux::V4_4, 0, 0), (Linux::V6_18, 1, 1)] {
        let space = Space::new(linux);
        space.anon(0, 2, RW);
        let _ = space.read(0);
        let _ = space.fault(1, FaultFlags::ALLOW_RETRY | FaultFlags::TRIED);
        assert_eq!(space.task.min_flt.load(Relaxed), minor);
        assert_eq!(space.task.maj_flt.load(Relaxed), major, "a second attempt counts as major");
        assert_eq!(space.decided(c::C_54, 0), linux == Linux::V6_18);
    }
}

#[test]
fn f_45_unmapping_leaves_the_page_to_whoever_still_holds_it() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 4, RW);
    space.poke(1, 7);
    space.poke(2, 8);
    let held = space.pfn(1);
    let machine = space.machine();
    machine.frames().pin(held, 1).unwrap();
    space.zap(0, 4);
    assert_eq!((space.state(1), space.state(2)), ("-".into(), "-".into()));
    assert_eq!(space.mm.rss(Counter::Anon), 0);
    assert_eq!(machine.frames().kind(held), Kind::Anon, "the pin keeps it");
    assert_eq!(space.peek(1), 0, "a later fault finds another page");
    assert_ne!(space.pfn(1), held);
    machine.unpin_pages(held, 1);
    drop(space);
    assert_empty(&machine);
}

#[test]
fn a_48_the_lowest_page_of_a_stack_grows_it_by_one_more_on_v4_4_only() {
    for (linux, start) in [(Linux::V4_4, 7), (Linux::V6_18, 8)] {
        let space = Space::new(linux);
        space.anon(8, 12, RW | VmFlags::GROWSDOWN);
        assert_eq!(space.write(8), Fault::MINOR);
        assert_eq!(space.mm.read().lookup(page(9)).unwrap().start(), page(start));
        assert_eq!(space.state(8), "Ax1w");
        assert_eq!(space.decided(a::A_48, 8), linux == Linux::V4_4);
    }
}

#[test]
fn a_48_a_stack_that_touches_another_area_cannot_take_its_guard_page() {
    let space = Space::new(Linux::V4_4);
    space.anon(4, 8, RW);
    space.anon(8, 12, RW | VmFlags::GROWSDOWN);
    assert_eq!(space.write(8), Fault::SIGSEGV);
    assert_eq!(space.state(8), "-");
    assert_eq!(space.write(9), Fault::MINOR);
}

#[test]
fn c_56_a_droppable_area_retries_instead_of_failing() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 1, RW | VmFlags::DROPPABLE);
    space.machine().host().points_left.store(0, Relaxed);
    assert_eq!(space.write(0), Fault::MINOR);
    assert_eq!(space.state(0), "-");
    assert!(space.decided(c::C_56, 0));
}

#[test]
fn adjacent_areas_that_differ_in_access_only_share_an_anon_vma() {
    let space = Space::new(Linux::V6_18);
    space.anon(0, 2, RW);
    space.anon(2, 4, RO);
    space.anon(4, 6, RW | VmFlags::LOCKED);
    for n in [0, 3, 5] {
        let _ = space.write(n);
    }
    let map = space.mm.read();
    let anon = |n| map.lookup(page(n)).unwrap().anon_vma().unwrap().id;
    assert_eq!(anon(0), anon(3));
    assert_ne!(anon(0), anon(5));
}

#[test]
fn no_failed_allocation_leaks_or_changes_a_count() {
    fail_everywhere(Linux::V6_18, |space| {
        space.anon(0, 8, RW);
        for n in 0..8 {
            let _ = space.read(n);
            let before = (space.state(n), space.mm.rss(Counter::Anon));
            if space.write(n) == Fault::OOM {
                assert_eq!((space.state(n), space.mm.rss(Counter::Anon)), before);
            }
            let _ = space.unshare(n);
        }
        space.zap(2, 5);
        assert!(pages(2, 5).iter_pages().all(|at| at.get() % PAGE_SIZE == 0));
    });
}
