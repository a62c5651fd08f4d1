//! Rows C-13 … C-26 and C-48 … C-62: 6.18's main loop, its faults, and the lock.

use crate::six::{Ask, config, row6};
use crate::store::{byte_of, slow_area, slow_file};
use crate::support::{TestHost, World, none, page, ro, row_in, rw};
use gup::addr::{Pfn, VirtRange};
use gup::errno::Errno;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::populate::{MadvisePopulate, OnError, madvise_populate, mm_populate};
use gup::gup::{Entry, Locked};
use gup::host::{Injection, Ticket};
use gup::mm::{Machine, Vsyscall};
use gup::pgtable::{Entry as Pte, Perms, SwapEntry};
use gup::rule::c;
use gup::vma::{UserFault, UserFaultMessage};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

const EFAULT: i64 = Errno::EFAULT.negated();
const EINTR: i64 = Errno::EINTR.negated();

/// `get_user_pages` of `nr` pages from page `at`.
fn get(w: &World, foll: Foll, at: u64, nr: u64) -> i64 {
    Ask::new(Entry::Get, foll, page(at), nr).of(w).ret
}
/// `pin_user_pages_remote`, which may drop the lock.
fn pin(w: &World, foll: Foll, at: u64, nr: u64) -> crate::six::Told {
    Ask { locked: Locked::Given, ..Ask::new(Entry::PinRemote, foll, page(at), nr) }.of(w)
}

