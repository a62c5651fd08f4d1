//! Rows I-01 … I-12, I-20 and I-24: what holds of pages and their counts, whatever happens.

use crate::s_cow::pin_while_fork_is_about_to_share;
use crate::six::{Ask, Told, ask_fast, config, kept6};
use crate::stage::{
    HUGE, SHARED, advise, child, exclusive, frame, get, out, pin, pin_fast, references, refs,
    swap_cached, swap_on, thp,
};
use crate::store::quick_file;
use crate::support::{World, kept_in, page, ro, rw};
use gup::addr::{PAGE_SIZE, Pfn, VirtRange};
use gup::errno::Errno;
use gup::fault::{
    FaultCx, Merge, PageOut, collapse, handle_mm_fault, merge_equal, move_page, split_page,
};
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::{COUNT_LIMIT, CountError, FrameFlags, Kind, Overdrawn, Zone};
use gup::gup::fast::FastEntry;
use gup::gup::{Entry, Locked};
use gup::host::{Gap, Memory};
use gup::mapping::{Advice, fork, madvise, remap_pfn_range};
use gup::observe::Event;
use gup::pgtable::{Entry as Pte, Perms};
use gup::rule::{c, f, i, s};
use gup::task::Task;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

const EFAULT: i64 = Errno::EFAULT.negated();
const FORCED: Foll = Foll::WRITE.union(Foll::FORCE);

fn ask(w: &World, entry: Entry, foll: Foll, at: u64) -> Told {
    Ask { locked: Locked::Null, ..Ask::new(entry, foll, page(at), 1) }.of(w)
}

