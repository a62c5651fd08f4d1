//! Rows C-21, C-40 and C-45 (huge pages), C-55 and C-56 (faults), C-86 … C-92 (counts), C-95 …
//! C-101 (who else asks): what stands around 6.18's walk.

use crate::six::{Ask, Told, ask_fast, row6};
use crate::store::{byte_of, quick_file};
use crate::support::{World, none, page, ro, rw};
use gup::addr::{Pfn, VirtRange};
use gup::errno::Errno;
use gup::fault::{Fault, FaultCx, handle_mm_fault};
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::Entry;
use gup::gup::fast::FastEntry;
use gup::gup::populate::{MadvisePopulate, madvise_populate};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::host::Injection;
use gup::observe::Event;
use gup::pgtable::{Entry as Pte, Perms, SwapEntry};
use gup::rule::c;
use std::sync::atomic::Ordering::SeqCst;

const HUGE: u64 = 512;

fn ask(w: &World, entry: Entry, foll: Foll, at: u64, nr: u64) -> Told {
    Ask::new(entry, foll, page(at), nr).of(w)
}
/// A transparent huge page at page 0, written to.
fn thp(w: &World) -> Pfn {
    w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
    assert!(w.store(page(0), 1));
    assert_eq!(w.mm.tables().walk(page(0)).place.level, 1, "one huge entry");
    w.mapped(page(0), true).unwrap()
}

