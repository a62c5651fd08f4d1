//! Rows A-150 … A-157: the entry points around `__get_user_pages`, and what they do with the lock.

use crate::store::{byte_of, slow_area};
use crate::support::{World, page, ro, row, rw};
use gup::abi;
use gup::abi::flags::{FOLL_GET, FOLL_NOWAIT, FOLL_TOUCH};
use gup::addr::{PAGE_SIZE, Pfn, TASK_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::flags::FaultFlags;
use gup::frame::FrameFlags;
use gup::gup::Page;
use gup::mm::Lock;
use gup::rule::a;

const EFAULT: i64 = Errno::EFAULT.negated();
const EINVAL: i64 = Errno::EINVAL.negated();

/// `N` empty slots.
fn slots<const N: usize>() -> [Option<Page>; N] {
    [const { None }; N]
}

/// The frames in `pages`, which the world gives back at its end.
fn hold(w: &World, pages: impl IntoIterator<Item = Option<Page>>) -> Vec<Pfn> {
    let pages: Vec<Page> = pages.into_iter().flatten().collect();
    let frames = pages.iter().map(Page::pfn).collect();
    w.hold(pages);
    frames
}

/// `get_user_pages_locked` over `N` pages from page 0: what it returns, the frames, and whether the
/// lock is held then.
fn locked<const N: usize>(w: &World) -> (i64, Vec<Pfn>, bool) {
    let mut pages = slots::<N>();
    let mut lock = Lock::Read(w.mm.read());
    let at = page(0).get();
    let ret =
        abi::get_user_pages_locked(&w.task, None, &mut lock, at, N as u64, 0, 0, Some(&mut pages));
    let held = lock.is_held();
    drop(lock);
    (ret, hold(w, pages), held)
}

/// `get_user_pages_unlocked` over `N` pages from `start`.
fn unlocked<const N: usize>(w: &World, start: VirtAddr, write: i32) -> (i64, Vec<Pfn>) {
    let mut pages = slots::<N>();
    let out = Some(&mut pages[..]);
    let nr = N as u64;
    let ret = abi::get_user_pages_unlocked(&w.task, None, &w.mm, start.get(), nr, write, 0, out);
    (ret, hold(w, pages))
}

/// `get_user_pages_fast` over `N` pages from `start`.
fn fast<const N: usize>(w: &World, start: VirtAddr, write: i32) -> (i32, Vec<Pfn>) {
    let mut pages = slots::<N>();
    let nr = i32::try_from(N).unwrap();
    let ret = abi::get_user_pages_fast(&w.task, &w.mm, start.get(), nr, write, &mut pages);
    (ret, hold(w, pages))
}

#[test]
fn a_150_get_user_pages_touches_pages_and_keeps_the_lock() {
    row(a::A_150, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        w.machine.frames().clear(pfn, FrameFlags::REFERENCED);
        slow_area(w, 1, 1, ro());
        let mut pages = slots::<2>();
        let mut vmas = [None; 2];
        let mut lock = Lock::Read(w.mm.read());
        let (start, out, areas) = (page(0).get(), Some(&mut pages[..]), Some(&mut vmas[..]));
        let ret = abi::get_user_pages(&w.task, None, &mut lock, start, 2, 0, 0, out, areas);
        assert_eq!(ret, 2);
        assert!(lock.is_held(), "though the second page had to be waited for");
        assert_eq!(w.host().waited.lock().unwrap().len(), 1);
        assert_eq!(hold(w, pages)[0], pfn);
        assert!(vmas.iter().all(Option::is_some) && vmas[0] != vmas[1]);
        assert!(w.machine.frames().has(pfn, FrameFlags::REFERENCED), "FOLL_TOUCH");
        let ret = abi::get_user_pages(&w.task, None, &mut lock, start, 1, 0, 0, None, None);
        assert_eq!(ret, 1, "without pages");
        assert_eq!(w.machine.frames().refs(pfn), 2, "no reference more");
    });
}

#[test]
fn a_151_the_locked_form_goes_on_after_a_drop_and_gives_the_lock_up() {
    row(a::A_151, |w| {
        w.area(0, 1, rw());
        slow_area(w, 1, 2, ro());
        let (ret, frames, held) = locked::<3>(w);
        assert_eq!((ret, held), (3, false), "all pages, and the lock is gone");
        assert_eq!(frames[1..].iter().map(|pfn| w.byte(*pfn)).collect::<Vec<_>>(), [1, 2]);
        let faults = w.faults();
        let retry = FaultFlags::ALLOW_RETRY;
        assert_eq!(faults[1..3], [retry, FaultFlags::TRIED], "the page that waited, once more");
        let (ret, _, held) = locked::<3>(w);
        assert_eq!((ret, held), (3, true), "nothing to wait for: the lock is kept");
    });
}

