//! Rows A-130 … A-146: the fault that a lookup asks for, and what becomes of its outcome.

use crate::store::{slow_area, slow_file};
use crate::support::{Answer, Call, World, page, ro, row, rw};
use gup::abi::flags::{
    FOLL_FORCE, FOLL_GET, FOLL_HWPOISON, FOLL_MLOCK, FOLL_NOWAIT, FOLL_POPULATE, FOLL_TOUCH,
    FOLL_TRIED, FOLL_WRITE,
};
use gup::addr::{PAGE_SIZE, Pfn};
use gup::errno::Errno;
use gup::flags::{FaultFlags, VmFlags};
use gup::host::Injection;
use gup::pgtable::{Entry, SwapEntry};
use gup::rule::a;
use gup::vma::{Backing, Special};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const EFAULT: i64 = Errno::EFAULT.negated();

/// A call without `pages`.
fn prefault(w: &World, flags: u32, nr_pages: u64) -> Answer {
    w.call(Call { flags, nr_pages, pages: false, ..Call::default() })
}

#[test]
fn a_130_foll_mlock_alone_skips_what_is_absent_and_counts_it() {
    row(a::A_130, |w| {
        w.area(0, 4, rw() | VmFlags::LOCKED);
        w.store(page(1), 7);
        w.forget();
        assert_eq!(prefault(w, FOLL_MLOCK, 4).ret, 4);
        assert!(w.faults().is_empty(), "nothing was faulted in");
        assert!(w.mapped(page(0), false).is_none() && w.mapped(page(1), false).is_some());
    });
}

#[test]
fn a_131_foll_populate_skips_the_guard_page_of_a_stack() {
    row(a::A_131, |w| {
        w.area(0, 4, rw() | VmFlags::GROWSDOWN);
        let answer = prefault(w, FOLL_POPULATE | FOLL_WRITE, 4);
        assert_eq!(answer.ret, 4, "the guard page counts");
        assert!(w.mapped(page(0), false).is_none(), "and is not there");
        assert!((1..4).all(|n| w.mapped(page(n), true).is_some()));
    });
}

#[test]
fn a_132_foll_write_takes_the_fault_as_a_write() {
    row(a::A_132, |w| {
        w.area(0, 2, rw());
        w.gup(FOLL_GET, page(1), 1);
        assert_eq!(w.faults(), [FaultFlags::empty()]);
        assert_eq!(w.mapped(page(1), false), Some(w.machine.zero_page()));
        w.gup(FOLL_GET | FOLL_WRITE, page(0), 1);
        assert_eq!(w.faults(), [FaultFlags::empty(), FaultFlags::WRITE]);
        assert!(w.mapped(page(0), true).is_some());
    });
}

#[test]
fn a_133_nonblocking_allows_the_fault_to_be_retried() {
    row(a::A_133, |w| {
        w.area(0, 1, rw());
        w.call(Call { nonblocking: true, ..Call::default() });
        assert_eq!(w.faults(), [FaultFlags::ALLOW_RETRY]);
    });
}

#[test]
fn a_134_foll_nowait_lets_the_fault_start_but_not_wait() {
    row(a::A_134, |w| {
        let disk = slow_area(w, 0, 1, ro());
        let answer = w.gup(FOLL_GET | FOLL_NOWAIT, page(0), 1);
        assert_eq!((answer.ret, answer.lock_held), (0, true));
        assert_eq!(w.faults(), [FaultFlags::ALLOW_RETRY | FaultFlags::RETRY_NOWAIT]);
        assert_eq!(disk.asked.lock().unwrap().len(), 1, "the read was started");
        assert!(w.host().waited.lock().unwrap().is_empty());
    });
}

#[test]
fn a_135_foll_tried_is_passed_on_and_excludes_another_retry() {
    row(a::A_135, |w| {
        w.area(0, 2, rw());
        w.gup(FOLL_GET | FOLL_TRIED, page(0), 1);
        assert_eq!(w.faults(), [FaultFlags::TRIED]);
        assert!(w.host().warnings.lock().unwrap().is_empty());
        let flags = FOLL_GET | FOLL_TRIED;
        w.call(Call { flags, start: page(1), nonblocking: true, ..Call::default() });
        assert_eq!(*w.host().warnings.lock().unwrap(), [a::A_135], "with leave to retry");
    });
}

#[test]
fn a_136_a_fault_of_gup_is_never_killable_nor_a_users() {
    row(a::A_136, |w| {
        w.area(0, 16, rw());
        let flags = [FOLL_WRITE, FOLL_NOWAIT, FOLL_TRIED, FOLL_FORCE];
        for n in 0..16u32 {
            let some = (0..4).filter(|bit| n >> bit & 1 != 0).map(|bit| flags[bit]);
            let flags = some.fold(FOLL_GET, |all, flag| all | flag);
            w.call(Call { flags, start: page(n.into()), nonblocking: true, ..Call::default() });
        }
        assert_eq!(w.faults().len(), 16);
        let never = FaultFlags::KILLABLE | FaultFlags::USER | FaultFlags::REMOTE;
        assert!(w.faults().iter().all(|flags| !flags.intersects(never)));
    });
}

#[test]
fn a_137_a_fault_without_memory_is_enomem() {
    row(a::A_137, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        let no_folio = |point| matches!(point, Injection::FolioAlloc(_));
        *w.host().inject.lock().unwrap() = Some(Box::new(no_folio));
        let flags = FOLL_GET | FOLL_WRITE;
        assert_eq!(w.gup(flags, page(1), 1).ret, Errno::ENOMEM.negated());
        assert_eq!(w.gup(flags, page(0), 2).ret, 1, "hidden behind a page");
        *w.host().inject.lock().unwrap() = None;
        assert_eq!(w.gup(flags, page(1), 1).ret, 1);
    });
}

