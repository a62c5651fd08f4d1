//! File and shared-memory faults: fault-around, private copies, slow and failing stores,
//! truncation.

use crate::world::{DISK, Disk, RO, RW, RWS, Space, assert_empty, fail_everywhere, page};
use gup::fault::{Fault, FaultError};
use gup::file::{FileKind, Slot};
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{AllocFlags, FrameFlags, Kind};
use gup::host::{Memory, ReadMode, WaitMode, Woken};
use gup::linux::Linux;
use gup::mm::Counter;
use gup::rule::{f, m};
use gup::vma::{Backing, Special};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

const MAJOR: Fault = Fault::Done { major: true, wrote: false };

#[test]
fn a_page_that_is_not_cached_is_a_major_fault_and_a_cached_one_minor() {
    let space = Space::new(Linux::V6_18);
    let file = space.regular(4, &Disk::new(0x33));
    space.file(0, 4, RW, &file);
    space.file(8, 12, RW, &file);
    assert_eq!(space.read(1), MAJOR);
    assert_eq!(space.state(1), "F1r");
    assert_eq!(space.peek(1), 0x33);
    assert_eq!(space.read(9), Fault::MINOR);
    assert_eq!((space.state(9), space.pfn(9)), ("F2r".into(), space.pfn(1)));
    assert_eq!(space.mm.rss(Counter::File), 2);
    assert_eq!(space.refs(1), 3, "the cache and two entries");
}

#[test]
fn m_08_a_read_maps_the_cached_pages_of_its_window() {
    let space = Space::new(Linux::V6_18);
    let file = space.regular(64, &Disk::new(1));
    let machine = space.machine();
    for index in [0, 3, 15, 16, 20] {
        let page = file.load(&machine, index, ReadMode::Block).unwrap();
        machine.put_page(page);
    }
    space.file(0, 64, RO, &file);
    assert_eq!(space.read(3), Fault::MINOR);
    let mapped: Vec<u64> = (0..64).filter(|n| space.state(*n) != "-").collect();
    assert_eq!(mapped, [0, 3, 15], "nothing outside the aligned 16 pages, nothing uncached");
    assert!(space.decided(m::M_08, 15));
    assert_eq!(space.mm.rss(Counter::File), 3);
}

#[test]
fn m_08_an_entry_that_allows_stores_is_dirty_where_its_page_is() {
    for (linux, knows) in [(Linux::V6_18, true), (Linux::V4_4, false)] {
        let space = Space::new(linux);
        let memfd = space.memfd(4);
        space.file(0, 4, RWS, &memfd);
        space.file(16, 20, RWS, &memfd);
        space.file(32, 36, RW, &memfd);
        space.poke(1, 1);
        assert_eq!([2, 18, 34].map(|n| space.read(n)), [Fault::MINOR; 3]);
        let dirty = |n| space.mm.tables().walk(page(n)).entry.is_dirty();
        let all = [1, 2, 17, 18, 33, 34].map(dirty);
        assert_eq!(all, [true, false, knows, false, false, false], "{linux:?}");
    }
}

#[test]
fn a_private_store_copies_the_page_and_leaves_the_file_alone() {
    let space = Space::new(Linux::V4_4);
    let file = space.regular(4, &Disk::new(0x33));
    space.file(0, 4, RW, &file);
    assert_eq!(space.write(0), MAJOR, "do_cow_fault does not say VM_FAULT_WRITE");
    assert_eq!(space.state(0), "Ax1w");
    space.poke(0, 9);
    assert_eq!(space.read(1), MAJOR);
    assert_eq!(space.write(1), Fault::WROTE, "breaking COW does");
    assert_eq!(space.state(1), "Ax1w");
    let mut bytes = [0; 2];
    assert_eq!(file.read_at(&space.machine(), 4095, &mut bytes), Ok(2));
    assert_eq!(bytes, [0x33, 0x33]);
    assert_eq!((space.mm.rss(Counter::File), space.mm.rss(Counter::Anon)), (0, 2));
}

