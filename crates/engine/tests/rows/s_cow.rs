//! Rows S-01 … S-17: past bugs of copy-on-write, of who may look, and of counting. Each test plays
//! the interleaving or the input of its bug.

use crate::six::{Ask, ask_fast, config, row6};
use crate::stage::{
    HUGE, Handler, Held, SHARED, advise, at_rule, child, exclusive, frame, get, hugetlb, level,
    pin, pin_fast, pool_row6, refs, register_wp, swap_entry, thp, writable,
};
use crate::store::{quick_file, slow_area};
use crate::support::{World, page, ro, row_in, rw};
use gup::addr::{PAGE_SIZE, Pfn, VirtRange};
use gup::errno::Errno;
use gup::fault::{FaultCx, handle_mm_fault};
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::{COUNT_LIMIT, FrameFlags, Kind, Zone};
use gup::gup::fast::FastEntry;
use gup::gup::remote::{Access, access_remote_vm};
use gup::gup::{Entry, Locked};
use gup::host::{Gap, Memory};
use gup::mapping::{Advice, fork, madvise, remap_pfn_range};
use gup::observe::Event;
use gup::rule::{c, s};
use gup::task::Task;
use std::sync::atomic::{AtomicU8, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

const EFAULT: i64 = Errno::EFAULT.negated();
const FORCED: Foll = Foll::WRITE.union(Foll::FORCE);

/// The page that the file of the area at page `at` has for it.
fn cached(w: &World, at: u64) -> Pfn {
    let map = w.mm.read();
    let file = map.lookup(page(at)).unwrap().backing.file().unwrap();
    let page = file.find(&w.machine, 0).expect("cached");
    w.machine.put_page(page);
    page
}

#[test]
fn s_01_dirty_cow_cve_2016_5195_a_copy_that_was_dropped_is_made_again() {
    row6(s::S_01, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, ro(), World::backing(&file), 0);
        let mm = Arc::clone(&w.mm);
        // Between the fault that copied and the next lookup: the copy is dropped, and the file's
        // page is mapped.
        w.on_event(move |event| {
            let copied = matches!(event, Event::FaultEnd { .. });
            if copied {
                let task = Task::default();
                madvise(&mm, &task, page(0), PAGE_SIZE, Advice::DontNeed).unwrap();
                let map = mm.read();
                let vma = map.lookup(page(0)).unwrap();
                let cx = FaultCx { mm: &mm, map: &map, vma, task: &task };
                let _ = handle_mm_fault(&cx, page(0), FaultFlags::empty());
            }
            copied
        });
        let held = get(w, FORCED, 0, 1);
        let of_file = cached(w, 0);
        assert!(held.frames[0] != of_file && exclusive(w, 0));
        w.machine.memory().write(held.frames[0], 0, &[99]);
        assert_eq!(w.byte(of_file), 1, "the file is as it was");
        assert!(w.faults().len() >= 3, "copied, read, copied again");
    });
}
#[test]
fn s_02_huge_dirty_cow_cve_2017_1000405_a_dirty_huge_entry_allows_no_store() {
    row6(s::S_02, |w| {
        w.area(0, HUGE, ro() | VmFlags::HUGEPAGE);
        w.load(page(0));
        let zero = w.machine.huge_zero_page().unwrap();
        assert_eq!((level(w, 0), frame(w, 0)), (1, zero));
        // What a read with TOUCH did.
        w.change_entry(page(0), |perms| (perms.young, perms.dirty) = (true, true));
        let held = get(w, FORCED, 3, 1);
        assert!(!(zero.get()..zero.get() + HUGE).contains(&held.frames[0].get()));
        assert_eq!(w.machine.frames().kind(held.frames[0]), Kind::Anon);
        w.machine.memory().write(held.frames[0], 0, &[99]);
        assert_eq!(w.byte(zero.offset(3)), 0);
    });
}
#[test]
fn s_03_cve_2022_2590_a_dirty_entry_of_a_shmem_page_allows_no_forced_store() {
    row6(s::S_03, |w| {
        let file = w.file(FileKind::Shmem, 1, None);
        w.area_of(0, 1, ro(), World::backing(&file), 0);
        w.load(page(0));
        let shared = frame(w, 0);
        // What a userfault handler's UFFDIO_CONTINUE did.
        w.change_entry(page(0), |perms| perms.dirty = true);
        let held = get(w, FORCED, 0, 1);
        assert!(held.frames[0] != shared && w.machine.frames().is_anon(held.frames[0]));
        w.machine.memory().write(held.frames[0], 0, &[99]);
        assert_eq!(w.byte(shared), 0);
    });
}
#[test]
fn s_04_cve_2020_29374_a_child_with_a_reference_does_not_see_what_the_parent_stores_later() {
    row6(s::S_04, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let other = child(w);
        let spliced = get(&other, Foll::empty(), 0, 1);
        advise(&other, 0, 1, Advice::DontNeed);
        assert_eq!(w.machine.frames().folio_mapcount(frame(w, 0)), 1, "only the parent maps it");
        w.store(page(0), 99);
        assert_eq!((w.byte(spliced.frames[0]), w.load(page(0))), (1, Some(99)));
        let pinned = pin(&other, Foll::empty(), 0, 1);
        assert_ne!(pinned.frames, spliced.frames);
    });
}
#[test]
fn s_05_57efa1fe5957_a_fast_pin_and_a_fork_never_share_the_pinned_page() {
    row6(s::S_05, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let children = Arc::new(Mutex::new(Vec::new()));
        let (mm, born) = (Arc::clone(&w.mm), Arc::clone(&children));
        at_rule(w, c::C_75, move || {
            born.lock().unwrap().push(fork(&mut mm.write(), &Task::default()).unwrap());
        });
        let held = pin_fast(w, Foll::WRITE, 0, 1);
        let other = w.as_process(children.lock().unwrap().pop().unwrap());
        assert!(exclusive(w, 0) && frame(&other, 0) != held.frames[0]);
        w.store(page(0), 2);
        assert_eq!(held.frames, [frame(w, 0)], "the parent did not lose it");
        assert_eq!((w.byte(held.frames[0]), other.load(page(0))), (2, Some(1)));
        // The other order: the fork comes before the count.
        let (mm, born) = (Arc::clone(&w.mm), Arc::clone(&children));
        drop((held, other));
        at_rule(w, s::S_22, move || {
            born.lock().unwrap().push(fork(&mut mm.write(), &Task::default()).unwrap());
        });
        let held = pin_fast(w, Foll::WRITE, 0, 1);
        let other = w.as_process(children.lock().unwrap().pop().unwrap());
        assert_ne!(frame(&other, 0), held.frames[0], "shared by the fork, so copied for the pin");
        w.store(page(0), 3);
        assert_eq!(held.frames, [frame(w, 0)]);
        drop((held, other));
        let (held, other) = pin_while_fork_is_about_to_share(w);
        assert_ne!(frame(&other, 0), held.frames[0], "given up, and pinned the slow way");
        w.store(page(0), 4);
        assert_eq!((held.frames[0], other.load(page(0))), (frame(w, 0), Some(3)));
    });
}

