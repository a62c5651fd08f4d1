//! Each edit by its effect on areas and pages.

use crate::world::{R, RW, Space, bytes, page};
use gup::addr::VirtAddr;
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{FaultFlags, MapFlags, Prot, VmFlags};
use gup::mapping::{
    Advice, MclFlags, MmapRequest, MremapFlags, MremapRequest, mlockall, munlockall, sys,
};
use gup::rule;
use std::sync::atomic::Ordering::Relaxed;

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

fn moved(from: u64, old: u64, new: u64, flags: MremapFlags, to: u64) -> MremapRequest {
    MremapRequest {
        addr: page(from),
        old_bytes: bytes(old),
        new_bytes: bytes(new),
        flags,
        new_addr: page(to),
    }
}
const TO: MremapFlags = MremapFlags::MAYMOVE.union(MremapFlags::FIXED);

#[test]
fn mremap_moves_pages_and_frees_what_was_there() {
    let space = Space::modern();
    space.anon(0, 8, RW);
    space.touch(2, 6);
    let frames: Vec<_> = (2..6).map(|n| space.leaf(n).expect("present").0).collect();
    assert_eq!(space.mremap(&moved(2, 4, 4, TO, 600)), Ok(page(600)));
    assert_eq!(space.maps(), "0-2 rw-p, 6-8 rw-p, 600-604 rw-p");
    let now: Vec<_> = (600..604).map(|n| space.leaf(n).expect("present").0).collect();
    assert_eq!(frames, now, "the same frames");
    assert_eq!(space.mremap(&moved(600, 4, 4, TO, 2)), Ok(page(2)));
    assert_eq!(space.maps(), "0-8 rw-p", "back, and one again");
}

#[test]
fn mremap_grows_in_place_if_it_can_and_moves_if_it_may() {
    let space = Space::modern();
    space.anon(0, 4, RW);
    space.anon(6, 7, R);
    space.touch(0, 4);
    assert_eq!(space.mremap(&moved(0, 4, 6, MremapFlags::empty(), 0)), Ok(page(0)));
    assert_eq!(space.maps(), "0-6 rw-p, 6-7 r--p");
    assert_eq!(space.mremap(&moved(0, 6, 8, MremapFlags::empty(), 0)), Err(Errno::ENOMEM));
    let at = space.mremap(&moved(0, 6, 8, MremapFlags::MAYMOVE, 0)).expect("room elsewhere");
    assert_eq!(at, space.mm().read().mmap_base.wrapping_sub(bytes(8)));
    assert_eq!(space.mm().total_vm.load(Relaxed), 9);
    let shrunk = MremapRequest { addr: at, ..moved(0, 8, 1, MremapFlags::empty(), 0) };
    assert_eq!(space.mremap(&shrunk), Ok(at));
    assert_eq!(space.mm().total_vm.load(Relaxed), 2);
}

#[test]
fn mremap_dontunmap_leaves_an_empty_area_behind() {
    let space = Space::modern();
    space.anon(0, 4, RW);
    space.touch(0, 4);
    assert_eq!(space.mremap(&moved(0, 4, 4, TO | MremapFlags::DONTUNMAP, 100)), Ok(page(100)));
    assert_eq!(space.maps(), "0-4 rw-p, 100-104 rw-p");
    assert_eq!((space.entries(0, 4), space.entries(100, 104)), ("----".into(), "AAAA".into()));
}

#[test]
fn mremap_of_no_length_maps_shared_memory_twice() {
    let space = Space::modern();
    let file = space.file(FileKind::Shmem, 4);
    let request = MmapRequest::file(&file, 0, bytes(4), RW, MapFlags::SHARED).at(page(0));
    assert_eq!(space.mmap(&request), Ok(page(0)));
    assert_eq!(space.mremap(&moved(1, 0, 2, TO, 100)), Ok(page(100)));
    assert_eq!(space.maps(), "0-4 rw-s@0, 100-102 rw-s@1");
}

#[test]
fn m_05_several_areas_move_at_once_with_the_gaps_between_them() {
    let space = Space::modern();
    space.anon(0, 2, RW);
    space.anon(3, 5, R);
    space.touch(0, 2);
    assert_eq!(space.mremap(&moved(0, 6, 6, TO, 100)), Ok(page(100)));
    assert_eq!(space.maps(), "100-102 rw-p, 103-105 r--p");
    assert!(space.decided(rule::m::M_05, 3));
    assert_eq!(space.mremap(&moved(99, 6, 6, TO, 200)), Err(Errno::EFAULT), "a hole at the start");
}

