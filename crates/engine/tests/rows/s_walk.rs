//! Rows S-18 … S-33: past bugs of walks, flushes, stacks and locks. Each test plays the
//! interleaving or the input of its bug.

use crate::six::{Ask, ask_fast, row6};
use crate::stage::{HUGE, SHARED, at_rule, frame, hugetlb, level, pool_row6, refs, thp, writable};
use crate::support::{World, page, rw};
use gup::addr::{PAGE_SIZE, Pfn, TASK_SIZE, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::{Fault, split_leaf};
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::Kind;
use gup::gup::Entry as Call;
use gup::gup::fast::FastEntry;
use gup::gup::remote::{Access, access_remote_vm};
use gup::mapping::{MremapFlags, MremapRequest, mremap, munmap};
use gup::observe::Event;
use gup::pgtable::{Entry, Perms, Place};
use gup::rule::{Rule, c, s};
use gup::vma::expand_stack;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const EFAULT: i64 = Errno::EFAULT.negated();

fn get_only(w: &World, foll: Foll, at: u64) -> crate::six::Told {
    ask_fast(w, FastEntry::GetOnly, foll, page(at), 1)
}

/// Moves `pages` pages from page 0 to page `to`.
fn move_to(w: &World, to: u64, pages: u64) {
    let bytes = pages * PAGE_SIZE;
    let request = MremapRequest {
        addr: page(0),
        old_bytes: bytes,
        new_bytes: bytes,
        flags: MremapFlags::MAYMOVE | MremapFlags::FIXED,
        new_addr: page(to),
    };
    mremap(&mut w.mm.write(), &w.task, &request).expect("moved");
}

/// During the flushes that `act` causes: whether the table of the entry for page 0 was locked, and
/// how many references `pfn` had.
fn flushes(w: &World, pfn: Pfn, act: impl FnOnce()) -> Vec<(bool, u32)> {
    let (seen, machine) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&w.machine));
    let (log, table) = (Arc::clone(&seen), w.mm.tables().walk(page(0)).place.table);
    *w.host().on_flush.lock().unwrap() = Some(Box::new(move |_, range| {
        if range.contains(page(0)) {
            let locked = machine.frames().try_lock_table(table).is_none();
            log.lock().unwrap().push((locked, machine.frames().refs(pfn)));
        }
    }));
    act();
    *w.host().on_flush.lock().unwrap() = None;
    let seen = seen.lock().unwrap();
    seen.clone()
}

/// Where the entry stands that leads to the table of small pages for `addr`.
fn upper_place(w: &World, addr: VirtAddr) -> Place {
    let tables = w.mm.tables();
    let below = tables.walk(addr).place.table;
    let mut place = Place { table: w.mm.root(), index: addr.get() as usize >> 39 & 511, level: 3 };
    while tables.load(place).pfn() != below {
        let level = place.level - 1;
        let index = addr.get() as usize >> (12 + 9 * level) & 511;
        place = Place { table: tables.load(place).pfn(), index, level };
    }
    place
}

#[test]
fn s_18_70cbc3cc78a9_a_table_that_a_collapse_replaced_is_noticed_though_its_entries_are_the_same() {
    row6(s::S_18, |w| {
        thp(w, 0);
        w.store(page(0), 1);
        let head = frame(w, 0);
        split_leaf(&w.mm, page(0)).unwrap();
        let tables = w.mm.tables();
        let upper = upper_place(w, page(0));
        let below = tables.load(upper);
        let before = refs(w, head);
        let mm = Arc::clone(&w.mm);
        // The entry was read. Now the upper one becomes a huge leaf; the old table keeps its words.
        at_rule(w, s::S_22, move || {
            let perms = Perms { write: true, young: true, dirty: true, ..Perms::default() };
            mm.tables().store(upper, Entry::leaf(head, perms, 1));
        });
        assert_eq!(get_only(w, Foll::WRITE, 3).ret, 0);
        assert_eq!(refs(w, head), before, "given back");
        tables.store(upper, below);
        assert_eq!(get_only(w, Foll::WRITE, 3).frames, [head.offset(3)]);
    });
}

