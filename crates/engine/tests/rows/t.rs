//! Rows T-23 … T-47: public tests of Linux that play here with a few pages. The matrices of T-01 …
//! T-26 and T-32 are with the scenarios that are data.

use crate::six::{Ask, ask_fast, config, kept6};
use crate::stage::{
    HUGE, Handler, SHARED, child, exclusive, frame, get, hugetlb, is_exclusive, out, pin, pin_fast,
    refs, register_wp, swap_on, thp,
};
use crate::store::quick_file;
use crate::support::{TestHost, World, kept_in, none, page, ro, rw};
use gup::addr::{PAGE_SIZE, PMD_ORDER, VirtRange};
use gup::errno::Errno;
use gup::fault::{PageOut, split_page};
use gup::file::FileKind;
use gup::flags::{Foll, MapFlags, Prot, VmFlags};
use gup::frame::{FrameFlags, Zone};
use gup::gup::Entry;
use gup::gup::fast::FastEntry;
use gup::gup::proc_mem::{Tracer, proc_mem};
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::host::Memory;
use gup::linux::Linux;
use gup::mapping::{
    Advice, MlockFlags, MmapRequest, fork, madvise, mlock2, munmap, remap_pfn_range, sys,
};
use gup::mm::{Machine, MachineConfig, Vsyscall};
use gup::observe::Event;
use gup::rule::{Rule, c, f, s};
use gup::task::Task;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

const EFAULT: i64 = Errno::EFAULT.negated();

const fn t(number: u8) -> Rule {
    Rule::new(b'T', number)
}
fn ask(w: &World, entry: Entry, foll: Foll, at: u64) -> i64 {
    Ask::new(entry, foll, page(at), 1).of(w).ret
}
fn remote(w: &World, at: u64, access: Access<'_>) -> usize {
    process_vm(&w.task, &w.mm, page(at), access).bytes
}
fn debugger(w: &World, at: u64, access: Access<'_>) -> usize {
    proc_mem(&w.task, &w.mm, page(at), access, Tracer::Attached).unwrap_or(0)
}

/// What `gup_test` measures, with its driver's checks.
#[derive(Clone, Copy, Debug)]
enum GupTest {
    GetFast,
    Get,
    PinFast,
    Pin,
    PinLongterm,
}

#[test]
fn t_23_each_of_240_runs_gets_every_page_and_what_it_pins_is_pinned_and_well_placed() {
    let calls =
        [GupTest::GetFast, GupTest::Get, GupTest::PinFast, GupTest::Pin, GupTest::PinLongterm];
    let mut runs = 0;
    for backing in ["huge", "small", "hugetlb"] {
        for call in calls {
            for (write, shared) in [(false, false), (false, true), (true, false), (true, true)] {
                for at_once in [1, 512, 123, 2 * HUGE] {
                    let pins = !matches!(call, GupTest::GetFast | GupTest::Get);
                    let long = matches!(call, GupTest::PinLongterm);
                    let mut config = config();
                    config.frames = config.frames.and(Zone::Cma, 0, 4 * HUGE);
                    let by: &[Rule] = if long && write { &[c::C_78] } else { &[] };
                    kept_in(t(23), by, World::with(config), |w| {
                        gup_test(w, backing, call, (write, shared), at_once, (pins, long));
                    });
                    runs += 1;
                }
            }
        }
    }
    assert_eq!(runs, 240);
}