#[test]
fn a_shared_store_is_noticed_by_a_file_that_tracks_dirty_pages_only() {
    let space = Space::new(Linux::V6_18);
    let disk = Disk::new(0);
    let (file, memfd) = (space.regular(2, &disk), space.memfd(2));
    space.file(0, 2, RWS, &file);
    space.file(8, 10, RWS, &memfd);
    assert_eq!(space.read(0), MAJOR);
    assert_eq!(space.state(0), "F1r", "the first store must be seen");
    assert_eq!(space.write(0), Fault::WROTE);
    assert_eq!(space.state(0), "F1w");
    assert!(space.machine().frames().has(space.pfn(0), FrameFlags::DIRTY));
    assert_eq!(space.read(8), Fault::MINOR, "shared memory is its own store");
    assert_eq!(space.state(8), "F1w", "shared memory needs no notice");
    assert_eq!(space.write(9), Fault::MINOR);
    assert!(space.leaf(9).unwrap().1.dirty);
    assert_eq!(space.mm.rss(Counter::Shmem), 2);
    space.poke(0, 5);
    assert_eq!(file.write_back(&space.machine()), 1);
    assert_eq!(disk.written.lock().unwrap()[0].1[0], 5);
}

#[test]
fn past_the_end_of_the_file_there_is_nothing() {
    let space = Space::new(Linux::V6_18);
    let file = space.regular(2, &Disk::new(1));
    space.file(0, 4, RW, &file);
    for fault in [space.read(2), space.write(3)] {
        assert_eq!(fault, Fault::SIGBUS);
    }
    assert_eq!(space.state(2), "-");
    let memfd = space.memfd(0);
    space.file(8, 9, RWS, &memfd);
    assert_eq!(space.write(8), Fault::SIGBUS);
}

#[test]
fn w_03_a_slow_store_is_started_and_waited_for_as_the_flags_say() {
    let table = [
        ("may drop the lock", FaultFlags::ALLOW_RETRY, Fault::Retry(DISK), None),
        (
            "may not wait",
            FaultFlags::ALLOW_RETRY.union(FaultFlags::RETRY_NOWAIT),
            Fault::Kept(DISK),
            None,
        ),
        ("must keep the lock", FaultFlags::empty(), MAJOR, Some(WaitMode::Uninterruptible)),
        (
            "has dropped the lock before",
            FaultFlags::ALLOW_RETRY.union(FaultFlags::TRIED).union(FaultFlags::KILLABLE),
            MAJOR,
            Some(WaitMode::Killable),
        ),
    ];
    for (because, flags, want, waited) in table {
        let space = Space::new(Linux::V6_18);
        let disk = Disk::new(0x44);
        disk.ready.store(false, Relaxed);
        let file = space.regular(1, &disk);
        space.file(0, 1, RO, &file);
        assert_eq!(space.fault(0, flags), want, "{because}");
        assert_eq!(disk.starts.load(Relaxed), 1, "the read was started: {because}");
        let host = space.machine();
        let waits: Vec<_> = host.host().waited.lock().unwrap().iter().map(|w| w.1).collect();
        assert_eq!(waits, waited.into_iter().collect::<Vec<_>>(), "{because}");
        disk.ready.store(true, Relaxed);
        let _ = space.read(0);
        assert_eq!(space.peek(0), 0x44);
    }
}