#[test]
fn c_21_the_pages_of_a_huge_page_are_taken_in_one_step() {
    row6(c::C_21, |w| {
        let head = thp(w);
        w.forget();
        let told = ask(w, Entry::Get, Foll::WRITE, 3, HUGE);
        assert_eq!(told.ret, 509, "to the end of the area");
        let frames: Vec<_> = (3..HUGE).map(|n| head.offset(n)).collect();
        assert_eq!(told.frames, frames);
        assert_eq!((told.counts[0], w.count(c::C_21)), ((1 + 509, 0), 1), "one reference each");
        assert_eq!(w.machine.frames().refs(head), 1);
    });
}
#[test]
fn c_40_split_pmd_splits_the_mapping_and_not_the_page() {
    row6(c::C_40, |w| {
        let head = thp(w);
        let told = ask(w, Entry::Get, Foll::SPLIT_PMD, 7, 1);
        assert_eq!(told.frames, [head.offset(7)]);
        assert_eq!(w.mm.tables().walk(page(7)).place.level, 0);
        assert_eq!(w.machine.frames().order(head), 9, "the folio stays large");
    });
}
#[test]
fn c_40_without_a_table_for_the_split_it_is_enomem() {
    row6(c::C_40, |w| {
        // What a driver maps has no table put aside.
        w.area(0, HUGE, rw());
        let perms = Perms { write: true, special: true, ..Perms::default() };
        w.set_entry(page(0), 1, Pte::leaf(Pfn::new(1 << 20), perms, 1));
        let no_table = |point| point == Injection::TableAlloc;
        *w.host().inject.lock().unwrap() = Some(Box::new(no_table));
        assert_eq!(ask(w, Entry::Get, Foll::SPLIT_PMD, 0, 1).ret, Errno::ENOMEM.negated());
        *w.host().inject.lock().unwrap() = None;
        assert_eq!(w.mm.tables().walk(page(0)).place.level, 1);
    });
}
#[test]
fn c_45_touch_marks_a_huge_entry_young_and_dirty_for_a_write_and_not_at_all_for_a_read() {
    row6(c::C_45, |w| {
        thp(w);
        let clean = || {
            let walked = w.mm.tables().walk(page(0));
            let entry = walked.entry.map_perms(1, |perms| {
                perms.young = false;
                perms.dirty = false;
            });
            w.mm.tables().store(walked.place, entry);
        };
        let marks = || {
            let entry = w.mm.tables().walk(page(0)).entry;
            (entry.is_young(), entry.is_dirty())
        };
        clean();
        ask(w, Entry::Get, Foll::empty(), 0, 1);
        assert_eq!(marks(), (false, false), "on x86-64");
        ask(w, Entry::Get, Foll::WRITE, 0, 1);
        assert_eq!(marks(), (true, true));
        clean();
        ask(w, Entry::Pin, Foll::WRITE, 0, 1);
        assert_eq!(marks(), (false, false), "pin_user_pages does not touch");
    });
}
#[test]
fn c_55_a_fault_that_contradicts_its_area_is_a_segfault_with_a_warning() {
    row6(c::C_55, |w| {
        w.area(0, 1, ro() | VmFlags::SHARED | VmFlags::MAYSHARE);
        w.area(2, 1, rw());
        let fault = |at: u64, flags: FaultFlags| {
            let map = w.mm.read();
            let vma = map.lookup(page(at)).unwrap();
            let cx = FaultCx { mm: &w.mm, map: &map, vma, task: &w.task };
            handle_mm_fault(&cx, page(at), flags)
        };
        assert_eq!(fault(0, FaultFlags::WRITE), Fault::SIGSEGV);
        assert_eq!(fault(2, FaultFlags::WRITE | FaultFlags::UNSHARE), Fault::SIGSEGV);
        assert_eq!(*w.host().warnings.lock().unwrap(), [c::C_55, c::C_55]);
        assert_eq!(fault(2, FaultFlags::UNSHARE), Fault::MINOR);
    });
}
#[test]
fn c_56_droppable_memory_is_tried_again_instead_of_enomem() {
    row6(c::C_56, |w| {
        w.area(0, 1, rw() | VmFlags::DROPPABLE);
        let mut failures = 3;
        *w.host().inject.lock().unwrap() = Some(Box::new(move |point| {
            let fails = matches!(point, Injection::FolioAlloc(_)) && failures > 0;
            failures -= i32::from(fails);
            fails
        }));
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0, 1).ret, 1);
        assert_eq!((w.faults().len(), w.count(c::C_56)), (4, 3));
        *w.host().inject.lock().unwrap() = None;
    });
}
#[test]
fn c_86_a_page_at_the_limit_of_its_references_is_refused() {
    row6(c::C_86, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        let frames = w.machine.frames();
        let most = gup::frame::COUNT_LIMIT - 2;
        frames.get(pfn, most).unwrap();
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0, 1).ret, Errno::ENOMEM.negated());
        assert_eq!(ask(w, Entry::Pin, Foll::WRITE, 0, 1).ret, Errno::ENOMEM.negated());
        assert_eq!((frames.refs(pfn), frames.pins(pfn), w.pinned()), (most + 1, 0, 0));
        w.machine.put_pages(pfn, most);
        assert_eq!(ask(w, Entry::Pin, Foll::WRITE, 0, 1).ret, 1);
    });
}
#[test]
fn c_90_unpinning_takes_back_what_pinning_added_and_nothing_from_the_zero_page() {
    row6(c::C_90, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        w.load(page(1));
        let zero = w.machine.zero_page();
        let before = w.machine.frames().refs(zero);
        let told = ask(w, Entry::Pin, Foll::empty(), 0, 2);
        assert_eq!(told.counts, [(2, 1), (before, 0)], "the zero page is not counted");
        let pfn = told.frames[0];
        assert_eq!((w.machine.frames().refs(pfn), w.machine.frames().pins(pfn)), (1, 0));
        assert_eq!(w.machine.frames().refs(zero), before);
    });
}
#[test]
fn c_92_pins_are_counted_in_base_pages_both_ways() {
    row6(c::C_92, |w| {
        thp(w);
        w.area(600, 1, rw());
        let events = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
        let seen = std::sync::Arc::clone(&events);
        w.on_event(move |event| {
            let mut counts = seen.lock().unwrap();
            match event {
                Event::Pinned(n) => counts.0 += n,
                Event::Unpinned(n) => counts.1 += n,
                _ => {}
            }
            false
        });
        assert_eq!(ask(w, Entry::Pin, Foll::WRITE, 0, 40).ret, 40);
        assert_eq!(ask_fast(w, FastEntry::Pin, Foll::WRITE, page(600), 1).ret, 1);
        assert_eq!(*events.lock().unwrap(), (41, 41));
        assert_eq!(w.count(c::C_92), 41, "given back one by one");
    });
}
#[test]
fn c_95_madvise_populate_says_why_it_could_not() {
    row6(c::C_95, |w| {
        w.area(0, 2, rw());
        w.area(4, 1, none());
        let populate = |from, to, access| {
            let range = VirtRange::new(page(from), page(to));
            madvise_populate(&w.mm, &w.task, range, access).map_err(|stop| stop.errno)
        };
        let (read, write) = (MadvisePopulate::Read, MadvisePopulate::Write);
        assert_eq!(populate(0, 2, read), Ok(()));
        assert_eq!(w.mapped(page(0), false), Some(w.machine.zero_page()));
        assert_eq!(populate(4, 5, read), Err(Errno::EINVAL), "no permission");
        assert_eq!(populate(1, 3, write), Err(Errno::ENOMEM), "a hole");
        assert!(w.mapped(page(1), true).is_some(), "what came before it is there");
        w.set_entry(page(0), 0, Pte::swap(SwapEntry::Poisoned));
        assert_eq!(populate(0, 1, read), Err(Errno::EHWPOISON));
        w.set_entry(page(0), 0, Pte::NONE);
        let file = quick_file(w, 1);
        w.area_of(8, 2, ro(), World::backing(&file), 0);
        assert_eq!(populate(9, 10, read), Err(Errno::EFAULT), "past the end of the file");
        w.task.kill();
        assert_eq!(populate(0, 1, write), Err(Errno::EINTR));
        w.task.clear_signals();
    });
}
#[test]
fn c_98_remote_access_forces_only_if_asked_and_counts_the_bytes_done() {
    row6(c::C_98, |w| {
        w.area(0, 1, rw());
        w.area(1, 1, ro());
        w.store(page(0).wrapping_add(4095), 7);
        let mut buffer = [0; 2];
        let at = page(0).wrapping_add(4095);
        let read = Access::Read(&mut buffer);
        assert_eq!(access_remote_vm(&w.task, &w.mm, at, read, Foll::empty()).bytes, 2);
        assert_eq!(buffer, [7, 0]);
        let write = |foll| {
            let write = Access::Write(&[9, 9]);
            access_remote_vm(&w.task, &w.mm, at, write, foll).bytes
        };
        assert_eq!(write(Foll::empty()), 1, "up to the page that is not writable");
        assert_eq!(write(Foll::FORCE), 2);
        assert!(w.mapped(page(1), true).is_none());
        let pfn = w.mapped(page(1), false).unwrap();
        assert!(w.machine.frames().has(pfn, FrameFlags::DIRTY));
        assert_eq!((w.machine.frames().refs(pfn), w.load(page(1))), (1, Some(9)));
    });
}
#[test]
fn c_101_process_vm_pins_without_force_and_copies_what_it_got() {
    row6(c::C_101, |w| {
        let file = quick_file(w, 2);
        w.area_of(0, 2, ro(), World::backing(&file), 0);
        w.area(2, 1, none());
        let mut buffer = [0; 3 * 4096];
        let moved = process_vm(&w.task, &w.mm, page(0), Access::Read(&mut buffer));
        assert_eq!((moved.bytes, moved.stop.map(|stop| stop.rule)), (8192, Some(c::C_34)));
        assert_eq!((buffer[0], buffer[4096], buffer[8192]), (byte_of(0), byte_of(1), 0));
        let moved = process_vm(&w.task, &w.mm, page(0), Access::Write(&[1]));
        assert_eq!((moved.bytes, moved.stop.map(|stop| stop.errno)), (0, Some(Errno::EFAULT)));
        assert!(w.mm.has_pinned.load(SeqCst) && w.pinned() == 2);
    });
}