fn gup_test(
    w: &World,
    backing: &str,
    call: GupTest,
    (write, shared): (bool, bool),
    at_once: u64,
    (pins, long): (bool, bool),
) {
    let what = format!("{backing} {call:?} write {write} shared {shared}, {at_once} at once");
    let flags = if shared { rw() | SHARED } else { rw() };
    match (backing, shared) {
        ("hugetlb", _) => {
            assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 4), 4);
            let file = w.file(FileKind::Hugetlb(PMD_ORDER), 2 * HUGE, None);
            let flags = flags | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
            w.area_of(0, 2 * HUGE, flags, World::backing(&file), 0);
        }
        (_, true) => {
            let file = w.file(FileKind::Shmem, 2 * HUGE, None);
            w.area_of(0, 2 * HUGE, flags, World::backing(&file), 0);
        }
        ("huge", false) => drop(w.area(0, 2 * HUGE, flags | VmFlags::HUGEPAGE)),
        _ => drop(w.area(0, 2 * HUGE, flags | VmFlags::NOHUGEPAGE)),
    }
    // The program stores to its memory first.
    (0..2 * HUGE).for_each(|n| assert!(w.store(page(n), 1), "{what}"));
    let foll = if write { Foll::WRITE } else { Foll::empty() };
    let foll = if long { foll | Foll::LONGTERM } else { foll };
    let mut at = 0;
    while at < 2 * HUGE {
        let nr = at_once.min(2 * HUGE - at);
        let told = match call {
            GupTest::GetFast => ask_fast(w, FastEntry::Get, foll, page(at), nr),
            GupTest::PinFast => ask_fast(w, FastEntry::Pin, foll, page(at), nr),
            GupTest::Get => Ask::new(Entry::GetUnlocked, foll, page(at), nr).of(w),
            GupTest::Pin | GupTest::PinLongterm => {
                Ask::new(Entry::PinUnlocked, foll, page(at), nr).of(w)
            }
        };
        assert_eq!(told.ret, nr.cast_signed(), "{what}");
        for (frame, (refs, pinned)) in told.frames.iter().zip(&told.counts) {
            assert!(*refs > 1 && (*pinned > 0) == pins, "{what}");
            assert!(!long || w.machine.frames().zone(*frame).is_longterm_pinnable(), "{what}");
        }
        at += nr;
    }
    if backing == "hugetlb" {
        munmap(&mut w.mm.write(), page(0), 2 * HUGE * PAGE_SIZE).unwrap();
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    }
}

