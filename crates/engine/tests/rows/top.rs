//! Rows A-01 … A-25: the top loop.

use crate::support::{BASE, Call, World, page, ro, row, row_in, rw};
use gup::abi;
use gup::abi::flags::{FOLL_DUMP, FOLL_FORCE, FOLL_GET, FOLL_MLOCK, FOLL_WRITE};
use gup::addr::{PAGE_SIZE, Pfn, TASK_SIZE, VirtAddr};
use gup::flags::VmFlags;
use gup::frame::FrameFlags;
use gup::host::Injection;
use gup::linux::Linux;
use gup::mm::{Lock, Machine, MachineConfig, Vsyscall};
use gup::pgtable::{Entry, Perms};
use gup::rule::a;
use std::sync::atomic::Ordering::SeqCst;

const EFAULT: i64 = -14;

/// A page of a driver's: a frame number without a page behind it.
fn raw_page(w: &World, at: u64) {
    w.area(at, 1, rw() | VmFlags::MIXEDMAP);
    let perms = Perms { write: true, special: true, ..Perms::default() };
    w.set_entry(page(at), 0, Entry::leaf(Pfn::new(7), perms, 0));
}

#[test]
fn a_01_an_empty_request_returns_0_before_any_check() {
    row(a::A_01, |w| {
        let answer = w.call(Call { start: page(9), nr_pages: 0, flags: 0, ..Call::default() });
        assert_eq!(answer.ret, 0);
        assert!(w.seen(a::A_09).is_none() && w.host().bugs.lock().unwrap().is_empty());
    });
}
#[test]
fn a_02_pages_and_foll_get_go_together_or_the_caller_has_a_bug() {
    row(a::A_02, |w| {
        w.area(0, 1, rw());
        let answer = w.call(Call { pages: false, flags: FOLL_GET | FOLL_WRITE, ..Call::default() });
        assert_eq!(*w.host().bugs.lock().unwrap(), [a::A_02]);
        assert_eq!(answer.ret, 1, "unchecked otherwise: the reference is taken, and nobody has it");
        let pfn = w.mapped(page(0), true).unwrap();
        assert_eq!(w.machine.frames().refs(pfn), 2);
        w.machine.put_page(pfn);
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
        assert_eq!(w.host().bugs.lock().unwrap().len(), 1, "with both it is no bug");
    });
}
#[test]
fn a_03_hinting_faults_are_forced_unless_force_is_given() {
    row(a::A_03, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        w.change_entry(page(0), |perms| perms.protnone = true);
        assert_eq!(w.gup(FOLL_GET | FOLL_FORCE, page(0), 1).ret, 1);
        assert!(w.seen(a::A_03).is_none());
        assert!(w.entry(page(0)).is_protnone(), "with FORCE the hint stays");
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
        assert!(!w.entry(page(0)).is_protnone(), "without it, the hint was taken");
    });
}
#[test]
fn a_04_a_lock_that_may_be_dropped_is_held_for_reading() {
    row(a::A_04, |w| {
        w.area(0, 1, rw());
        let mut lock = Lock::Write(w.mm.write());
        let mut nonblocking = 1;
        let start = page(0).get();
        let flag = Some(&mut nonblocking);
        let ret = abi::__get_user_pages(&w.task, None, &mut lock, start, 1, 0, None, None, flag);
        assert_eq!((ret, lock.is_held()), (1, true));
        assert_eq!(*w.host().bugs.lock().unwrap(), [a::A_04]);
        lock.drop_lock();
        let ret = abi::__get_user_pages(&w.task, None, &mut lock, start, 1, 0, None, None, None);
        assert_eq!(ret, -22, "without the lock nothing is touched");
    });
}
#[test]
fn a_05_each_page_starts_with_the_flags_of_the_request() {
    row(a::A_05, |w| {
        w.area(0, 2, rw());
        w.store(page(1), 9);
        let old = w.gup(FOLL_GET, page(1), 1).pages[0].unwrap();
        // Page 1 is dirty, read-only and shared; page 0 is fresh and breaks COW first.
        w.machine.frames().clear(old, FrameFlags::ANON_EXCLUSIVE);
        w.change_entry(page(1), |perms| perms.write = false);
        w.set_area_flags(page(0), ro());
        let answer = w.gup(FOLL_GET | FOLL_WRITE | FOLL_FORCE, page(0), 2);
        assert_eq!(answer.ret, 2);
        assert_ne!(answer.pages[1], Some(old), "page 0's broken COW says nothing about page 1");
    });
}
#[test]
fn a_06_an_area_is_looked_up_once_and_again_at_its_end_only() {
    row(a::A_06, |w| {
        w.area(0, 3, rw());
        w.area(3, 2, ro());
        assert_eq!(w.gup(FOLL_GET, page(0), 5).ret, 5);
        assert_eq!(w.count(a::A_06), 2, "five faults, two areas, two lookups");
    });
}
#[test]
fn a_07_the_lookup_grows_a_stack() {
    row(a::A_07, |w| {
        w.area(8, 2, rw() | VmFlags::GROWSDOWN);
        assert_eq!(w.gup(FOLL_GET, page(6), 1).ret, 1);
        assert!(w.mm.read().lookup(page(6)).is_some(), "the area has grown down to it");
    });
}
#[test]
fn a_08_the_gate_page_counts_as_one_page_and_what_follows_is_looked_up_again() {
    let mut config = MachineConfig::new(Linux::V4_4, 1024);
    config.sysctl.vsyscall = Vsyscall::Read;
    row_in(a::A_08, World::with(config), |w| {
        let gate = Machine::<crate::support::TestHost>::gate_address();
        let answer = w.gup(FOLL_GET, gate, 2);
        assert_eq!(answer.ret, 1, "one page, then there is no area");
        assert!(answer.pages[0].is_some());
        assert_eq!(w.gup(FOLL_GET, gate.wrapping_add(PAGE_SIZE), 1).ret, EFAULT);
    });
}
#[test]
fn a_09_an_address_without_an_area_is_refused() {
    row(a::A_09, |w| {
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT);
        w.area(0, 2, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 3).ret, 2, "what came before the hole counts");
    });
}
#[test]
fn a_10_an_area_that_refuses_is_efault_or_ends_the_count() {
    row(a::A_10, |w| {
        w.area(0, 2, rw());
        w.area(2, 1, rw() | VmFlags::IO);
        assert_eq!(w.gup(FOLL_GET, page(0), 3).ret, 2);
        assert_eq!(w.gup(FOLL_GET, page(2), 1).ret, EFAULT);
    });
}
#[test]
fn a_12_a_kill_is_seen_before_the_page_is_looked_up_and_others_run_in_between() {
    row(a::A_12, |w| {
        w.area(0, 2, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 2).ret, 2);
        assert!(w.host().relaxed.load(SeqCst) >= 2, "after each fault there was a chance");
        let lookups = w.count(a::A_12);
        w.task.kill();
        assert_eq!(w.gup(FOLL_GET, page(0), 2).ret, -512, "though both pages are present");
        assert_eq!(w.count(a::A_12), lookups, "nothing was looked up");
    });
}
#[test]
fn a_13_sigkill_of_the_acting_task_ends_the_call() {
    row(a::A_13, |w| {
        w.area(0, 4, rw());
        w.gup(FOLL_GET, page(0), 4);
        w.host().kill_at.store(3, SeqCst);
        assert_eq!(w.gup(FOLL_GET, page(0), 4).ret, 2, "two pages before the third test");
        assert_eq!(w.gup(FOLL_GET, page(0), 4).ret, -512);
        w.task.clear_signals();
        w.task.interrupt();
        assert_eq!(w.gup(FOLL_GET, page(0), 4).ret, 4, "an ordinary signal ends nothing");
    });
}
#[test]
fn a_14_caches_are_flushed_for_each_page_that_is_handed_out() {
    row(a::A_14, |w| {
        w.area(0, 2, rw());
        w.call(Call { pages: false, flags: 0, nr_pages: 2, ..Call::default() });
        assert!(w.host().flushed.lock().unwrap().is_empty(), "nobody looks at them");
        let answer = w.gup(FOLL_GET, page(0), 2);
        let want: Vec<_> = (0..2).map(|n| (answer.pages[n].unwrap(), page(n as u64))).collect();
        assert_eq!(*w.host().flushed.lock().unwrap(), want);
    });
}
#[test]
fn a_15_a_missing_page_is_faulted_in_and_the_fault_decides() {
    row(a::A_15, |w| {
        w.area(0, 2, rw());
        *w.host().inject.lock().unwrap() =
            Some(Box::new(|point| matches!(point, Injection::FolioAlloc(_))));
        assert_eq!(w.gup(FOLL_GET | FOLL_WRITE, page(0), 2).ret, -12, "no memory");
        *w.host().inject.lock().unwrap() = None;
        assert_eq!(w.gup(FOLL_GET | FOLL_WRITE, page(0), 2).ret, 2);
    });
}
#[test]
fn a_16_a_mapping_without_a_page_is_counted_where_no_pages_are_wanted() {
    row(a::A_16, |w| {
        raw_page(w, 0);
        let answer = w.call(Call { flags: 0, pages: false, ..Call::default() });
        assert_eq!(answer.ret, 1);
    });
}
#[test]
fn a_17_any_other_refusal_of_a_page_is_returned_or_ends_the_count() {
    row(a::A_17, |w| {
        w.area(0, 1, rw());
        raw_page(w, 1);
        assert_eq!(w.gup(FOLL_GET, page(1), 1).ret, EFAULT);
        assert_eq!(w.gup(FOLL_GET, page(0), 2).ret, 1);
    });
}
#[test]
fn a_18_each_counted_page_gets_its_area() {
    row(a::A_18, |w| {
        w.area(0, 2, rw());
        w.area(2, 1, ro());
        let call = Call { vmas: true, nr_pages: 3, ..Call::default() };
        let answer = w.call(call);
        let map = w.mm.read();
        let want: Vec<_> = (0..3).map(|n| map.lookup(page(n)).map(gup::vma::Vma::id)).collect();
        assert_eq!((answer.ret, answer.vmas), (3, want));
    });
}
#[test]
fn a_20_an_unaligned_start_counts_from_its_page() {
    row(a::A_20, |w| {
        w.area(0, 2, rw());
        let answer = w.gup(FOLL_GET | FOLL_WRITE, VirtAddr::new(BASE + 123), 2);
        assert_eq!(answer.ret, 2);
        assert_eq!(answer.pages[1], w.mapped(page(1), true));
        assert_eq!(w.gup(FOLL_GET, VirtAddr::new(BASE + 123), 3).ret, 2);
    });
}
#[test]
fn a_21_an_error_after_the_first_page_is_hidden_until_the_next_call() {
    row(a::A_21, |w| {
        w.area(0, 1, rw());
        assert_eq!(w.gup(FOLL_GET, page(0), 2).ret, 1);
        assert_eq!(w.gup(FOLL_GET, page(1), 1).ret, EFAULT);
    });
}
#[test]
fn a_22_skipped_pages_are_counted_though_they_are_not_there() {
    row(a::A_22, |w| {
        w.area(0, 3, rw() | VmFlags::LOCKED);
        let call = Call { flags: FOLL_MLOCK, pages: false, nr_pages: 3, ..Call::default() };
        assert_eq!(w.call(call).ret, 3);
        assert!((0..3).all(|n| w.entry(page(n)).is_none()), "nothing was faulted in");
    });
}
#[test]
fn a_23_addresses_beyond_user_space_find_no_area() {
    row(a::A_23, |w| {
        for start in [TASK_SIZE, 1 << 63, u64::MAX - 4095, u64::MAX] {
            assert_eq!(w.gup(FOLL_GET, VirtAddr::new(start), 2).ret, EFAULT, "{start:#x}");
        }
        let call = Call { pages: false, flags: 0, nr_pages: u64::MAX, ..Call::default() };
        assert_eq!(w.call(call).ret, EFAULT, "a length that wraps");
    });
}
#[test]
fn a_25_each_page_carries_one_more_reference_and_was_mapped() {
    row(a::A_25, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        let refs = w.machine.frames().refs(pfn);
        assert_eq!(w.gup(FOLL_GET | FOLL_DUMP, page(0), 1).pages, [Some(pfn)]);
        assert_eq!(w.machine.frames().refs(pfn), refs + 1);
    });
}
