//! Each edit by its effect on areas and pages.

use crate::world::{R, RW, Space, bytes};
use gup::errno::Errno;
use gup::flags::Prot;
use gup::mapping::MmapRequest;
use gup::rule;

#[test]
fn areas_that_meet_and_are_alike_are_one() {
    let space = Space::modern();
    space.anon(0, 4, RW);
    space.anon(8, 12, RW);
    assert_eq!(space.maps(), "0-4 rw-p, 8-12 rw-p");
    space.anon(4, 8, RW);
    assert_eq!(space.maps(), "0-12 rw-p");
    assert!(space.decided(rule::m::M_06, 4));
}

#[test]
fn mappings_without_an_address_go_below_one_another() {
    let space = Space::modern();
    let first = space.mmap(&MmapRequest::anonymous(bytes(3), RW)).expect("room");
    let base = space.mm().read().mmap_base;
    assert_eq!(first, base.wrapping_sub(bytes(3)));
    let second = space.mmap(&MmapRequest::anonymous(bytes(2), R)).expect("room");
    assert_eq!(second, first.wrapping_sub(bytes(2)));
}

#[test]
fn a_hole_splits_an_area_and_frees_its_pages_and_tables() {
    let space = Space::modern();
    let before = space.machine.frames().stats();
    space.anon(0, 8, RW);
    space.touch(0, 8);
    assert_eq!(space.munmap(2, 4), Ok(()));
    assert_eq!(space.maps(), "0-2 rw-p, 4-8 rw-p");
    assert!(space.leaf(2).is_none() && space.leaf(4).is_some());
    assert_eq!(space.munmap(0, 8), Ok(()));
    assert_eq!(space.machine.frames().stats(), before, "tables are freed too");
}

#[test]
fn mprotect_splits_stops_at_holes_and_merges_again() {
    let space = Space::modern();
    space.anon(0, 8, RW);
    space.touch(0, 8);
    assert_eq!(space.mprotect(2, 4, R), Ok(()));
    assert_eq!(space.maps(), "0-2 rw-p, 2-4 r--p, 4-8 rw-p");
    assert!(!space.leaf(2).expect("present").1.write);
    assert_eq!(space.mprotect(2, 4, RW), Ok(()));
    assert_eq!(space.maps(), "0-8 rw-p");
    assert!(space.leaf(2).expect("present").1.write, "exclusive: writable at once (F-32)");
    assert!(space.decided(rule::f::F_32, 2));
    assert_eq!(space.munmap(6, 7), Ok(()));
    assert_eq!(space.mprotect(5, 8, Prot::NONE), Err(Errno::ENOMEM));
    assert_eq!(space.maps(), "0-5 rw-p, 5-6 ---p, 7-8 rw-p", "what was done stays (M-01)");
    assert!(space.leaf(5).expect("present").1.protnone);
}