#[test]
fn two_faults_on_one_slow_page_wait_for_one_read() {
    let space = Space::new(Linux::V6_18);
    let disk = Disk::new(1);
    disk.ready.store(false, Relaxed);
    let file = space.regular(1, &disk);
    space.file(0, 1, RO, &file);
    space.file(8, 9, RW, &file);
    assert_eq!(space.fault(0, FaultFlags::ALLOW_RETRY), Fault::Retry(DISK));
    let frame = file.pages.lock()[&0];
    assert_eq!(space.fault(8, FaultFlags::ALLOW_RETRY), Fault::Retry(DISK));
    assert!(matches!(frame, Slot::Reading(..)));
    assert_eq!(file.pages.lock()[&0], frame, "the same frame waits");
    disk.ready.store(true, Relaxed);
    let again = FaultFlags::ALLOW_RETRY | FaultFlags::TRIED;
    assert_eq!(space.fault(0, again), Fault::MINOR, "the first fault was the major one");
    assert_eq!(space.read(8), Fault::MINOR);
    assert_eq!(space.pfn(0), space.pfn(8));
}

#[test]
fn a_signal_ends_a_killable_wait_with_nothing_mapped() {
    let space = Space::new(Linux::V6_18);
    let disk = Disk::new(1);
    disk.ready.store(false, Relaxed);
    let file = space.regular(1, &disk);
    space.file(0, 1, RO, &file);
    *space.machine().host().woken.lock().unwrap() = Woken::Signal;
    assert_eq!(space.fault(0, FaultFlags::KILLABLE), Fault::Retry(DISK));
    assert_eq!(space.state(0), "-");
}

#[test]
fn a_read_that_fails_is_sigbus_and_a_failed_page_poison() {
    let space = Space::new(Linux::V6_18);
    let disk = Disk::new(1);
    let file = space.regular(2, &disk);
    space.file(0, 2, RW, &file);
    disk.fails.store(true, Relaxed);
    assert_eq!(space.read(0), Fault::SIGBUS);
    disk.fails.store(false, Relaxed);
    let machine = space.machine();
    let bad = file.load(&machine, 1, ReadMode::Block).unwrap();
    machine.frames().set(bad, FrameFlags::HWPOISON);
    assert_eq!(space.read(1), Fault::Failed(FaultError::HwPoison));
    assert_eq!(space.write(1), Fault::Failed(FaultError::HwPoison));
    machine.frames().clear(bad, FrameFlags::HWPOISON);
    machine.put_page(bad);
}

#[test]
fn f_47_truncation_takes_a_pinned_page_from_the_file_but_not_from_the_pin() {
    let space = Space::new(Linux::V6_18);
    let machine = space.machine();
    let file = space.memfd(4);
    space.file(0, 4, RWS, &file);
    for n in 0..4 {
        space.poke(n, 10 + n as u8);
    }
    let held = space.pfn(2);
    machine.frames().pin(held, 1).unwrap();
    file.truncate(&machine, 4096 + 1);
    assert_eq!(space.state(2), "-");
    assert_eq!((space.state(0), space.state(1)), ("F1w".into(), "F1w".into()));
    assert_eq!(space.read(2), Fault::SIGBUS);
    assert_eq!(machine.frames().owner(held).owner, 0, "the page has no file any more");
    assert_eq!(machine.frames().kind(held), Kind::Shmem, "nor is it free");
    let mut byte = [0];
    machine.memory().read(held, 0, &mut byte);
    assert_eq!(byte, [12], "W-02: it keeps its bytes");
    file.truncate(&machine, 4 * 4096);
    assert_eq!(space.peek(2), 0);
    assert_ne!(space.pfn(2), held, "W-02: it is not used again");
    assert_eq!(space.mm.rss(Counter::Shmem), 3);
    machine.unpin_pages(held, 1);
    drop((space, file));
    assert_empty(&machine);
}

#[test]
fn truncation_drops_private_copies_and_a_punched_hole_does_not() {
    let space = Space::new(Linux::V6_18);
    let machine = space.machine();
    let file = space.regular(4, &Disk::new(7));
    space.file(0, 4, RW, &file);
    space.poke(1, 1);
    let _ = space.read(2);
    file.punch_hole(&machine, 1, 3);
    assert_eq!((space.state(1), space.state(2)), ("Ax1w".into(), "-".into()));
    file.truncate(&machine, 4096);
    assert_eq!(space.state(1), "-");
    assert_eq!(space.read(1), Fault::SIGBUS);
    let mut bytes = [1; 8];
    assert_eq!(file.read_at(&machine, 4092, &mut bytes), Ok(4));
}