#[test]
fn a_151_a_pre_fault_does_not_insist_after_a_drop() {
    row(a::A_151, |w| {
        w.area(0, 1, rw());
        slow_area(w, 1, 2, ro());
        let mut lock = Lock::Read(w.mm.read());
        let at = page(0).get();
        let ret = abi::get_user_pages_locked(&w.task, None, &mut lock, at, 3, 0, 0, None);
        assert_eq!((ret, lock.is_held()), (1, false));
        assert!(w.host().bugs.lock().unwrap().is_empty());
        let ret = abi::get_user_pages_locked(&w.task, None, &mut lock, at, 3, 0, 0, None);
        assert_eq!(ret, EINVAL);
        assert_eq!(*w.host().bugs.lock().unwrap(), [a::A_151], "the lock must be held on entry");
        lock.take();
        let mut pages = slots::<2>();
        let out = Some(&mut pages[..]);
        let ret = abi::get_user_pages_locked(&w.task, None, &mut lock, at, 3, 0, 0, out);
        assert_eq!((ret, lock.is_held()), (EINVAL, true), "too few slots");
        drop(lock);
        let (ret, _, _) = locked::<3>(w);
        assert_eq!(ret, 3);
    });
}

#[test]
fn a_152_the_unlocked_form_takes_and_releases_the_lock_itself() {
    row(a::A_152, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        let frames = w.machine.frames();
        frames.clear(pfn, FrameFlags::REFERENCED);
        let touches = |flags: u32| {
            let mut pages = slots::<1>();
            let (at, out) = (page(0).get(), Some(&mut pages[..]));
            let ret = abi::__get_user_pages_unlocked(&w.task, None, &w.mm, at, 1, 0, 0, out, flags);
            assert_eq!((ret, hold(w, pages)), (1, vec![pfn]));
            drop(w.mm.write());
            frames.test_and_clear(pfn, FrameFlags::REFERENCED)
        };
        assert!(!touches(0), "the form with flags touches only if asked");
        assert!(touches(FOLL_TOUCH));
        assert_eq!(unlocked::<1>(w, page(0), 1), (1, vec![pfn]));
        assert!(frames.has(pfn, FrameFlags::REFERENCED), "the plain form always does");
        slow_area(w, 1, 2, ro());
        assert_eq!(unlocked::<3>(w, page(0), 0).0, 3, "it goes on after a drop");
        drop(w.mm.write());
        assert_eq!(unlocked::<1>(w, page(9), 0).0, EFAULT);
        drop(w.mm.write());
    });
}

#[test]
fn a_152_foll_nowait_ends_the_unlocked_form_without_waiting() {
    row(a::A_152, |w| {
        slow_area(w, 0, 1, ro());
        let mut pages = slots::<1>();
        let (at, out) = (page(0).get(), Some(&mut pages[..]));
        let flags = FOLL_GET | FOLL_NOWAIT;
        let ret = abi::__get_user_pages_unlocked(&w.task, None, &w.mm, at, 1, 0, 0, out, flags);
        assert_eq!(ret, 0);
        assert!(w.host().waited.lock().unwrap().is_empty());
        drop(w.mm.write());
    });
}

#[test]
fn a_153_an_error_shows_only_if_no_round_got_a_page() {
    row(a::A_153, |w| {
        slow_area(w, 0, 1, ro());
        let (ret, frames, held) = locked::<2>(w);
        assert_eq!((ret, frames.len(), held), (1, 1, false), "the hole behind it is hidden");
        assert_eq!(unlocked::<2>(w, page(1), 0).0, EFAULT, "the hole alone is not");
        let (_, disk) = crate::store::slow_file(w, 1);
        let file = crate::store::failing_file(w, 1);
        w.area_of(4, 1, ro(), World::backing(&file), 0);
        assert_eq!(unlocked::<1>(w, page(4), 0).0, EFAULT, "a read that fails in its second round");
        assert!(disk.asked.lock().unwrap().is_empty());
    });
}

#[test]
fn a_154_the_fast_form_needs_no_lock_for_pages_that_are_there() {
    row(a::A_154, |w| {
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), byte_of(n))));
        let there: Vec<Pfn> = (0..3).map(|n| w.mapped(page(n), true).unwrap()).collect();
        w.machine.frames().clear(there[0], FrameFlags::REFERENCED);
        let writer = w.mm.write();
        assert_eq!(fast::<3>(w, page(0).wrapping_add(5), 1), (3, there.clone()), "start is masked");
        drop(writer);
        assert!(
            w.faults().is_empty() || w.count(a::A_152) == 0,
            "nothing was left to the slow path"
        );
        assert!(w.machine.frames().has(there[0], FrameFlags::REFERENCED));
        assert!(there.iter().all(|pfn| w.machine.frames().refs(*pfn) == 2));
    });
}

