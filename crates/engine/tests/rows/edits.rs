//! Rows M-01 … M-07 and F-32: what edits of the map do and refuse in 6.18.

use crate::support::{World, evidence, page, row_in};
use gup::addr::PAGE_SIZE;
use gup::errno::Errno;
use gup::flags::{Prot, VmFlags};
use gup::linux::Linux;
use gup::mapping::{
    self, Advice, GrowProt, MmapRequest, MremapFlags, MremapRequest, fork, madvise, mlock, munlock,
    sys,
};
use gup::rule::{Rule, f, m};
use std::sync::atomic::Ordering::Relaxed;

const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Runs the test of `rule` under 6.18.
#[track_caller]
fn edit(rule: Rule, body: impl FnOnce(&World)) {
    row_in(rule, World::new(Linux::V6_18), body);
}
fn map(w: &World, from: u64, to: u64, prot: Prot) {
    let request = MmapRequest::anonymous((to - from) * PAGE_SIZE, prot).at(page(from));
    sys::mmap(&w.mm, &w.task, &request).expect("a place");
}
fn protect(w: &World, from: u64, to: u64, prot: Prot) -> Result<(), Errno> {
    sys::mprotect(&w.mm, &w.task, page(from), (to - from) * PAGE_SIZE, prot, GrowProt::Exact)
}
fn advise(w: &World, from: u64, to: u64, advice: Advice) -> Result<(), Errno> {
    madvise(&w.mm, &w.task, page(from), (to - from) * PAGE_SIZE, advice)
}
/// The areas, as pages from the base of the tests.
fn areas(w: &World) -> Vec<(u64, u64)> {
    let map = w.mm.read();
    let pages =
        |vma: &gup::vma::Vma<_>| (vma.start().pages_from(page(0)), vma.end().pages_from(page(0)));
    map.iter().map(pages).collect()
}
fn has(w: &World, n: u64, flag: VmFlags) -> bool {
    w.mm.read().lookup(page(n)).is_some_and(|vma| vma.flags.contains(flag))
}