#[test]
fn truncation_zeroes_the_rest_of_the_last_page() {
    let space = Space::new(Linux::V6_18);
    let machine = space.machine();
    let file = space.memfd(1);
    assert_eq!(file.write_at(&machine, 0, &[9; 100]), Ok(100));
    file.truncate(&machine, 10);
    file.truncate(&machine, 100);
    let mut bytes = [1; 100];
    assert_eq!(file.read_at(&machine, 0, &mut bytes), Ok(100));
    assert_eq!((bytes[9], bytes[10]), (9, 0));
}

#[test]
fn a_special_mapping_serves_its_pages_and_copies_them_for_a_forced_store() {
    let space = Space::new(Linux::V6_18);
    let machine = space.machine();
    let vdso = machine.frames().alloc(machine.host(), 0, Kind::Special, AllocFlags::empty());
    let vdso = vdso.unwrap();
    machine.memory().write(vdso, 0, &[0x7f]);
    let special =
        Special { name: "[vdso]", pages: vec![vdso], find_special: Vec::new(), access: None };
    let backing = Backing::Special(Arc::new(special));
    let mut map = space.mm.write();
    let id = map.new_id();
    let range = crate::world::pages(0, 2);
    map.insert(gup::vma::Vma::new(id, range, RO | VmFlags::EXEC, backing, 0));
    drop(map);
    assert_eq!(space.read(0), Fault::MINOR);
    assert_eq!((space.state(0), space.pfn(0)), ("F1r".into(), vdso));
    assert_eq!(space.write(0), Fault::WROTE);
    assert_eq!((space.state(0), space.peek(0)), ("Ax1r".into(), 0x7f));
    assert_eq!(space.read(1), Fault::SIGBUS);
    drop(space);
    machine.put_page(vdso);
    assert_empty(&machine);
}

#[test]
fn f_27_a_cached_page_is_unshared_by_a_private_copy() {
    let space = Space::new(Linux::V6_18);
    let file = space.regular(1, &Disk::new(3));
    space.file(0, 1, RO, &file);
    assert_eq!(space.unshare(0), MAJOR, "first an ordinary read fault");
    assert_eq!(space.state(0), "F1r");
    assert_eq!(space.unshare(0), Fault::MINOR);
    assert_eq!((space.state(0), space.peek(0)), ("Ax1r".into(), 3));
    assert!(space.decided(f::F_27, 0));
}

#[test]
fn secret_memory_is_zeroed_and_mapped_one_page_at_a_time() {
    let space = Space::new(Linux::V6_18);
    let file = space.machine().new_file(FileKind::Secret, 2 << 12, None);
    space.file(0, 2, RWS, &file);
    let _ = (space.read(1), space.read(0));
    assert_eq!(space.machine().frames().kind(space.pfn(0)), Kind::Secret);
    space.zap(1, 2);
    let _ = space.read(0);
    assert_eq!(space.state(1), "-");
    assert_eq!(page(1).page_offset(), 0);
}

#[test]
fn no_failed_allocation_leaks_a_file_page() {
    fail_everywhere(Linux::V6_18, |space| {
        let disk = Disk::new(1);
        let (file, memfd) = (space.regular(4, &disk), space.memfd(4));
        space.file(0, 4, RW, &file);
        space.file(8, 12, RWS, &memfd);
        for n in [0, 1, 8, 9] {
            let _ = (space.read(n), space.write(n), space.unshare(n));
        }
        disk.ready.store(false, Relaxed);
        let _ = space.fault(2, FaultFlags::ALLOW_RETRY);
        let _ = space.write(2);
        file.truncate(&space.machine(), 4096);
    });
}
