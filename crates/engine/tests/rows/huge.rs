//! Rows … … A-101: huge pages, transparent and of hugetlbfs.

use crate::support::{Call, World, page, ro, row, rw};
use gup::abi::flags::{
    FOLL_DUMP, FOLL_FORCE, FOLL_GET, FOLL_HWPOISON, FOLL_MLOCK, FOLL_NOWAIT, FOLL_SPLIT,
    FOLL_TOUCH, FOLL_WRITE,
};
use gup::addr::{PMD_ORDER, Pfn};
use gup::fault::split_leaf;
use gup::file::FileKind;
use gup::flags::{FaultFlags, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::mapping::fork;
use gup::observe::Event;
use gup::pgtable::{Entry, SwapEntry};
use gup::rule::{Rule, a};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const EFAULT: i64 = -14;
/// Base pages of a huge page.
const HUGE: u64 = 512;
const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

/// A hugetlb area of `pages` huge pages at page `at`, with a file of its own and no promise.
fn hugetlb(w: &World, at: u64, pages: u64, flags: VmFlags) {
    let file = w.file(FileKind::Hugetlb(PMD_ORDER), pages * HUGE, None);
    let flags = flags | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
    w.area_of(at, pages * HUGE, flags, World::backing(&file), 0);
}

/// A row's test with a pool of `pages` huge pages, which is dissolved at the end.
#[track_caller]
fn pool_row(rule: Rule, pages: u64, body: impl FnOnce(&World)) {
    row(rule, |w| {
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, pages), pages);
        body(w);
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}

/// An area that transparent huge pages may serve, of `huge` times 2 MiB.
fn thp(w: &World, at: u64, huge: u64) {
    w.area(at, huge * HUGE, rw() | VmFlags::HUGEPAGE);
}

/// The level of the entry that maps page `at`.
fn level(w: &World, at: u64) -> u8 {
    w.mm.tables().walk(page(at)).place.level
}

fn frame(w: &World, at: u64) -> Pfn {
    w.mapped(page(at), false).expect("mapped")
}

#[test]
fn a_11_a_hugetlb_area_is_served_by_a_path_of_its_own_and_the_loop_goes_on_behind_it() {
    pool_row(a::A_11, 1, |w| {
        w.area(0, HUGE, rw());
        hugetlb(w, HUGE, 1, rw());
        w.area(2 * HUGE, 1, rw());
        hugetlb(w, 4 * HUGE, 1, rw());
        let answer = w.gup(FOLL_GET, page(HUGE - 1), HUGE + 2);
        assert_eq!(answer.ret, (HUGE + 2).cast_signed(), "one page on both sides of it");
        assert_eq!(answer.pages[1], Some(frame(w, HUGE)));
        assert_eq!(w.count(a::A_12), 2, "the ordinary lookup served only those two");
        assert_eq!(w.gup(FOLL_GET, page(4 * HUGE), 1).ret, EFAULT, "its errors are its own");
    });
}
#[test]
fn a_70_hugetlb_pages_are_taken_to_the_end_of_the_area_and_then_the_next_area() {
    pool_row(a::A_70, 1, |w| {
        hugetlb(w, 0, 1, rw());
        w.area(HUGE, 1, rw());
        let answer = w.gup(FOLL_GET, page(HUGE - 2), 4);
        assert_eq!(answer.ret, 3, "two of the huge page, one of the area behind it, then a hole");
        assert_eq!(answer.pages[0], Some(frame(w, HUGE - 2)));
        assert_eq!(answer.pages[2], Some(frame(w, HUGE)));
    });
}
#[test]
fn a_71_a_kill_ends_it_with_efault_or_the_count() {
    pool_row(a::A_71, 2, |w| {
        hugetlb(w, 0, 2, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
        // The test before the second huge page.
        w.host().kill_at.store(2, SeqCst);
        assert_eq!(w.gup(FOLL_GET, page(0), 2 * HUGE).ret, HUGE.cast_signed());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT, "not ERESTARTSYS");
    });
}
#[test]
fn a_72_a_dump_stops_at_a_hole_of_the_file() {
    pool_row(a::A_72, 1, |w| {
        hugetlb(w, 0, 1, rw() | SHARED);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(3), 1).ret, EFAULT);
        assert_eq!(w.gup(FOLL_GET, page(3), 1).ret, 1);
        w.set_entry(page(0), 1, Entry::NONE);
        let head = frame_of_file(w, 0);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(3), 1).ret, 1, "the file has the page");
        w.machine.frames().unmap_huge(head, w.mm.mapper());
        w.machine.put_page(head);
    });
}