#[test]
fn mlock_populates_and_stops_at_the_first_hole() {
    let space = Space::modern();
    space.anon(0, 2, RW);
    space.anon(3, 4, RW);
    assert_eq!(space.mlock(0, 2), Ok(()));
    assert_eq!(space.entries(0, 2), "AA", "for writing: it is private and writable");
    assert_eq!(space.munlock(0, 2), Ok(()));
    assert_eq!(space.mm().locked_vm.load(Relaxed), 0);
    assert_eq!(space.mlock(1, 4), Err(Errno::ENOMEM));
    assert_eq!(space.mm().locked_vm.load(Relaxed), 1, "up to the hole (M-02)");
    assert_eq!(space.entries(3, 4), "-", "nothing is populated then");
    space.anon(8, 9, Prot::NONE);
    assert_eq!(space.mlock(8, 9), Err(Errno::ENOMEM), "no access at all");
    assert_eq!(space.mm().locked_vm.load(Relaxed), 2, "the flag stays");
}

#[test]
fn m_04_locked_memory_that_becomes_writable_is_populated() {
    let space = Space::modern();
    space.anon(0, 2, R);
    assert_eq!(space.mlock(0, 2), Ok(()));
    assert_eq!(space.entries(0, 2), "ZZ");
    let exact = gup::mapping::GrowProt::Exact;
    assert_eq!(sys::mprotect(space.mm(), &space.task, page(0), bytes(2), RW, exact), Ok(()));
    assert_eq!(space.entries(0, 2), "AA");
    assert!(space.decided(rule::m::M_04, 0));
}

#[test]
fn mlockall_locks_what_is_and_what_will_be() {
    let space = Space::modern();
    space.anon(0, 2, RW);
    let all = MclFlags::CURRENT | MclFlags::FUTURE;
    assert_eq!(mlockall(space.mm(), &space.task, all), Ok(()));
    let request = MmapRequest::anonymous(bytes(2), RW).at(page(4));
    assert_eq!(sys::mmap(space.mm(), &space.task, &request), Ok(page(4)));
    assert_eq!((space.entries(0, 2), space.entries(4, 6)), ("AA".into(), "AA".into()));
    assert_eq!(space.mm().locked_vm.load(Relaxed), 4);
    munlockall(space.mm());
    assert_eq!(space.mm().locked_vm.load(Relaxed), 0);
    assert!(space.mm().read().def_flags.is_empty());
}

#[test]
fn brk_grows_shrinks_and_refuses_in_silence() {
    let space = Space::modern();
    {
        let mut map = space.mm().write();
        (map.start_brk, map.brk) = (page(0), page(0));
    }
    space.anon(8, 9, RW);
    let brk = |addr: VirtAddr| sys::brk(space.mm(), &space.task, addr);
    assert_eq!(brk(VirtAddr::new(0)), page(0));
    assert_eq!(brk(page(2).wrapping_add(7)), page(2).wrapping_add(7));
    assert_eq!(space.maps(), "0-3 rw-p, 8-9 rw-p");
    assert_eq!(brk(page(3)), page(3), "the same pages");
    assert_eq!(brk(page(8)), page(3), "a page must stay free below the next area");
    assert_eq!(brk(page(7)), page(7));
    assert_eq!(brk(page(1)), page(1));
    assert_eq!(space.maps(), "0-1 rw-p, 8-9 rw-p");
    assert_eq!(brk(VirtAddr::new(u64::MAX)), page(1));
    assert_eq!(brk(page(0)), page(0));
}

#[test]
fn dontneed_drops_pages_over_holes_and_stops_at_locked_areas() {
    let space = Space::modern();
    space.anon(0, 2, RW);
    space.anon(3, 6, RW);
    space.touch(0, 2);
    space.touch(3, 6);
    assert_eq!(space.mlock(5, 6), Ok(()));
    assert_eq!(space.madvise(1, 4, Advice::DontNeed), Err(Errno::ENOMEM), "at the end (M-03)");
    assert_eq!((space.entries(0, 2), space.entries(3, 6)), ("A-".into(), "-AA".into()));
    assert_eq!(space.madvise(3, 6, Advice::DontNeed), Err(Errno::EINVAL));
    assert_eq!(space.entries(3, 6), "--A", "the area before it is done");
    assert!(space.decided(rule::m::M_03, 5));
    assert_eq!(space.madvise(5, 6, Advice::DontNeedLocked), Ok(()));
    assert_eq!(space.entries(3, 6), "---");
}