/// Fork sees no pin on page 0, a lockless walk pins it, fork goes on and shares: the order that the
/// sequence is for.
pub fn pin_while_fork_is_about_to_share(w: &World) -> (Held<'_>, World) {
    let stage = Arc::new(AtomicU8::new(0));
    let gate = Arc::clone(&stage);
    *w.host().on_gap.lock().unwrap() = Some(Arc::new(move |gap| match (gap, gate.load(SeqCst)) {
        (Gap::Seen, 0) => pass(&gate, 1, 2),
        (Gap::Unpinned, 1) => pass(&gate, 2, 3),
        (Gap::Gathered, 2) => pass(&gate, 3, 4),
        _ => {}
    }));
    let mm = &*w.mm;
    let found = thread::scope(|scope| {
        let forked = scope.spawn(|| {
            wait_for(&stage, 1);
            let forked = fork(&mut mm.write(), &Task::default()).unwrap();
            stage.store(4, SeqCst);
            forked
        });
        (pin_fast(w, Foll::WRITE, 0, 1), w.as_process(forked.join().unwrap()))
    });
    *w.host().on_gap.lock().unwrap() = None;
    found
}

/// Begins stage `now`, and waits for stage `next`.
fn pass(stage: &AtomicU8, now: u8, next: u8) {
    stage.store(now, SeqCst);
    wait_for(stage, next);
}
fn wait_for(stage: &AtomicU8, at_least: u8) {
    while stage.load(SeqCst) < at_least {
        thread::yield_now();
    }
}
#[test]
fn s_06_70e806e4e645_fork_leaves_the_pinned_page_writable_in_the_parent() {
    row6(s::S_06, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let held = pin(w, Foll::WRITE, 0, 1);
        let faults = w.faults().len();
        let other = child(w);
        assert!(writable(w, 0));
        w.store(page(0), 2);
        assert_eq!((w.faults().len(), held.frames[0]), (faults, frame(w, 0)));
        w.machine.memory().write(held.frames[0], 1, &[7]);
        assert_eq!((w.load(page(0)), other.load(page(0))), (Some(2), Some(1)));
    });
}
#[test]
fn s_07_cve_2020_29368_a_huge_page_is_reused_by_its_references_not_its_mappings() {
    row6(s::S_07, |w| {
        thp(w, 0);
        w.store(page(0), 1);
        let other = child(w);
        let spliced = get(&other, Foll::empty(), 5, 1);
        advise(&other, 0, HUGE, Advice::DontNeed);
        let frames = w.machine.frames();
        assert_eq!((frames.folio_mapcount(frame(w, 0)), refs(w, frame(w, 0))), (1, 2));
        w.store(page(5), 99);
        assert_eq!(w.byte(spliced.frames[0]), 0);
        assert_ne!(frame(w, 5), spliced.frames[0]);
        assert_eq!(w.load(page(0)), Some(1));
    });
}
#[test]
fn s_08_cve_2023_4732_the_early_copy_carries_the_mark_of_userfaultfd() {
    row6(s::S_08, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let handler = Arc::new(Handler { event_fork: true, ..Handler::default() });
        register_wp(w, 0, &handler);
        w.change_entry(page(0), |perms| (perms.uffd_wp, perms.write) = (true, false));
        let held = pin(w, Foll::empty(), 0, 1);
        let other = child(w);
        assert!(frame(&other, 0) != held.frames[0] && exclusive(&other, 0));
        assert!(other.entry(page(0)).is_uffd_wp() && !writable(&other, 0));
        let _ = other.fault(page(0), FaultFlags::WRITE | FaultFlags::ALLOW_RETRY);
        assert_eq!(handler.told.lock().unwrap().len(), 1, "the child's store is noticed");
    });
}
#[test]
fn s_09_cve_2018_1120_a_reader_of_anonymous_memory_never_waits_for_a_file() {
    row6(s::S_09, |w| {
        let disk = slow_area(w, 0, 1, rw());
        w.area(2, 1, rw());
        w.store(page(2), 5);
        let mut byte = [0];
        let mut read = |at| {
            let moved =
                access_remote_vm(&w.task, &w.mm, page(at), Access::Read(&mut byte), Foll::ANON);
            (moved.bytes, byte[0])
        };
        assert_eq!((read(0), read(2)), ((0, 0), (1, 5)));
        assert!(
            disk.asked.lock().unwrap().is_empty() && w.host().waited.lock().unwrap().is_empty()
        );
    });
}
#[test]
fn s_10_cve_2024_44943_a_page_known_to_be_in_use_is_grabbed_without_fail() {
    let mut config = config();
    config.frames = config.frames.and(Zone::Cma, 0, 64);
    row_in(s::S_10, World::with(config), |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        assert_eq!(w.machine.frames().zone(frame(w, 0)), Zone::Cma);
        let held = [pin(w, Foll::WRITE, 0, 1), pin(w, Foll::WRITE, 0, 1)];
        assert_eq!(w.machine.frames().pins(frame(w, 0)), 2);
        drop(held);
        // For long: it is taken where it lies, and only then moved.
        let moved = pin(w, Foll::WRITE | Foll::LONGTERM, 0, 1);
        assert_eq!(moved.frames, [frame(w, 0)]);
        assert_eq!(w.machine.frames().zone(frame(w, 0)), Zone::Normal);
        assert!(w.host().warnings.lock().unwrap().is_empty());
    });
}
#[test]
fn s_11_cve_2024_35872_secret_memory_is_refused_on_and_off_the_lists_of_reclaim() {
    row6(s::S_11, |w| {
        let file = w.file(FileKind::Secret, 1, None);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        let before = refs(w, pfn);
        for on_list in [true, false] {
            if on_list {
                w.machine.frames().set(pfn, FrameFlags::LRU);
            } else {
                w.machine.frames().clear(pfn, FrameFlags::LRU);
            }
            let told = ask_fast(w, FastEntry::Get, Foll::empty(), page(0), 1);
            assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_31)));
        }
        assert_eq!((w.count(s::S_11), refs(w, pfn)), (2, before));
    });
}
#[test]
fn s_12_cve_2025_22034_splitting_a_hugetlb_mapping_is_refused_before_anything_is_walked() {
    pool_row6(s::S_12, 1, |w| {
        hugetlb(w, 0);
        w.store(page(0), 1);
        let before = (frame(w, 0), w.entry(page(0)));
        w.forget();
        let told = Ask::new(Entry::Get, Foll::SPLIT_PMD, page(0), 2).of(w);
        assert_eq!((told.ret, told.rule), (Errno::EOPNOTSUPP.negated(), Some(c::C_30)));
        assert!(w.faults().is_empty() && w.seen(c::C_40).is_none());
        assert_eq!((level(w, 0), (frame(w, 0), w.entry(page(0)))), (1, before));
    });
}
#[test]
fn s_13_df3a0a21b698_a_fast_long_term_pin_takes_no_page_that_the_slow_one_would_move() {
    let mut config = config();
    config.frames = config.frames.and(Zone::Cma, 0, 64);
    row_in(s::S_13, World::with(config), |w| {
        w.area(0, 1, rw());
        w.store(page(0), 5);
        let there = frame(w, 0);
        assert_eq!(w.machine.frames().zone(there), Zone::Cma);
        assert_eq!(pin_fast(w, Foll::WRITE, 0, 1).frames, [there], "a short pin may stay there");
        let held = pin_fast(w, Foll::WRITE | Foll::LONGTERM, 0, 1);
        assert_eq!((w.count(s::S_13), w.machine.frames().pins(there)), (1, 0));
        assert_eq!(w.machine.frames().zone(held.frames[0]), Zone::Normal);
        assert_eq!((frame(w, 0), w.load(page(0))), (held.frames[0], Some(5)));
    });
}
#[test]
fn s_14_cve_2021_22543_frames_mapped_by_number_are_not_handed_out() {
    row6(s::S_14, |w| {
        w.area(0, 1, rw());
        let device = w.machine.zero_page();
        let before = refs(w, device);
        let range = VirtRange::new(page(0), page(1));
        remap_pfn_range(&mut w.mm.write(), range, device).unwrap();
        for foll in [Foll::empty(), Foll::WRITE, FORCED] {
            for entry in [Entry::Get, Entry::Pin, Entry::PinRemote] {
                let told = Ask { locked: Locked::Null, ..Ask::new(entry, foll, page(0), 1) }.of(w);
                assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_27)));
            }
        }
        assert_eq!(ask_fast(w, FastEntry::Pin, Foll::empty(), page(0), 1).ret, EFAULT);
        assert_eq!(refs(w, device), before);
    });
}
#[test]
fn s_15_cve_2019_11487_a_count_near_its_limit_refuses_and_stays() {
    row6(s::S_15, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let (pfn, frames) = (frame(w, 0), w.machine.frames());
        frames.get(pfn, COUNT_LIMIT - 2).unwrap();
        assert_eq!(refs(w, pfn), COUNT_LIMIT - 1);
        for entry in [Entry::Get, Entry::Pin] {
            let told = Ask::new(entry, Foll::WRITE, page(0), 1).of(w);
            assert_eq!((told.ret, refs(w, pfn)), (Errno::ENOMEM.negated(), COUNT_LIMIT - 1));
        }
        let fast = ask_fast(w, FastEntry::Pin, Foll::WRITE, page(0), 1);
        assert_eq!((fast.ret, frames.pins(pfn)), (Errno::ENOMEM.negated(), 0));
        w.machine.put_pages(pfn, COUNT_LIMIT - 2);
        assert_eq!((refs(w, pfn), w.load(page(0))), (1, Some(1)));
    });
}
#[test]
fn s_16_pintheft_cve_2026_43494_a_thousand_stolen_references_do_not_cancel_a_pin() {
    row6(s::S_16, |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.load(page(0));
        let held = pin(w, Foll::empty(), 0, 1);
        let pfn = held.frames[0];
        advise(w, 0, 1, Advice::DontNeed);
        // The cache's own reference is the one that a thief can take; the rest is the pin's.
        w.machine.frames().get(pfn, 1).unwrap();
        for _ in 0..1024 {
            w.machine.put_page(pfn);
            assert!(w.machine.frames().pins(pfn) == 1 && refs(w, pfn) >= 1);
        }
        assert_eq!(w.machine.frames().kind(pfn), Kind::File, "it was not freed under the pin");
        assert_eq!(*w.host().bugs.lock().unwrap(), [s::S_16; 1022]);
        w.machine.frames().get(pfn, 1).unwrap();
    });
}
#[test]
fn s_17_47e29d32afba_pins_of_a_large_folio_are_counted_not_guessed() {
    row6(s::S_17, |w| {
        thp(w, 0);
        w.store(page(0), 1);
        let (head, frames) = (frame(w, 0), w.machine.frames());
        drop(pin(w, Foll::WRITE, 0, 1));
        frames.get(head, 5000).unwrap();
        assert!(!frames.maybe_pinned(head), "so many references are no pins");
        let other = child(w);
        assert_eq!((level(w, 0), frame(&other, 0)), (1, head), "shared whole");
        drop(other);
        w.machine.put_pages(head, 5000);
        frames.pin(head, 3_000_000).unwrap();
        assert_eq!((frames.pins(head), refs(w, head)), (3_000_000, 3_000_001));
        w.machine.unpin_pages(head, 2_999_999);
        assert!(frames.maybe_pinned(head));
        w.machine.unpin_pages(head, 1);
        assert!(!frames.maybe_pinned(head) && swap_entry(w, 0).is_none());
    });
}
