//! Rows O-01 … O-15: oddities of Linux that callers can see. O-16 is with the rows of the twin.

use crate::six::{Ask, Told, ask_fast, config, kept6};
use crate::stage::{HUGE, child, frame, get, hugetlb, out, pin, references, refs, swap_on};
use crate::store::slow_area;
use crate::support::{Call, TestHost, World, kept_in, page, ro, rw};
use gup::abi;
use gup::abi::flags::{FOLL_GET, FOLL_HWPOISON, FOLL_NOWAIT};
use gup::addr::{PAGE_SIZE, PMD_ORDER, Pfn, TASK_SIZE, VirtAddr};
use gup::errno::Errno;
use gup::fault::PageOut;
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::gup::dump::{MayUnlock, fixup_user_fault};
use gup::gup::fast::FastEntry;
use gup::gup::remote::{Access, access_remote_vm, process_vm};
use gup::gup::{Entry, Locked};
use gup::host::Injection;
use gup::linux::Linux;
use gup::mm::{Lock, Machine, Vsyscall};
use gup::pgtable::{Entry as Pte, Perms, SwapEntry};
use gup::rule::{Rule, a, c, f, o};
use std::sync::atomic::Ordering::SeqCst;

const EFAULT: i64 = Errno::EFAULT.negated();

/// Runs the test of a row that other rules keep, on a machine of v4.4.
fn kept4(row: Rule, by: &[Rule], body: impl FnOnce(&World)) {
    kept_in(row, by, World::new(Linux::V4_4), body);
}
fn slow(w: &World, entry: Entry, foll: Foll, at: u64) -> Told {
    Ask::new(entry, foll, page(at), 1).of(w)
}
/// An entry at page 0 whose memory broke.
fn broken(w: &World) {
    w.set_entry(page(0), 0, Pte::swap(SwapEntry::HwPoison(Pfn::new(9))));
}
fn heal(w: &World) {
    w.set_entry(page(0), 0, Pte::NONE);
}

