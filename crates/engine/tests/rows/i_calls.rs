//! Rows I-13 … I-19 and I-21 … I-23: what holds of walks, areas, locks and results.

use crate::six::{Ask, Told, ask_fast, config, kept6};
use crate::stage::{SHARED, at_rule, child, exclusive, frame, protect, refs, thp, writable};
use crate::store::slow_area;
use crate::support::{World, kept_in, page, ro, rw};
use gup::addr::{PAGE_SIZE, TASK_SIZE, VirtAddr, VirtRange};
use gup::errno::Errno;
use gup::fault::split_leaf;
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, Prot, VmFlags};
use gup::frame::{AllocFlags, Kind, Zone};
use gup::gup::fast::FastEntry;
use gup::gup::remote::{Access, access_remote_vm};
use gup::gup::{Entry, Locked, Page, gup};
use gup::host::Memory;
use gup::mapping::{Advice, GrowProt, MmapRequest, madvise, munmap, sys};
use gup::mm::Lock;
use gup::pgtable::{Entry as Pte, Perms, Place};
use gup::rule::{c, i, s};
use gup::vma::{Backing, Vma};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

const EFAULT: i64 = Errno::EFAULT.negated();

fn entries(entry: Entry, foll: Foll, at: u64, nr: u64) -> Ask {
    Ask { locked: Locked::Null, ..Ask::new(entry, foll, page(at), nr) }
}
const SLOW: [Entry; 6] = [
    Entry::Get,
    Entry::GetRemote,
    Entry::GetUnlocked,
    Entry::Pin,
    Entry::PinRemote,
    Entry::PinUnlocked,
];

/// Where the entry for `addr` stands in the table of `level`.
fn place_at(w: &World, addr: VirtAddr, level: u8) -> Place {
    let index = |level: u8| addr.get() as usize >> (12 + 9 * level) & 511;
    let mut place = Place { table: w.mm.root(), index: index(3), level: 3 };
    while place.level > level {
        let table = w.mm.tables().load(place).pfn();
        place = Place { table, index: index(place.level - 1), level: place.level - 1 };
    }
    place
}

/// What the entry above the small ones becomes while a walk is under way.
#[derive(Clone, Copy, Debug)]
enum Above {
    /// A table with the same words.
    Table,
    /// A huge leaf of the same pages.
    Leaf,
    /// Nothing.
    Empty,
}