/// At `rule`, the lock of the table is held in which the huge entry for page 0 stands.
fn locked_at(w: &World, rule: Rule, act: impl FnOnce()) {
    let table = w.mm.tables().walk(page(0)).place.table;
    assert_eq!(level(w, 0), 1);
    let (machine, locked) = (Arc::clone(&w.machine), Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&locked);
    at_rule(w, rule, move || {
        seen.store(machine.frames().try_lock_table(table).is_none(), SeqCst);
    });
    act();
    assert!(locked.load(SeqCst), "{rule}");
}

#[test]
fn s_19_cve_2022_3623_a_fault_on_a_hugetlb_entry_locks_the_table_that_it_stands_in() {
    pool_row6(s::S_19, 1, |w| {
        hugetlb(w, 0);
        w.load(page(3));
        assert!(!writable(w, 0));
        locked_at(w, s::S_19, || assert!(w.store(page(7), 1)));
        assert!(writable(w, 0));
    });
}
#[test]
fn s_20_cve_2024_45024_a_lookup_of_a_hugetlb_entry_takes_the_lock_that_faults_take() {
    pool_row6(s::S_20, 1, |w| {
        hugetlb(w, 0);
        w.store(page(0), 1);
        locked_at(w, s::S_20, || {
            assert_eq!(Ask::new(Call::Get, Foll::WRITE, page(5), 3).of(w).ret, 3);
        });
        locked_at(w, s::S_19, || {
            assert_eq!(w.fault(page(0), FaultFlags::WRITE), Fault::MINOR);
        });
    });
}
#[test]
fn s_21_cve_2025_38085_a_table_of_huge_entries_is_given_away_only_after_the_walkers_left() {
    pool_row6(s::S_21, 1, |w| {
        hugetlb(w, 0);
        w.store(page(0), 1);
        let tables = w.machine.frames().stats().of(Kind::Table);
        let (entered, leave) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (machine, go) = (Arc::clone(&w.machine), Arc::clone(&leave));
        let walked = &*w.mm;
        thread::scope(|scope| {
            scope.spawn(|| {
                let inside = walked.tables().enter();
                let place = walked.tables().walk(page(0)).place;
                entered.store(true, SeqCst);
                while !leave.load(SeqCst) {
                    thread::yield_now();
                }
                let kind = walked.machine().frames().kind(place.table);
                assert_eq!(kind, Kind::Table, "still a table under the walker");
                drop(inside);
            });
            while !entered.load(SeqCst) {
                thread::yield_now();
            }
            *w.host().on_relax.lock().unwrap() = Some(Box::new(move || {
                if !go.load(SeqCst) {
                    assert_eq!(machine.frames().stats().of(Kind::Table), tables);
                    go.store(true, SeqCst);
                }
            }));
            munmap(&mut w.mm.write(), page(0), HUGE * PAGE_SIZE).unwrap();
            leave.store(true, SeqCst);
        });
        *w.host().on_relax.lock().unwrap() = None;
        assert!(w.machine.frames().stats().of(Kind::Table) < tables);
    });
}
#[test]
fn s_22_cve_2024_42293_what_is_taken_is_what_was_read_or_nothing() {
    row6(s::S_22, |w| {
        w.area(0, 2, rw());
        (0..2).for_each(|n| assert!(w.store(page(n), 1)));
        let there = [frame(w, 0), frame(w, 1)];
        let (first, second) = (w.entry(page(0)), w.entry(page(1)));
        let mm = Arc::clone(&w.mm);
        at_rule(w, s::S_22, move || {
            let place = mm.tables().walk(page(0)).place;
            mm.tables().store(place, second);
        });
        assert_eq!(get_only(w, Foll::WRITE, 0).ret, 0, "neither the old page nor the new one");
        assert_eq!(there.map(|pfn| refs(w, pfn)), [1, 1]);
        assert_eq!(get_only(w, Foll::WRITE, 0).frames, [there[1]]);
        w.set_entry(page(0), 0, first);
    });
}
#[test]
fn s_23_cve_2025_38434_a_fast_walk_refuses_addresses_of_the_kernel() {
    row6(s::S_23, |w| {
        let gate = 0xffff_ffff_ff60_0000;
        for start in [TASK_SIZE, TASK_SIZE + PAGE_SIZE, 1 << 63, 0xffff_8000_0000_0000, gate] {
            for entry in [FastEntry::Get, FastEntry::GetOnly, FastEntry::Pin] {
                let told = ask_fast(w, entry, Foll::empty(), VirtAddr::new(start), 1);
                assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_67)), "{start:#x}");
            }
        }
        let told = ask_fast(w, FastEntry::Get, Foll::empty(), VirtAddr::new(TASK_SIZE - 4096), 4);
        assert_eq!((told.ret, told.rule), (EFAULT, Some(c::C_67)), "across the border");
        let wraps = ask_fast(w, FastEntry::Get, Foll::empty(), VirtAddr::new(u64::MAX - 4095), 4);
        assert_eq!(wraps.ret, Errno::EOVERFLOW.negated());
    });
}
#[test]
fn s_24_cve_2018_18281_a_moved_entry_is_flushed_with_its_table_still_locked() {
    row6(s::S_24, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        assert_eq!(flushes(w, pfn, || move_to(w, 1024, 1))[0], (true, 1));
        assert_eq!((frame(w, 1024), w.load(page(1024))), (pfn, Some(1)));
    });
}
#[test]
fn s_25_cve_2021_4002_an_unmapped_hugetlb_page_is_flushed_before_it_is_given_back() {
    pool_row6(s::S_25, 1, |w| {
        hugetlb(w, 0);
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        let unmap = || munmap(&mut w.mm.write(), page(0), HUGE * PAGE_SIZE).unwrap();
        assert_eq!(flushes(w, pfn, unmap)[0], (true, 1), "flushed while it was held");
        assert_eq!(refs(w, pfn), 0);
    });
}
#[test]
fn s_26_cve_2022_41222_a_moved_huge_entry_is_flushed_with_its_table_still_locked() {
    row6(s::S_26, |w| {
        thp(w, 0);
        w.store(page(0), 1);
        let pfn = frame(w, 0);
        assert_eq!(flushes(w, pfn, || move_to(w, 1024, HUGE))[0], (true, 1));
        assert_eq!((level(w, 1024), frame(w, 1024)), (1, pfn));
    });
}
#[test]
fn s_27_cve_2020_10757_a_huge_leaf_without_a_page_is_moved_as_a_huge_leaf() {
    row6(s::S_27, |w| {
        w.area(0, HUGE, rw() | VmFlags::MIXEDMAP);
        let device = Pfn::new(1 << 20);
        let perms = Perms { special: true, write: true, young: true, ..Perms::default() };
        let entry = Entry::leaf(device, perms, 1);
        w.set_entry(page(0), 1, entry);
        move_to(w, 1024, HUGE);
        assert_eq!((level(w, 1024), w.entry(page(1024))), (1, entry), "as it was, and whole");
        assert!(w.mapped(page(0), false).is_none());
        w.set_entry(page(1024), 1, Entry::NONE);
    });
}

