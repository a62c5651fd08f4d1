//! Rows F-08 … F-20: fork, pins or no pins.

use crate::six::{ask_fast, row6};
use crate::stage::{
    SHARED, advise, child, exclusive, frame, get, out, pin, references, swap_entry, swap_on,
    writable,
};
use crate::store::quick_file;
use crate::support::{World, page, ro, row, rw};
use gup::addr::Pfn;
use gup::errno::Errno;
use gup::fault::PageOut;
use gup::flags::Foll;
use gup::frame::FrameFlags;
use gup::gup::fast::FastEntry;
use gup::host::Injection;
use gup::mapping::{Advice, fork};
use gup::observe::Event;
use gup::pgtable::{Entry, SwapEntry};
use gup::rule::f;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};

/// A writable area of `pages` pages at page 0, all stored to.
fn stored(w: &World, pages: u64) -> Vec<Pfn> {
    w.area(0, pages, rw());
    (0..pages).for_each(|n| assert!(w.store(page(n), 1)));
    (0..pages).map(|n| frame(w, n)).collect()
}

#[test]
fn f_08_areas_without_private_pages_are_left_out_and_the_sequence_is_odd_meanwhile() {
    row6(f::F_08, |w| {
        w.area(0, 1, rw());
        w.load(page(0));
        let file = quick_file(w, 1);
        w.area_of(2, 1, rw() | SHARED, World::backing(&file), 0);
        w.store(page(2), 9);
        w.area(4, 1, rw());
        w.store(page(4), 1);
        let (seq, mm) = (Arc::new(AtomicU32::new(0)), Arc::clone(&w.mm));
        let seen = Arc::clone(&seq);
        w.on_event(move |event| {
            let sharing = matches!(event, Event::Rule { rule, .. } if *rule == f::F_09);
            if sharing {
                seen.store(mm.write_protect_seq.load(SeqCst), SeqCst);
            }
            sharing
        });
        let other = child(w);
        assert_eq!((seq.load(SeqCst), w.mm.write_protect_seq.load(SeqCst)), (1, 2));
        assert_eq!(w.count(f::F_08), 2);
        let mapped = [0, 2, 4].map(|n| other.mapped(page(n), false).is_some());
        assert_eq!(mapped, [false, false, true]);
        assert_eq!((other.load(page(0)), other.load(page(2))), (Some(0), Some(9)));
        assert_eq!(frame(&other, 2), frame(w, 2));
    });
}
#[test]
fn f_09_a_page_that_is_not_pinned_is_shared_read_only() {
    row6(f::F_09, |w| {
        let there = stored(w, 1);
        w.change_entry(page(0), |perms| (perms.uffd_wp, perms.soft_dirty) = (true, true));
        let other = child(w);
        assert_eq!([frame(w, 0), frame(&other, 0)], [there[0]; 2]);
        assert!(!exclusive(w, 0) && !writable(w, 0) && !writable(&other, 0));
        let entry = other.entry(page(0));
        assert!(!entry.is_young() && entry.is_soft_dirty() && !entry.is_uffd_wp());
        assert!(w.entry(page(0)).is_uffd_wp(), "the parent keeps the mark");
    });
}
#[test]
fn f_10_a_pinned_page_is_copied_now_and_the_parent_notices_nothing() {
    row6(f::F_10, |w| {
        let there = stored(w, 2);
        w.area(4, 1, ro());
        let read_only = pin(w, Foll::WRITE | Foll::FORCE, 4, 1);
        let held = pin(w, Foll::WRITE, 0, 1);
        let before = w.entry(page(0));
        let other = child(w);
        assert_eq!(w.entry(page(0)), before);
        assert!(writable(w, 0) && exclusive(w, 0) && !exclusive(w, 1));
        assert!(frame(&other, 0) != there[0] && frame(&other, 1) == there[1]);
        assert!(exclusive(&other, 0) && writable(&other, 0) && other.entry(page(0)).is_dirty());
        assert!(frame(&other, 4) != read_only.frames[0] && !writable(&other, 4));
        w.store(page(0), 2);
        assert_eq!((w.byte(held.frames[0]), other.load(page(0))), (2, Some(1)));
    });
}
#[test]
fn f_11_a_page_that_is_shared_already_is_shared_again_though_it_may_be_pinned() {
    row6(f::F_11, |w| {
        let there = stored(w, 2);
        drop(pin(w, Foll::WRITE, 1, 1));
        let first = child(w);
        let many = references(w, there[0], 1024);
        let second = child(w);
        assert_eq!([&first, &second].map(|child| frame(child, 0)), [there[0]; 2]);
        drop(many);
    });
}
#[test]
fn f_12_without_memory_for_the_copy_fork_fails() {
    row6(f::F_12, |w| {
        let there = stored(w, 1);
        let held = pin(w, Foll::WRITE, 0, 1);
        let no_folio = |point| matches!(point, Injection::FolioAlloc(_));
        *w.host().inject.lock().unwrap() = Some(Box::new(no_folio));
        assert_eq!(fork(&mut w.mm.write(), &w.task).err(), Some(Errno::ENOMEM));
        *w.host().inject.lock().unwrap() = None;
        assert!(w.mapped(page(0), true) == Some(there[0]) && exclusive(w, 0));
        w.machine.frames().set(there[0], FrameFlags::HWPOISON);
        assert_eq!(fork(&mut w.mm.write(), &w.task).err(), Some(Errno::ENOMEM), "broken memory");
        w.machine.frames().clear(there[0], FrameFlags::HWPOISON);
        assert_eq!(w.mm.write_protect_seq.load(SeqCst) % 2, 0);
        drop(held);
    });
}
#[test]
fn f_13_a_fast_pin_during_which_a_fork_ran_is_given_up() {
    row6(f::F_13, |w| {
        let there = stored(w, 2);
        let (mm, children) = (Arc::clone(&w.mm), Arc::new(Mutex::new(Vec::new())));
        let born = Arc::clone(&children);
        // The first page is pinned, the second not yet.
        w.on_event(move |event| {
            let pinned = matches!(event, Event::Rule { rule, .. } if *rule == gup::rule::c::C_75);
            if pinned {
                let child = fork(&mut mm.write(), &gup::task::Task::default()).unwrap();
                born.lock().unwrap().push(child);
            }
            pinned
        });
        let told = ask_fast(w, FastEntry::Pin, Foll::WRITE, page(0), 2);
        assert_eq!((told.ret, w.count(f::F_13)), (2, 1));
        let other = w.as_process(children.lock().unwrap().pop().unwrap());
        assert_ne!(frame(&other, 0), there[0], "the fork saw the pin, and copied");
        assert_eq!((told.frames[0], frame(&other, 1)), (there[0], there[1]));
        assert_ne!(told.frames[1], there[1], "shared by the fork, so copied for the pin");
        for n in 0..2 {
            assert!(exclusive(w, n) && frame(w, n) == told.frames[n as usize]);
            assert_eq!(w.machine.frames().pins(there[n as usize]), 0);
        }
    });
}
#[test]
fn f_16_swapped_and_moving_pages_are_exclusive_to_neither_afterwards() {
    row6(f::F_16, |w| {
        swap_on(w);
        let there = stored(w, 3);
        assert_eq!(out(w, 0), PageOut::Out);
        assert!(matches!(swap_entry(w, 0), Some(SwapEntry::Swap { exclusive: true, .. })));
        w.area(8, 1, rw());
        w.store(page(8), 1);
        let moving = SwapEntry::Migration { pfn: there[2], write: true, exclusive: true };
        let real = w.entry(page(1));
        w.set_entry(page(1), 0, Entry::swap(moving));
        let other = child(w);
        for process in [w, &other] {
            let swapped = swap_entry(process, 0);
            assert!(matches!(swapped, Some(SwapEntry::Swap { exclusive: false, .. })));
            let Some(SwapEntry::Migration { write, exclusive, .. }) = swap_entry(process, 1) else {
                panic!("it is still moving");
            };
            assert!(!write && !exclusive);
        }
        assert_eq!(w.count(f::F_16), 2);
        w.set_entry(page(1), 0, real);
        w.load(page(0));
        assert!(!writable(w, 0), "read back, it is shared with the child");
    });
}
#[test]
fn f_17_file_pages_are_duplicated_pinned_or_not() {
    row6(f::F_17, |w| {
        let file = quick_file(w, 3);
        w.area_of(0, 3, rw(), World::backing(&file), 0);
        w.store(page(0), 1);
        (1..3).for_each(|n| assert!(w.load(page(n)).is_some()));
        let held = pin(w, Foll::empty(), 1, 1);
        let other = child(w);
        assert_eq!([1, 2].map(|n| frame(&other, n)), [1, 2].map(|n| frame(w, n)));
        assert_eq!(held.frames, [frame(&other, 1)]);
        assert_eq!(w.count(f::F_17), 2);
    });
}
#[test]
fn f_18_areas_marked_so_are_left_out_or_empty_and_their_pages_stay_the_parents() {
    row6(f::F_18, |w| {
        let there = stored(w, 3);
        advise(w, 0, 1, Advice::DontFork);
        advise(w, 1, 1, Advice::WipeOnFork);
        let held = get(w, Foll::WRITE, 0, 1);
        let other = child(w);
        assert!(other.mm.read().lookup(page(0)).is_none());
        assert!(other.mapped(page(1), false).is_none() && other.load(page(1)) == Some(0));
        assert_eq!(frame(&other, 2), there[2]);
        w.store(page(0), 2);
        assert_eq!((frame(w, 0), w.byte(held.frames[0])), (there[0], 2), "no copy for the GET");
    });
}
#[test]
fn f_19_who_pinned_once_is_looked_at_closely_for_good_and_its_child_is_not() {
    row6(f::F_19, |w| {
        let there = stored(w, 2);
        let many = references(w, there[0], 1024);
        assert_eq!(frame(&child(w), 0), there[0], "nobody ever pinned here");
        assert_eq!(w.count(f::F_19), 0);
        drop(many);
        w.store(page(0), 1);
        drop(pin(w, Foll::WRITE, 0, 1));
        let many = references(w, there[0], 1024);
        let other = child(w);
        assert_ne!(frame(&other, 0), there[0], "no pin is left, but so many references");
        assert!(!other.mm.has_pinned.load(SeqCst) && w.mm.has_pinned.load(SeqCst));
        let theirs = frame(&other, 0);
        let more = references(w, theirs, 1024);
        assert_eq!(frame(&child(&other), 0), theirs);
        drop((many, more));
    });
}
#[test]
fn f_20_v4_4_shares_a_pinned_page_and_the_parent_may_lose_it() {
    row(f::F_20, |w| {
        let there = stored(w, 1);
        let held = pin(w, Foll::WRITE, 0, 1);
        let other = child(w);
        assert_eq!(frame(&other, 0), there[0]);
        w.store(page(0), 2);
        assert_ne!(frame(w, 0), there[0]);
        assert_eq!((w.byte(held.frames[0]), held.frames[0]), (1, there[0]), "the device's page");
    });
}