#[test]
fn i_01_a_forced_write_ends_with_a_page_of_its_own_whenever_its_copy_is_dropped() {
    // After the faults whose bits are set, the copy is dropped and the file's page mapped.
    for dropped in 0..16u32 {
        kept6(i::I_01, &[s::S_01], |w| {
            let file = quick_file(w, 1);
            w.area_of(0, 1, ro(), World::backing(&file), 0);
            w.load(page(0));
            let of_file = frame(w, 0);
            let (mm, faults) = (Arc::clone(&w.mm), AtomicU32::new(0));
            w.on_event(move |event| {
                let Event::FaultEnd { .. } = event else { return false };
                let n = faults.fetch_add(1, SeqCst);
                if n < 4 && dropped >> n & 1 == 1 {
                    let task = Task::default();
                    madvise(&mm, &task, page(0), PAGE_SIZE, Advice::DontNeed).unwrap();
                    let map = mm.read();
                    let vma = map.lookup(page(0)).unwrap();
                    let cx = FaultCx { mm: &mm, map: &map, vma, task: &task };
                    let _ = handle_mm_fault(&cx, page(0), FaultFlags::empty());
                }
                n >= 4
            });
            let held = get(w, FORCED, 0, 1);
            w.on_event(|_| true);
            assert_ne!(held.frames[0], of_file, "dropped after {dropped:#b}");
            assert!(w.machine.frames().is_anon(held.frames[0]));
            w.machine.memory().write(held.frames[0], 0, &[99]);
            assert_eq!(w.byte(of_file), 1, "the file is as it was");
        });
    }
}
#[test]
fn i_02_no_mark_of_an_entry_lets_a_forced_write_through() {
    for marks in 0..4 {
        let mark =
            |perms: &mut Perms| (perms.young, perms.dirty) = (marks & 1 != 0, marks & 2 != 0);
        let by: &[_] = if marks & 2 == 0 { &[s::S_01] } else { &[s::S_02, s::S_03] };
        kept6(i::I_02, by, |w| {
            let file = w.file(FileKind::Shmem, 1, None);
            w.area_of(0, 1, ro(), World::backing(&file), 0);
            w.area(HUGE, HUGE, ro() | VmFlags::HUGEPAGE);
            w.area(4 * HUGE, 1, ro());
            for at in [0, HUGE, 4 * HUGE] {
                w.load(page(at));
                let shared = frame(w, at);
                w.change_entry(page(at), mark);
                let held = get(w, FORCED, at, 1);
                assert_ne!(held.frames[0], shared, "marks {marks:#b}, page {at}");
                assert_eq!(w.machine.frames().kind(held.frames[0]), Kind::Anon);
                assert_eq!(w.byte(shared), 0);
            }
        });
    }
}
#[test]
fn i_03_a_page_that_others_refer_to_is_copied_by_a_store_and_by_a_read_only_pin() {
    for others in 1..4 {
        kept6(i::I_03, &[s::S_04, f::F_05], |w| {
            w.area(0, 2, rw());
            (0..2).for_each(|n| assert!(w.store(page(n), 1)));
            drop(child(w));
            let shared = [frame(w, 0), frame(w, 1)];
            assert!(!exclusive(w, 0));
            let held = shared.map(|pfn| references(w, pfn, others));
            w.store(page(0), 2);
            assert_ne!(frame(w, 0), shared[0], "{others} references");
            assert_eq!(w.byte(shared[0]), 1);
            let pinned = pin(w, Foll::empty(), 1, 1);
            assert_ne!(pinned.frames, [shared[1]]);
            assert!(exclusive(w, 1) && pinned.frames == [frame(w, 1)]);
            drop(held);
        });
    }
    kept6(i::I_03, &[f::F_23], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        drop(child(w));
        let alone = frame(w, 0);
        w.store(page(0), 2);
        assert_eq!(frame(w, 0), alone, "nobody refers to it any more");
    });
}
#[test]
fn i_04_wherever_a_fork_meets_a_fast_pin_the_pinned_page_is_not_shared() {
    for at in [Gap::Entered, Gap::Seen, Gap::Counted, Gap::Gathered] {
        kept6(i::I_04, &[c::C_68], |w| {
            w.area(0, 1, rw());
            w.store(page(0), 1);
            let born = Arc::new(Mutex::new(Vec::new()));
            let (mm, children, done) =
                (Arc::clone(&w.mm), Arc::clone(&born), AtomicBool::new(false));
            *w.host().on_gap.lock().unwrap() = Some(Arc::new(move |gap| {
                if gap == at && !done.swap(true, SeqCst) {
                    let new = fork(&mut mm.write(), &Task::default()).unwrap();
                    children.lock().unwrap().push(new);
                }
            }));
            let held = pin_fast(w, Foll::WRITE, 0, 1);
            *w.host().on_gap.lock().unwrap() = None;
            let other = w.as_process(born.lock().unwrap().pop().unwrap());
            assert!(frame(&other, 0) != held.frames[0] && exclusive(w, 0), "{at:?}");
            w.store(page(0), 2);
            assert_eq!((held.frames[0], other.load(page(0))), (frame(w, 0), Some(1)), "{at:?}");
            // The walk that begins while a fork copies, and one that is overtaken, give up.
            assert_eq!(w.mm.write_protect_seq.load(SeqCst) % 2, 0);
            w.mm.write_protect_seq.fetch_add(1, SeqCst);
            drop(pin_fast(w, Foll::WRITE, 0, 1));
            w.mm.write_protect_seq.fetch_add(1, SeqCst);
            assert!(w.count(c::C_68) >= 1);
        });
    }
    kept6(i::I_04, &[s::S_05], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let (held, other) = pin_while_fork_is_about_to_share(w);
        assert_ne!(frame(&other, 0), held.frames[0]);
        w.store(page(0), 2);
        assert_eq!((held.frames[0], other.load(page(0))), (frame(w, 0), Some(1)));
    });
}
#[test]
fn i_05_fork_copies_the_pages_that_are_pinned_and_shares_the_others() {
    for pinned in 0..16u64 {
        kept6(i::I_05, if pinned == 0 { &[] } else { &[f::F_10, s::S_06] }, |w| {
            w.area(0, 4, rw());
            (0..4).for_each(|n| assert!(w.store(page(n), 1)));
            let is_pinned = |n: &u64| pinned >> n & 1 == 1;
            let held: Vec<_> =
                (0..4).filter(is_pinned).map(|n| pin(w, Foll::WRITE, n, 1)).collect();
            let other = child(w);
            for n in 0..4 {
                let copied = frame(&other, n) != frame(w, n);
                assert_eq!((copied, exclusive(w, n)), (is_pinned(&n), is_pinned(&n)), "page {n}");
                w.store(page(n), 2);
                assert_eq!(other.load(page(n)), Some(1));
            }
            drop(held);
        });
    }
}
#[test]
fn i_06_reuse_is_decided_by_references_and_once_more_without_the_swap_slot() {
    kept6(i::I_06, &[f::F_23, s::S_04], |w| {
        swap_on(w);
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        drop(child(w));
        let alone = frame(w, 0);
        w.store(page(0), 2);
        assert_eq!(frame(w, 0), alone, "one reference: reused");
        // In the swap cache, whose reference is the second; a third is somebody's.
        let cached = swap_cached(w, 1);
        drop(child(w));
        assert!(!exclusive(w, 1) && refs(w, cached) == 2);
        let held = references(w, cached, 1);
        w.store(page(1), 2);
        assert_ne!(frame(w, 1), cached);
        drop(held);
    });
    kept6(i::I_06, &[s::S_07], |w| {
        thp(w, 0);
        w.store(page(0), 1);
        drop(child(w));
        let head = frame(w, 0);
        let held = references(w, head, 1);
        w.store(page(7), 2);
        assert_ne!(frame(w, 7), head.offset(7), "referred to: copied");
        drop(held);
    });
}
#[test]
fn i_07_a_reader_of_anonymous_memory_meets_no_file_whatever_it_is() {
    kept6(i::I_07, &[c::C_28, s::S_09], |w| {
        let kinds = [FileKind::Regular, FileKind::NoWriteback, FileKind::Shmem, FileKind::Fsdax];
        for (n, kind) in (0..).zip(kinds) {
            let disk = crate::store::slow_area(w, 10 * n, 1, rw());
            let file = w.file(kind, 1, None);
            w.area_of(10 * n + 5, 1, rw(), World::backing(&file), 0);
            for at in [10 * n, 10 * n + 5] {
                let told = ask(w, Entry::GetRemote, Foll::ANON, at);
                assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_28)), "{kind:?}");
            }
            assert!(disk.asked.lock().unwrap().is_empty(), "no disk was asked");
        }
        assert!(w.faults().is_empty() && w.host().waited.lock().unwrap().is_empty());
        w.area(90, 1, rw());
        w.store(page(90), 1);
        assert_eq!(ask(w, Entry::GetRemote, Foll::ANON, 90).frames, [frame(w, 90)]);
    });
}
#[test]
fn i_08_a_free_page_is_never_grabbed_and_a_page_in_use_always_is() {
    let mut config = config();
    config.frames = config.frames.and(Zone::Cma, 0, 64);
    kept_in(i::I_08, &[s::S_10, f::F_57], World::with(config), |w| {
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        let frames = w.machine.frames();
        let (used, free) = (frame(w, 0), frame(w, 1));
        assert_eq!(frames.zone(used), Zone::Cma);
        let moved = pin(w, Foll::WRITE | Foll::LONGTERM, 0, 1);
        assert_eq!(frames.zone(moved.frames[0]), Zone::Normal, "taken where it lay, then moved");
        // Frozen, as a page that is about to be freed.
        assert!(frames.freeze(free, 1));
        assert_eq!(frames.get(free, 1), Err(CountError::Gone));
        assert!(!frames.try_get(free, 1) && !frames.try_pin(free, 1));
        let told = ask_fast(w, FastEntry::GetOnly, Foll::empty(), page(1), 1);
        assert_eq!((told.ret, frames.refs(free)), (0, 0));
        frames.unfreeze(free, 1);
    });
}
#[test]
fn i_09_no_passing_state_of_a_page_opens_it_to_a_fast_walk() {
    kept6(i::I_09, &[c::C_73, s::S_11], |w| {
        let secret = w.file(FileKind::Secret, 1, None);
        let memfd = w.file(FileKind::Shmem, 1, None);
        w.area_of(0, 1, rw() | SHARED, World::backing(&secret), 0);
        w.area_of(2, 1, rw() | SHARED, World::backing(&memfd), 0);
        assert!(w.store(page(0), 1) && w.store(page(2), 1));
        let (pfn, open) = (frame(w, 0), frame(w, 2));
        let states =
            [FrameFlags::LRU, FrameFlags::REFERENCED, FrameFlags::DIRTY, FrameFlags::UPTODATE];
        for bits in 0..16u32 {
            for (n, flag) in states.into_iter().enumerate() {
                for page in [pfn, open] {
                    if bits >> n & 1 == 1 {
                        w.machine.frames().set(page, flag);
                    } else {
                        w.machine.frames().clear(page, flag);
                    }
                }
            }
            let only = |at| ask_fast(w, FastEntry::GetOnly, Foll::empty(), page(at), 1).ret;
            assert_eq!((only(0), only(2)), (0, 1), "state {bits:#06b}");
        }
    });
}
#[test]
fn i_10_each_page_handed_out_has_a_reference_and_frames_by_number_are_not_handed_out() {
    kept6(i::I_10, &[s::S_14, c::C_20], |w| {
        w.area(0, 1, rw());
        w.area(2, 1, rw() | VmFlags::MIXEDMAP);
        w.area(4, 1, rw());
        w.store(page(4), 1);
        let device = w.machine.zero_page();
        let before = refs(w, device);
        let range = VirtRange::new(page(0), page(1));
        remap_pfn_range(&mut w.mm.write(), range, device).unwrap();
        let special = Perms { special: true, write: true, ..Perms::default() };
        w.set_entry(page(2), 0, Pte::leaf(Pfn::new(1 << 20), special, 0));
        for entry in [Entry::Get, Entry::GetRemote, Entry::Pin, Entry::PinRemote] {
            for foll in [Foll::empty(), Foll::WRITE, FORCED] {
                let by_number = ask(w, entry, foll, 0);
                assert_eq!((by_number.ret, by_number.frames.len()), (EFAULT, 0), "{entry:?}");
                let special = ask(w, entry, foll, 2);
                assert_eq!((special.ret, special.frames.len()), (Errno::EEXIST.negated(), 0));
                let told = ask(w, entry, foll, 4);
                assert_eq!(told.counts[0].0, 2, "{entry:?} {foll:?}");
            }
        }
        assert_eq!((refs(w, device), refs(w, frame(w, 4))), (before, 1));
        w.set_entry(page(2), 0, Pte::NONE);
    });
}
#[test]
fn i_11_no_increment_passes_the_limit_and_none_that_is_refused_leaves_a_trace() {
    kept6(i::I_11, &[s::S_15], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let (pfn, frames) = (frame(w, 0), w.machine.frames());
        let steps =
            [1, 2, 1000, 1 << 22, (1 << 22) + 1, COUNT_LIMIT / 2, COUNT_LIMIT - 1, u32::MAX];
        let mut held: u32 = 0;
        for round in 0..200usize {
            let n = steps[round * 7 % steps.len()];
            let fits = u64::from(held) + 1 + u64::from(n) < u64::from(COUNT_LIMIT);
            let done = frames.get(pfn, n);
            assert_eq!(done, if fits { Ok(()) } else { Err(CountError::Limit) }, "{n} on {held}");
            held += if fits { n } else { 0 };
            assert_eq!((refs(w, pfn), frames.pins(pfn)), (held + 1, 0));
            let fits_one = held + 2 < COUNT_LIMIT;
            assert_eq!(frames.try_get(pfn, 1), fits_one);
            held += u32::from(fits_one);
        }
        frames.get(pfn, COUNT_LIMIT - 2 - held).unwrap_or(());
        held = refs(w, pfn) - 1;
        assert_eq!(held, COUNT_LIMIT - 2, "full");
        for entry in [Entry::Get, Entry::Pin] {
            assert_eq!(ask(w, entry, Foll::WRITE, 0).ret, Errno::ENOMEM.negated());
        }
        assert_eq!(ask_fast(w, FastEntry::GetOnly, Foll::WRITE, page(0), 1).ret, 0);
        assert_eq!((refs(w, pfn), frames.pins(pfn)), (COUNT_LIMIT - 1, 0));
        w.machine.put_pages(pfn, held);
        assert_eq!(refs(w, pfn), 1);
    });
}
#[test]
fn i_12_references_and_pins_do_not_cancel_each_other() {
    kept6(i::I_12, &[s::S_16], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let held = [pin(w, Foll::WRITE, 0, 1), pin(w, Foll::WRITE, 0, 1)];
        let (pfn, frames) = (frame(w, 0), w.machine.frames());
        advise(w, 0, 1, Advice::DontNeed);
        assert_eq!((refs(w, pfn), frames.pins(pfn)), (2, 2), "the two pins are all there is");
        for n in [1, 2, 1024, 2048, u32::MAX] {
            assert_eq!(frames.try_put(pfn, n), Err(Overdrawn), "{n} references");
            assert_eq!((refs(w, pfn), frames.pins(pfn)), (2, 2));
        }
        for n in [3, 1024, u32::MAX] {
            assert_eq!(frames.try_unpin(pfn, n), Err(Overdrawn), "{n} pins");
            assert_eq!((refs(w, pfn), frames.pins(pfn)), (2, 2));
        }
        let many = references(w, pfn, 4096);
        assert_eq!(frames.pins(pfn), 2, "4096 references are not four pins");
        drop(many);
        assert_eq!((refs(w, pfn), frames.pins(pfn)), (2, 2), "nor do they take any away");
        w.machine.put_page(pfn);
        assert_eq!(*w.host().bugs.lock().unwrap(), [s::S_16], "a stolen one is refused");
        drop(held);
        assert_eq!((refs(w, pfn), frames.kind(pfn)), (0, Kind::Free));
    });
}
#[test]
fn i_20_a_pinned_page_stays_where_it_is_and_exclusive_whatever_is_done_to_it() {
    let by = [f::F_10, f::F_33, f::F_37, f::F_38, f::F_42];
    let mut config = config();
    config.frames = config.frames.and(Zone::Movable, 0, 2048);
    kept_in(i::I_20, &by, World::with(config), |w| {
        swap_on(w);
        w.area(0, HUGE, rw());
        w.area(2 * HUGE, 1, rw());
        w.mm.write().lookup_mut(page(2 * HUGE)).unwrap().flags |= VmFlags::UFFD_MISSING;
        (0..4).for_each(|n| assert!(w.store(page(n), 1)));
        let held = pin(w, Foll::WRITE, 0, 1);
        let pfn = held.frames[0];
        let stays = |what: &str| {
            assert_eq!((frame(w, 0), exclusive(w, 0)), (pfn, true), "{what}");
            assert_eq!(w.machine.frames().pins(pfn), 1, "{what}");
        };
        let other = child(w);
        assert_ne!(frame(&other, 0), pfn);
        drop(other);
        stays("fork");
        assert_eq!((out(w, 0), w.machine.swap().free_slots()), (PageOut::Kept, 8));
        stays("reclaim");
        let long = Foll::WRITE | Foll::LONGTERM;
        assert_eq!(ask(w, Entry::Pin, long, 0).ret, Errno::ENOMEM.negated(), "it cannot be moved");
        stays("migration");
        advise(w, 0, HUGE, Advice::Mergeable);
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        assert_eq!(merge_equal(&w.mm.read(), page(0), page(1)), Merge::Kept);
        stays("merging");
        assert!(collapse(&w.mm.write(), page(0)).is_err());
        stays("collapse");
        let moved = move_page(&w.mm.read(), page(2 * HUGE), page(0));
        assert_eq!(moved, Err(Errno::EBUSY));
        stays("moving to another address");
        advise(w, 0, 1, Advice::Free);
        let _ = out(w, 0);
        stays("lazy freeing");
        w.store(page(0), 9);
        stays("a store");
        assert_eq!(w.byte(pfn), 9);
    });
    kept6(i::I_20, &[f::F_34], |w| {
        swap_on(w);
        w.area(0, 1, rw());
        w.store(page(0), 1);
        swap_cached(w, 0);
        let held = pin(w, Foll::WRITE, 0, 1);
        assert_eq!(out(w, 0), PageOut::Kept, "though it has a slot");
        assert!(exclusive(w, 0) && held.frames == [frame(w, 0)]);
    });
    kept6(i::I_20, &[f::F_39], |w| {
        thp(w, 0);
        w.store(page(0), 1);
        let held = pin(w, Foll::WRITE, 3, 1);
        split_page(&w.mm, page(0)).unwrap();
        assert!(exclusive(w, 3) && held.frames == [frame(w, 3)]);
        assert!(w.machine.frames().is_large(held.frames[0]), "the folio stays whole");
    });
}
#[test]
fn i_24_pins_of_the_zero_page_leave_its_counts_alone() {
    kept6(i::I_24, &[f::F_30, c::C_90], |w| {
        w.area(0, 4, rw());
        (0..4).for_each(|n| assert_eq!(w.load(page(n)), Some(0)));
        let (zero, frames) = (w.machine.zero_page(), w.machine.frames());
        let before = (frames.refs(zero), frames.pins(zero));
        let held = [pin(w, Foll::empty(), 0, 4), pin_fast(w, Foll::empty(), 0, 4)];
        assert!(held.iter().all(|held| held.frames == [zero; 4]));
        assert_eq!((frames.refs(zero), frames.pins(zero)), before, "held");
        drop(held);
        w.machine.unpin_pages(zero, 1_000_000);
        assert_eq!((frames.refs(zero), frames.pins(zero)), before, "given back, and more");
        assert!(w.host().bugs.lock().unwrap().is_empty() && w.pinned() == 0);
    });
}
