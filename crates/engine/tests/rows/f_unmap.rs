//! Rows F-45 … F-57: unmapping, files, and the order in which things are done.

use crate::six::{ask_fast, row6};
use crate::stage::{SHARED, advise, child, exclusive, frame, get, is_exclusive, out, pin, refs};
use crate::store::quick_file;
use crate::support::{World, page, rw};
use gup::addr::PAGE_SIZE;
use gup::fault::PageOut;
use gup::file::FileKind;
use gup::flags::Foll;
use gup::frame::{FrameFlags, Kind};
use gup::gup::fast::FastEntry;
use gup::gup::{Read, Write};
use gup::mapping::{Advice, munmap};
use gup::observe::Event;
use gup::rule::{c, f, s};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

#[test]
fn f_45_a_pin_outlives_every_way_to_unmap_and_the_address_gets_a_new_page() {
    row6(f::F_45, |w| {
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 7)));
        let held = pin(w, Foll::WRITE, 0, 2);
        advise(w, 0, 1, Advice::DontNeed);
        munmap(&mut w.mm.write(), page(1), PAGE_SIZE).unwrap();
        w.area(1, 1, rw());
        for n in 0..2 {
            assert_eq!(w.load(page(n)), Some(0));
            w.store(page(n), 8);
            assert_ne!(held.frames[n as usize], frame(w, n));
            assert_eq!((w.byte(held.frames[n as usize]), refs(w, held.frames[n as usize])), (7, 1));
        }
        assert_eq!(w.count(f::F_45), 2);
    });
}
#[test]
fn f_46_an_unmapped_page_keeps_its_mark_until_it_is_freed() {
    row6(f::F_46, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 7);
        let held = get(w, Foll::WRITE, 0, 1);
        let pfn = held.frames[0];
        advise(w, 0, 1, Advice::DontNeed);
        assert!(is_exclusive(w, pfn) && !w.machine.frames().is_mapped(pfn));
        drop(held);
        assert!(w.machine.frames().kind(pfn) == Kind::Free && !is_exclusive(w, pfn));
    });
}
#[test]
fn f_47_truncation_takes_a_pinned_page_from_its_file_and_later_writes_are_lost() {
    row6(f::F_47, |w| {
        let file = w.file(FileKind::Shmem, 2, None);
        file.add_mapper(&w.mm);
        w.area_of(0, 2, rw() | SHARED, World::backing(&file), 0);
        w.store(page(0), 7);
        let held = pin(w, Foll::WRITE, 0, 1);
        let pfn = held.frames[0];
        file.punch_hole(&w.machine, 0, 1);
        let frames = w.machine.frames();
        assert_eq!((frames.owner(pfn).owner, frames.has(pfn, FrameFlags::DIRTY)), (0, false));
        assert_eq!((w.byte(pfn), refs(w, pfn)), (7, 1));
        assert_eq!(w.load(page(0)), Some(0), "the file does not know what the pin still has");
        assert_ne!(frame(w, 0), pfn);
        drop(held);
        assert_eq!(frames.kind(pfn), Kind::Free);
    });
}
#[test]
fn f_48_dropping_the_cache_leaves_pages_alone_that_somebody_refers_to() {
    row6(f::F_48, |w| {
        let file = quick_file(w, 3);
        w.area_of(0, 3, rw() | SHARED, World::backing(&file), 0);
        (0..3).for_each(|n| assert!(w.load(page(n)).is_some()));
        let held = pin(w, Foll::empty(), 0, 1);
        let mapped = frame(w, 1);
        advise(w, 0, 1, Advice::DontNeed);
        advise(w, 2, 1, Advice::DontNeed);
        assert_eq!(file.invalidate(&w.machine, 0, u64::MAX), 2, "pinned, and mapped");
        assert_eq!([0, 1, 2].map(|n| file.has_page(n)), [true, true, false]);
        assert_eq!(mapped, frame(w, 1));
        drop(held);
        assert_eq!(file.invalidate(&w.machine, 0, u64::MAX), 1);
        assert!(!file.has_page(0));
    });
}
#[test]
fn f_49_a_page_marked_dirty_before_its_last_reference_goes_is_kept() {
    row6(f::F_49, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.load(page(0));
        let pfn = frame(w, 0);
        let pins = w.mm.pin::<Write>(&w.task, page(0), 1).unwrap();
        assert_eq!(pins.frames(), [pfn]);
        w.machine.frames().clear(pfn, FrameFlags::DIRTY);
        w.change_entry(page(0), |perms| perms.dirty = false);
        pins.unpin_dirty();
        assert_eq!(out(w, 0), PageOut::Kept);
        assert!(file.has_page(0) && w.machine.frames().has(pfn, FrameFlags::DIRTY));
        assert_eq!(file.write_back(&w.machine), 1);
        w.load(page(0));
        assert_eq!(out(w, 0), PageOut::Out, "clean, it goes");
    });
}
#[test]
fn f_50_truncation_of_a_dax_file_waits_for_its_pages() {
    row6(f::F_50, |w| {
        let file = w.file(FileKind::Fsdax, 1, None);
        file.add_mapper(&w.mm);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.load(page(0));
        let pfn = get(w, Foll::empty(), 0, 1).frames[0];
        w.machine.frames().get(pfn, 1).unwrap();
        let waits = Arc::new(AtomicU64::new(0));
        let (machine, count, kept) =
            (Arc::clone(&w.machine), Arc::clone(&waits), Arc::clone(&file));
        *w.host().on_relax.lock().unwrap() = Some(Box::new(move || {
            if count.fetch_add(1, SeqCst) == 2 {
                assert!(kept.has_page(0), "it stays meanwhile");
                machine.put_page(pfn);
            }
        }));
        file.truncate(&w.machine, 0);
        *w.host().on_relax.lock().unwrap() = None;
        assert!(waits.load(SeqCst) >= 3 && !file.has_page(0));
        assert_eq!(w.machine.frames().kind(pfn), Kind::Free);
    });
}
#[test]
fn f_51_a_pinned_page_is_written_back_as_it_is_and_dirtied_again_by_its_unpin() {
    row6(f::F_51, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.store(page(0), 1);
        let pins = w.mm.pin::<Write>(&w.task, page(0), 1).unwrap();
        let pfn = pins.frames()[0];
        assert_eq!(file.write_back(&w.machine), 1);
        assert!(!w.machine.frames().has(pfn, FrameFlags::DIRTY));
        pins.unpin_dirty();
        assert!(w.machine.frames().has(pfn, FrameFlags::DIRTY), "nobody asked the file");
        assert_eq!(file.write_back(&w.machine), 1);
    });
}
#[test]
fn f_52_a_page_that_a_device_wrote_is_dirty_before_its_pin_goes() {
    row6(f::F_52, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.load(page(0));
        let pins = w.mm.pin::<Write>(&w.task, page(0), 1).unwrap();
        let pfn = pins.frames()[0];
        w.machine.frames().clear(pfn, FrameFlags::DIRTY);
        let (machine, seen) = (Arc::clone(&w.machine), Arc::new(Mutex::new(None)));
        let log = Arc::clone(&seen);
        w.on_event(move |event| {
            if let Event::Unpinned(_) = event {
                let frames = machine.frames();
                let state = (frames.has(pfn, FrameFlags::DIRTY), frames.pins(pfn));
                *log.lock().unwrap() = Some(state);
            }
            false
        });
        pins.unpin_dirty();
        assert_eq!(*seen.lock().unwrap(), Some((true, 1)));
        assert!(!w.machine.frames().is_locked(pfn));
        w.on_event(|_| true);
    });
}
#[test]
fn f_53_who_wants_the_bytes_pins() {
    row6(f::F_53, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 3);
        let reads = w.mm.pin::<Read>(&w.task, page(0), 1).unwrap();
        let mut byte = [0];
        assert_eq!((reads.read(0, 0, &mut byte), byte), (1, [3]));
        assert_eq!(w.machine.frames().pins(frame(w, 0)), 1);
        let looks = get(w, Foll::empty(), 0, 1);
        assert_eq!(looks.frames, reads.frames());
        assert_eq!(w.machine.frames().pins(frame(w, 0)), 1, "a page to look at is not pinned");
    });
}
#[test]
fn f_54_a_fast_pin_looks_again_after_it_has_counted_itself() {
    row6(f::F_54, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        let (mm, task) = (Arc::clone(&w.mm), gup::task::Task::default());
        // After the entry was read, before the page is counted.
        w.on_event(move |event| {
            let read = matches!(event, Event::Rule { rule, .. } if *rule == s::S_22);
            if read {
                let range = PAGE_SIZE;
                gup::mapping::madvise(&mm, &task, page(0), range, Advice::DontNeed).unwrap();
            }
            read
        });
        let held = w.machine.frames().get(pfn, 1);
        let told = ask_fast(w, FastEntry::Pin, Foll::WRITE, page(0), 1);
        assert_eq!((told.ret, held.is_ok(), w.count(f::F_54)), (1, true, 1));
        assert!(told.frames != [pfn] && told.frames == [frame(w, 0)]);
        assert_eq!((refs(w, pfn), w.machine.frames().pins(pfn)), (1, 0), "undone");
        w.machine.put_page(pfn);
    });
}
#[test]
fn f_55_the_sequence_is_odd_while_fork_copies_and_pins_wait() {
    row6(f::F_55, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let (mm, seen) = (Arc::clone(&w.mm), Arc::new(AtomicU32::new(0)));
        let log = Arc::clone(&seen);
        w.on_event(move |event| {
            let copying = matches!(event, Event::Rule { rule, .. } if *rule == f::F_09);
            if copying {
                log.store(mm.write_protect_seq.load(SeqCst), SeqCst);
            }
            copying
        });
        drop(child(w));
        assert_eq!((seen.load(SeqCst), w.mm.write_protect_seq.load(SeqCst)), (1, 2));
        w.mm.write_protect_seq.store(3, SeqCst);
        w.forget();
        let told = ask_fast(w, FastEntry::Pin, Foll::WRITE, page(0), 1);
        assert_eq!(told.ret, 1);
        assert!(w.seen(c::C_68).is_some() && w.seen(c::C_75).is_none(), "by the slow path");
        w.mm.write_protect_seq.store(4, SeqCst);
        drop(child(w));
        assert!(!exclusive(w, 0));
    });
}
#[test]
fn f_56_a_table_is_freed_only_after_the_walkers_have_left() {
    row6(f::F_56, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let tables = w.machine.frames().stats().of(Kind::Table);
        let (entered, leave) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (machine, go) = (Arc::clone(&w.machine), Arc::clone(&leave));
        let waits = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&waits);
        let walked = &*w.mm;
        thread::scope(|scope| {
            scope.spawn(|| {
                let inside = walked.tables().enter();
                entered.store(true, SeqCst);
                while !leave.load(SeqCst) {
                    thread::yield_now();
                }
                drop(inside);
            });
            while !entered.load(SeqCst) {
                thread::yield_now();
            }
            *w.host().on_relax.lock().unwrap() = Some(Box::new(move || {
                if count.fetch_add(1, SeqCst) == 0 {
                    assert_eq!(machine.frames().stats().of(Kind::Table), tables, "not yet");
                    go.store(true, SeqCst);
                }
            }));
            munmap(&mut w.mm.write(), page(0), PAGE_SIZE).unwrap();
        });
        *w.host().on_relax.lock().unwrap() = None;
        assert!(waits.load(SeqCst) > 0);
        assert!(w.machine.frames().stats().of(Kind::Table) < tables);
    });
}
#[test]
fn f_57_a_page_without_references_is_not_taken_by_a_lockless_walk() {
    row6(f::F_57, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        assert!(w.machine.frames().freeze(pfn, 1));
        let told = ask_fast(w, FastEntry::GetOnly, Foll::WRITE, page(0), 1);
        assert_eq!((told.ret, refs(w, pfn)), (0, 0));
        w.machine.frames().unfreeze(pfn, 1);
        assert_eq!(ask_fast(w, FastEntry::GetOnly, Foll::WRITE, page(0), 1).frames, [pfn]);
    });
}
