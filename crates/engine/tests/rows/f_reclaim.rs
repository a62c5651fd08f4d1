//! Rows F-33 … F-44: what leaves pinned pages alone, and what does not.

use crate::six::{Ask, config, row6};
use crate::stage::{
    HUGE, advise, exclusive, frame, get, level, out, pin, references, refs, swap_cached,
    swap_entry, swap_on, writable,
};
use crate::support::{World, page, row_in, rw};
use gup::addr::PAGE_SIZE;
use gup::errno::Errno;
use gup::fault::{Merge, PageOut, collapse, mark_hinted, memory_failure, merge_equal, move_page};

use gup::flags::{Foll, VmFlags};
use gup::frame::{FrameFlags, Kind, Zone};
use gup::gup::Entry;
use gup::mapping::{Advice, MremapFlags, MremapRequest, clear_soft_dirty, mremap};
use gup::mm::Counter;
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
fn f_36_a_page_with_a_reference_that_nobody_explains_is_not_moved() {
    let mut config = config();
    config.frames = config.frames.and(Zone::Movable, 0, 64);
    row_in(f::F_36, World::with(config), |w| {
        w.area(0, 1, rw());
        w.store(page(0), 5);
        let (there, frames) = (frame(w, 0), w.machine.frames());
        assert_eq!(frames.zone(there), Zone::Movable);
        let long = Foll::WRITE | Foll::LONGTERM;
        let held = get(w, Foll::empty(), 0, 1);
        let told = Ask::new(Entry::Pin, long, page(0), 1).of(w);
        assert_eq!((told.ret, frame(w, 0)), (Errno::ENOMEM.negated(), there));
        assert!(writable(w, 0) && exclusive(w, 0) && refs(w, there) == 2);
        drop(held);
        let told = Ask::new(Entry::Pin, long, page(0), 1).of(w);
        assert_eq!((told.ret, &told.frames[..]), (1, &[frame(w, 0)][..]));
        assert_eq!(frames.zone(frame(w, 0)), Zone::Normal);
        assert_eq!(w.load(page(0)), Some(5));
    });
}
#[test]
fn f_37_a_page_that_somebody_else_refers_to_is_not_merged() {
    row6(f::F_37, |w| {
        w.area(0, 4, rw());
        [5, 5, 5, 6].iter().zip(0..).for_each(|(byte, n)| assert!(w.store(page(n), *byte)));
        let merge = |a, b| merge_equal(&w.mm.read(), page(a), page(b));
        assert_eq!(merge(0, 1), Merge::Kept, "the area does not ask for it");
        advise(w, 0, 4, Advice::Mergeable);
        assert_eq!(merge(0, 3), Merge::Different);
        let held = pin(w, Foll::WRITE, 0, 1);
        let looked_at = get(w, Foll::empty(), 2, 1);
        assert_eq!([merge(0, 1), merge(1, 2)], [Merge::Kept; 2]);
        assert!(writable(w, 0) && exclusive(w, 0) && held.frames == [frame(w, 0)]);
        drop((held, looked_at));
        let merged = frame(w, 0);
        assert_eq!([merge(0, 1), merge(0, 2)], [Merge::Merged(merged); 2]);
        assert_eq!([0, 1, 2].map(|n| frame(w, n)), [merged; 3]);
        assert_eq!((w.machine.frames().folio_mapcount(merged), refs(w, merged)), (3, 3));
        assert!((0..3).all(|n| !writable(w, n) && !exclusive(w, n)));
        let own = pin(w, Foll::empty(), 1, 1);
        assert!(own.frames != [merged] && w.byte(own.frames[0]) == 5, "unshared for the pin");
        w.store(page(2), 7);
        assert_eq!([0, 1, 2].map(|n| w.load(page(n))), [Some(5), Some(5), Some(7)]);
        assert!(frame(w, 0) == merged && !exclusive(w, 0));
    });
}
#[test]
fn f_38_a_huge_page_is_not_assembled_from_a_page_that_somebody_refers_to() {
    row6(f::F_38, |w| {
        w.area(0, HUGE, rw());
        for n in [0, 7, 511] {
            assert!(w.store(page(n), 9));
        }
        w.load(page(3));
        let held = pin(w, Foll::WRITE, 7, 1);
        let before = frame(w, 0);
        assert_eq!(collapse(&w.mm.write(), page(100)), Err(Errno::EAGAIN));
        assert_eq!((level(w, 0), frame(w, 0), frame(w, 7)), (0, before, held.frames[0]));
        assert!(writable(w, 7));
        drop(held);
        assert_eq!(collapse(&w.mm.write(), page(100)), Ok(()));
        assert!(level(w, 0) == 1 && exclusive(w, 0) && writable(w, 300));
        assert_eq!([0, 1, 3, 7, 511].map(|n| w.load(page(n))), [9, 0, 0, 9, 9].map(Some));
        assert_eq!(w.machine.frames().kind(before), Kind::Free);
        assert_eq!(collapse(&w.mm.write(), page(0)), Err(Errno::EINVAL), "it is one already");
        assert_eq!(w.mm.rss(Counter::Anon), 512);
    });
}
#[test]
fn f_40_numa_balancing_marks_no_private_page_that_may_be_pinned() {
    row6(f::F_40, |w| {
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 4)));
        let held = pin(w, Foll::WRITE, 1, 1);
        let map = w.mm.read();
        let vma = map.lookup(page(0)).unwrap();
        assert_eq!(mark_hinted(&w.mm, vma, vma.range()), 2);
        drop(map);
        assert_eq!([0, 1, 2].map(|n| w.entry(page(n)).is_protnone()), [true, false, true]);
        assert_eq!((w.load(page(0)), held.frames[0]), (Some(4), frame(w, 1)));
        assert!(!w.entry(page(0)).is_protnone() && writable(w, 0));
        w.store(page(2), 5);
    });
}
#[test]
fn f_41_clearing_soft_dirty_leaves_pages_writable_that_may_be_pinned() {
    row6(f::F_41, |w| {
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 4)));
        (0..3).for_each(|n| w.change_entry(page(n), |perms| perms.soft_dirty = true));
        let held = pin(w, Foll::WRITE, 1, 1);
        clear_soft_dirty(&w.mm.write());
        assert_eq!([0, 1, 2].map(|n| writable(w, n)), [false, true, false]);
        assert_eq!([0, 1, 2].map(|n| w.entry(page(n)).is_soft_dirty()), [false, true, false]);
        let there = frame(w, 0);
        w.store(page(0), 5);
        assert_eq!((frame(w, 0), held.frames[0]), (there, frame(w, 1)), "exclusive: reused");
        assert!(w.entry(page(0)).is_soft_dirty() && !w.entry(page(2)).is_soft_dirty());
        drop(held);
        clear_soft_dirty(&w.mm.write());
        assert!(!writable(w, 1), "no pin, no exception");
    });
}
#[test]
fn f_42_uffdio_move_refuses_pages_that_are_pinned_or_shared() {
    row6(f::F_42, |w| {
        w.area(0, 3, rw());
        w.area(8, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 4)));
        let step = |n| move_page(&w.mm.read(), page(8 + n), page(n));
        assert_eq!(step(0), Err(Errno::EINVAL), "nobody is registered there");
        let mut map = w.mm.write();
        map.lookup_mut(page(8)).unwrap().flags |= VmFlags::UFFD_MISSING;
        drop(map);
        let held = pin(w, Foll::WRITE, 0, 1);
        w.machine.frames().clear(frame(w, 1), FrameFlags::ANON_EXCLUSIVE);
        let before = w.entry(page(0));
        assert_eq!([step(0), step(1)], [Err(Errno::EBUSY); 2]);
        assert_eq!((w.entry(page(0)), w.count(f::F_42)), (before, 2));
        drop(held);
        let there = frame(w, 0);
        assert_eq!(step(0), Ok(()));
        assert!(w.mapped(page(0), false).is_none() && frame(w, 8) == there);
        assert!(exclusive(w, 8) && writable(w, 8) && w.load(page(8)) == Some(4));
        assert_eq!(step(0), Err(Errno::EEXIST));
        // Pinned between the first look and the flush.
        let (machine, mm, late) = (Arc::clone(&w.machine), Arc::clone(&w.mm), frame(w, 2));
        *w.host().on_flush.lock().unwrap() = Some(Box::new(move |_, range| {
            if range.start == page(2) && mm.tables().walk(page(2)).entry.is_none() {
                machine.frames().pin(late, 1).unwrap();
            }
        }));
        assert_eq!(step(2), Err(Errno::EBUSY));
        *w.host().on_flush.lock().unwrap() = None;
        assert_eq!(w.mapped(page(2), true), Some(late), "put back as it was");
        w.machine.unpin_pages(late, 1);
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
