//! Rows C-01 … C-11: which flag sets 6.18's entry points accept, and what a refusal returns.

use crate::six::{Ask, ask_fast, row6};
use crate::support::{World, page, rw};
use gup::errno::Errno;
use gup::flags::Foll;
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, gup};
use gup::mm::Lock;
use gup::rule::{Rule, c};
use std::sync::atomic::Ordering::Relaxed;

const EINVAL: i64 = Errno::EINVAL.negated();

/// What `entry` answers for one page of an area that allows everything.
fn verdict(w: &World, entry: Entry, foll: Foll) -> (i64, Option<Rule>) {
    if w.mm.read().lookup(page(0)).is_none() {
        w.area(0, 1, rw());
    }
    let told = Ask::new(entry, foll, page(0), 1).of(w);
    (told.ret, told.rule)
}

#[test]
fn c_01_internal_flags_are_refused_each_with_a_warning() {
    row6(c::C_01, |w| {
        for flag in Foll::INTERNAL.iter() {
            assert_eq!(verdict(w, Entry::Get, flag), (EINVAL, Some(c::C_01)), "{flag:?}");
        }
        let warnings = w.host().warnings.lock().unwrap().len();
        assert_eq!(warnings, Foll::INTERNAL.iter().count());
        assert!(w.faults().is_empty());
    });
}
#[test]
fn c_02_locked_must_say_that_the_lock_is_held() {
    row6(c::C_02, |w| {
        w.area(0, 1, rw());
        let mut lock = Lock::Dropped(&w.mm);
        let mut pages = [None];
        let mut ask = |entry| {
            let out = Some(&mut pages[..]);
            let foll = Foll::empty();
            entry_code(entry, gup(entry, &w.task, &mut lock, page(0), 1, foll, out, Locked::Given))
        };
        assert_eq!(ask(Entry::GetRemote), EINVAL);
        assert_eq!(ask(Entry::PinRemote), 0, "the pin forms say 0");
        assert_eq!(*w.host().warnings.lock().unwrap(), [c::C_02, c::C_02]);
        let mut held = Ask::new(Entry::GetRemote, Foll::empty(), page(0), 1);
        held.locked = Locked::Given;
        assert_eq!(held.of(w).ret, 1);
        assert!(w.faults()[0].contains(gup::flags::FaultFlags::ALLOW_RETRY), "UNLOCKABLE");
    });
}
fn entry_code(entry: Entry, outcome: gup::gup::Outcome) -> i64 {
    entry.code(outcome)
}
#[test]
fn c_03_get_and_pin_exclude_each_other() {
    row6(c::C_03, |w| {
        assert_eq!(verdict(w, Entry::Pin, Foll::GET), (0, Some(c::C_03)));
        assert_eq!(verdict(w, Entry::Get, Foll::GET), (1, None));
    });
}
#[test]
fn c_04_longterm_needs_a_pin() {
    row6(c::C_04, |w| {
        assert_eq!(verdict(w, Entry::Get, Foll::LONGTERM), (EINVAL, Some(c::C_04)));
        assert_eq!(verdict(w, Entry::Pin, Foll::LONGTERM), (1, None));
    });
}
#[test]
fn c_05_get_and_pin_need_an_array_but_a_pre_fault_does_not() {
    row6(c::C_05, |w| {
        w.area(0, 1, rw());
        let ask = |entry, foll| {
            let ask = Ask { pages: false, ..Ask::new(entry, foll, page(0), 1) };
            let told = ask.of(w);
            (told.ret, told.rule)
        };
        assert_eq!(ask(Entry::Get, Foll::GET), (EINVAL, Some(c::C_05)));
        assert_eq!(ask(Entry::PinUnlocked, Foll::empty()), (0, Some(c::C_05)));
        assert_eq!(ask(Entry::Get, Foll::WRITE), (1, None));
        let pfn = w.mapped(page(0), true).expect("faulted in");
        assert_eq!(w.machine.frames().refs(pfn), 1, "and not held");
    });
}
#[test]
fn c_06_long_term_pins_of_peer_memory_are_refused() {
    row6(c::C_06, |w| {
        let both = Foll::LONGTERM | Foll::PCI_P2PDMA;
        assert_eq!(verdict(w, Entry::Pin, both), (0, Some(c::C_06)));
        assert_eq!(verdict(w, Entry::Pin, Foll::PCI_P2PDMA), (1, None));
    });
}
#[test]
fn c_07_a_refused_set_is_einval_from_get_and_0_from_pin_but_einval_from_pin_fast() {
    row6(c::C_07, |w| {
        let bad = Foll::TRIED;
        for entry in [Entry::Get, Entry::GetRemote, Entry::GetUnlocked] {
            assert_eq!(verdict(w, entry, bad).0, EINVAL, "{entry:?}");
        }
        for entry in [Entry::Pin, Entry::PinRemote, Entry::PinUnlocked] {
            assert_eq!(verdict(w, entry, bad).0, 0, "{entry:?}");
        }
        for entry in [FastEntry::Get, FastEntry::GetOnly, FastEntry::Pin] {
            assert_eq!(ask_fast(w, entry, bad, page(0), 1).ret, EINVAL, "{entry:?}");
        }
        assert_eq!(Ask::new(Entry::Pin, Foll::empty(), page(9), 1).of(w).ret, -14, "other errors");
    });
}
#[test]
fn c_09_the_fast_forms_refuse_what_only_the_slow_path_knows() {
    row6(c::C_09, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let slow_only = Foll::NOWAIT
            | Foll::INTERRUPTIBLE
            | Foll::ANON
            | Foll::DUMP
            | Foll::HWPOISON
            | Foll::SPLIT_PMD;
        for flag in slow_only.iter() {
            let told = ask_fast(w, FastEntry::Get, flag, page(0), 1);
            assert_eq!((told.ret, told.rule), (EINVAL, Some(c::C_09)), "{flag:?}");
            assert_eq!(Ask::new(Entry::Get, flag, page(0), 1).of(w).ret, 1, "{flag:?}");
        }
        let known = Foll::WRITE | Foll::FORCE | Foll::HONOR_NUMA_FAULT | Foll::PCI_P2PDMA;
        assert_eq!(ask_fast(w, FastEntry::Get, known, page(0), 1).ret, 1);
        let mut short = [];
        let outcome = fast(FastEntry::Get, &w.task, &w.mm, page(0), 1, Foll::empty(), &mut short);
        assert_eq!(outcome.code(), EINVAL, "no slot for the page");
    });
}
#[test]
fn c_10_each_entry_point_adds_its_own_flags() {
    row6(c::C_10, |w| {
        use gup::flags::FaultFlags as Fault;
        let retry = Fault::ALLOW_RETRY | Fault::KILLABLE;
        let table = [
            (Entry::Get, Fault::empty(), (2, 0)),
            (Entry::GetRemote, Fault::REMOTE, (2, 0)),
            (Entry::GetUnlocked, retry, (2, 0)),
            (Entry::Pin, Fault::empty(), (2, 1)),
            (Entry::PinRemote, Fault::REMOTE, (2, 1)),
            (Entry::PinUnlocked, retry, (2, 1)),
        ];
        for (n, (entry, fault, counts)) in (0..).zip(table) {
            w.area(2 * n, 1, rw());
            w.forget();
            let told = Ask::new(entry, Foll::WRITE, page(2 * n), 1).of(w);
            assert_eq!(told.counts, [counts], "{entry:?}");
            assert_eq!(w.faults(), [fault | Fault::WRITE], "{entry:?}");
            let touched = w.seen(c::C_46).is_some();
            assert_eq!(touched, entry != Entry::Pin, "only pin_user_pages does not touch");
        }
    });
}
#[test]
fn c_11_flags_are_judged_before_an_empty_request_and_that_before_the_lock() {
    row6(c::C_11, |w| {
        let ask = |foll| Ask::new(Entry::GetUnlocked, foll, page(0), 0).of(w).ret;
        assert_eq!(ask(Foll::TOUCH), EINVAL);
        let writer = w.mm.write();
        assert_eq!(ask(Foll::WRITE), 0, "though nobody could have the lock now");
        drop(writer);
        assert!(!w.mm.has_pinned.load(Relaxed));
    });
}