#[test]
fn m_01_mprotect_and_munlock_stop_at_the_first_hole_and_keep_what_they_did() {
    edit(m::M_01, |w| {
        map(w, 0, 4, RW);
        map(w, 5, 6, RW);
        assert_eq!(protect(w, 2, 6, Prot::READ), Err(Errno::ENOMEM));
        assert_eq!(areas(w), [(0, 2), (2, 4), (5, 6)]);
        assert!(has(w, 5, VmFlags::WRITE), "not reached");
        mlock(&w.mm, &w.task, page(0), 4 * PAGE_SIZE).expect("no limit");
        assert_eq!(munlock(&w.mm, page(3), 3 * PAGE_SIZE), Err(Errno::ENOMEM));
        assert_eq!(w.mm.locked_vm.load(Relaxed), 3);
    });
}
#[test]
fn m_02_mlock_over_a_hole_locks_up_to_it_and_populates_nothing() {
    edit(m::M_02, |w| {
        map(w, 0, 2, RW);
        map(w, 3, 4, Prot::READ);
        assert_eq!(mlock(&w.mm, &w.task, page(0), 4 * PAGE_SIZE), Err(Errno::ENOMEM));
        assert!(has(w, 1, VmFlags::LOCKED) && !has(w, 3, VmFlags::LOCKED));
        assert!(w.mapped(page(0), false).is_none());
        mlock(&w.mm, &w.task, page(0), 2 * PAGE_SIZE).expect("no hole");
        mlock(&w.mm, &w.task, page(3), PAGE_SIZE).expect("no hole");
        assert!(w.mapped(page(0), true).is_some(), "private and writable: for writing");
        let zero = w.machine.zero_page();
        assert_eq!(w.mapped(page(3), false), Some(zero), "else for reading");
        map(w, 8, 9, Prot::NONE);
        assert_eq!(mlock(&w.mm, &w.task, page(8), PAGE_SIZE), Err(Errno::ENOMEM));
        assert!(has(w, 8, VmFlags::LOCKED), "the flag stays");
    });
}
#[test]
fn m_03_advice_passes_over_holes_and_stops_at_locked_areas() {
    edit(m::M_03, |w| {
        map(w, 0, 2, RW);
        map(w, 3, 6, RW);
        for n in [0, 1, 3, 4, 5] {
            assert!(w.store(page(n), 1));
        }
        assert_eq!(advise(w, 0, 4, Advice::DontNeed), Err(Errno::ENOMEM));
        assert!(w.mapped(page(3), false).is_none(), "past the hole");
        mlock(&w.mm, &w.task, page(5), PAGE_SIZE).expect("no limit");
        for advice in [Advice::DontNeed, Advice::Free, Advice::PageOut] {
            assert_eq!(advise(w, 4, 6, advice), Err(Errno::EINVAL), "{advice:?}");
        }
        assert!(w.mapped(page(4), false).is_none() && w.mapped(page(5), false).is_some());
    });
}
#[test]
fn m_04_a_locked_read_only_area_that_becomes_writable_is_populated() {
    edit(m::M_04, |w| {
        map(w, 0, 2, Prot::READ);
        mlock(&w.mm, &w.task, page(0), 2 * PAGE_SIZE).expect("no limit");
        assert!(w.mapped(page(0), true).is_none());
        assert_eq!(protect(w, 0, 2, RW), Ok(()));
        assert!(w.mapped(page(0), true).is_some() && w.mapped(page(1), true).is_some());
    });
}
#[test]
fn m_05_a_fixed_mremap_moves_several_areas_but_not_from_a_hole() {
    edit(m::M_05, |w| {
        map(w, 0, 2, RW);
        map(w, 3, 4, Prot::READ);
        assert!(w.store(page(1), 7));
        let request = |from: u64, to: u64| MremapRequest {
            addr: page(from),
            old_bytes: 4 * PAGE_SIZE,
            new_bytes: 4 * PAGE_SIZE,
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: page(to),
        };
        let remap = |from, to| sys::mremap(&w.mm, &w.task, &request(from, to));
        assert_eq!(remap(2, 40), Err(Errno::EFAULT));
        assert_eq!(remap(0, 40), Ok(page(40)));
        assert_eq!(areas(w), [(40, 42), (43, 44)]);
        assert_eq!(w.load(page(41)), Some(7));
    });
}
#[test]
fn m_06_areas_merge_when_flags_file_offset_and_anon_vma_allow_it() {
    edit(m::M_06, |w| {
        map(w, 0, 2, RW);
        map(w, 2, 4, RW);
        assert_eq!(areas(w), [(0, 4)], "neither was touched");
        assert!(w.store(page(0), 1));
        map(w, 4, 5, RW);
        assert_eq!(areas(w), [(0, 5)], "one has an anon_vma of its own");
        map(w, 6, 7, RW);
        assert!(w.store(page(6), 1));
        map(w, 5, 6, RW);
        assert_eq!(areas(w), [(0, 6), (6, 7)], "two with different ones stay two");
        protect(w, 0, 1, Prot::READ).expect("a split");
        map(w, 8, 9, Prot::READ);
        map(w, 9, 10, RW);
        protect(w, 9, 10, Prot::READ).expect("untouched");
        assert_eq!(areas(w)[3..], [(8, 10)], "the charge of untouched memory is taken back");
        let child = fork(&mut w.mm.write(), &w.task).expect("memory");
        let request = MmapRequest::anonymous(PAGE_SIZE, RW).at(page(7));
        sys::mmap(&child, &w.task, &request).expect("a place");
        let map = child.read();
        let ends: Vec<_> = map.iter().map(|vma| vma.end().pages_from(page(0))).collect();
        assert_eq!(ends, [1, 6, 7, 8, 10], "inherited by fork: not with untouched memory");
    });
}
#[test]
fn m_07_a_child_has_no_locked_areas() {
    edit(m::M_07, |w| {
        map(w, 0, 2, RW);
        mlock(&w.mm, &w.task, page(0), 2 * PAGE_SIZE).expect("no limit");
        let child = fork(&mut w.mm.write(), &w.task).expect("memory");
        assert!(child.read().iter().all(|vma| !vma.flags.contains(VmFlags::LOCKED)));
        assert!(has(w, 0, VmFlags::LOCKED), "the parent's stay");
    });
}
#[test]
fn f_32_mprotect_makes_exclusive_pages_writable_at_once_and_no_others() {
    edit(f::F_32, |w| {
        map(w, 0, 3, RW);
        assert!(w.store(page(0), 1) && w.store(page(1), 1));
        let child = fork(&mut w.mm.write(), &w.task).expect("memory");
        assert!(w.store(page(0), 2), "a copy of its own again");
        protect(w, 0, 3, Prot::READ).expect("no limit");
        assert!(w.mapped(page(0), true).is_none());
        protect(w, 0, 3, RW).expect("no limit");
        assert!(w.mapped(page(0), true).is_some(), "exclusive");
        assert!(w.mapped(page(1), true).is_none(), "shared with the child");
        drop(child);
    });
}
#[test]
fn f_32_leaves_shared_files_with_dirty_tracking_to_a_fault_unless_dirty() {
    let world = World::new(Linux::V6_18);
    let file = world.file(gup::file::FileKind::Regular, 2, None);
    let flags = gup::flags::MapFlags::SHARED;
    let request = MmapRequest::file(&file, 0, 2 * PAGE_SIZE, RW, flags).at(page(0));
    mapping::mmap(&mut world.mm.write(), &world.task, &request).expect("a place");
    assert!(world.store(page(0), 1) && world.load(page(1)).is_some());
    protect(&world, 0, 2, Prot::READ).expect("no limit");
    protect(&world, 0, 2, RW).expect("no limit");
    assert!(world.mapped(page(0), true).is_some(), "dirty");
    assert!(world.mapped(page(1), true).is_none(), "clean: the first store must be seen");
    evidence(f::F_32, world.seen(f::F_32));
    drop(request);
    drop(file);
    world.end();
}