#[test]
fn i_13_whatever_the_entry_above_becomes_under_a_walk_the_walk_gives_up() {
    for becomes in [Above::Table, Above::Leaf, Above::Empty] {
        kept6(i::I_13, &[s::S_18], |w| {
            thp(w, 0);
            w.store(page(0), 1);
            let head = frame(w, 0);
            split_leaf(&w.mm, page(0)).unwrap();
            let tables = w.mm.tables();
            let upper = place_at(w, page(0), 1);
            let (below, before) = (tables.load(upper), refs(w, head));
            let how = AllocFlags::empty();
            let copy = w.machine.frames().alloc(w.host(), 0, Kind::Table, how).unwrap();
            w.machine.memory().copy(copy, below.pfn(), 1);
            let perms = Perms { write: true, young: true, dirty: true, ..Perms::default() };
            let now = match becomes {
                Above::Table => Pte::table(copy),
                Above::Leaf => Pte::leaf(head, perms, 1),
                Above::Empty => Pte::NONE,
            };
            let mm = Arc::clone(&w.mm);
            at_rule(w, s::S_22, move || mm.tables().store(upper, now));
            let told = ask_fast(w, FastEntry::GetOnly, Foll::WRITE, page(3), 1);
            tables.store(upper, below);
            assert_eq!((told.ret, refs(w, head)), (0, before), "{becomes:?}");
            let told = ask_fast(w, FastEntry::GetOnly, Foll::WRITE, page(3), 1);
            assert_eq!(told.frames, [head.offset(3)]);
            w.machine.frames().put_and_free(copy, 1);
        });
    }
}
#[test]
fn i_14_tables_of_every_level_stay_tables_while_a_walker_is_inside() {
    kept6(i::I_14, &[s::S_21], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let below: Vec<_> = (0..3).map(|level| place_at(w, page(0), level).table).collect();
        let (entered, leave) = (AtomicBool::new(false), Arc::new(AtomicBool::new(false)));
        let (walked, go, frames) = (&*w.mm, Arc::clone(&leave), w.machine.frames());
        let waited = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&waited);
        *w.host().on_relax.lock().unwrap() = Some(Box::new(move || {
            waits.store(true, SeqCst);
            go.store(true, SeqCst);
        }));
        thread::scope(|scope| {
            scope.spawn(|| {
                let inside = walked.tables().enter();
                entered.store(true, SeqCst);
                while !leave.load(SeqCst) {
                    thread::yield_now();
                }
                for table in &below {
                    assert_eq!(walked.machine().frames().kind(*table), Kind::Table);
                }
                drop(inside);
            });
            while !entered.load(SeqCst) {
                thread::yield_now();
            }
            munmap(&mut w.mm.write(), page(0), PAGE_SIZE).unwrap();
            leave.store(true, SeqCst);
        });
        *w.host().on_relax.lock().unwrap() = None;
        assert!(waited.load(SeqCst), "whoever frees them waits");
        assert!(below.iter().all(|table| frames.kind(*table) == Kind::Free), "and then they go");
    });
}
#[test]
fn i_15_a_range_is_walked_exactly_if_it_lies_in_user_space() {
    kept6(i::I_15, &[s::S_23, c::C_64], |w| {
        let edges = [0, 1, PAGE_SIZE, TASK_SIZE, 1 << 47, 1 << 48, 1 << 56, 1 << 63, u64::MAX];
        for edge in edges {
            for start in [edge.wrapping_sub(PAGE_SIZE), edge, edge.wrapping_add(PAGE_SIZE)] {
                let start = start & !(PAGE_SIZE - 1);
                for nr in [1, 2, 3, 1 << 11] {
                    let end = u128::from(start) + u128::from(nr) * u128::from(PAGE_SIZE);
                    let at = VirtAddr::new(start);
                    let told = ask_fast(w, FastEntry::Get, Foll::empty(), at, nr);
                    let rule = if end > u128::from(u64::MAX) {
                        Some(c::C_64)
                    } else if end > u128::from(TASK_SIZE) {
                        Some(c::C_67)
                    } else {
                        told.rule.filter(|rule| ![c::C_64, c::C_67].contains(rule))
                    };
                    assert_eq!(told.rule, rule, "{nr} pages at {start:#x}");
                    assert!(told.frames.is_empty() && w.faults().is_empty());
                }
            }
        }
    });
}
#[test]
fn i_16_256_pages_below_a_stack_stay_free_when_it_grows_and_when_others_map() {
    kept6(i::I_16, &[s::S_28], |w| {
        w.area(3000, 4, rw() | VmFlags::GROWSDOWN);
        w.area(2700, 10, rw());
        let grows = |at| {
            let read = Access::Read(&mut [0]);
            access_remote_vm(&w.task, &w.mm, page(at), read, Foll::empty()).bytes == 1
        };
        let first_free = (2710..3000).find(|at| grows(*at));
        assert_eq!(first_free, Some(2966), "256 pages from the end of what is below");
        let start = w.mm.read().lookup(page(3000)).unwrap().start();
        assert_eq!(start, page(2966));
        // The search for a place keeps away, whatever the size.
        for pages in [1, 2, 255, 256, 257, 1000] {
            let request =
                MmapRequest::anonymous(pages * PAGE_SIZE, Prot::READ).near(page(2965 - pages));
            let at = sys::mmap(&w.mm, &w.task, &request).unwrap();
            let end = at.wrapping_add(pages * PAGE_SIZE);
            assert!(end <= page(2966 - 256) || at >= page(3004), "{pages} pages at {at:?}");
            munmap(&mut w.mm.write(), at, pages * PAGE_SIZE).unwrap();
        }
    });
}
#[test]
fn i_17_every_edit_of_the_areas_waits_for_those_who_read_them() {
    kept6(i::I_17, &[s::S_30], |w| {
        w.area(0, 8, rw());
        w.area(5000, 4, rw() | VmFlags::GROWSDOWN);
        let (mm, task) = (&*w.mm, &w.task);
        let edits: [(&str, &(dyn Fn() + Sync)); 5] = [
            ("mmap", &|| {
                let request = MmapRequest::anonymous(PAGE_SIZE, Prot::READ).at(page(20));
                sys::mmap(mm, task, &request).unwrap();
            }),
            ("mprotect", &|| {
                sys::mprotect(mm, task, page(1), PAGE_SIZE, Prot::READ, GrowProt::Exact).unwrap();
            }),
            ("madvise", &|| madvise(mm, task, page(2), PAGE_SIZE, Advice::DontFork).unwrap()),
            ("munmap", &|| munmap(&mut mm.write(), page(3), PAGE_SIZE).unwrap()),
            ("growth", &|| {
                let read = Access::Read(&mut [0]);
                let moved = access_remote_vm(task, mm, page(4990), read, Foll::empty());
                assert_eq!(moved.bytes, 1);
            }),
        ];
        for (name, edit) in edits {
            let areas = |map: &gup::vma::Map<_>| {
                map.iter().map(|vma| (vma.range(), vma.flags)).collect::<Vec<_>>()
            };
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                let reading = mm.read();
                let before = areas(&reading);
                scope.spawn(|| {
                    edit();
                    done.store(true, SeqCst);
                });
                for _ in 0..200 {
                    thread::yield_now();
                    assert_eq!(areas(&reading), before, "{name}");
                }
                assert!(!done.load(SeqCst), "{name}");
                drop(reading);
            });
            assert!(done.load(SeqCst), "{name}");
        }
    });
}
#[test]
fn i_18_a_result_of_r_is_r_pages_with_one_reference_each_and_an_error_is_none() {
    kept6(i::I_18, &[c::C_25, c::C_71], |w| {
        const PAGES: u64 = 6;
        for hole in 0..=PAGES {
            w.area(0, PAGES, rw());
            (0..PAGES).for_each(|n| assert!(w.store(page(n), 1)));
            let there: Vec<_> = (0..PAGES).map(|n| frame(w, n)).collect();
            if hole < PAGES {
                munmap(&mut w.mm.write(), page(hole), PAGE_SIZE).unwrap();
            }
            let got = usize::try_from(hole).unwrap();
            let want = if hole == 0 { EFAULT } else { hole.cast_signed() };
            let check = |told: &Told, pins: u32, name: &str| {
                assert_eq!((told.ret, &told.frames[..]), (want, &there[..got]), "{name}");
                assert!(told.counts.iter().all(|counts| *counts == (2, pins)), "{name}");
            };
            for entry in SLOW {
                let pins = u32::from(format!("{entry:?}").starts_with("Pin"));
                check(&entries(entry, Foll::WRITE, 0, PAGES).of(w), pins, &format!("{entry:?}"));
            }
            for (entry, pins) in [(FastEntry::Get, 0), (FastEntry::Pin, 1)] {
                let told = ask_fast(w, entry, Foll::WRITE, page(0), PAGES);
                check(&told, pins, &format!("{entry:?}"));
            }
            assert!(there[..got].iter().all(|pfn| refs(w, *pfn) == 1), "and none is left");
            munmap(&mut w.mm.write(), page(0), PAGES * PAGE_SIZE).unwrap();
        }
        // What a fast walk counted and then gave up is given back.
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let (pfn, mm) = (frame(w, 0), Arc::clone(&w.mm));
        at_rule(w, s::S_22, move || {
            let place = mm.tables().walk(page(0)).place;
            let entry = mm.tables().load(place);
            mm.tables().store(place, entry.map_perms(0, |perms| perms.write = false));
        });
        assert_eq!(ask_fast(w, FastEntry::GetOnly, Foll::WRITE, page(0), 1).ret, 0);
        assert_eq!(refs(w, pfn), 1);
    });
}
#[test]
fn i_19_the_lock_is_as_the_call_says_whatever_happened_meanwhile() {
    kept6(i::I_19, &[c::C_62], |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        slow_area(w, 1, 40, ro());
        let mut at = 1;
        for locked in [Locked::Null, Locked::Given] {
            for (foll, nr) in [(Foll::empty(), 1), (Foll::NOWAIT, 1), (Foll::empty(), 4)] {
                for entry in [Entry::GetRemote, Entry::PinRemote] {
                    let mut pages: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
                    let mut lock = Lock::Read(w.mm.read());
                    let out = Some(&mut pages[..]);
                    let before = w.host().waited.lock().unwrap().len();
                    let outcome = gup(entry, &w.task, &mut lock, page(at), nr, foll, out, locked);
                    let waited = w.host().waited.lock().unwrap().len() > before;
                    let dropped = waited && locked == Locked::Given;
                    let what = format!("{entry:?} {foll:?} {nr} {locked:?}");
                    assert_eq!(lock.is_held(), !dropped, "{what}");
                    if dropped {
                        // Really: a writer gets in.
                        drop(w.mm.write());
                    }
                    drop(lock);
                    for page in pages.into_iter().flatten() {
                        match entry {
                            Entry::PinRemote => w.machine.unpin_pages(page.pfn(), 1),
                            _ => w.machine.put_page(page.pfn()),
                        }
                    }
                    assert!(outcome.got <= nr);
                    at += nr;
                }
            }
        }
        for entry in SLOW {
            let told = entries(entry, Foll::empty(), 0, 1).of(w);
            let takes = [Entry::GetUnlocked, Entry::PinUnlocked].contains(&entry);
            assert_eq!((told.ret, told.lock_held), (1, !takes), "{entry:?}");
        }
    });
}
#[test]
fn i_21_what_is_asked_of_a_fault_stays_the_same_but_for_tried() {
    kept6(i::I_21, &[c::C_62], |w| {
        let disk = slow_area(w, 0, 8, rw());
        for (at, foll) in [(0, Foll::empty()), (2, Foll::WRITE), (4, Foll::INTERRUPTIBLE)] {
            w.forget();
            let told = Ask::new(Entry::PinUnlocked, foll, page(at), 1).of(w);
            assert_eq!(told.ret, 1);
            let faults = w.faults();
            assert!(faults.len() > 1, "{foll:?}: it was tried again");
            let same = |flags: &FaultFlags| *flags - FaultFlags::TRIED;
            let unshares = FaultFlags::UNSHARE | FaultFlags::WRITE;
            for pair in faults.windows(2) {
                let (before, after) = (same(&pair[0]), same(&pair[1]));
                assert_eq!(before - unshares, after - unshares, "{foll:?}");
                assert_eq!(foll.contains(Foll::WRITE), after.contains(FaultFlags::WRITE));
            }
            assert!(
                faults[1].contains(FaultFlags::TRIED) && !faults[0].contains(FaultFlags::TRIED)
            );
        }
        assert!(!disk.asked.lock().unwrap().is_empty());
    });
}
#[test]
fn i_22_what_is_mapped_after_the_wait_is_what_is_got() {
    kept6(i::I_22, &[c::C_62], |w| {
        for edit in ["unmapped", "another area", "protected"] {
            let disk = slow_area(w, 0, 1, rw());
            let mm = Arc::clone(&w.mm);
            let wake = w.host().on_wait.lock().unwrap().take();
            let wake = std::sync::Mutex::new(wake);
            *w.host().on_wait.lock().unwrap() = Some(Box::new(move |ticket| {
                if let Some(wake) = wake.lock().unwrap().as_mut() {
                    wake(ticket);
                }
                let task = gup::task::Task::default();
                match edit {
                    "protected" => {
                        let exact = GrowProt::Exact;
                        sys::mprotect(&mm, &task, page(0), PAGE_SIZE, Prot::READ, exact).unwrap();
                    }
                    _ => munmap(&mut mm.write(), page(0), PAGE_SIZE).unwrap(),
                }
                if edit == "another area" {
                    let (mut map, range) = (mm.write(), VirtRange::new(page(0), page(1)));
                    let id = map.new_id();
                    map.insert(Vma::new(id, range, rw(), Backing::Anonymous, 0));
                }
            }));
            let told = Ask::new(Entry::GetUnlocked, Foll::WRITE, page(0), 1).of(w);
            *w.host().on_wait.lock().unwrap() = None;
            assert_eq!(disk.asked.lock().unwrap().len(), 1, "{edit}");
            if edit == "another area" {
                assert_eq!((told.ret, w.byte(told.frames[0])), (1, 0), "its page, not the file's");
                assert!(w.machine.frames().is_anon(told.frames[0]));
            } else {
                assert_eq!(told.ret, EFAULT, "{edit}");
            }
            let _ = munmap(&mut w.mm.write(), page(0), PAGE_SIZE);
        }
    });
}
#[test]
fn i_23_what_the_slow_path_refuses_or_replaces_the_fast_one_does_not_grant() {
    let mut config = config();
    config.frames = config.frames.and(Zone::Cma, 0, 64);
    let by = [c::C_69, c::C_73, c::C_43, s::S_13];
    kept_in(i::I_23, &by, World::with(config), |w| {
        let file = |at, kind, flags| {
            let file = w.file(kind, 1, None);
            w.area_of(at, 1, flags, World::backing(&file), 0);
        };
        w.area(0, 1, rw());
        w.area(2, 1, rw());
        w.area(4, 1, rw());
        file(6, FileKind::Secret, rw() | SHARED);
        file(8, FileKind::Fsdax, rw() | SHARED);
        file(10, FileKind::Regular, rw() | SHARED);
        file(12, FileKind::Shmem, ro());
        w.area(14, 1, rw());
        w.area(16, 1, rw() | VmFlags::MIXEDMAP);
        for n in (0..12).step_by(2).chain([14]) {
            assert!(w.store(page(n), 1), "page {n}");
        }
        assert!(w.load(page(12)).is_some());
        let other = child(w);
        w.store(page(0), 2);
        protect(w, 14, 1, Prot::NONE);
        let special = Perms { special: true, write: true, ..Perms::default() };
        w.set_entry(page(16), 0, Pte::leaf(gup::addr::Pfn::new(1 << 20), special, 0));
        let long = Foll::LONGTERM;
        let mut refused = 0;
        for at in (0..18).step_by(2) {
            for foll in [Foll::empty(), Foll::WRITE, long, long | Foll::WRITE] {
                let before = w.mapped(page(at), false);
                let exclusive_before = at != 16 && before.is_some() && exclusive(w, at);
                let slowly = |w: &World| w.count(c::C_10) + w.count(c::C_24);
                let slow_before = slowly(w);
                let fast = ask_fast(w, FastEntry::Pin, foll, page(at), 1);
                let alone = slowly(w) == slow_before;
                if !alone || fast.ret != 1 {
                    refused += 1;
                    continue;
                }
                let pfn = fast.frames[0];
                let slow = Ask::new(Entry::PinUnlocked, foll, page(at), 1).of(w);
                assert_eq!((slow.ret, &slow.frames[..]), (1, &[pfn][..]), "page {at} {foll:?}");
                assert_eq!(before, Some(pfn));
                let anon = w.machine.frames().is_anon(pfn);
                assert!(!anon || exclusive_before, "page {at} {foll:?}: pinned without unsharing");
                assert!(!foll.contains(Foll::WRITE) || writable(w, at));
                let zone = w.machine.frames().zone(pfn);
                assert!(!foll.contains(long) || zone == Zone::Normal, "page {at} {foll:?}");
            }
        }
        assert!(refused > 12, "most of these are not for the fast path: {refused}");
        drop(other);
        w.set_entry(page(16), 0, Pte::NONE);
    });
}
