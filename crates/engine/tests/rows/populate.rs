//! Rows: faulting ranges in without taking pages, for mlock and `MAP_POPULATE`.

use crate::store::{failing_file, slow_area};
use crate::support::{World, none, page, ro, row, rw};
use gup::abi;
use gup::addr::PAGE_SIZE;
use gup::errno::Errno;
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::FrameFlags;
use gup::host::Injection;
use gup::mm::Lock;
use gup::rule::a;
use gup::vma::VmaId;

const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

/// The area at page `at`.
fn id(w: &World, at: u64) -> VmaId {
    w.mm.read().lookup(page(at)).expect("an area").id()
}

/// `populate_vma_page_range` of pages `from..to`, which lie in one area, without leave to drop the
/// lock.
fn populate(w: &World, from: u64, to: u64) -> i64 {
    let vma = id(w, from);
    let mut lock = Lock::Read(w.mm.read());
    let (start, end) = (page(from).get(), page(to).get());
    let ret = abi::populate_vma_page_range(&w.task, &mut lock, vma, start, end, None);
    assert!(lock.is_held());
    ret
}

/// `__mm_populate` of pages `from..to`.
fn mm_populate(w: &World, from: u64, to: u64, ignore_errors: i32) -> i32 {
    let (start, len) = (page(from).get(), (to - from) * PAGE_SIZE);
    let ret = abi::__mm_populate(&w.task, &w.mm, start, len, ignore_errors);
    drop(w.mm.write());
    ret
}

#[test]
fn a_158_populate_writes_where_only_this_process_would_see_it() {
    row(a::A_158, |w| {
        w.area(0, 2, rw());
        w.area(4, 2, ro());
        let file = w.file(gup::file::FileKind::Shmem, 2, None);
        w.area_of(8, 2, rw() | SHARED, World::backing(&file), 0);
        for (at, write) in [(0, true), (4, false), (8, false)] {
            w.forget();
            assert_eq!(populate(w, at, at + 2), 2, "pages from {at}");
            assert!(w.mapped(page(at), false).is_some() && w.mapped(page(at + 1), false).is_some());
            let writes = w.faults().iter().all(|flags| flags.contains(FaultFlags::WRITE));
            assert_eq!(writes, write, "pages from {at}");
        }
        assert_eq!(populate(w, 0, 1), 1, "what is there is passed over");
        assert_eq!(w.machine.frames().refs(w.mapped(page(0), true).unwrap()), 1, "and not held");
    });
}

#[test]
fn a_158_populate_is_forced_only_where_anything_is_allowed_at_all() {
    row(a::A_158, |w| {
        w.area(0, 1, none() | VmFlags::EXEC);
        assert_eq!(populate(w, 0, 1), 1, "execute-only: read by force");
        w.area(2, 1, none());
        assert_eq!(populate(w, 2, 3), Errno::EFAULT.negated(), "PROT_NONE stays empty");
    });
}

#[test]
fn a_158_lock_on_fault_populates_nothing() {
    row(a::A_158, |w| {
        let locked = VmFlags::LOCKED | VmFlags::LOCKONFAULT;
        w.area(0, 2, rw() | locked);
        w.store(page(1), 1);
        w.forget();
        assert_eq!(populate(w, 0, 2), 2, "what is skipped counts");
        assert!(w.faults().is_empty() && w.mapped(page(0), false).is_none());
        let there = w.mapped(page(1), true).unwrap();
        assert!(w.machine.frames().has(there, FrameFlags::MLOCKED), "what is there is mlocked");
        assert!(w.machine.frames().has(there, FrameFlags::REFERENCED), "and touched");
    });
}

#[test]
fn a_158_populate_says_by_nonblocking_that_the_lock_was_dropped() {
    row(a::A_158, |w| {
        slow_area(w, 0, 2, ro());
        let vma = id(w, 0);
        let mut lock = Lock::Read(w.mm.read());
        let mut nonblocking = 1;
        let (start, end) = (page(0).get(), page(2).get());
        let wait = Some(&mut nonblocking);
        assert_eq!(abi::populate_vma_page_range(&w.task, &mut lock, vma, start, end, wait), 0);
        assert_eq!((nonblocking, lock.is_held()), (0, false));
        assert_eq!(populate(w, 0, 2), 2, "without nonblocking it waits under the lock");
        let ret = abi::populate_vma_page_range(&w.task, &mut lock, vma, start, end, None);
        assert_eq!(ret, Errno::EINVAL.negated(), "the lock is not held");
        lock.take();
        let past = page(3).get();
        let ret = abi::populate_vma_page_range(&w.task, &mut lock, vma, start, past, None);
        assert_eq!(ret, Errno::EINVAL.negated(), "the range leaves the area");
        assert_eq!(*w.host().bugs.lock().unwrap(), [a::A_158, a::A_158]);
    });
}

#[test]
fn a_159_mm_populate_goes_area_by_area_over_holes_and_devices() {
    row(a::A_159, |w| {
        w.area(0, 2, rw());
        w.area(2, 1, rw() | VmFlags::IO);
        w.area(4, 1, ro());
        slow_area(w, 5, 2, ro());
        w.area(9, 2, rw());
        assert_eq!(mm_populate(w, 0, 10, 0), 0);
        assert!([0, 1, 4, 5, 6, 9].iter().all(|n| w.mapped(page(*n), false).is_some()));
        assert!([2, 3, 7, 8, 10].iter().all(|n| w.mapped(page(*n), false).is_none()));
        assert!(!w.host().waited.lock().unwrap().is_empty(), "the lock was dropped on the way");
        assert_eq!(mm_populate(w, 20, 30, 0), 0, "nothing is mapped there");
    });
}

#[test]
fn a_159_mm_populate_stops_at_an_error_unless_told_to_ignore_it() {
    row(a::A_159, |w| {
        w.area(0, 1, rw());
        w.area(1, 1, none());
        w.area(2, 1, rw());
        assert_eq!(mm_populate(w, 0, 3, 0), -Errno::EFAULT.raw());
        assert!(w.mapped(page(0), true).is_some() && w.mapped(page(2), true).is_none());
        assert_eq!(mm_populate(w, 0, 3, 1), 0);
        assert!(w.mapped(page(2), true).is_some(), "the areas after it are populated");
        let file = failing_file(w, 1);
        w.area_of(4, 1, ro(), World::backing(&file), 0);
        assert_eq!(mm_populate(w, 4, 5, 0), -Errno::EFAULT.raw(), "a read that fails");
        w.task.kill();
        assert_eq!(mm_populate(w, 0, 1, 0), -Errno::ERESTARTSYS.raw());
        w.task.clear_signals();
    });
}

#[test]
fn a_159_mlock_renames_what_populating_could_not_do() {
    row(a::A_159, |w| {
        w.area(0, 1, none());
        w.area(1, 1, rw());
        let hole = mm_populate(w, 0, 1, 0);
        assert_eq!(abi::__mlock_posix_error_return(hole), -Errno::ENOMEM.raw());
        let no_folio = |point| matches!(point, Injection::FolioAlloc(_));
        *w.host().inject.lock().unwrap() = Some(Box::new(no_folio));
        let memory = mm_populate(w, 1, 2, 0);
        assert_eq!(memory, -Errno::ENOMEM.raw());
        assert_eq!(abi::__mlock_posix_error_return(memory), -Errno::EAGAIN.raw());
        for code in [0, -Errno::EINTR.raw(), -Errno::ERESTARTSYS.raw()] {
            assert_eq!(abi::__mlock_posix_error_return(code), code);
        }
    });
}