#[test]
fn t_27_secret_memory_is_refused_fresh_and_faulted_to_pipes_readers_and_debuggers() {
    kept6(t(27), &[c::C_31, c::C_73], |w| {
        let secret = w.file(FileKind::Secret, 2, None);
        w.area_of(0, 2, rw() | SHARED, World::backing(&secret), 0);
        for present in [false, true] {
            assert!(!present || w.store(page(0), 7));
            for entry in [FastEntry::Get, FastEntry::Pin] {
                let told = ask_fast(w, entry, Foll::empty(), page(0), 1);
                assert_eq!((told.ret, told.frames.len()), (EFAULT, 0), "present: {present}");
            }
            let only = ask_fast(w, FastEntry::GetOnly, Foll::empty(), page(0), 1);
            assert_eq!(only.ret, 0, "the lockless walk by itself, too");
            assert_eq!(remote(w, 0, Access::Read(&mut [0])), 0);
            assert_eq!(debugger(w, 0, Access::Read(&mut [0])), 0);
        }
        assert_eq!(w.load(page(0)), Some(7), "its own process reads it");
    });
}
#[test]
fn t_28_direct_io_to_hugetlb_gives_every_page_back_whenever_the_memory_is_unmapped() {
    for (offset, bytes) in [(0, 2 << 20), (4096 + 512, 2 << 20), ((2 << 20) - 4096, 8192)] {
        for unmapped_before in [false, true] {
            kept6(t(28), &[f::F_45], |w| {
                assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 3), 3);
                let free = |w: &World| w.machine.hugetlb().counts(PMD_ORDER).free;
                let before = free(w);
                let file = w.file(FileKind::Hugetlb(PMD_ORDER), 2 * HUGE, None);
                let flags = rw() | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
                w.area_of(0, 2 * HUGE, flags, World::backing(&file), 0);
                w.store(page(0), 1);
                w.store(page(HUGE), 1);
                assert_eq!(free(w), before - 2);
                let (first, last) = (offset / PAGE_SIZE, (offset + bytes - 1) / PAGE_SIZE);
                let unmap = || munmap(&mut w.mm.write(), page(0), 2 * HUGE * PAGE_SIZE).unwrap();
                let held = pin_fast(w, Foll::WRITE, first, last - first + 1);
                if unmapped_before {
                    unmap();
                    assert!(free(w) < before, "the pin keeps them");
                    drop(held);
                } else {
                    drop(held);
                    assert_eq!(free(w), before - 2);
                    let again = pin(w, Foll::WRITE, 0, 1);
                    unmap();
                    drop(again);
                }
                assert_eq!(free(w), before, "{bytes} bytes at {offset}");
                drop(file);
                w.machine.resize_hugetlb(PMD_ORDER, 0);
            });
        }
    }
}
#[test]
fn t_29_the_early_copy_of_a_pinned_page_has_the_mark_if_fork_is_an_event() {
    for event_fork in [false, true] {
        let by: &[Rule] = if event_fork { &[s::S_08, f::F_10] } else { &[f::F_10] };
        kept6(t(29), by, |w| {
            w.area(0, 1, rw());
            w.store(page(0), 1);
            let handler = Arc::new(Handler { event_fork, ..Handler::default() });
            register_wp(w, 0, &handler);
            w.change_entry(page(0), |perms| (perms.uffd_wp, perms.write) = (true, false));
            let held = pin(w, Foll::LONGTERM, 0, 1);
            let other = child(w);
            assert!(frame(&other, 0) != held.frames[0] && exclusive(&other, 0));
            assert_eq!(other.entry(page(0)).is_uffd_wp(), event_fork);
            assert!(w.entry(page(0)).is_uffd_wp(), "the parent's stays");
        });
    }
}
#[test]
fn t_31_a_key_that_forbids_access_forbids_it_to_gup_and_not_to_a_debugger() {
    kept6(t(31), &[c::C_35], |w| {
        w.area(0, 1, rw() | VmFlags::PKEY_BIT0);
        w.store(page(0), 5);
        w.task.pkru.store(0b01 << 2, Relaxed);
        for entry in [Entry::Get, Entry::Pin] {
            assert_eq!(ask(w, entry, Foll::empty(), 0), EFAULT, "vmsplice, write(2)");
        }
        let mut byte = [0];
        assert_eq!((debugger(w, 0, Access::Read(&mut byte)), byte), (1, [5]));
        w.task.pkru.store(0b10 << 2, Relaxed);
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 0), 1, "only stores are forbidden");
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0), EFAULT);
        w.task.pkru.store(0, Relaxed);
    });
}
#[test]
fn t_33_frames_mapped_by_number_are_not_populated() {
    kept6(t(33), &[c::C_27, c::C_17], |w| {
        w.area(0, 1, rw());
        let range = VirtRange::new(page(0), page(1));
        remap_pfn_range(&mut w.mm.write(), range, w.machine.zero_page()).unwrap();
        for advice in [Advice::PopulateRead, Advice::PopulateWrite] {
            let told = madvise(&w.mm, &w.task, page(0), PAGE_SIZE, advice);
            assert_eq!(told, Err(Errno::EINVAL), "{advice:?}");
        }
    });
}
#[test]
fn t_34_locking_on_fault_populates_nothing_and_what_then_comes_is_locked() {
    kept6(t(34), &[c::C_93], |w| {
        w.area(0, 4, rw());
        mlock2(&w.mm, &w.task, page(0), 4 * PAGE_SIZE, MlockFlags::ONFAULT).unwrap();
        assert!((0..4).all(|n| w.mapped(page(n), false).is_none()));
        assert!(w.store(page(2), 1));
        swap_on(w);
        assert!(madvise(&w.mm, &w.task, page(0), 4 * PAGE_SIZE, Advice::PageOut).is_err());
        assert_eq!(w.load(page(2)), Some(1));
    });
}
#[test]
fn t_34_droppable_memory_vanishes_under_reclaim_and_a_split_loses_no_byte() {
    kept6(t(34), &[f::F_35], |w| {
        w.area(0, 2, rw() | VmFlags::DROPPABLE);
        (0..2).for_each(|n| assert!(w.store(page(n), 5)));
        let held = get(w, Foll::empty(), 1, 1);
        for n in 0..2 {
            w.machine.frames().clear(frame(w, n), FrameFlags::SWAPBACKED);
        }
        assert_eq!([out(w, 0), out(w, 1)], [PageOut::Out, PageOut::Kept]);
        assert_eq!([w.load(page(0)), w.load(page(1))], [Some(0), Some(5)], "one is referred to");
        drop(held);
        thp(w, HUGE);
        (0..HUGE).step_by(37).for_each(|n| assert!(w.store(page(HUGE + n), (n % 251) as u8)));
        split_page(&w.mm, page(HUGE)).unwrap();
        for n in (0..HUGE).step_by(37) {
            assert_eq!(w.load(page(HUGE + n)), Some((n % 251) as u8));
        }
    });
}
#[test]
fn t_34_a_populated_private_mapping_has_pages_of_its_own_at_once() {
    kept6(t(34), &[c::C_94], |w| {
        let file = w.file(FileKind::Shmem, 2, None);
        w.area_of(0, 2, rw() | SHARED, World::backing(&file), 0);
        assert!(w.store(page(0), 5));
        let (prot, flags) = (Prot::READ | Prot::WRITE, MapFlags::PRIVATE | MapFlags::POPULATE);
        let request = MmapRequest::file(&file, 0, 2 * PAGE_SIZE, prot, flags).at(page(4));
        sys::mmap(&w.mm, &w.task, &request).unwrap();
        assert!((4..6).all(|n| exclusive(w, n)), "filled for writing");
        assert_eq!((w.load(page(4)), w.store(page(4), 9)), (Some(5), true));
        assert_eq!([w.load(page(0)), w.load(page(4))], [Some(5), Some(9)]);
    });
}
#[test]
fn t_35_the_gate_is_read_from_outside_exactly_if_it_can_be_read() {
    for (vsyscall, readable) in
        [(Vsyscall::Read, true), (Vsyscall::ExecuteOnly, false), (Vsyscall::None, false)]
    {
        let mut config = MachineConfig::new(Linux::V6_18, crate::support::FRAMES);
        config.sysctl.vsyscall = vsyscall;
        let by: &[Rule] = if vsyscall == Vsyscall::Read { &[c::C_23] } else { &[] };
        kept_in(t(35), by, World::with(config), |w| {
            let gate = Machine::<TestHost>::gate_address();
            let moved = process_vm(&w.task, &w.mm, gate, Access::Read(&mut [0])).bytes;
            assert_eq!(moved == 1, readable, "{vsyscall:?}");
            let written = process_vm(&w.task, &w.mm, gate, Access::Write(&[0])).bytes;
            assert_eq!(written, 0, "{vsyscall:?}");
        });
    }
}
#[test]
fn t_36_a_shadow_stack_takes_no_plain_store_and_a_forced_one() {
    kept6(t(36), &[c::C_33], |w| {
        w.area(0, 1, rw() | VmFlags::SHADOW_STACK);
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0), EFAULT);
        assert_eq!(ask(w, Entry::Pin, Foll::WRITE, 0), EFAULT);
        assert_eq!(ask(w, Entry::Get, Foll::empty(), 0), 1, "it is read");
        assert_eq!(debugger(w, 0, Access::Write(&[7])), 1);
        assert_eq!(w.load(page(0)), Some(7));
    });
}
#[test]
fn t_38_a_read_only_file_is_never_changed_by_racing_drops_and_forced_writes() {
    kept6(t(38), &[s::S_01], |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, ro(), World::backing(&file), 0);
        w.load(page(0));
        let of_file = frame(w, 0);
        let mm = Arc::clone(&w.mm);
        w.on_event(move |event| {
            if matches!(event, Event::FaultEnd { .. }) {
                let task = Task::default();
                madvise(&mm, &task, page(0), PAGE_SIZE, Advice::DontNeed).unwrap();
            }
            false
        });
        // A drop after every fault would be tried again for ever: a signal ends it.
        for _ in 0..3 {
            w.host().kill_at.store(12, std::sync::atomic::Ordering::SeqCst);
            let _ = debugger(w, 0, Access::Write(&[99]));
            w.task.clear_signals();
        }
        w.on_event(|_| true);
        w.host().kill_at.store(0, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(debugger(w, 0, Access::Write(&[99])), 1);
        assert_eq!((w.byte(of_file), w.load(page(0))), (1, Some(99)));
    });
}
#[test]
fn t_39_nor_is_a_memory_file_whose_entry_a_handler_made_dirty() {
    kept6(t(39), &[s::S_03], |w| {
        let file = w.file(FileKind::Shmem, 1, None);
        w.area_of(0, 1, ro(), World::backing(&file), 0);
        w.load(page(0));
        let of_file = frame(w, 0);
        w.change_entry(page(0), |perms| perms.dirty = true);
        assert_eq!(debugger(w, 0, Access::Write(&[99])), 1);
        assert_eq!((w.byte(of_file), w.load(page(0))), (0, Some(99)));
    });
}
#[test]
fn t_40_nor_is_the_huge_zero_page() {
    kept6(t(40), &[s::S_02], |w| {
        w.area(0, HUGE, ro() | VmFlags::HUGEPAGE);
        w.load(page(0));
        let zero = w.machine.huge_zero_page().unwrap();
        w.change_entry(page(0), |perms| (perms.young, perms.dirty) = (true, true));
        assert_eq!(debugger(w, 5, Access::Write(&[99])), 1);
        assert_eq!((w.byte(zero.offset(5)), w.load(page(5))), (0, Some(99)));
    });
}
#[test]
fn t_41_the_gap_below_a_stack_cannot_be_jumped() {
    kept6(t(41), &[s::S_28], |w| {
        w.area(3000, 4, rw() | VmFlags::GROWSDOWN);
        w.area(2700, 10, rw());
        let read =
            |at| access_remote_vm(&w.task, &w.mm, page(at), Access::Read(&mut [0]), Foll::empty());
        assert!((2710..2966).all(|at| read(at).bytes == 0));
        assert_eq!((read(2966).bytes, w.load(page(2709))), (1, Some(0)));
    });
}
#[test]
fn t_42_direct_io_beside_forks_in_other_threads_loses_nothing() {
    kept6(t(42), &[f::F_10], |w| {
        w.area(0, 4, rw());
        (0..4).for_each(|n| assert!(w.store(page(n), 1)));
        let mm = &*w.mm;
        for round in 2..40u8 {
            thread::scope(|scope| {
                let forks = scope.spawn(|| {
                    (0..3).filter(|_| fork(&mut mm.write(), &Task::default()).is_ok()).count()
                });
                // The device writes to what it pinned; the program then finds it there.
                let held = pin_fast(w, Foll::WRITE, 0, 4);
                for pfn in &held.frames {
                    w.machine.memory().write(*pfn, 0, &[round]);
                }
                (0..4).for_each(|n| assert!(w.store(page(n).wrapping_add(8), round)));
                assert_eq!(held.frames, [0, 1, 2, 3].map(|n| frame(w, n)), "round {round}");
                assert_eq!([0, 1, 2, 3].map(|n| w.load(page(n))), [Some(round); 4]);
                assert_eq!(forks.join().unwrap(), 3);
            });
        }
        let held = pin(w, Foll::WRITE, 0, 1);
        assert_ne!(frame(&child(w), 0), held.frames[0]);
    });
}
#[test]
fn t_43_hugetlb_pages_are_copied_after_fork_and_reused_when_alone() {
    kept6(t(43), &[f::F_26, f::F_15], |w| {
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 3), 3);
        hugetlb(w, 0);
        w.store(page(0), 1);
        let held = pin(w, Foll::WRITE, 3, 1);
        let other = child(w);
        assert_ne!(frame(&other, 0), frame(w, 0), "pinned: copied at once");
        drop((held, other));
        let head = frame(w, 0);
        let other = child(w);
        assert!(frame(&other, 0) == head && !is_exclusive(w, head));
        w.store(page(0), 2);
        assert_eq!((frame(w, 0) == head, other.load(page(0))), (false, Some(1)));
        other.store(page(0), 3);
        assert_eq!(frame(&other, 0), head, "alone again");
        assert_eq!((w.load(page(0)), other.load(page(0))), (Some(2), Some(3)));
        drop(other);
        munmap(&mut w.mm.write(), page(0), HUGE * PAGE_SIZE).unwrap();
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}
#[test]
fn t_45_a_futex_at_an_address_without_memory_or_access_is_efault() {
    kept6(t(45), &[c::C_33], |w| {
        let file = quick_file(w, 1);
        w.area(0, 1, none());
        w.area_of(2, 2, rw() | SHARED, World::backing(&file), 0);
        w.area(6, 1, ro());
        w.area(8, 1, rw());
        w.load(page(6));
        // For writing first; read-only memory is asked for once more, for reading.
        let futex = |at| {
            let write = ask_fast(w, FastEntry::Get, Foll::WRITE, page(at), 1);
            let read = || ask_fast(w, FastEntry::Get, Foll::empty(), page(at), 1);
            (write.ret, if write.ret == EFAULT { read().ret } else { write.ret })
        };
        assert_eq!(futex(20), (EFAULT, EFAULT), "unmapped");
        assert_eq!(futex(0), (EFAULT, EFAULT), "PROT_NONE");
        assert_eq!(futex(3), (EFAULT, EFAULT), "past the end of the file");
        assert_eq!(futex(6), (EFAULT, 1), "read-only");
        assert_eq!((futex(2), futex(8)), ((1, 1), (1, 1)));
    });
}
#[test]
fn t_46_transfers_end_at_the_first_hole_with_what_was_moved() {
    kept6(t(46), &[c::C_25, c::C_101], |w| {
        w.area(0, 3, rw());
        (0..3).for_each(|n| assert!(w.store(page(n), 7)));
        w.area(4, 1, rw());
        let at = |n: u64, offset| page(n).wrapping_add(offset);
        let moved = |from, access: Access<'_>| process_vm(&w.task, &w.mm, from, access).bytes;
        for (from, len, want) in [
            (at(0, 0), 3 * 4096, 3 * 4096),
            (at(1, 100), 3 * 4096, 2 * 4096 - 100),
            (at(2, 4095), 2, 1),
            (at(3, 0), 1, 0),
            (at(4, 0), 8192, 4096),
        ] {
            assert_eq!(moved(from, Access::Read(&mut vec![0; len])), want, "{len} at {from:?}");
            assert_eq!(moved(from, Access::Write(&vec![9; len])), want, "{len} to {from:?}");
        }
        assert!((0..3).all(|n| refs(w, frame(w, n)) == 1));
    });
}
#[test]
fn t_47_references_that_others_return_do_not_free_a_registered_buffer() {
    kept6(t(47), &[s::S_16], |w| {
        let file = quick_file(w, 1);
        w.area_of(0, 1, rw() | SHARED, World::backing(&file), 0);
        w.load(page(0));
        let buffer = pin(w, Foll::empty(), 0, 1);
        let pfn = buffer.frames[0];
        // A network stack returns 1024 references that it never took.
        for _ in 0..1024 {
            w.machine.put_page(pfn);
        }
        assert_eq!(w.machine.frames().pins(pfn), 1);
        assert!(refs(w, pfn) >= 1 && frame(w, 0) == pfn, "and it is still the file's");
        // What they took away is put back, so that the machine's books close.
        w.machine.frames().get(pfn, 3 - refs(w, pfn)).unwrap();
    });
}
