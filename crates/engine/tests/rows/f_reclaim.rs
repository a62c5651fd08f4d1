//! Rows F-33 … F-44: what leaves pinned pages alone, and what does not.

use crate::six::row6;
use crate::stage::{
    advise, exclusive, frame, get, out, pin, references, swap_cached, swap_entry, swap_on, writable,
};
use crate::support::{page, rw};
use gup::addr::PAGE_SIZE;
use gup::fault::{PageOut, memory_failure};
use gup::flags::Foll;
use gup::frame::FrameFlags;
use gup::mapping::{Advice, MremapFlags, MremapRequest, mremap};
use gup::pgtable::SwapEntry;
use gup::rule::f;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

#[test]
fn f_33_a_page_that_may_be_pinned_gets_no_swap_slot() {
    row6(f::F_33, |w| {
        swap_on(w);
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        let held = pin(w, Foll::WRITE, 0, 1);
        let many = references(w, frame(w, 1), 1024);
        let before = [w.entry(page(0)), w.entry(page(1))];
        assert_eq!([out(w, 0), out(w, 1)], [PageOut::Kept; 2]);
        assert_eq!([w.entry(page(0)), w.entry(page(1))], before);
        assert_eq!(w.machine.swap().free_slots(), 8);
        drop((held, many));
        assert_eq!([out(w, 0), out(w, 1)], [PageOut::Out; 2]);
    });
}
#[test]
fn f_34_the_entry_is_cleared_and_flushed_before_the_pin_test_and_put_back() {
    row6(f::F_34, |w| {
        swap_on(w);
        w.area(0, 1, rw());
        w.store(page(0), 1);
        swap_cached(w, 0);
        let held = pin(w, Foll::WRITE, 0, 1);
        let before = w.entry(page(0));
        let (flushes, mm) = (Arc::new(AtomicU64::new(0)), Arc::clone(&w.mm));
        let count = Arc::clone(&flushes);
        *w.host().on_flush.lock().unwrap() = Some(Box::new(move |_, range| {
            assert!(mm.tables().walk(range.start).entry.is_none(), "cleared first");
            count.fetch_add(1, SeqCst);
        }));
        assert_eq!(out(w, 0), PageOut::Kept);
        *w.host().on_flush.lock().unwrap() = None;
        assert_eq!((flushes.load(SeqCst), w.entry(page(0))), (1, before));
        assert!(exclusive(w, 0) && held.frames == [frame(w, 0)]);
    });
}
#[test]
fn f_35_a_lazily_freed_page_goes_only_if_it_is_clean_and_nobody_refers_to_it() {
    row6(f::F_35, |w| {
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 5)));
        (0..3).for_each(|n| w.machine.frames().clear(frame(w, n), FrameFlags::DIRTY));
        advise(w, 0, 3, Advice::Free);
        let held = get(w, Foll::empty(), 1, 1);
        w.change_entry(page(2), |perms| perms.dirty = true);
        assert_eq!([0, 1, 2].map(|n| out(w, n)), [PageOut::Out, PageOut::Kept, PageOut::Kept]);
        assert_eq!([0, 1, 2].map(|n| w.load(page(n))), [Some(0), Some(5), Some(5)]);
        assert_eq!(held.frames, [frame(w, 1)]);
        assert!(w.machine.frames().has(frame(w, 2), FrameFlags::SWAPBACKED));
        assert_eq!(w.count(f::F_35), 1);
    });
}
#[test]
fn f_43_mremap_moves_the_page_with_its_pin_and_its_mark() {
    row6(f::F_43, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let held = pin(w, Foll::WRITE, 0, 1);
        let request = MremapRequest {
            addr: page(0),
            old_bytes: PAGE_SIZE,
            new_bytes: PAGE_SIZE,
            flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
            new_addr: page(16),
        };
        mremap(&mut w.mm.write(), &w.task, &request).unwrap();
        assert!(w.mapped(page(0), false).is_none());
        assert_eq!(held.frames, [frame(w, 16)]);
        assert!(exclusive(w, 16) && writable(w, 16));
        assert_eq!(w.machine.frames().pins(frame(w, 16)), 1);
        w.store(page(16), 2);
        assert_eq!(w.byte(held.frames[0]), 2);
    });
}
#[test]
fn f_44_broken_memory_stays_with_its_pin_and_leaves_the_address() {
    row6(f::F_44, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let held = pin(w, Foll::WRITE, 0, 1);
        assert!(memory_failure(&w.mm, page(0)));
        assert_eq!(swap_entry(w, 0), Some(SwapEntry::HwPoison(held.frames[0])));
        assert!(w.machine.frames().has(held.frames[0], FrameFlags::HWPOISON));
        assert_eq!(w.machine.frames().pins(held.frames[0]), 1);
        w.machine.frames().clear(held.frames[0], FrameFlags::HWPOISON);
    });
}