#[test]
fn c_13_an_empty_request_is_0_whatever_the_address() {
    row6(c::C_13, |w| {
        assert_eq!(get(w, Foll::WRITE, 7, 0), 0);
        assert!(w.seen(c::C_16).is_none());
    });
}
#[test]
fn c_15_an_address_below_a_stack_is_no_area_and_is_logged() {
    row6(c::C_15, |w| {
        w.area(100, 4, rw() | VmFlags::GROWSDOWN);
        assert_eq!(get(w, Foll::empty(), 99, 1), EFAULT);
        assert_eq!(w.mm.read().lookup(page(100)).unwrap().start(), page(100), "it did not grow");
        assert_eq!(get(w, Foll::empty(), 84, 1), EFAULT, "16 pages below");
        assert_eq!(w.count(c::C_15), 2);
        assert_eq!(get(w, Foll::empty(), 83, 1), EFAULT);
        assert_eq!(w.count(c::C_15), 2, "further down nothing is logged");
        assert!(w.host().warnings.lock().unwrap().contains(&c::C_15));
    });
}
#[test]
fn c_16_no_area_is_efault() {
    row6(c::C_16, |w| {
        assert_eq!(get(w, Foll::FORCE, 0, 1), EFAULT);
        w.area(0, 1, rw());
        let told = Ask::new(Entry::Get, Foll::empty(), page(0), 2).of(w);
        assert_eq!((told.ret, told.rule), (1, Some(c::C_16)), "hidden, but known");
    });
}
#[test]
fn c_17_populating_says_enomem_for_a_hole_and_einval_for_a_refusal() {
    row6(c::C_17, |w| {
        w.area(0, 2, rw());
        w.area(4, 1, ro());
        let populate = |from, to, access| {
            let range = VirtRange::new(page(from), page(to));
            madvise_populate(&w.mm, &w.task, range, access).map_err(|stop| stop.errno)
        };
        assert_eq!(populate(0, 2, MadvisePopulate::Write), Ok(()));
        assert!(w.mapped(page(1), true).is_some());
        assert_eq!(populate(1, 3, MadvisePopulate::Read), Err(Errno::ENOMEM));
        assert_eq!(populate(4, 5, MadvisePopulate::Write), Err(Errno::EINVAL));
    });
}
#[test]
fn c_18_sigkill_ends_the_request_with_eintr_but_no_other_signal_does() {
    row6(c::C_18, |w| {
        w.area(0, 4, rw());
        w.task.interrupt();
        assert_eq!(get(w, Foll::INTERRUPTIBLE, 0, 1), 1);
        w.task.kill();
        assert_eq!(get(w, Foll::empty(), 0, 1), EINTR);
        w.task.clear_signals();
        (0..4).for_each(|n| assert!(w.store(page(n), 1)));
        w.host().kill_at.store(3, SeqCst);
        assert_eq!(get(w, Foll::empty(), 0, 4), 2, "what was got before the signal");
        w.task.clear_signals();
    });
}
#[test]
fn c_19_an_absent_page_is_faulted_in_and_a_shared_one_unshared() {
    row6(c::C_19, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 5);
        let pfn = w.mapped(page(0), true).unwrap();
        w.machine.frames().clear(pfn, FrameFlags::ANON_EXCLUSIVE);
        w.machine.frames().get(pfn, 1).unwrap();
        w.change_entry(page(0), |perms| perms.write = false);
        w.forget();
        let told = Ask::new(Entry::Pin, Foll::empty(), page(0), 1).of(w);
        assert_eq!((told.ret, w.faults()), (1, vec![FaultFlags::UNSHARE]));
        assert_ne!(told.frames, [pfn], "a copy of its own");
        assert_eq!(w.byte(told.frames[0]), 5);
        assert!(w.mapped(page(0), true).is_none(), "which stays read-only");
        w.machine.put_page(pfn);
    });
}
#[test]
fn c_20_a_frame_without_a_page_is_counted_only_where_no_pages_are_asked_for() {
    row6(c::C_20, |w| {
        w.area(0, 1, rw() | VmFlags::MIXEDMAP);
        let special = Perms { special: true, write: true, ..Perms::default() };
        w.set_entry(page(0), 0, Pte::leaf(Pfn::new(1 << 20), special, 0));
        let ask = Ask::new(Entry::Get, Foll::empty(), page(0), 1);
        assert_eq!(ask.of(w).ret, Errno::EEXIST.negated());
        assert_eq!(Ask { pages: false, ..ask }.of(w).ret, 1);
        w.set_entry(page(0), 0, Pte::NONE);
    });
}
#[test]
fn c_23_the_gate_is_read_in_the_callers_mode_and_never_written() {
    let mut config = config();
    config.sysctl.vsyscall = Vsyscall::Read;
    row_in(c::C_23, World::with(config), |w| {
        let gate = Machine::<TestHost>::gate_address();
        let ask = |entry, foll| Ask::new(entry, foll, gate, 1).of(w);
        assert_eq!(ask(Entry::Get, Foll::empty()).counts, [(2, 0)]);
        assert_eq!(ask(Entry::Pin, Foll::empty()).counts, [(2, 1)]);
        assert_eq!(ask(Entry::Get, Foll::WRITE | Foll::FORCE).ret, EFAULT);
        let entry = w.machine.gate_entry();
        w.machine.set_gate_entry(Pte::NONE);
        assert_eq!(ask(Entry::Get, Foll::empty()).ret, EFAULT, "nothing there");
        w.machine.set_gate_entry(entry);
    });
}
#[test]
fn c_25_an_error_after_a_page_is_hidden_until_the_next_call() {
    row6(c::C_25, |w| {
        w.area(0, 1, rw());
        w.area(1, 1, none());
        assert_eq!(get(w, Foll::empty(), 0, 2), 1);
        assert_eq!(get(w, Foll::empty(), 1, 1), EFAULT);
    });
}
#[test]
fn c_26_get_adds_a_reference_pin_a_pin_and_neither_nothing() {
    row6(c::C_26, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = w.mapped(page(0), true).unwrap();
        let ask = |entry| Ask::new(entry, Foll::WRITE, page(0), 1);
        assert_eq!(ask(Entry::Get).of(w).counts, [(2, 0)]);
        assert_eq!(ask(Entry::Pin).of(w).counts, [(2, 1)]);
        assert_eq!(Ask { pages: false, ..ask(Entry::Get) }.of(w).ret, 1);
        assert_eq!((w.machine.frames().refs(pfn), w.machine.frames().pins(pfn)), (1, 0));
    });
}
#[test]
fn c_48_nofault_refuses_what_is_absent_and_what_must_be_unshared() {
    row6(c::C_48, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        w.forget();
        assert_eq!(get(w, Foll::NOFAULT | Foll::WRITE, 0, 2), 1, "what is there is had");
        assert_eq!(get(w, Foll::NOFAULT, 1, 1), EFAULT);
        let pfn = w.mapped(page(0), true).unwrap();
        w.machine.frames().clear(pfn, FrameFlags::ANON_EXCLUSIVE);
        w.change_entry(page(0), |perms| perms.write = false);
        let told = Ask::new(Entry::Pin, Foll::NOFAULT, page(0), 1).of(w);
        assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_48)));
        assert!(w.faults().is_empty());
    });
}
#[test]
fn c_49_a_call_that_may_drop_the_lock_takes_killable_retryable_faults() {
    row6(c::C_49, |w| {
        w.area(0, 4, rw());
        let retry = FaultFlags::ALLOW_RETRY | FaultFlags::KILLABLE | FaultFlags::REMOTE;
        pin(w, Foll::empty(), 0, 1);
        pin(w, Foll::INTERRUPTIBLE, 1, 1);
        pin(w, Foll::NOWAIT, 2, 1);
        assert_eq!(
            w.faults(),
            [retry, retry | FaultFlags::INTERRUPTIBLE, retry | FaultFlags::RETRY_NOWAIT]
        );
        assert!(w.faults().iter().all(|flags| !flags.contains(FaultFlags::USER)));
    });
}
#[test]
fn c_50_a_call_that_may_not_drop_the_lock_cannot_be_retried_or_killed() {
    row6(c::C_50, |w| {
        slow_area(w, 0, 1, ro());
        let told = Ask::new(Entry::Get, Foll::INTERRUPTIBLE, page(0), 1).of(w);
        assert_eq!((told.ret, told.lock_held), (1, true));
        assert_eq!(w.faults(), [FaultFlags::empty()]);
        assert_eq!(w.host().waited.lock().unwrap().len(), 1, "it waited under the lock");
    });
}
#[test]
fn c_52_a_fault_that_fails_gives_its_errno() {
    row6(c::C_52, |w| {
        w.area(0, 2, rw());
        let no_folio = |point| matches!(point, Injection::FolioAlloc(_));
        *w.host().inject.lock().unwrap() = Some(Box::new(no_folio));
        assert_eq!(get(w, Foll::WRITE, 0, 1), Errno::ENOMEM.negated());
        *w.host().inject.lock().unwrap() = None;
        w.set_entry(page(0), 0, Pte::swap(SwapEntry::HwPoison(Pfn::new(9))));
        assert_eq!(get(w, Foll::HWPOISON, 0, 1), Errno::EHWPOISON.negated());
        assert_eq!(get(w, Foll::empty(), 0, 1), EFAULT);
        w.set_entry(page(0), 0, Pte::NONE);
        let (file, _) = slow_file(w, 1);
        w.area_of(4, 2, ro(), World::backing(&file), 0);
        assert_eq!(get(w, Foll::HWPOISON, 5, 1), EFAULT, "past the end of the file");
    });
}
#[test]
fn c_53_a_retry_drops_the_lock_but_not_with_nowait() {
    row6(c::C_53, |w| {
        slow_area(w, 0, 2, ro());
        let kept = pin(w, Foll::NOWAIT, 0, 1);
        assert_eq!((kept.ret, kept.lock_held), (0, true));
        let dropped = pin(w, Foll::empty(), 1, 1);
        assert_eq!((dropped.ret, dropped.lock_held), (1, false));
    });
}
#[test]
fn c_54_the_caller_is_charged_once_and_a_retried_fault_is_major() {
    row6(c::C_54, |w| {
        w.area(0, 1, rw());
        slow_area(w, 4, 1, ro());
        let charged = || (w.task.min_flt.load(SeqCst), w.task.maj_flt.load(SeqCst));
        get(w, Foll::WRITE, 0, 1);
        assert_eq!(charged(), (1, 0));
        pin(w, Foll::empty(), 4, 1);
        assert_eq!(charged(), (1, 1), "two faults, one charge");
        get(w, Foll::empty(), 9, 1);
        assert_eq!(charged(), (1, 1));
    });
}
#[test]
fn c_57_the_lock_is_taken_killably_and_sigkill_then_is_eagain() {
    row6(c::C_57, |w| {
        w.area(0, 1, rw());
        let unlocked = |entry| Ask::new(entry, Foll::WRITE, page(0), 1).of(w);
        assert_eq!(unlocked(Entry::PinUnlocked).ret, 1);
        assert!(w.mm.has_pinned.load(SeqCst), "MMF_HAS_PINNED");
        drop(w.mm.write());
        let contended = |point| point == Injection::LockContended;
        *w.host().inject.lock().unwrap() = Some(Box::new(contended));
        w.task.kill();
        assert_eq!(unlocked(Entry::GetUnlocked).ret, Errno::EAGAIN.negated());
        *w.host().inject.lock().unwrap() = None;
        w.task.clear_signals();
    });
}
#[test]
fn c_58_without_leave_to_drop_the_lock_there_is_one_pass() {
    row6(c::C_58, |w| {
        slow_area(w, 0, 1, ro());
        let told = Ask::new(Entry::Get, Foll::NOWAIT, page(0), 1).of(w);
        assert_eq!((told.ret, told.rule, told.lock_held), (0, None, true), "0 stays 0");
        assert!(w.seen(c::C_62).is_none());
    });
}
#[test]
fn c_59_after_a_drop_a_signal_ends_the_call_and_otherwise_the_page_is_tried_again() {
    row6(c::C_59, |w| {
        w.area(0, 1, rw());
        slow_area(w, 1, 4, ro());
        let told = pin(w, Foll::empty(), 0, 3);
        assert_eq!((told.ret, told.lock_held), (3, false));
        assert_eq!(w.byte(told.frames[2]), byte_of(1));
        let tried = w.faults().iter().filter(|flags| flags.contains(FaultFlags::TRIED)).count();
        assert_eq!(tried, 2, "once for each page that waited");
        w.task.interrupt();
        assert_eq!(pin(w, Foll::INTERRUPTIBLE, 3, 1).ret, EINTR);
        assert_eq!(pin(w, Foll::empty(), 3, 1).ret, 1, "only who is interruptible");
        w.task.clear_signals();
        w.host().kill_at.store(2, SeqCst);
        let killed = pin(w, Foll::empty(), 4, 1);
        assert_eq!((killed.ret, killed.lock_held), (EINTR, false));
        w.task.clear_signals();
    });
}
#[test]
fn c_60_a_pre_fault_insists_after_a_drop_too() {
    row6(c::C_60, |w| {
        slow_area(w, 0, 3, ro());
        let ask = Ask { pages: false, ..Ask::new(Entry::GetUnlocked, Foll::empty(), page(0), 3) };
        let told = ask.of(w);
        assert_eq!((told.ret, told.lock_held), (3, false));
        assert!((0..3).all(|n| w.mapped(page(n), false).is_some()));
    });
}
#[test]
fn c_61_nowait_may_answer_with_less_and_the_lock_held() {
    row6(c::C_61, |w| {
        w.area(0, 1, rw());
        slow_area(w, 1, 1, ro());
        let told = pin(w, Foll::NOWAIT, 0, 2);
        assert_eq!((told.ret, told.lock_held, told.rule), (1, true, None));
        assert!(w.host().waited.lock().unwrap().is_empty());
    });
}
#[test]
fn c_62_after_a_drop_the_area_is_looked_up_afresh() {
    row6(c::C_62, |w| {
        slow_area(w, 0, 1, ro());
        let mm = Arc::downgrade(&w.mm);
        let mut gone = Vec::new();
        let ready = w.host().on_wait.lock().unwrap().take();
        let mut ready = ready.unwrap();
        *w.host().on_wait.lock().unwrap() = Some(Box::new(move |ticket| {
            ready(ticket);
            gone.extend(mm.upgrade().and_then(|mm| mm.write().remove(page(1))));
            assert!(!gone.is_empty(), "unmapped while it waited");
        }));
        let told = pin(w, Foll::empty(), 0, 1);
        assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_16)));
        *w.host().on_wait.lock().unwrap() = None;
    });
}
#[test]
fn c_63_guard_and_poison_markers_fail_whatever_is_asked() {
    row6(c::C_63, |w| {
        w.area(0, 2, rw());
        w.set_entry(page(0), 0, Pte::swap(SwapEntry::Guard));
        w.set_entry(page(1), 0, Pte::swap(SwapEntry::Poisoned));
        assert_eq!(get(w, Foll::WRITE | Foll::FORCE, 0, 1), EFAULT);
        assert_eq!(get(w, Foll::empty(), 1, 1), EFAULT);
        assert_eq!(get(w, Foll::HWPOISON, 1, 1), Errno::EHWPOISON.negated());
        w.set_entry(page(0), 0, Pte::NONE);
        w.set_entry(page(1), 0, Pte::NONE);
    });
}
/// A userfault context whose handler answers at once, if it is told at all.
struct Told(Arc<AtomicU64>);
impl UserFault for Told {
    fn sigbus(&self) -> bool {
        false
    }
    fn wp_async(&self) -> bool {
        false
    }
    fn deliver(&self, _: UserFaultMessage) -> Ticket {
        self.0.fetch_add(1, SeqCst);
        Ticket(1)
    }
}
#[test]
fn c_63_a_userfault_is_delivered_only_if_the_lock_may_be_dropped() {
    row6(c::C_63, |w| {
        let told = Arc::new(AtomicU64::new(0));
        w.area(0, 1, rw() | VmFlags::UFFD_MISSING);
        let context: Arc<dyn UserFault> = Arc::new(Told(Arc::clone(&told)));
        w.mm.write().lookup_mut(page(0)).unwrap().uffd = Some(context);
        assert_eq!(get(w, Foll::empty(), 0, 1), EFAULT, "a call that keeps the lock");
        assert_eq!(told.load(SeqCst), 0, "nobody was told");
    });
}
#[test]
fn c_93_populating_passes_lock_on_fault_over_and_refuses_no_access() {
    row6(c::C_93, |w| {
        w.area(0, 1, rw() | VmFlags::LOCKED | VmFlags::LOCKONFAULT);
        w.area(2, 1, none());
        let populate = |from, to, on_error| {
            let range = VirtRange::new(page(from), page(to));
            mm_populate(&w.mm, &w.task, range, on_error).map_err(|stop| stop.errno)
        };
        assert_eq!(populate(0, 1, OnError::Return), Ok(()));
        assert!(w.faults().is_empty());
        assert_eq!(populate(2, 3, OnError::Return), Err(Errno::EFAULT));
        assert_eq!(populate(2, 3, OnError::Ignore), Ok(()));
    });
}
#[test]
fn c_94_mm_populate_goes_area_by_area_and_fills_for_writing_where_private() {
    row6(c::C_94, |w| {
        w.area(0, 1, rw());
        w.area(1, 1, rw() | VmFlags::IO);
        slow_area(w, 4, 2, ro());
        let range = VirtRange::new(page(0), page(6));
        assert!(mm_populate(&w.mm, &w.task, range, OnError::Return).is_ok());
        drop(w.mm.write());
        assert!(w.mapped(page(0), true).is_some() && w.mapped(page(1), false).is_none());
        assert!(w.mapped(page(4), false).is_some() && w.mapped(page(5), false).is_some());
    });
}
