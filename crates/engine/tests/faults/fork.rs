//! fork: what the child has, what the parent keeps, and what pins change.

use crate::world::{Disk, RO, RW, RWS, Space, assert_empty, fail_everywhere, page};
use gup::errno::Errno;
use gup::fault::Fault;
use gup::flags::VmFlags;
use gup::linux::Linux;
use gup::mm::Counter;
use gup::pgtable::SwapEntry;
use gup::rule::{f, m};
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn f_09_fork_shares_pages_read_only_and_the_first_store_copies() {
    for linux in [Linux::V4_4, Linux::V6_18] {
        let parent = Space::new(linux);
        let machine = parent.machine();
        parent.anon(0, 4, RW);
        parent.poke(1, 5);
        let child = parent.fork().unwrap();
        assert_eq!((parent.state(1), child.state(1)), ("As2r".into(), "As2r".into()));
        assert_eq!(parent.pfn(1), child.pfn(1));
        assert!(!child.leaf(1).unwrap().1.young);
        assert!(parent.decided(f::F_09, 1));
        assert_eq!(child.mm.rss(Counter::Anon), 1);
        assert_eq!(child.write(1), Fault::WROTE);
        assert_eq!((parent.state(1), child.state(1)), ("As1r".into(), "Ax1w".into()));
        assert_eq!(child.peek(1), 5);
        let kept = parent.pfn(1);
        assert_eq!(parent.write(1), Fault::WROTE, "the last user reuses it");
        assert_eq!((parent.state(1), parent.pfn(1)), ("Ax1w".into(), kept));
        drop((parent, child));
        assert_empty(&machine);
    }
}

/// A pinned page, then fork: states of parent and child, and whether the parent still has the page.
fn pinned(linux: Linux, has_pinned: bool) -> (String, String, bool) {
    let parent = Space::new(linux);
    let machine = parent.machine();
    parent.anon(0, 1, RW);
    parent.poke(0, 8);
    let held = parent.pfn(0);
    machine.frames().pin(held, 1).unwrap();
    parent.mm.has_pinned.store(has_pinned, Relaxed);
    let child = parent.fork().unwrap();
    assert_eq!(child.peek(0), 8);
    assert!(!child.mm.has_pinned.load(Relaxed), "F-19");
    let states = (parent.state(0), child.state(0));
    parent.poke(0, 9);
    let kept = parent.pfn(0) == held;
    machine.unpin_pages(held, 1);
    drop((parent, child));
    assert_empty(&machine);
    (states.0, states.1, kept)
}

#[test]
fn f_10_a_pinned_page_stays_with_the_parent_and_the_child_gets_a_copy() {
    assert_eq!(pinned(Linux::V6_18, true), ("Ax1w".into(), "Ax1w".into(), true));
    assert_eq!(
        pinned(Linux::V6_18, false),
        ("As2r".into(), "As2r".into(), false),
        "without MMF_HAS_PINNED the counts are not looked at"
    );
}

#[test]
fn f_20_v4_4_forgets_the_pin_and_the_parent_loses_its_page() {
    assert_eq!(pinned(Linux::V4_4, true), ("As2r".into(), "As2r".into(), false));
}

#[test]
fn f_11_a_page_that_is_shared_already_is_shared_again_though_pinned() {
    let parent = Space::new(Linux::V6_18);
    let machine = parent.machine();
    parent.anon(0, 1, RW);
    parent.poke(0, 1);
    let first = parent.fork().unwrap();
    let held = parent.pfn(0);
    machine.frames().get(held, 2000).unwrap();
    parent.mm.has_pinned.store(true, Relaxed);
    let second = parent.fork().unwrap();
    assert_eq!(second.state(0), "As3r");
    assert!(parent.decided(f::F_11, 0));
    machine.put_pages(held, 2000);
    drop((parent, first, second));
    assert_empty(&machine);
}

#[test]
fn f_08_an_area_without_an_anon_vma_is_not_copied() {
    let parent = Space::new(Linux::V6_18);
    parent.anon(0, 2, RW);
    let file = parent.regular(2, &Disk::new(1));
    parent.file(8, 10, RW, &file);
    parent.file(16, 18, RWS, &file);
    let _ = (parent.read(0), parent.read(8), parent.read(16));
    let child = parent.fork().unwrap();
    for n in [0, 8, 16] {
        assert_eq!(child.state(n), "-", "page {n}");
        assert!(parent.decided(f::F_08, n));
    }
    assert_eq!(parent.state(0), "Zr");
    let _ = parent.write(9);
    let again = parent.fork().unwrap();
    assert_eq!(again.state(8), "F3r", "with one, the file's pages go along (F-17)");
    assert_eq!(again.state(9), "As2r");
    assert!(parent.decided(f::F_17, 8));
}

