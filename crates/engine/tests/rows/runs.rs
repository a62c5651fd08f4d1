//! Rows C-21 and C-90 where pages are held as runs: one step into a huge page, one step out of it.

use crate::six::row6;
use crate::support::{TestHost, World, page, rw};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::flags::VmFlags;
use gup::frame::FrameFlags;
use gup::gup::{PinnedRuns, Read, Run, SegmentLimits, Term, Write};
use gup::linux::Linux;
use gup::observe::Event;
use gup::rule::c;
use std::sync::{Arc, Mutex};

const HUGE: u64 = 512;

fn thp(w: &World, at: u64) -> gup::addr::Pfn {
    w.area(at, HUGE, rw() | VmFlags::HUGEPAGE);
    assert!(w.store(page(at), 1));
    w.mapped(page(at), true).unwrap()
}
fn pin(w: &World, at: u64, pages: u64) -> PinnedRuns<TestHost, Write> {
    w.mm.pin_runs(&w.task, page(at), pages, Term::Short).expect("pinned")
}
/// Every `Pinned` (positive) and `Unpinned` (negative) from now on.
fn counted(w: &World) -> Arc<Mutex<Vec<i64>>> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    w.on_event(move |event| {
        match event {
            Event::Pinned(n) => seen.lock().unwrap().push(i64::from(*n)),
            Event::Unpinned(n) => seen.lock().unwrap().push(-i64::from(*n)),
            _ => {}
        }
        false
    });
    steps
}

#[test]
fn c_21_a_huge_page_that_is_not_there_yet_becomes_one_run_in_one_grab() {
    row6(c::C_21, |w| {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
        let steps = counted(w);
        let runs = pin(w, 0, HUGE);
        let head = w.mapped(page(0), true).unwrap();
        assert_eq!(runs.runs(), [Run { first: head, pages: HUGE }]);
        assert_eq!(w.machine.frames().pins(head), 512);
        drop(runs);
        assert_eq!(*steps.lock().unwrap(), [512, -512]);
        assert_eq!((w.machine.frames().refs(head), w.machine.frames().pins(head)), (1, 0));
    });
}
#[test]
fn c_90_a_huge_page_is_given_back_in_one_step_and_each_small_page_in_one() {
    row6(c::C_90, |w| {
        let head = thp(w, 0);
        w.area(HUGE, 2, rw());
        assert!(w.store(page(HUGE), 1) && w.store(page(HUGE + 1), 1));
        let steps = counted(w);
        let runs = pin(w, 3, 511);
        assert_eq!(runs.pages(), 511);
        assert_eq!(runs.runs()[0].first, head.offset(3));
        drop(runs);
        assert_eq!(*steps.lock().unwrap(), [509, 1, 1, -509, -1, -1]);
        assert_eq!(w.machine.frames().pins(head), 0);
    });
}
#[test]
fn c_90_the_zero_page_is_in_a_run_and_never_counted() {
    row6(c::C_90, |w| {
        w.area(0, 2, rw());
        w.load(page(0));
        let zero = w.machine.zero_page();
        let before = w.machine.frames().refs(zero);
        let runs = w.mm.pin_runs::<Read>(&w.task, page(0), 2, Term::Short).expect("pinned");
        assert!(runs.frames().all(|pfn| pfn == zero));
        assert_eq!(runs.runs().len(), 2, "the same frame twice is no run of two");
        assert_eq!(w.machine.frames().refs(zero), before);
        drop(runs);
        assert_eq!(w.machine.frames().refs(zero), before);
    });
}
#[test]
fn a_stop_is_told_with_its_page_and_what_came_before_it_is_held() {
    let w = World::new(Linux::V6_18);
    w.area(0, 3, rw());
    let runs = pin(&w, 1, 4);
    let stop = runs.stopped().expect("a hole");
    assert_eq!((runs.pages(), stop.index, stop.addr, stop.errno), (2, 2, page(3), Errno::EFAULT));
    drop(runs);
    let none = w.mm.pin_runs::<Read>(&w.task, page(3), 1, Term::Short);
    assert_eq!(none.unwrap_err().index, 0);
    let far = w.mm.pin_runs::<Read>(&w.task, VirtAddr::new(u64::MAX), 2, Term::Short);
    assert_eq!(far.unwrap_err().errno, Errno::EOVERFLOW);
    let vast = w.mm.pin_runs::<Read>(&w.task, page(0), u64::MAX, Term::Short);
    assert_eq!(vast.unwrap_err().errno, Errno::EOVERFLOW, "and nothing was allocated for it");
    assert!(w.mm.pin_runs::<Read>(&w.task, page(3), 0, Term::Short).expect("none").is_empty());
    w.end();
}