#[test]
fn free_makes_pages_lazy_and_cleans_their_entries() {
    let space = Space::modern();
    space.anon(0, 2, RW);
    space.touch(0, 2);
    assert_eq!(space.madvise(0, 1, Advice::Free), Ok(()));
    let (pfn, perms) = space.leaf(0).expect("still there");
    assert!(!perms.dirty && !perms.young);
    assert!(space.machine.frames().has(pfn, gup::frame::FrameFlags::LAZYFREE_BATCH));
    assert_eq!(space.madvise(0, 2, Advice::PageOut), Ok(()));
    assert_eq!(space.entries(0, 2), "-A", "the lazy one is gone; there is no swap for the other");
}

#[test]
fn guards_outlive_dontneed_and_go_with_their_area() {
    let space = Space::modern();
    space.anon(0, 4, RW);
    space.touch(0, 4);
    assert_eq!(space.madvise(1, 3, Advice::GuardInstall), Ok(()));
    assert_eq!(space.entries(0, 4), "AGGA");
    assert_eq!(space.madvise(0, 4, Advice::DontNeed), Ok(()));
    assert_eq!(space.entries(0, 4), "-GG-");
    assert_eq!(space.fault(1, FaultFlags::WRITE), gup::fault::Fault::SIGSEGV);
    let child = gup::mapping::fork(&mut space.mm().write(), &space.task).expect("memory");
    let guarded = child.tables().walk(page(2)).entry;
    assert_eq!(guarded, space.mm().tables().walk(page(2)).entry, "fork copies them");
    drop(child);
    assert_eq!(space.madvise(0, 2, Advice::GuardRemove), Ok(()));
    assert_eq!(space.entries(0, 4), "--G-");
}

#[test]
fn advice_about_areas_splits_and_merges_them() {
    let space = Space::modern();
    space.anon(0, 4, RW);
    for (set, clear, flag) in [
        (Advice::DontFork, Advice::DoFork, VmFlags::DONTCOPY),
        (Advice::WipeOnFork, Advice::KeepOnFork, VmFlags::WIPEONFORK),
        (Advice::DontDump, Advice::DoDump, VmFlags::DONTDUMP),
        (Advice::Mergeable, Advice::Unmergeable, VmFlags::MERGEABLE),
        (Advice::Sequential, Advice::Normal, VmFlags::SEQ_READ),
        (Advice::Random, Advice::Normal, VmFlags::RAND_READ),
    ] {
        assert_eq!(space.madvise(1, 2, set), Ok(()));
        let flags = space.mm().read().lookup(page(1)).expect("an area").flags;
        assert!(flags.contains(flag), "{set:?}");
        assert_eq!(space.maps(), "0-1 rw-p, 1-2 rw-p, 2-4 rw-p");
        assert_eq!(space.madvise(1, 2, clear), Ok(()));
        assert_eq!(space.maps(), "0-4 rw-p", "{clear:?}");
    }
    assert_eq!(space.madvise(1, 2, Advice::HugePage), Ok(()));
    assert_eq!(space.madvise(2, 3, Advice::NoHugePage), Ok(()));
    assert_eq!(space.maps(), "0-1 rw-p, 1-2 rw-p, 2-3 rw-p, 3-4 rw-p");
}

#[test]
fn populating_advice_faults_in_and_tells_holes() {
    let space = Space::modern();
    space.anon(0, 2, RW);
    assert_eq!(space.madvise(0, 1, Advice::PopulateRead), Ok(()));
    assert_eq!(space.madvise(1, 2, Advice::PopulateWrite), Ok(()));
    assert_eq!(space.entries(0, 2), "ZA");
    assert_eq!(space.madvise(0, 3, Advice::PopulateRead), Err(Errno::ENOMEM));
}

#[test]
fn guards_in_files_are_copied_by_fork_and_keep_no_areas_apart() {
    let space = Space::modern();
    let file = space.file(FileKind::Shmem, 4);
    let request = MmapRequest::file(&file, 0, bytes(4), RW, MapFlags::SHARED).at(page(0));
    assert_eq!(space.mmap(&request), Ok(page(0)));
    assert_eq!(space.madvise(1, 2, Advice::GuardInstall), Ok(()));
    let child = gup::mapping::fork(&mut space.mm().write(), &space.task).expect("memory");
    assert!(!child.tables().walk(page(1)).entry.is_none(), "the guard");
    drop(child);
    space.anon(8, 10, RW);
    assert_eq!(space.madvise(8, 9, Advice::GuardInstall), Ok(()));
    space.anon(10, 12, RW);
    assert_eq!(space.maps(), "0-4 rw-s@0, 8-12 rw-p");
    let map = space.mm().read();
    assert!(map.lookup(page(11)).is_some_and(|vma| vma.flags.contains(VmFlags::MAYBE_GUARD)));
}