#[test]
fn o_01_an_illegal_flag_set_is_0_pages_pinned_but_einval_when_got() {
    kept6(o::O_01, &[c::C_07], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        for bad in [Foll::TRIED, Foll::GET | Foll::PIN, Foll::REMOTE] {
            for (pins, gets) in [
                (Entry::Pin, Entry::Get),
                (Entry::PinRemote, Entry::GetRemote),
                (Entry::PinUnlocked, Entry::GetUnlocked),
            ] {
                let told = [slow(w, pins, bad, 0), slow(w, gets, bad, 0)];
                assert_eq!(told.map(|told| told.ret), [0, Errno::EINVAL.negated()], "{bad:?}");
            }
        }
        assert_eq!((refs(w, frame(w, 0)), w.pinned()), (1, 0));
    });
}
#[test]
fn o_02_no_pages_at_all_is_0_in_v4_4_and_a_huge_number_in_6_18() {
    kept4(o::O_02, &[a::A_156], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        for nr in [0, -1, i32::MIN] {
            let mut pages = [None];
            let at = page(0).get();
            assert_eq!(abi::get_user_pages_fast(&w.task, &w.mm, at, nr, 0, &mut pages), 0);
        }
    });
    kept6(o::O_02, &[c::C_65], |w| {
        w.area(0, 1, rw());
        let fast = |at: VirtAddr, nr| {
            abi::v6_18::get_user_pages_fast(&w.task, &w.mm, at.get(), nr, 0, &mut [])
        };
        assert_eq!(fast(page(0), -1), -Errno::EOVERFLOW.raw());
        assert_eq!(fast(VirtAddr::new(0), -1), -Errno::EFAULT.raw(), "it ends below 2^64");
    });
}
#[test]
fn o_03_a_kill_is_eagain_before_the_lock_and_eintr_once_it_was_dropped() {
    kept6(o::O_03, &[c::C_57, c::C_59], |w| {
        slow_area(w, 0, 1, ro());
        let contended = |point| point == Injection::LockContended;
        *w.host().inject.lock().unwrap() = Some(Box::new(contended));
        w.task.kill();
        let told = slow(w, Entry::GetUnlocked, Foll::empty(), 0);
        assert_eq!(told.ret, Errno::EAGAIN.negated());
        *w.host().inject.lock().unwrap() = None;
        w.task.clear_signals();
        // The first look at signals comes before the fault, the second before the lock.
        w.host().kill_at.store(2, SeqCst);
        let told = slow(w, Entry::GetUnlocked, Foll::empty(), 0);
        assert_eq!(told.ret, Errno::EINTR.negated());
        w.task.clear_signals();
        slow_area(w, 2, 1, ro());
        w.task.interrupt();
        let told = slow(w, Entry::GetUnlocked, Foll::INTERRUPTIBLE, 2);
        assert_eq!(told.ret, Errno::EINTR.negated(), "any signal, if that is asked for");
        w.task.clear_signals();
    });
}
#[test]
fn o_04_broken_memory_is_ehwpoison_if_asked_for_and_to_a_fixup_in_v4_4_only() {
    kept6(o::O_04, &[c::C_52, c::C_97], |w| {
        w.area(0, 1, rw());
        broken(w);
        assert_eq!(slow(w, Entry::Get, Foll::empty(), 0).ret, EFAULT);
        assert_eq!(slow(w, Entry::Get, Foll::HWPOISON, 0).ret, Errno::EHWPOISON.negated());
        let mut lock = Lock::Read(w.mm.read());
        let write = FaultFlags::WRITE;
        let fixed = fixup_user_fault(&w.task, &mut lock, page(0), write, MayUnlock::No);
        assert_eq!(fixed.map_err(|stop| stop.errno), Err(Errno::EFAULT));
        drop(lock);
        heal(w);
    });
    kept4(o::O_04, &[a::A_161], |w| {
        w.area(0, 1, rw());
        broken(w);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT);
        assert_eq!(w.gup(FOLL_GET | FOLL_HWPOISON, page(0), 1).ret, Errno::EHWPOISON.negated());
        w.area(2, 1, ro());
        let mut lock = Lock::Read(w.mm.read());
        let (at, flags) = (page(0).get(), FaultFlags::WRITE.bits());
        let fixed = abi::fixup_user_fault(&w.task, None, &mut lock, at, flags);
        assert_eq!(fixed, -Errno::EHWPOISON.raw());
        let fixed = abi::fixup_user_fault(&w.task, None, &mut lock, page(2).get(), flags);
        assert_eq!(fixed, -Errno::EFAULT.raw(), "any other refusal");
        drop(lock);
        heal(w);
    });
}
#[test]
fn o_05_every_failure_at_a_hugetlb_page_is_efault_in_v4_4() {
    kept4(o::O_05, &[a::A_71, a::A_74], |w| {
        let file = w.file(FileKind::Hugetlb(PMD_ORDER), HUGE, None);
        let flags = rw() | VmFlags::HUGETLB | VmFlags::DONTEXPAND;
        w.area_of(0, HUGE, flags, World::backing(&file), 0);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT, "out of memory");
        w.set_entry(page(0), 1, Pte::swap(SwapEntry::HwPoison(Pfn::new(512))));
        assert_eq!(w.gup(FOLL_GET | FOLL_HWPOISON, page(0), 1).ret, EFAULT, "broken memory");
        w.set_entry(page(0), 1, Pte::NONE);
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 1), 1);
        w.host().kill_at.store(1, SeqCst);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT, "a kill");
        w.task.clear_signals();
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}
#[test]
fn o_06_nowait_clears_nonblocking_with_the_lock_still_held() {
    kept4(o::O_06, &[a::A_142], |w| {
        slow_area(w, 0, 1, ro());
        let flags = FOLL_GET | FOLL_NOWAIT;
        let kept = w.call(Call { flags, nonblocking: true, ..Call::default() });
        assert_eq!((kept.ret, kept.nonblocking, kept.lock_held), (0, 0, true));
    });
}
#[test]
fn o_07_a_frame_mapped_by_number_is_efault_in_v4_4_and_eexist_in_6_18() {
    let map = |w: &World| {
        w.area(0, 1, rw() | VmFlags::MIXEDMAP);
        let perms = Perms { special: true, write: true, ..Perms::default() };
        w.set_entry(page(0), 0, Pte::leaf(Pfn::new(1 << 20), perms, 0));
    };
    kept4(o::O_07, &[a::A_118], |w| {
        map(w);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT);
        heal(w);
    });
    kept6(o::O_07, &[c::C_20], |w| {
        map(w);
        let told = slow(w, Entry::Get, Foll::empty(), 0);
        assert_eq!(told.ret, Errno::EEXIST.negated());
        heal(w);
    });
}
#[test]
fn o_08_only_the_fast_functions_look_where_user_space_ends() {
    kept6(o::O_08, &[c::C_64, c::C_67], |w| {
        let ask = |start: u64, nr| {
            let start = VirtAddr::new(start);
            let slow = Ask::new(Entry::Get, Foll::empty(), start, nr).of(w);
            let fast = ask_fast(w, FastEntry::Get, Foll::empty(), start, nr);
            assert_ne!(slow.rule, fast.rule, "{start:?}");
            (slow.ret, fast.ret)
        };
        assert_eq!(ask(TASK_SIZE, 1), (EFAULT, EFAULT), "for want of an area; for the address");
        let wraps = u64::MAX - PAGE_SIZE + 1;
        assert_eq!(ask(wraps, 2), (EFAULT, Errno::EOVERFLOW.negated()));
    });
}
#[test]
fn o_09_a_pin_that_fails_marks_its_address_space_all_the_same() {
    kept6(o::O_09, &[f::F_19], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        assert_eq!(ask_fast(w, FastEntry::Pin, Foll::empty(), page(9), 1).ret, EFAULT);
        assert!(w.mm.has_pinned.load(SeqCst) && w.pinned() == 0);
        // What follows: a page with many references is copied by fork, though nothing is pinned.
        let many = references(w, frame(w, 0), 1023);
        let other = child(w);
        assert_ne!(frame(&other, 0), frame(w, 0));
        drop(many);
    });
}
#[test]
fn o_10_a_huge_page_under_migration_is_a_hole_to_a_dump_and_to_nobody_else() {
    kept6(o::O_10, &[c::C_37], |w| {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
        w.store(page(0), 1);
        let there = w.entry(page(0));
        let pfn = frame(w, 0);
        let moving = SwapEntry::Migration { pfn, write: true, exclusive: true };
        w.set_entry(page(0), 1, Pte::swap(moving));
        w.forget();
        let told = slow(w, Entry::Get, Foll::DUMP, 0);
        assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_37)));
        assert!(w.faults().is_empty(), "nothing waits for the move");
        w.set_entry(page(0), 1, there);
        assert_eq!(slow(w, Entry::Get, Foll::DUMP, 0).frames, [pfn]);
    });
}
#[test]
fn o_11_droppable_memory_is_asked_for_again_and_again() {
    kept6(o::O_11, &[c::C_56], |w| {
        w.area(0, 1, rw() | VmFlags::DROPPABLE);
        let mut failures = 500;
        *w.host().inject.lock().unwrap() = Some(Box::new(move |point| {
            let fails = matches!(point, Injection::FolioAlloc(_)) && failures > 0;
            failures -= i32::from(fails);
            fails
        }));
        assert_eq!(slow(w, Entry::Get, Foll::WRITE, 0).ret, 1, "no number of failures ends it");
        assert_eq!(w.faults().len(), 501);
        *w.host().inject.lock().unwrap() = None;
    });
}
#[test]
fn o_12_a_hugetlb_page_is_stored_to_though_somebody_refers_to_it() {
    kept6(o::O_12, &[f::F_26], |w| {
        assert_eq!(w.machine.resize_hugetlb(PMD_ORDER, 2), 2);
        hugetlb(w, 0);
        w.store(page(0), 1);
        let other = child(w);
        let spliced = get(&other, Foll::empty(), 0, 1);
        drop(other.mm.write());
        gup::mapping::munmap(&mut other.mm.write(), page(0), HUGE * PAGE_SIZE).unwrap();
        w.store(page(0), 99);
        assert_eq!(w.byte(spliced.frames[0]), 99, "the child's reference sees it");
        drop(spliced);
        drop(other);
        gup::mapping::munmap(&mut w.mm.write(), page(0), HUGE * PAGE_SIZE).unwrap();
        w.machine.resize_hugetlb(PMD_ORDER, 0);
    });
}
#[test]
fn o_13_1024_references_look_like_a_pin_and_beneath_there_is_none() {
    kept6(o::O_13, &[c::C_88, f::F_10, f::F_33], |w| {
        swap_on(w);
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        drop(pin(w, Foll::WRITE, 1, 1));
        let (pfn, frames) = (frame(w, 0), w.machine.frames());
        let many = references(w, pfn, 1022);
        assert_eq!((frames.linux_refcount(pfn), w.machine.maybe_pinned(pfn)), (1023, false));
        let one_more = references(w, pfn, 1);
        assert_eq!((frames.linux_refcount(pfn), w.machine.maybe_pinned(pfn)), (1024, true));
        assert_eq!((frames.refs(pfn), frames.pins(pfn)), (1024, 0), "the counts beneath");
        assert_eq!(out(w, 0), PageOut::Kept);
        let other = child(w);
        assert_ne!(frame(&other, 0), pfn, "copied, as a pinned page is");
        assert_eq!(frame(&other, 1), frame(w, 1), "and the other shared");
        // The reverse: a pin shows as 1024, and returned references do not make it less.
        drop((one_more, many, other));
        let held = pin(w, Foll::WRITE, 0, 1);
        assert_eq!((frames.linux_refcount(pfn), frames.refs(pfn), frames.pins(pfn)), (1025, 2, 1));
        drop(held);
        assert_eq!(frames.linux_refcount(pfn), 1);
    });
}
#[test]
fn o_14_the_gate_page_is_read_by_process_vm_readv_and_not_by_a_debugger() {
    let mut config = config();
    config.sysctl.vsyscall = Vsyscall::Read;
    kept_in(o::O_14, &[c::C_23, c::C_98], World::with(config), |w| {
        w.area(0, 1, rw());
        let gate = Machine::<TestHost>::gate_address();
        let remote = |access: Access<'_>| process_vm(&w.task, &w.mm, gate, access).bytes;
        assert_eq!((remote(Access::Read(&mut [0])), remote(Access::Write(&[0]))), (1, 0));
        let read = |at, foll| access_remote_vm(&w.task, &w.mm, at, Access::Read(&mut [0]), foll);
        assert_eq!([Foll::empty(), Foll::FORCE].map(|foll| read(gate, foll).bytes), [0, 0]);
        assert_eq!(read(page(0), Foll::empty()).bytes, 1);
    });
}
#[test]
fn o_15_the_huge_zero_page_is_counted_when_pinned_and_the_small_one_is_not() {
    kept6(o::O_15, &[f::F_30], |w| {
        w.area(0, HUGE, rw() | VmFlags::HUGEPAGE);
        w.area(2 * HUGE, 1, rw());
        w.load(page(0));
        w.load(page(2 * HUGE));
        let (huge, small) = (w.machine.huge_zero_page().unwrap(), w.machine.zero_page());
        let pins = |pfn| w.machine.frames().pins(pfn);
        let ask = |at| Ask { locked: Locked::Null, ..Ask::new(Entry::Pin, Foll::empty(), at, 1) };
        let before = [refs(w, huge), refs(w, small)];
        let of_huge = ask(page(3)).of(w);
        assert_eq!(
            (&of_huge.frames[..], &of_huge.counts[..]),
            (&[huge.offset(3)][..], &[(before[0] + 1, 1)][..])
        );
        let of_small = ask(page(2 * HUGE)).of(w);
        assert_eq!(
            (&of_small.frames[..], &of_small.counts[..]),
            (&[small][..], &[(before[1], 0)][..])
        );
        assert_eq!([refs(w, huge), refs(w, small), pins(huge)], [before[0], before[1], 0]);
    });
}
