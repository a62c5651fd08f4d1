//! Rows M-08 … M-12, M-16 and M-17: what edits, faults and writes from outside do to pages that
//! others may use.

use crate::six::row6;
use crate::stage::{
    HUGE, SHARED, advise, child, exclusive, frame, get, level, out, pin, refs, swap_entry, swap_on,
    writable,
};
use crate::store::{byte_of, quick_file};
use crate::support::{World, page, ro, rw};
use gup::fault::PageOut;
use gup::file::FileKind;
use gup::flags::{Foll, VmFlags};
use gup::frame::{FrameFlags, Kind};
use gup::gup::proc_mem::{Tracer, proc_mem};
use gup::gup::remote::{Access, process_vm};
use gup::host::ReadMode;
use gup::mapping::{Advice, MremapFlags, MremapRequest, mremap};
use gup::pgtable::SwapEntry;
use gup::rule::{m, s};

fn is_marked_exclusive(swap: SwapEntry) -> bool {
    matches!(swap, SwapEntry::Swap { exclusive: true, .. })
}

#[test]
fn m_08_a_read_fault_maps_the_cached_pages_of_its_window_and_no_others() {
    row6(m::M_08, |w| {
        let file = quick_file(w, 64);
        let cached = [16, 17, 20, 30, 32, 33];
        for index in cached {
            let page = file.load(&w.machine, index, ReadMode::Block).unwrap();
            w.machine.put_page(page);
        }
        // Pages 17 … 63 of the file: the window would begin at 16, but begins with the area.
        w.area_of(17, 47, ro(), World::backing(&file), 17);
        assert_eq!(w.load(page(20)), Some(byte_of(20)));
        let mapped: Vec<u64> = (0..64).filter(|n| w.mapped(page(*n), false).is_some()).collect();
        assert_eq!(mapped, [17, 20, 30, 32], "16 pages, and none that had to be read");
        assert_eq!(w.faults().len(), 1);
        assert!(!writable(w, 30) && w.byte(frame(w, 30)) == byte_of(30));
    });
}
#[test]
fn m_09_pageout_leaves_pages_that_are_mapped_twice_and_a_file_page_leaves_its_cache() {
    row6(m::M_09, |w| {
        swap_on(w);
        let memfd = w.file(FileKind::Shmem, 1, None);
        w.area(0, 2, rw());
        w.area_of(4, 1, rw() | SHARED, World::backing(&memfd), 0);
        for n in [0, 1, 4] {
            assert!(w.store(page(n), 5));
        }
        let other = child(w);
        let twice = frame(w, 0);
        assert_eq!(out(w, 0), PageOut::Kept);
        assert_eq!((w.count(m::M_09), refs(w, twice)), (1, 2), "as it was, in both");
        assert_eq!((frame(w, 0), frame(&other, 0)), (twice, twice));
        drop(other);
        let pinned = pin(w, Foll::WRITE, 1, 1);
        assert_eq!(out(w, 1), PageOut::Kept, "pinned");
        drop(pinned);
        assert_eq!([0, 1, 4].map(|n| out(w, n)), [PageOut::Out; 3]);
        assert!(swap_entry(w, 0).is_some() && memfd.find(&w.machine, 0).is_none());
        assert_eq!([0, 1, 4].map(|n| w.load(page(n))), [Some(5); 3]);
    });
}
#[test]
fn m_10_freeing_passes_over_used_pages_of_two_processes_and_a_new_store_saves_the_page() {
    row6(m::M_10, |w| {
        swap_on(w);
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 5)));
        let other = child(w);
        let frames = w.machine.frames();
        (0..2).for_each(|n| frames.set(frame(w, n), FrameFlags::DIRTY));
        advise(w, 0, 1, Advice::Free);
        assert!(
            !frames.has(frame(w, 0), FrameFlags::LAZYFREE_BATCH),
            "dirty, and the child's, too"
        );
        assert_eq!(w.count(m::M_10), 1);
        drop(other);
        advise(w, 0, 2, Advice::Free);
        assert!((0..2).all(|n| frames.has(frame(w, n), FrameFlags::LAZYFREE_BATCH)));
        w.change_entry(page(1), |perms| perms.dirty = true);
        assert_eq!([out(w, 0), out(w, 1)], [PageOut::Out, PageOut::Kept]);
        assert!(frames.has(frame(w, 1), FrameFlags::SWAPBACKED), "it counts as memory again");
        assert_eq!(w.count(m::M_10), 2);
        assert_eq!(out(w, 1), PageOut::Out, "and is swapped the next time");
        assert_eq!([0, 1].map(|n| w.load(page(n))), [Some(0), Some(5)]);
    });
}
#[test]
fn s_04_a_page_just_given_away_has_one_more_user_until_the_batch_is_drained() {
    row6(s::S_04, |w| {
        swap_on(w);
        w.area(0, 4, rw());
        (0..4).for_each(|n| assert!(w.store(page(n), 5)));
        drop(child(w));
        let shown = |n| w.machine.frames().linux_refcount(frame(w, n));
        // Not exclusive since the fork: a pin for reading takes a page only if it is alone.
        advise(w, 0, 1, Advice::Free);
        let waiting = frame(w, 0);
        assert_eq!((shown(0), w.machine.frames().refs(waiting)), (2, 1));
        drop(pin(w, Foll::empty(), 0, 1));
        assert_ne!(frame(w, 0), waiting, "taken for somebody else's, and copied");
        assert_eq!(out(w, 0), PageOut::Out);
        assert_eq!(w.load(page(0)), Some(5), "the copy counts as memory");
        // Another call that begins with the list of pages has it done.
        advise(w, 1, 1, Advice::Free);
        advise(w, 3, 1, Advice::Cold);
        let settled = frame(w, 1);
        assert_eq!(shown(1), 1);
        drop(pin(w, Foll::empty(), 1, 1));
        assert_eq!((frame(w, 1), out(w, 1)), (settled, PageOut::Out));
        assert_eq!(w.load(page(1)), Some(0), "given away for good");
        assert_eq!(w.count(s::S_04), 1);
    });
}
#[test]
fn m_11_a_write_from_outside_marks_the_page_dirty_and_a_read_does_not() {
    row6(m::M_11, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let frames = w.machine.frames();
        let remote = |access: Access<'_>| process_vm(&w.task, &w.mm, page(0), access).bytes;
        let debugger = |access: Access<'_>| {
            proc_mem(&w.task, &w.mm, page(0), access, Tracer::Attached).unwrap()
        };
        // Whether the page is dirty after one byte was moved.
        let dirty_after = |moved: usize| {
            assert_eq!(moved, 1);
            let dirty = frames.has(frame(w, 0), FrameFlags::DIRTY);
            frames.clear(frame(w, 0), FrameFlags::DIRTY);
            dirty
        };
        frames.clear(frame(w, 0), FrameFlags::DIRTY);
        assert!(!dirty_after(remote(Access::Read(&mut [0]))));
        assert!(!dirty_after(debugger(Access::Read(&mut [0]))));
        assert!(dirty_after(remote(Access::Write(&[2]))));
        assert!(dirty_after(debugger(Access::Write(&[3]))));
        assert_eq!(w.load(page(0)), Some(3));
        // What depends on it: given away, and written to from outside, the page is kept.
        w.change_entry(page(0), |perms| perms.dirty = false);
        advise(w, 0, 1, Advice::Free);
        assert_eq!(remote(Access::Write(&[4])), 1);
        assert_eq!((out(w, 0), w.load(page(0))), (PageOut::Kept, Some(4)));
    });
}
#[test]
fn m_12_a_slot_of_one_process_comes_back_exclusive_and_one_of_two_through_the_cache() {
    row6(m::M_12, |w| {
        swap_on(w);
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 5)));
        assert_eq!(out(w, 0), PageOut::Out);
        // Shared for a while, so that the entry no longer says that it was exclusive.
        drop(child(w));
        assert_eq!(swap_entry(w, 0).map(is_marked_exclusive), Some(false));
        assert_eq!(w.load(page(0)), Some(5));
        assert_eq!((w.count(m::M_12) > 0, exclusive(w, 0), writable(w, 0)), (true, true, true));
        let cached = w.machine.frames().has(frame(w, 0), FrameFlags::SWAPCACHE);
        assert!(!cached && w.machine.swap().slot_of(frame(w, 0)).is_none());
        let fresh = w.count(m::M_12);
        assert_eq!(out(w, 1), PageOut::Out);
        let other = child(w);
        assert_eq!(w.load(page(1)), Some(5));
        assert_eq!((w.count(m::M_12), exclusive(w, 1), writable(w, 1)), (fresh, false, false));
        assert!(w.machine.swap().slot_of(frame(w, 1)).is_some(), "for the other's sake");
        assert_eq!((other.load(page(1)), frame(&other, 1)), (Some(5), frame(w, 1)));
        let held = get(&other, Foll::empty(), 1, 1);
        assert_eq!(held.frames, [frame(w, 1)]);
    });
}
#[test]
fn m_16_dontneed_of_whole_tables_frees_them_and_of_less_or_with_a_guard_keeps_them() {
    row6(m::M_16, |w| {
        let tables = || w.machine.frames().stats().of(Kind::Table);
        w.area(0, 3 * HUGE, rw());
        let touch = || (0..3).for_each(|n| assert!(w.store(page(n * HUGE + 7), 5)));
        touch();
        let all = tables();
        advise(w, 1, 3 * HUGE - 2, Advice::DontNeed);
        assert_eq!(tables(), all - 1, "only the one in the middle was left out whole");
        touch();
        advise(w, HUGE + 9, 1, Advice::GuardInstall);
        advise(w, 0, 3 * HUGE, Advice::DontNeed);
        assert_eq!(tables(), all - 2, "a guard stays, and its table");
        w.set_area_flags(page(0), rw() | VmFlags::HUGEPAGE | VmFlags::MAYBE_GUARD);
        assert!(w.store(page(0), 1) && w.store(page(HUGE), 1));
        assert_eq!([level(w, 0), level(w, HUGE)], [1, 0], "where no table is, a huge page fits");
        advise(w, HUGE + 9, 1, Advice::GuardRemove);
    });
}
#[test]
fn m_17_mremap_makes_a_table_for_each_or_moves_it_whole() {
    row6(m::M_17, |w| {
        let remap = |from: u64, to: u64, pages: u64, flags| {
            let bytes = pages << 12;
            let (addr, new_addr) = (page(from), page(to));
            let request =
                MremapRequest { addr, old_bytes: bytes, new_bytes: bytes, flags, new_addr };
            mremap(&mut w.mm.write(), &w.task, &request).unwrap();
        };
        let has_table = |at| w.mm.tables().walk(page(at)).place.level == 0;
        let fixed = MremapFlags::MAYMOVE | MremapFlags::FIXED;
        w.area(0, HUGE, rw());
        assert!(w.store(page(1), 5));
        remap(100, 4 * HUGE, 1, fixed);
        assert!(has_table(4 * HUGE), "though the page that moved was never touched");
        w.area(8 * HUGE, HUGE, rw());
        assert!(w.store(page(8 * HUGE), 6));
        remap(8 * HUGE, 12 * HUGE, HUGE, fixed | MremapFlags::DONTUNMAP);
        assert_eq!([has_table(8 * HUGE), has_table(12 * HUGE)], [false, true], "it moved");
        assert_eq!(w.load(page(12 * HUGE)), Some(6));
        w.area(16 * HUGE, HUGE, rw());
        assert!(w.store(page(16 * HUGE), 6));
        remap(16 * HUGE + 1, 20 * HUGE, HUGE - 1, fixed | MremapFlags::DONTUNMAP);
        assert!(has_table(16 * HUGE), "the table stays where it is not aligned alike");
    });
}
