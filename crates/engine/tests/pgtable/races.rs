//! Several threads at one address space's tables.

use crate::machine::{EVERYTHING, Machine, SPANS, pages, rw};
use gup::addr::{Pfn, VirtAddr};
use gup::frame::{AllocFlags, Kind};
use gup::pgtable::{Decoded, Entry, Perms, RunTo, X86_64};
use std::sync::Barrier;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
};
use std::thread;

#[test]
fn tables_that_several_threads_make_at_once_are_made_once() {
    for _ in 0..50 {
        let machine = Machine::new(64);
        let start = Barrier::new(4);
        let make = || {
            start.wait();
            let place = |n: u64| machine.tables().make(VirtAddr::new(SPANS[1] * n), 0);
            (0..8).map(|n| place(n).expect("room")).collect::<Vec<_>>()
        };
        let places: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert!(places.iter().all(|other| *other == places[0]), "all see the same tables");
        assert_eq!(machine.table_frames(), 1 + 2 + 8, "spares of lost races are freed");
    }
}

#[test]
fn a_walk_beside_edits_sees_a_page_as_it_was_or_as_it_is() {
    let machine = Machine::new(64);
    let range = pages(SPANS[1] * 6, 1024);
    let first = 512;
    let done = AtomicBool::new(false);
    let edit = || {
        let tables = machine.tables();
        for _ in 0..50 {
            tables.map(range, Pfn::new(first), rw(), 1).expect("room");
            tables.split(range.start).expect("room");
            let odd = pages(range.start.get() + SPANS[0] * 3, 700);
            tables.protect(odd, |perms| Perms { write: !perms.write, ..perms }).expect("room");
            tables.unmap(range, |_, _, _| {}).expect("room");
        }
        done.store(true, Relaxed);
    };
    let look = || {
        let mut found = 0;
        while !done.load(Relaxed) {
            machine.tables().translate(range, |run| match run.to {
                RunTo::Hole => {}
                RunTo::Frames(pfn, _) => {
                    assert_eq!(pfn.get(), first + run.start.pages_from(range.start));
                    found += run.pages;
                }
                RunTo::Swap(entry) => panic!("nobody wrote {entry:?}"),
            });
            for addr in range.iter_pages().step_by(37) {
                let walked = machine.tables().walk(addr);
                if let Decoded::Leaf(..) = walked.entry.decode(walked.place.level) {
                    let expected = first + addr.pages_from(range.start);
                    assert_eq!(walked.frame(addr), Some(Pfn::new(expected)));
                }
            }
        }
        found
    };
    let seen = thread::scope(|scope| {
        let reader = scope.spawn(look);
        scope.spawn(edit);
        reader.join().expect("no panic")
    });
    assert!(seen > 0, "the reader saw mapped pages");
    machine.tables().free_tables(EVERYTHING, VirtAddr::new(0), EVERYTHING.end);
    assert_eq!(machine.table_frames(), 1);
}

#[test]
fn edits_of_neighbouring_pages_by_several_threads_lose_nothing() {
    let machine = Machine::new(64);
    let work = |lane: u64| {
        let tables = machine.tables();
        for round in 0..20 {
            for page in (lane..512).step_by(4) {
                let range = pages(SPANS[1] * 9 + page * SPANS[0], 1);
                tables.map(range, Pfn::new(1 + page * 1000 + round), rw(), 0).expect("room");
                let mut gone = Vec::new();
                tables.unmap(range, |_, entry, _| gone.push(entry.pfn())).expect("no split");
                assert_eq!(gone, [Pfn::new(1 + page * 1000 + round)]);
            }
        }
    };
    thread::scope(|scope| {
        let work = &work;
        (0..4).for_each(|lane| drop(scope.spawn(move || work(lane))));
    });
    assert_eq!(machine.runs(EVERYTHING).len(), 1, "one hole");
}

#[test]
fn of_two_threads_that_map_one_page_one_succeeds() {
    let machine = Machine::new(64);
    for round in 0..200 {
        let page = pages(SPANS[1] * 9 + round % 512 * SPANS[0], 1);
        let start = Barrier::new(2);
        let map = |pfn: u64| {
            start.wait();
            machine.tables().map(page, Pfn::new(pfn), rw(), 0).is_ok()
        };
        let won = thread::scope(|scope| {
            let other = scope.spawn(|| map(7));
            (map(8), other.join().expect("no panic"))
        });
        assert_ne!(won.0, won.1, "exactly one");
        let expected = Pfn::new(if won.0 { 8 } else { 7 });
        let mut gone = Vec::new();
        machine.tables().unmap(page, |_, entry, _| gone.push(entry.pfn())).expect("no split");
        assert_eq!(gone, [expected]);
    }
}

#[test]
fn a_table_is_not_given_back_while_a_walk_without_the_lock_is_inside() {
    let machine = Machine::new(64);
    let addr = VirtAddr::new(SPANS[1] * 9);
    machine.tables().make(addr, 0).expect("room");
    let inside = machine.tables().enter();
    let freed = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let count = machine.tables().free_tables(EVERYTHING, VirtAddr::new(0), EVERYTHING.end);
            assert_eq!(count, 3);
            freed.store(true, SeqCst);
        });
        // Unlinked at once; the walk that is inside holds back only the frames.
        while machine.tables().leaf_table(addr).is_some() {
            thread::yield_now();
        }
        assert_eq!(machine.table_frames(), 4);
        assert!(!freed.load(SeqCst));
        // There is always somebody inside from here on; those who come late keep nobody waiting.
        let mut first = machine.tables().enter();
        drop(inside);
        while !freed.load(SeqCst) {
            let next = machine.tables().enter();
            drop(first);
            first = next;
            thread::yield_now();
        }
    });
    assert_eq!(machine.table_frames(), 1);
}

#[test]
fn walks_without_the_lock_never_meet_a_frame_that_is_no_table_any_more() {
    let machine = Machine::new(64);
    let range = pages(SPANS[1] * 9, 2);
    let done = AtomicBool::new(false);
    let edit = || {
        let tables = machine.tables();
        for _ in 0..100 {
            tables.map(range, Pfn::new(7), rw(), 0).expect("room");
            tables.unmap(range, |_, _, _| {}).expect("nothing to split");
            assert_eq!(tables.free_tables(range, VirtAddr::new(0), EVERYTHING.end), 3);
            // What a freed table holds next is nothing that a walk may take for entries.
            let frames = &machine.frames;
            let data: Vec<_> = std::iter::from_fn(|| {
                frames.alloc(&machine.host, 0, Kind::Anon, AllocFlags::empty()).ok()
            })
            .take(4)
            .collect();
            for &pfn in &data {
                machine.tables().entries(pfn).iter().for_each(|word| word.store(u64::MAX, SeqCst));
            }
            for pfn in data {
                frames.put_and_free(pfn, 1);
            }
        }
        done.store(true, SeqCst);
    };
    let look = || {
        while !done.load(SeqCst) {
            let _inside = machine.tables().enter();
            for addr in range.iter_pages() {
                let Some((_, words)) = machine.tables().leaf_table(addr) else { continue };
                // Long enough for the table to be unlinked, freed and used for data.
                thread::yield_now();
                let raw = words[addr.page_number() as usize % 512].load(SeqCst);
                let expected = Entry::leaf(Pfn::new(7 + addr.pages_from(range.start)), rw(), 0);
                let entry = Entry::<X86_64>::from_raw(raw);
                assert!(entry.is_none() || entry == expected, "{entry:?}");
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(look);
        scope.spawn(look);
        scope.spawn(edit);
    });
}