/// A stack of 4 pages that ends at page `end`.
fn stack(w: &World, end: u64) {
    w.area(end - 4, 4, rw() | VmFlags::GROWSDOWN);
}
fn read_below(w: &World, at: u64) -> usize {
    let mut byte = [0];
    let access = Access::Read(&mut byte);
    access_remote_vm(&w.task, &w.mm, page(at), access, Foll::empty()).bytes
}
fn start_of(w: &World, last: u64) -> VirtAddr {
    w.mm.read().lookup(page(last)).unwrap().start()
}

#[test]
fn s_28_stack_clash_cve_2017_1000364_a_stack_never_comes_close_to_what_is_below() {
    row6(s::S_28, |w| {
        stack(w, 1000);
        w.area(700, 10, rw());
        for close in [710, 711, 965] {
            assert_eq!(read_below(w, close), 0, "page {close}");
        }
        assert_eq!(start_of(w, 999), page(996));
        assert_eq!((read_below(w, 966), start_of(w, 999)), (1, page(966)), "256 pages are enough");
        assert_eq!(read_below(w, 965), 0);
    });
}
#[test]
fn s_29_cve_2019_9213_no_rights_of_the_reader_let_a_stack_grow_below_the_minimum() {
    row6(s::S_29, |w| {
        let low = w.machine.sysctl.mmap_min_addr;
        let range = VirtRange::new(VirtAddr::new(low), VirtAddr::new(low + PAGE_SIZE));
        let mut map = w.mm.write();
        let id = map.new_id();
        let flags = rw() | VmFlags::GROWSDOWN;
        map.insert(gup::vma::Vma::new(id, range, flags, gup::vma::Backing::Anonymous, low >> 12));
        drop(map);
        let mut root = gup::task::Task::default();
        root.cap_sys_rawio = true;
        for addr in [0, PAGE_SIZE, low - 1] {
            let mut byte = [0];
            let access = Access::Read(&mut byte);
            let moved = access_remote_vm(&root, &w.mm, VirtAddr::new(addr), access, Foll::FORCE);
            assert_eq!(moved.bytes, 0, "{addr:#x}");
            let grown = expand_stack(w.mm.read(), &root, VirtAddr::new(addr)).map(drop);
            assert_eq!(grown, Err(Errno::EPERM));
        }
        assert_eq!(w.mm.read().lookup(range.start).unwrap().range(), range);
    });
}
#[test]
fn s_30_stackrot_cve_2023_3269_a_stack_grows_under_the_exclusive_lock_and_never_by_gup() {
    row6(s::S_30, |w| {
        stack(w, 1000);
        assert_eq!(Ask::new(Call::Get, Foll::empty(), page(995), 1).of(w).ret, EFAULT);
        assert!(w.seen(s::S_30).is_none() && start_of(w, 999) == page(996));
        let (mm, exclusive) = (Arc::clone(&w.mm), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&exclusive);
        at_rule(w, s::S_30, move || seen.store(mm.try_read().is_none(), SeqCst));
        assert_eq!((read_below(w, 990), start_of(w, 999)), (1, page(990)));
        assert!(exclusive.load(SeqCst), "no reader was inside");
    });
}
#[test]
fn s_31_cve_2020_29369_a_stack_does_not_grow_while_an_edit_holds_the_downgraded_lock() {
    row6(s::S_31, |w| {
        stack(w, 1000);
        let (taken, released) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (seen, log) = (Arc::new(AtomicU64::new(0)), Arc::clone(&released));
        let order = Arc::clone(&seen);
        at_rule(w, s::S_31, move || order.store(1 + u64::from(log.load(SeqCst)), SeqCst));
        let mm = &*w.mm;
        thread::scope(|scope| {
            scope.spawn(|| {
                let downgraded = mm.write().downgrade();
                taken.store(true, SeqCst);
                thread::sleep(Duration::from_millis(20));
                released.store(true, SeqCst);
                drop(downgraded);
            });
            while !taken.load(SeqCst) {
                thread::yield_now();
            }
            assert_eq!(read_below(w, 990), 1);
        });
        assert_eq!(seen.load(SeqCst), 2, "it grew after the edit had gone");
        let old = w.mm.read().lookup(page(999)).unwrap().range();
        assert_eq!(old.start, page(990));
    });
}
#[test]
fn s_32_cve_2015_3288_a_shared_area_without_pages_of_a_file_gets_no_anonymous_page() {
    row6(s::S_32, |w| {
        w.area(0, 1, rw() | SHARED);
        for flags in [FaultFlags::empty(), FaultFlags::WRITE] {
            assert_eq!(w.fault(page(0), flags), Fault::SIGBUS);
        }
        assert!(w.mapped(page(0), false).is_none());
        assert_eq!(Ask::new(Call::Get, Foll::WRITE, page(0), 1).of(w).ret, EFAULT);
    });
}
#[test]
fn s_33_cve_2021_46927_a_call_that_needs_the_lock_takes_it_before_it_looks() {
    row6(s::S_33, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let order = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&order);
        w.on_event(move |event| {
            let word = match event {
                Event::LockTaken => Some("taken"),
                Event::Grab { .. } => Some("grab"),
                Event::LockDropped => Some("dropped"),
                _ => None,
            };
            log.lock().unwrap().extend(word);
            false
        });
        assert_eq!(Ask::new(Call::GetUnlocked, Foll::WRITE, page(0), 1).of(w).ret, 1);
        w.on_event(|_| true);
        assert_eq!(*order.lock().unwrap(), ["taken", "grab", "dropped"]);
    });
}