#[test]
fn a_154_the_fast_form_leaves_what_it_misses_to_the_slow_path() {
    row(a::A_154, |w| {
        w.area(0, 4, rw());
        w.store(page(0), 1);
        assert_eq!(w.load(page(1)), Some(0), "the zero page, whose entry is special");
        let (ret, frames) = fast::<4>(w, page(0), 0);
        assert_eq!(ret, 4);
        assert_eq!(frames[1], w.machine.zero_page());
        assert_eq!(w.count(a::A_152), 1, "three pages in one slow call");
        assert_eq!(fast::<2>(w, page(3), 0).0, 1, "the hole is hidden behind the page");
        assert_eq!(i64::from(fast::<1>(w, page(4), 0).0), EFAULT);
        assert_eq!(fast::<2>(w, page(0), 1).0, 2, "a read-only entry is not written through");
        assert_ne!(w.mapped(page(1), true), None);
        let beyond = VirtAddr::new(TASK_SIZE).wrapping_sub(PAGE_SIZE);
        assert_eq!(i64::from(fast::<8>(w, beyond, 0).0), EFAULT, "past user space: slow for all");
        let mut none = slots::<1>();
        let short = abi::get_user_pages_fast(&w.task, &w.mm, page(0).get(), 2, 0, &mut none);
        assert_eq!((i64::from(short), none[0].is_none()), (EINVAL, true));
    });
}

#[test]
fn a_155_the_fast_only_form_never_faults_and_never_fails() {
    row(a::A_155, |w| {
        w.area(0, 3, rw());
        w.store(page(0), 1);
        let first = w.mapped(page(0), true).unwrap();
        w.load(page(1));
        w.forget();
        let only = |start: VirtAddr, write: i32| {
            let mut pages = slots::<3>();
            let ret = abi::__get_user_pages_fast(&w.mm, start.get(), 3, write, &mut pages);
            (ret, hold(w, pages))
        };
        let last = (TASK_SIZE - PAGE_SIZE - page(0).get()) / PAGE_SIZE;
        w.area(last, 1, rw());
        w.store(page(last), 1);
        w.forget();
        let writer = w.mm.write();
        assert_eq!(only(page(0), 1), (1, vec![first]), "up to the first that is not there");
        assert_eq!(only(page(last), 1), (0, vec![]), "a range beyond user space, as a whole");
        assert_eq!(only(page(1), 0), (0, vec![]), "the zero page is special");
        assert_eq!(only(page(9), 0), (0, vec![]));
        assert_eq!(only(VirtAddr::new(u64::MAX - 4095), 0), (0, vec![]), "the range wraps");
        assert_eq!(only(VirtAddr::new(1 << 47), 0), (0, vec![]), "not user space");
        drop(writer);
        assert!(w.faults().is_empty());
    });
}

#[test]
fn a_156_the_fast_forms_return_0_for_fewer_than_one_page() {
    row(a::A_156, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        for nr in [0, -1, i32::MIN] {
            let mut pages = slots::<1>();
            let at = page(0).get();
            assert_eq!(abi::get_user_pages_fast(&w.task, &w.mm, at, nr, 0, &mut pages), 0);
            assert_eq!(abi::__get_user_pages_fast(&w.mm, at, nr, 0, &mut pages), 0);
            assert!(pages[0].is_none());
        }
        assert_eq!(w.count(a::A_152), 0, "the slow path was not asked either");
    });
}

#[test]
fn a_157_without_a_fast_walk_everything_takes_the_lock() {
    row(a::A_157, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        let mut pages = slots::<2>();
        let at = page(0).get();
        assert_eq!(abi::__get_user_pages_fast_weak(&w.mm, at, 2, 0, &mut pages), 0);
        assert!(pages.iter().all(Option::is_none), "though the page is there");
        assert_eq!(abi::get_user_pages_fast_weak(&w.task, &w.mm, at, 2, 0, &mut pages), 2);
        assert_eq!(hold(w, pages).len(), 2);
        assert!(w.seen(a::A_154).is_none() && w.seen(a::A_152).is_some());
        let mut none = slots::<1>();
        let huge = abi::get_user_pages_fast_weak(&w.task, &w.mm, at, -1, 0, &mut none);
        assert_eq!(i64::from(huge), EINVAL, "a negative number is a huge one");
    });
}