#[test]
fn f_08_the_sequence_is_even_again_after_fork() {
    let parent = Space::new(Linux::V6_18);
    parent.anon(0, 1, RW);
    parent.poke(0, 1);
    let before = parent.mm.write_protect_seq.load(Relaxed);
    let _child = parent.fork().unwrap();
    assert_eq!(parent.mm.write_protect_seq.load(Relaxed), before + 2);
}

#[test]
fn f_18_areas_can_be_kept_from_the_child_or_wiped_in_it() {
    let parent = Space::new(Linux::V6_18);
    parent.anon(0, 1, RW | VmFlags::DONTCOPY);
    parent.anon(1, 2, RW | VmFlags::WIPEONFORK);
    parent.poke(0, 1);
    parent.poke(1, 1);
    let child = parent.fork().unwrap();
    assert!(child.mm.read().lookup(page(0)).is_none());
    assert_eq!(child.state(1), "-");
    assert_eq!(child.peek(1), 0);
    assert!(child.mm.read().lookup(page(1)).unwrap().anon_vma().is_none());
    assert_eq!(parent.state(1), "Ax1w");
    assert_eq!(child.mm.total_vm.load(Relaxed), 1);
    assert!(parent.decided(f::F_18, 0) && parent.decided(f::F_18, 1));
}

#[test]
fn m_07_the_child_has_no_locked_areas() {
    let parent = Space::new(Linux::V6_18);
    parent.anon(0, 1, RW | VmFlags::LOCKED | VmFlags::LOCKONFAULT);
    let child = parent.fork().unwrap();
    let flags = child.mm.read().lookup(page(0)).unwrap().flags;
    assert!(!flags.intersects(VmFlags::LOCKED | VmFlags::LOCKONFAULT));
    assert!(parent.decided(m::M_07, 0));
}

#[test]
fn the_childs_anon_vma_is_inherited() {
    let parent = Space::new(Linux::V6_18);
    parent.anon(0, 1, RW);
    parent.poke(0, 1);
    let child = parent.fork().unwrap();
    let anon = |space: &Space| space.mm.read().lookup(page(0)).unwrap().anon_vma().unwrap();
    assert!(anon(&child).inherited && !anon(&parent).inherited);
    assert_ne!(anon(&child).id, anon(&parent).id);
}

#[test]
fn guard_regions_are_copied_with_the_pages_around_them() {
    let parent = Space::new(Linux::V6_18);
    parent.anon(0, 2, RW);
    parent.poke(0, 1);
    let tables = parent.mm.tables();
    let place = tables.make(page(1), 0).unwrap();
    tables.store(place, gup::pgtable::Entry::swap(SwapEntry::Guard));
    let child = parent.fork().unwrap();
    assert_eq!(child.swap_entry(1), Some(SwapEntry::Guard));
}

#[test]
fn shared_writable_pages_stay_writable_on_both_sides() {
    let parent = Space::new(Linux::V6_18);
    let memfd = parent.memfd(1);
    parent.file(0, 1, RWS, &memfd);
    // Shared areas have an anon_vma only where a private past left one; the copy is forced by it.
    let anon = gup::vma::AnonVma { id: 99, inherited: false };
    parent.mm.read().lookup(page(0)).unwrap().set_anon_vma_if_none(anon);
    let _ = parent.write(0);
    let child = parent.fork().unwrap();
    assert_eq!((parent.state(0), child.state(0)), ("F2w".into(), "F2w".into()));
    assert!(!child.leaf(0).unwrap().1.dirty);
}

#[test]
fn f_12_a_fork_that_fails_leaves_nothing_behind() {
    fail_everywhere(Linux::V6_18, |parent| {
        parent.anon(0, 4, RW);
        parent.anon(600, 604, RO);
        for n in [0, 1, 600, 601] {
            if !matches!(parent.write(n), Fault::Done { .. }) {
                return;
            }
        }
        let held = parent.pfn(1);
        let machine = parent.machine();
        machine.frames().pin(held, 1).unwrap();
        parent.mm.has_pinned.store(true, Relaxed);
        match parent.fork() {
            Ok(child) => assert_eq!(child.state(1), "Ax1w"),
            Err(errno) => assert_eq!(errno, Errno::ENOMEM),
        }
        assert_eq!(parent.pfn(1), held);
        assert_eq!(parent.state(1), "Ax1w", "the pinned page was not touched");
        machine.unpin_pages(held, 1);
    });
}