#[test]
fn on_v4_4_runs_are_references() {
    let w = World::new(Linux::V4_4);
    w.area(0, 3, rw());
    let runs = pin(&w, 0, 5);
    let frames: Vec<_> = runs.frames().collect();
    assert_eq!((runs.pages(), runs.stopped().map(|stop| stop.index)), (3, Some(3)));
    assert!(frames.iter().all(|pfn| w.machine.frames().refs(*pfn) == 2));
    assert!(frames.iter().all(|pfn| w.machine.frames().pins(*pfn) == 0));
    drop(runs);
    assert!(frames.iter().all(|pfn| w.machine.frames().refs(*pfn) == 1));
    w.end();
}

#[test]
fn bytes_go_through_runs_across_pages_and_folios_and_make_them_dirty() {
    let w = World::new(Linux::V6_18);
    thp(&w, 0);
    w.area(HUGE, 2, rw());
    let runs = pin(&w, 511, 3);
    let text = b"over the edge of a huge page";
    let at = PAGE_SIZE - 9;
    assert_eq!(runs.write(at, text), text.len());
    let mut back = [0; 28];
    assert_eq!(runs.read(at, &mut back), text.len());
    assert_eq!(&back, text);
    assert_eq!(w.load(page(512)), Some(text[9]));
    let frames: Vec<_> = runs.frames().collect();
    let dirty = |n: usize| w.machine.frames().has(frames[n], FrameFlags::DIRTY);
    assert_eq!(
        (runs.write(3 * PAGE_SIZE - 1, b"xyz"), runs.read(3 * PAGE_SIZE, &mut back)),
        (1, 0)
    );
    assert!((0..3).all(dirty));
    for pfn in &frames {
        w.machine.frames().clear(*pfn, FrameFlags::DIRTY);
    }
    runs.unpin_dirty();
    assert!((0..3).all(dirty), "each folio");
    assert!(frames.iter().all(|pfn| w.machine.frames().pins(*pfn) == 0));
    w.end();
}

#[test]
fn a_fork_while_the_walk_is_under_way_makes_it_come_to_nothing_and_the_slow_path_goes_on() {
    let w = World::new(Linux::V6_18);
    let head = thp(&w, 0);
    w.mm.write_protect_seq.store(1, std::sync::atomic::Ordering::SeqCst);
    let steps = counted(&w);
    let runs = pin(&w, 0, HUGE);
    assert_eq!(
        (runs.runs(), &steps.lock().unwrap()[..]),
        (&[Run { first: head, pages: HUGE }][..], &[512][..])
    );
    w.mm.write_protect_seq.store(0, std::sync::atomic::Ordering::SeqCst);
    drop(runs);
    w.end();
}

#[test]
fn segments_cover_what_was_asked_for_within_the_limits_and_nothing_else() {
    let w = World::new(Linux::V6_18);
    thp(&w, 0);
    w.area(HUGE, 3, rw());
    let runs = pin(&w, 500, 15);
    let table = [
        (4096, None),
        (65_536, Some(65_536)),
        (1000, Some(4096)),
        (1 << 30, Some(3000)),
        (7, None),
    ];
    for (max, boundary) in table {
        let limits = SegmentLimits::new(max, boundary).expect("no zero");
        for bytes in [0..runs.bytes(), 1..2, 4095..4097, 50_000..70_001, 9..u64::MAX, 5..5] {
            let wanted = bytes.start.min(runs.bytes())..bytes.end.min(runs.bytes());
            let mut at = wanted.start;
            for segment in runs.segments(bytes.clone(), limits) {
                let page = usize::try_from(at / PAGE_SIZE).unwrap();
                let pfn = runs.frames().nth(page).expect("a page");
                assert_eq!(segment.address, pfn.get() * PAGE_SIZE + at % PAGE_SIZE);
                assert!(segment.bytes > 0 && segment.bytes <= max, "{segment:?} {limits:?}");
                let last = segment.address + segment.bytes - 1;
                let crossed = boundary.is_some_and(|b| segment.address / b != last / b);
                assert!(!crossed, "{segment:?} crosses {boundary:?}");
                at += segment.bytes;
            }
            assert_eq!(at, wanted.end.max(wanted.start), "{bytes:?} {limits:?}");
        }
    }
    assert_eq!(SegmentLimits::new(0, None), None);
    assert_eq!(SegmentLimits::new(1, Some(0)), None);
    assert_eq!(SegmentLimits::default().max_bytes.get(), 65_536);
    assert_eq!(SegmentLimits::default().boundary.map(std::num::NonZeroU64::get), Some(1 << 32));
    let whole = SegmentLimits::new(1 << 30, None).expect("no zero");
    assert_eq!(runs.segments(0..runs.bytes(), whole).count(), runs.runs().len());
    drop(runs);
    w.end();
}