/// The page that the file of the area at page `at` has for it.
fn frame_of_file(w: &World, at: u64) -> Pfn {
    let map = w.mm.read();
    let file = map.lookup(page(at)).unwrap().backing.file().unwrap();
    match *file.pages.lock().get(&0).unwrap() {
        gup::file::Slot::Page(pfn) => pfn,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_73_an_absent_or_read_only_page_is_faulted_for_writing_or_not() {
    pool_row(a::A_73, 1, |w| {
        hugetlb(w, 0, 1, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
        assert!(!w.entry(page(0)).is_writable());
        assert_eq!(w.gup(FOLL_GET | FOLL_WRITE, page(0), 1).ret, 1);
        assert!(w.entry(page(0)).is_writable());
        assert_eq!(w.faults(), [FaultFlags::empty(), FaultFlags::WRITE]);
        assert_eq!(w.gup(FOLL_GET | FOLL_WRITE, page(0), 1).ret, 1);
        assert_eq!(w.faults().len(), 2, "a writable page needs no fault");
    });
}
#[test]
fn a_74_every_error_of_a_hugetlb_fault_is_efault() {
    pool_row(a::A_74, 0, |w| {
        hugetlb(w, 0, 2, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT, "the pool is empty");
        w.set_entry(page(0), 1, Entry::swap(SwapEntry::HwPoison(Pfn::new(512))));
        let broken = w.gup(FOLL_GET | FOLL_HWPOISON, page(0), 1);
        assert_eq!(broken.ret, EFAULT, "FOLL_HWPOISON is not looked at");
        w.set_entry(page(0), 1, Entry::NONE);
        w.machine.resize_hugetlb(PMD_ORDER, 1);
        assert_eq!(w.gup(FOLL_GET, page(HUGE - 1), 2).ret, 1, "the count hides the error");
    });
}
#[test]
fn a_75_all_subpages_of_a_huge_page_are_taken_with_a_reference_each() {
    pool_row(a::A_75, 1, |w| {
        hugetlb(w, 0, 1, rw());
        let answer = w.gup(FOLL_GET, page(3), 4);
        let head = frame(w, 0);
        let want: Vec<_> = (3..7).map(|n| Some(head.offset(n))).collect();
        assert_eq!((answer.ret, answer.pages), (4, want));
        assert_eq!(w.machine.frames().refs(head), 1 + 4);
        assert_eq!(w.count(a::A_75), 1, "one hold of the lock");
    });
}
#[test]
fn a_76_hugetlb_faults_keep_the_lock_whatever_is_asked() {
    pool_row(a::A_76, 1, |w| {
        hugetlb(w, 0, 1, rw());
        let flags = FOLL_GET | FOLL_NOWAIT;
        let answer = w.call(Call { flags, nonblocking: true, ..Call::default() });
        assert_eq!((answer.ret, answer.nonblocking, answer.lock_held), (1, 1, true));
        assert_eq!(w.faults(), [FaultFlags::empty()], "neither ALLOW_RETRY nor RETRY_NOWAIT");
    });
}
#[test]
fn a_77_neither_touch_nor_mlock_nor_flushes_reach_a_hugetlb_page() {
    pool_row(a::A_77, 1, |w| {
        hugetlb(w, 0, 1, rw() | VmFlags::LOCKED);
        w.load(page(0));
        w.change_entry(page(0), |perms| (perms.young, perms.dirty) = (false, false));
        assert_eq!(w.gup(FOLL_GET | FOLL_TOUCH | FOLL_MLOCK, page(0), 4).ret, 4);
        assert!(!w.entry(page(0)).is_young() && !w.entry(page(0)).is_dirty());
        assert!(!w.machine.frames().has(frame(w, 0), FrameFlags::MLOCKED));
        assert!(w.host().flushed.lock().unwrap().is_empty());
    });
}
#[test]
fn a_78_an_absent_hugetlb_page_is_allocated_even_for_a_read() {
    pool_row(a::A_78, 2, |w| {
        hugetlb(w, 0, 1, rw());
        let answer = w.gup(FOLL_GET, page(1), 1);
        let got = answer.pages[0].unwrap();
        assert_eq!(w.machine.frames().kind(got), Kind::Hugetlb);
        assert_eq!(w.byte(got), 0);
        let counts = w.machine.hugetlb().counts(PMD_ORDER);
        assert_eq!((counts.total, counts.free), (2, 1));
    });
}
#[test]
fn a_79_vmas_has_the_area_for_every_subpage() {
    pool_row(a::A_79, 1, |w| {
        hugetlb(w, 0, 1, rw());
        let answer = w.call(Call { vmas: true, nr_pages: 3, ..Call::default() });
        let id = w.mm.read().lookup(page(0)).unwrap().id();
        assert_eq!((answer.ret, answer.vmas), (3, vec![Some(id); 3]));
    });
}
#[test]
fn a_80_force_makes_a_private_read_only_hugetlb_page_writable() {
    pool_row(a::A_80, 2, |w| {
        hugetlb(w, 0, 1, ro());
        let answer = w.gup(FOLL_GET | FOLL_WRITE | FOLL_FORCE, page(0), 1);
        assert_eq!(answer.ret, 1);
        assert_eq!(w.mapped(page(0), true), answer.pages[0], "in an area without VM_WRITE");
        w.put_all();
        let child = fork(&mut w.mm.write(), &w.task).unwrap();
        let copied = w.gup(FOLL_GET | FOLL_WRITE | FOLL_FORCE, page(0), 1);
        assert_ne!(copied.pages, answer.pages, "the child has the old page");
        assert_eq!(w.mapped(page(0), true), copied.pages[0]);
        drop(child);
    });
}
#[test]
fn a_81_hugetlb_faults_are_charged_to_nobody() {
    pool_row(a::A_81, 1, |w| {
        hugetlb(w, 0, 1, rw());
        w.area(HUGE, 1, rw());
        assert_eq!(w.call(Call { charge: true, ..Call::default() }).ret, 1);
        assert_eq!(w.task.min_flt.load(SeqCst), 0);
        w.call(Call { charge: true, start: page(HUGE), ..Call::default() });
        assert_eq!(w.task.min_flt.load(SeqCst), 1, "other faults are");
    });
}

#[test]
fn a_19_a_huge_page_is_passed_in_one_step_only_if_nothing_is_handed_out() {
    row(a::A_19, |w| {
        thp(w, 0, 1);
        w.store(page(0), 1);
        let nothing = Call { flags: 0, pages: false, nr_pages: HUGE, ..Call::default() };
        assert_eq!(w.call(nothing).ret, HUGE.cast_signed());
        assert_eq!(w.count(a::A_96), 1, "one lookup");
        w.forget();
        assert_eq!(w.call(Call { start: page(500), nr_pages: 20, ..nothing }).ret, 12);
        assert_eq!(w.count(a::A_96), 1, "to the end of the huge page");
        let step = w.seen(a::A_19);
        w.forget();
        let answer = w.gup(FOLL_GET, page(0), HUGE);
        assert_eq!((answer.ret, w.count(a::A_96)), (HUGE.cast_signed(), 512), "page by page");
        assert!(w.seen(a::A_19).is_none() && step.is_some());
        let vmas = Call { vmas: true, nr_pages: 3, ..nothing };
        w.forget();
        assert_eq!((w.call(vmas).ret, w.count(a::A_96)), (3, 3), "vmas are handed out, too");
        assert_eq!(w.call(nothing).ret, HUGE.cast_signed());
    });
}
#[test]
fn a_24_a_huge_page_that_is_skipped_is_skipped_whole() {
    row(a::A_24, |w| {
        thp(w, 0, 1);
        w.load(page(0));
        let flags = FOLL_WRITE | FOLL_MLOCK;
        let skip = Call { flags, pages: false, start: page(2), nr_pages: 600, ..Call::default() };
        assert_eq!(w.call(skip).ret, 510, "the zero page is refused for writing, and counted");
        assert_eq!(w.count(a::A_130), 1, "skipped once for all its pages");
    });
}
#[test]
fn a_93_a_hinted_huge_entry_is_faulted() {
    row(a::A_93, hinted);
}
#[test]
fn a_99_a_hinted_huge_entry_is_faulted_also_when_seen_under_the_lock() {
    row(a::A_99, hinted);
}

/// A huge entry with a NUMA hint is followed by force only.
fn hinted(w: &World) {
    thp(w, 0, 1);
    w.store(page(0), 1);
    w.change_entry(page(0), |perms| perms.protnone = true);
    assert_eq!(w.gup(FOLL_GET | FOLL_FORCE, page(0), 1).ret, 1);
    assert!(w.faults().len() == 1 && w.entry(page(0)).is_protnone());
    assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
    assert!(w.faults().len() == 2 && !w.entry(page(0)).is_protnone());
    assert!(level(w, 0) == 1 && w.entry(page(0)).is_writable(), "it is still huge, and own");
}

#[test]
fn a_94_foll_split_takes_the_huge_page_apart_first() {
    row(a::A_94, |w| {
        thp(w, 0, 1);
        w.store(page(7), 7);
        let before = frame(w, 7);
        assert_eq!(w.machine.frames().order(before), PMD_ORDER);
        let answer = w.gup(FOLL_GET | FOLL_SPLIT, page(7), 1);
        assert_eq!((answer.ret, answer.pages[0]), (1, Some(before)), "the same frame");
        assert_eq!((level(w, 0), w.machine.frames().order(before)), (0, 0));
        assert_eq!(w.machine.frames().refs(before), 2);
        assert_eq!(w.byte(before), 7);
        thp(w, 512, 1);
        w.load(page(512));
        assert_eq!(w.gup(FOLL_GET | FOLL_SPLIT, page(513), 1).ret, 1);
        assert_eq!(frame(w, 513), w.machine.zero_page(), "zero pages of the huge one");
    });
}
#[test]
fn a_95_a_huge_page_split_meanwhile_is_looked_up_again_as_small_ones() {
    row(a::A_95, |w| {
        thp(w, 0, 1);
        w.store(page(0), 1);
        let mm = Arc::clone(&w.mm);
        // Between the walk and the lock.
        w.on_event(move |event| {
            let between = matches!(event, Event::Rule { rule, .. } if *rule == a::A_19);
            if between {
                split_leaf(&mm, page(0)).unwrap();
            }
            between
        });
        let call = Call { flags: 0, pages: false, nr_pages: HUGE, ..Call::default() };
        assert_eq!(w.call(call).ret, HUGE.cast_signed());
        assert_eq!((w.count(a::A_95), w.count(a::A_96)), (1, 0));
        assert_eq!(level(w, 0), 0);
    });
}
#[test]
fn a_96_a_huge_entry_answers_for_its_512_pages() {
    row(a::A_96, |w| {
        thp(w, 0, 1);
        w.store(page(0), 1);
        let head = frame(w, 0);
        let answer = w.gup(FOLL_GET, page(510), 2);
        assert_eq!(answer.pages, [Some(head.offset(510)), Some(head.offset(511))]);
        assert_eq!(w.machine.frames().refs(head), 3);
        assert_eq!((w.faults().len(), level(w, 0)), (1, 1));
    });
}
#[test]
fn a_97_a_read_only_huge_entry_is_faulted_for_a_write() {
    row(a::A_97, |w| {
        thp(w, 0, 1);
        w.load(page(0));
        let zero = w.machine.huge_zero_page().unwrap();
        assert_eq!(w.gup(FOLL_GET, page(3), 1).pages, [Some(zero.offset(3))]);
        let answer = w.gup(FOLL_GET | FOLL_WRITE, page(3), 1);
        assert_eq!(answer.pages[0], w.mapped(page(3), true));
        assert!(answer.ret == 1 && frame(w, 0) != zero && level(w, 0) == 1);
    });
}
#[test]
fn a_98_a_dump_refuses_the_huge_zero_page() {
    row(a::A_98, |w| {
        thp(w, 0, 1);
        w.load(page(0));
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(3), 1).ret, EFAULT);
        w.store(page(0), 1);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(3), 1).ret, 1);
    });
}
#[test]
fn a_100_touch_makes_a_huge_entry_young_and_dirty_even_for_a_read() {
    row(a::A_100, |w| {
        thp(w, 0, 1);
        w.store(page(0), 1);
        let clean = |w: &World| {
            w.change_entry(page(0), |perms| (perms.young, perms.dirty) = (false, false));
        };
        clean(w);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
        assert!(!w.entry(page(0)).is_young() && !w.entry(page(0)).is_dirty());
        assert_eq!(w.gup(FOLL_GET | FOLL_TOUCH, page(0), 1).ret, 1);
        assert!(w.entry(page(0)).is_young() && w.entry(page(0)).is_dirty());
    });
}
#[test]
fn a_101_mlock_marks_the_huge_page_of_a_locked_area() {
    row(a::A_101, |w| {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE | VmFlags::LOCKED);
        thp(w, HUGE, 1);
        w.area(2 * HUGE, HUGE, rw() | VmFlags::HUGEPAGE | VmFlags::LOCKED);
        w.store(page(0), 1);
        w.store(page(HUGE), 1);
        w.load(page(2 * HUGE));
        for at in [0, HUGE, 2 * HUGE] {
            let call = Call { flags: FOLL_MLOCK, pages: false, start: page(at), ..Call::default() };
            assert_eq!(w.call(call).ret, 1);
        }
        let marked = |at| w.machine.frames().has(frame(w, at), FrameFlags::MLOCKED);
        assert_eq!([marked(0), marked(HUGE), marked(2 * HUGE)], [true, false, false]);
    });
}
