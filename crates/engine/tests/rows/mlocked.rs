//! Row M-13: which pages are marked as locked in memory. The cases are those that a running 6.18
//! kernel was asked, by `/proc/kpageflags`.

use crate::six::{config, row6};
use crate::support::{World, page, row_in, rw};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::fault::{PageOut, collapse, page_out, split_leaf};
use gup::file::FileKind;
use gup::flags::VmFlags;
use gup::frame::{FrameFlags, FramesConfig, Zone};
use gup::host::{ReadMode, Store, StoreRead, StoreWrite};
use gup::mapping::{Advice, MlockFlags, fork, madvise, mlock, mlock2, munlock, munmap};
use gup::mm::MachineConfig;
use gup::rule::m;
use std::sync::Arc;

const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);
const HUGE: u64 = 512;

/// A device that keeps nothing.
struct Quick;

impl Store for Quick {
    fn read_page(&self, _: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        into.fill(0);
        StoreRead::Ready
    }
    fn write_page(&self, _: u64, _: &[u8]) -> StoreWrite {
        StoreWrite::Done
    }
}

/// `L` for a marked page, `.` for another, `-` where nothing is mapped, from page `at` on.
fn marks(w: &World, at: u64, pages: u64) -> String {
    let mark = |n| match w.mapped(page(n), false) {
        None => '-',
        Some(pfn) if w.machine.frames().has(pfn, FrameFlags::MLOCKED) => 'L',
        Some(_) => '.',
    };
    (at..at + pages).map(mark).collect()
}
fn lock(w: &World, at: u64, pages: u64) {
    mlock(&w.mm, &w.task, page(at), pages * PAGE_SIZE).unwrap();
}
fn lock_on_fault(w: &World, at: u64, pages: u64) {
    mlock2(&w.mm, &w.task, page(at), pages * PAGE_SIZE, MlockFlags::ONFAULT).unwrap();
}
fn unlock(w: &World, at: u64, pages: u64) {
    munlock(&w.mm, page(at), pages * PAGE_SIZE).unwrap();
}
fn discard(w: &World, at: VirtAddr) {
    madvise(&w.mm, &w.task, at, PAGE_SIZE, Advice::DontNeedLocked).unwrap();
}
/// A huge page at page 0.
fn thp(w: &World) {
    w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
    assert!(w.store(page(0), 1));
}
fn level(w: &World) -> u8 {
    w.mm.tables().walk(page(0)).place.level
}