#[test]
fn a_138_broken_memory_is_ehwpoison_only_for_those_who_asked() {
    row(a::A_138, |w| {
        w.area(0, 1, rw());
        let place = w.mm.tables().make(page(0), 0).unwrap();
        w.mm.tables().store(place, Entry::swap(SwapEntry::HwPoison(Pfn::new(9))));
        assert_eq!(w.gup(FOLL_GET | FOLL_HWPOISON, page(0), 1).ret, Errno::EHWPOISON.negated());
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT);
        w.mm.tables().store(place, Entry::NONE);
    });
}

#[test]
fn a_139_sigbus_and_sigsegv_are_efault() {
    row(a::A_139, |w| {
        let (file, _disk) = slow_file(w, 1);
        w.area_of(0, 3, ro(), World::backing(&file), 0);
        assert_eq!(w.gup(FOLL_GET, page(1), 1).ret, EFAULT, "past the end of the file");
        assert_eq!(w.gup(FOLL_GET | FOLL_HWPOISON, page(2), 1).ret, EFAULT);
        let special =
            Special { name: "[empty]", pages: Vec::new(), find_special: Vec::new(), access: None };
        w.area_of(8, 1, ro(), Backing::Special(Arc::new(special)), 0);
        assert_eq!(w.gup(FOLL_GET, page(8), 1).ret, EFAULT, "a mapping without pages");
    });
}

#[test]
fn a_140_any_other_outcome_is_a_bug_of_the_fault() {
    row(a::A_140, |w| {
        w.area(0, 1, rw());
        let stray = |point| point == Injection::StrayOutcome;
        *w.host().inject.lock().unwrap() = Some(Box::new(stray));
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, EFAULT, "if the kernel went on");
        assert_eq!(*w.host().bugs.lock().unwrap(), [a::A_140]);
        *w.host().inject.lock().unwrap() = None;
        assert_eq!(w.gup(FOLL_GET, page(0), 1).ret, 1);
    });
}

#[test]
fn a_141_every_fault_is_charged_to_tsk_and_a_retried_one_twice() {
    row(a::A_141, |w| {
        w.area(0, 2, rw());
        let charged = || (w.task.min_flt.load(SeqCst), w.task.maj_flt.load(SeqCst));
        w.gup(FOLL_GET, page(0), 1);
        assert_eq!(charged(), (0, 0), "no tsk, no charge");
        w.call(Call { start: page(1), charge: true, ..Call::default() });
        assert_eq!(charged(), (1, 0));
        slow_area(w, 8, 1, ro());
        let slow = Call { start: page(8), charge: true, nonblocking: true, ..Call::default() };
        assert_eq!(w.call(slow).ret, 0);
        assert_eq!(charged(), (1, 1), "the fault that starts the read, and must be retried");
        assert_eq!(w.call(slow).ret, 1);
        assert_eq!(charged(), (2, 1), "and the one that ends it");
        slow_area(w, 16, 1, ro());
        w.call(Call { start: page(16), charge: true, ..Call::default() });
        assert_eq!(charged(), (2, 2), "a fault that waited itself");
    });
}

#[test]
fn a_142_a_retry_clears_nonblocking_even_where_the_lock_is_kept() {
    row(a::A_142, |w| {
        slow_area(w, 0, 2, ro());
        let dropped = w.call(Call { nonblocking: true, ..Call::default() });
        assert_eq!((dropped.ret, dropped.nonblocking, dropped.lock_held), (0, 0, false));
        let flags = FOLL_GET | FOLL_NOWAIT;
        let kept = w.call(Call { flags, start: page(1), nonblocking: true, ..Call::default() });
        assert_eq!((kept.ret, kept.nonblocking, kept.lock_held), (0, 0, true), "oddity O-06");
        let plain = w.call(Call { nonblocking: true, ..Call::default() });
        assert_eq!((plain.ret, plain.nonblocking, plain.lock_held), (1, 1, true), "it is there");
    });
}

#[test]
fn a_145_in_a_writable_area_a_write_looks_until_the_entry_is_writable() {
    row(a::A_145, |w| {
        w.area(0, 1, rw());
        assert_eq!(w.load(page(0)), Some(0));
        assert_eq!(w.mapped(page(0), false), Some(w.machine.zero_page()));
        w.forget();
        let answer = w.gup(FOLL_GET | FOLL_WRITE, page(0), 1);
        assert_eq!(answer.pages, [w.mapped(page(0), true)]);
        assert!(w.faults().iter().all(|flags| flags.contains(FaultFlags::WRITE)));
        assert!(w.seen(a::A_143).is_none() && w.seen(a::A_144).is_none());
    });
}

#[test]
fn a_146_a_fault_that_succeeded_is_followed_by_another_look() {
    row(a::A_146, |w| {
        w.area(0, 1, ro());
        let answer = w.gup(FOLL_GET | FOLL_WRITE | FOLL_FORCE | FOLL_TOUCH, page(0), 1);
        assert_eq!(answer.ret, 1);
        let (faults, looks) = (w.faults().len(), w.count(a::A_12));
        assert!(faults >= 1 && w.count(a::A_146) == faults, "{faults} faults");
        assert!(looks >= 1, "{looks} looks at the entry");
        assert_eq!(answer.pages, [w.mapped(page(0), false)]);
        assert_eq!(w.machine.frames().refs(answer.pages[0].unwrap()), 2);
        assert_eq!(PAGE_SIZE, 4096);
    });
}