#[test]
fn m_13_mlock_marks_what_is_there_and_what_it_faults_in_and_munlock_unmarks() {
    row6(m::M_13, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        lock(w, 0, 2);
        assert_eq!(marks(w, 0, 2), "LL");
        unlock(w, 0, 1);
        assert_eq!(marks(w, 0, 2), ".L");
        lock_on_fault(w, 0, 1);
        discard(w, page(0));
        assert_eq!(marks(w, 0, 2), "-L");
        w.store(page(0), 1);
        assert_eq!(marks(w, 0, 2), "LL", "as it is faulted in");
    });
}
#[test]
fn m_13_a_copy_for_a_locked_area_is_marked_and_what_it_lets_go_of_is_not() {
    row6(m::M_13, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        lock(w, 0, 2);
        let child = w.as_process(fork(&mut w.mm.write(), &w.task).unwrap());
        assert_eq!((marks(w, 0, 2), marks(&child, 0, 2)), ("LL".into(), "LL".into()), "one page");
        w.store(page(0), 2);
        assert_eq!((marks(w, 0, 2), marks(&child, 0, 2)), ("LL".into(), ".L".into()));
        child.store(page(1), 2);
        assert_eq!((marks(w, 0, 2), marks(&child, 0, 2)), ("LL".into(), "..".into()));
        let World { mm, .. } = child;
        drop(mm);
        assert_eq!(marks(w, 0, 2), "LL");
    });
}
#[test]
fn m_13_a_page_of_two_locked_areas_is_marked_until_both_let_go_of_it() {
    row6(m::M_13, |w| {
        let memfd = w.file(FileKind::Shmem, 2, None);
        w.area_of(0, 2, rw() | SHARED, World::backing(&memfd), 0);
        w.area_of(4, 2, rw() | SHARED, World::backing(&memfd), 0);
        (0..2).for_each(|n| assert!(w.store(page(n), 1) && w.store(page(4 + n), 1)));
        lock(w, 0, 2);
        lock(w, 4, 1);
        assert_eq!((marks(w, 0, 2), marks(w, 4, 2)), ("LL".into(), "LL".into()));
        unlock(w, 0, 2);
        assert_eq!((marks(w, 0, 2), marks(w, 4, 2)), ("L.".into(), "L.".into()));
        munmap(&mut w.mm.write(), page(4), 2 * PAGE_SIZE).unwrap();
        assert_eq!(marks(w, 0, 2), "..");
        // A private area of a file: its page, then its copy.
        w.area_of(8, 1, rw(), World::backing(&memfd), 0);
        lock_on_fault(w, 8, 1);
        w.load(page(8));
        assert_eq!((marks(w, 8, 1), marks(w, 0, 1)), ("L".into(), "L".into()));
        w.store(page(8), 3);
        assert_eq!((marks(w, 8, 1), marks(w, 0, 1)), ("L".into(), ".".into()));
    });
}
#[test]
fn m_13_a_huge_page_is_marked_as_a_whole_and_loses_the_mark_with_its_first_page() {
    row6(m::M_13, |w| {
        thp(w);
        lock(w, 0, HUGE);
        assert_eq!((marks(w, 0, 3), level(w)), ("LLL".into(), 1));
        split_leaf(&w.mm, page(0)).unwrap();
        assert_eq!((marks(w, 0, 3), level(w)), ("LLL".into(), 0), "its parts are locked still");
        discard(w, page(1));
        assert_eq!(marks(w, 0, 3), ".-.");
    });
    row6(m::M_13, |w| {
        thp(w);
        lock(w, 0, 1);
        assert_eq!((marks(w, 0, 3), level(w)), ("...".into(), 0), "not all of it is locked");
        lock(w, 0, HUGE);
        assert_eq!(marks(w, 0, 3), "...", "nor in one area at once");
        unlock(w, 0, HUGE);
        lock(w, 0, HUGE);
        assert_eq!(marks(w, 0, 3), "LLL", "page by page, but all of it");
        unlock(w, 0, 1);
        assert_eq!(marks(w, 0, 3), "...");
    });
    row6(m::M_13, |w| {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
        lock_on_fault(w, 0, HUGE);
        w.store(page(7), 1);
        assert_eq!((marks(w, 0, 3), level(w)), ("LLL".into(), 1));
        let child = fork(&mut w.mm.write(), &w.task).unwrap();
        w.store(page(0), 2);
        assert_eq!(marks(w, 0, 2), "L.", "a copy, and the rest of what is shared");
        drop(child);
        collapse(&w.mm.write(), page(0)).unwrap();
        assert_eq!((marks(w, 0, 2), level(w)), ("LL".into(), 1));
    });
}
#[test]
fn m_13_what_comes_back_from_swap_is_not_marked_and_what_is_marked_does_not_go_there() {
    row6(m::M_13, |w| {
        assert!(w.machine.swap().on(Arc::new(Quick), 16));
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        madvise(&w.mm, &w.task, page(0), 2 * PAGE_SIZE, Advice::PageOut).unwrap();
        assert_eq!(marks(w, 0, 2), "--");
        lock(w, 0, 2);
        assert_eq!(marks(w, 0, 2), "..");
        unlock(w, 0, 2);
        lock(w, 0, 2);
        assert_eq!(marks(w, 0, 2), "LL");
        let out = page_out(&w.mm, w.mm.read().lookup(page(0)).unwrap(), page(0));
        assert_eq!((out, marks(w, 0, 2)), (PageOut::Kept, "LL".into()));
    });
}
#[test]
fn m_13_a_marked_page_keeps_the_mark_where_it_is_moved_to() {
    let frames = FramesConfig::normal(2048).and(Zone::Movable, 0, 2048);
    row_in(m::M_13, World::with(MachineConfig { frames, ..config() }), |w| {
        let memfd = w.file(FileKind::Shmem, 1, None);
        w.area_of(0, 1, rw() | SHARED, World::backing(&memfd), 0);
        w.area_of(4, 1, rw() | SHARED, World::backing(&memfd), 0);
        lock(w, 0, 1);
        lock(w, 4, 1);
        let before = w.mapped(page(0), true);
        let mut lock = gup::mm::Lock::Dropped(&w.mm);
        let mut pages = [const { None }; 1];
        let foll = gup::flags::Foll::LONGTERM | gup::flags::Foll::WRITE;
        let (entry, out) = (gup::gup::Entry::PinUnlocked, Some(&mut pages[..]));
        let locked = gup::gup::Locked::Null;
        let told = gup::gup::gup(entry, &w.task, &mut lock, page(0), 1, foll, out, locked);
        assert_eq!(told.got, 1);
        w.machine.unpin_pages(pages[0].take().unwrap().pfn(), 1);
        assert!(w.mapped(page(0), true) != before && marks(w, 0, 1) == "L");
        unlock(w, 0, 1);
        assert_eq!(marks(w, 0, 1), "L", "the other area's");
        unlock(w, 4, 1);
        assert_eq!(marks(w, 0, 1), ".");
    });
}
