//! Rows C-08 … C-24 (what is asked), C-36, C-47, C-51 (walk and fault), C-65 and C-72 (fast).

use crate::six::{Ask, Told, ask_fast, row6};
use crate::store::quick_file;
use crate::support::{TestHost, World, page, ro, rw};
use gup::abi::v6_18 as abi;
use gup::addr::VirtAddr;
use gup::errno::Errno;
use gup::file::FileKind;
use gup::flags::{FaultFlags, Foll, VmFlags};
use gup::frame::FrameFlags;
use gup::gup::fast::FastEntry;
use gup::gup::remote::{Access, access_remote_vm};
use gup::gup::{Entry, Locked, Page};
use gup::mm::Lock;
use gup::observe::Event;
use gup::rule::{a, c};
use gup::task::Task;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;

const EFAULT: i64 = Errno::EFAULT.negated();
const SHARED: VmFlags = VmFlags::SHARED.union(VmFlags::MAYSHARE);

fn ask(w: &World, entry: Entry, foll: Foll, at: u64, nr: u64) -> Told {
    Ask::new(entry, foll, page(at), nr).of(w)
}

#[test]
fn c_08_any_combination_of_the_other_flags_is_legal_in_the_slow_forms() {
    row6(c::C_08, |w| {
        w.area(0, 1, rw());
        w.store(page(0), 1);
        let free = [
            Foll::WRITE,
            Foll::DUMP,
            Foll::FORCE,
            Foll::NOWAIT,
            Foll::NOFAULT,
            Foll::HWPOISON,
            Foll::ANON,
            Foll::SPLIT_PMD,
            Foll::INTERRUPTIBLE,
            Foll::HONOR_NUMA_FAULT,
        ];
        for set in 0..1_usize << free.len() {
            let chosen = free.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0);
            let foll = chosen.fold(Foll::empty(), |foll, (_, flag)| foll | *flag);
            assert_eq!(ask(w, Entry::Get, foll, 0, 1).ret, 1, "{foll:?}");
            assert_eq!(ask(w, Entry::Pin, foll | Foll::LONGTERM, 0, 1).ret, 1, "{foll:?}");
        }
        assert!(w.host().warnings.lock().unwrap().is_empty());
    });
}
#[test]
fn c_12_pages_are_given_exactly_when_get_or_pin_is_in_the_working_flags() {
    row6(c::C_12, |w| {
        w.area(0, 3, rw());
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0, 1).ret, 1, "GET is implied by the array");
        assert_eq!(ask(w, Entry::PinUnlocked, Foll::WRITE, 1, 1).ret, 1);
        let none = Ask { pages: false, ..Ask::new(Entry::Get, Foll::WRITE, page(2), 1) };
        assert_eq!(none.of(w).ret, 1);
        assert_eq!(w.count(c::C_12), 3);
        assert!(w.host().bugs.lock().unwrap().is_empty());
    });
}
#[test]
fn c_14_tag_bits_of_the_target_are_removed_and_nothing_else_is_asked_of_the_address() {
    row6(c::C_14, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 5);
        let tagged = VirtAddr::new(page(0).get() | 0x2a << 57);
        let get = |start| Ask::new(Entry::GetRemote, Foll::WRITE, start, 1).of(w);
        let fast = |start| ask_fast(w, FastEntry::Get, Foll::WRITE, start, 1);
        assert_eq!(get(tagged).ret, EFAULT, "no tags are in use");
        // LAM_U57: bits 57 to 62.
        w.mm.untag_mask.store(!(0x3f << 57), SeqCst);
        let plain = get(page(0)).frames;
        assert_eq!((get(tagged).frames, fast(tagged).frames), (plain.clone(), plain));
        assert_eq!(get(tagged.wrapping_add(17)).ret, 1, "aligned or not");
        let kernel = VirtAddr::new(page(0).get() | 1 << 63);
        assert_eq!(get(kernel).ret, EFAULT, "bit 63 is no tag");
        let mut byte = [0];
        let read = Access::Read(&mut byte);
        assert_eq!(access_remote_vm(&w.task, &w.mm, tagged, read, Foll::empty()).bytes, 1);
        assert_eq!(byte, [5]);
    });
}
#[test]
fn c_24_no_caller_is_told_an_area() {
    type Get =
        fn(&Task, &mut Lock<'_, TestHost>, u64, u64, u32, Option<&mut [Option<Page>]>) -> i64;
    row6(c::C_24, |w| {
        let get: Get = abi::get_user_pages;
        w.area(0, 512, rw() | VmFlags::HUGEPAGE);
        w.area(512, 1, rw() | VmFlags::GROWSDOWN);
        assert!(w.store(page(0), 1) && w.store(page(512), 2));
        w.forget();
        let mut pages: Vec<Option<Page>> = (0..513).map(|_| None).collect();
        let mut lock = Lock::Read(w.mm.read());
        assert_eq!(get(&w.task, &mut lock, page(0).get(), 513, 1, Some(&mut pages)), 513);
        drop(lock);
        // v4.4 goes page by page where areas are asked for; here two areas are two steps.
        assert_eq!((w.count(c::C_21), w.count(c::C_26), w.count(a::A_18)), (1, 1, 0));
        w.hold(pages.into_iter().flatten());
    });
}
#[test]
fn c_36_what_unmaps_a_hugetlb_page_waits_for_the_walk() {
    row6(c::C_36, |w| {
        assert_eq!(w.machine.resize_hugetlb(9, 1), 1);
        let file = w.machine.new_file(FileKind::Hugetlb(9), 512 * 4096, None);
        let flags = rw() | SHARED | VmFlags::HUGETLB;
        let start = w.area_of(0, 512, flags, World::backing(&file), 0);
        file.add_mapper(&w.mm);
        assert!(w.store(start, 7));
        let (machine, punched) = (Arc::clone(&w.machine), Arc::new(AtomicU32::new(0)));
        let (puncher, done) = (Arc::clone(&file), Arc::clone(&punched));
        let thread = Arc::new(std::sync::Mutex::new(None));
        let started = Arc::clone(&thread);
        let seen = Arc::clone(&punched);
        w.on_event(move |event| {
            let walks = matches!(event, Event::Rule { rule: c::C_36, .. });
            if walks {
                let (machine, puncher) = (Arc::clone(&machine), Arc::clone(&puncher));
                let done = Arc::clone(&done);
                *started.lock().unwrap() = Some(std::thread::spawn(move || {
                    puncher.punch_hole(&machine, 0, 512);
                    done.store(1, SeqCst);
                }));
                std::thread::sleep(std::time::Duration::from_millis(20));
                assert_eq!(seen.load(SeqCst), 0, "the mmap lock is held");
            }
            walks
        });
        let told = ask(w, Entry::Get, Foll::WRITE, 3, 2);
        assert_eq!(told.ret, 2);
        assert!(told.counts[0].0 >= 3, "the entry's and two more, whatever the cache gave up");
        thread.lock().unwrap().take().unwrap().join().unwrap();
        assert_eq!((punched.load(SeqCst), w.mapped(start, false)), (1, None));
        let mut map = w.mm.write();
        let gone = map.remove(start);
        drop(map);
        drop(gone);
        drop(file);
        assert_eq!(w.machine.resize_hugetlb(9, 0), 0);
    });
}
#[test]
fn c_47_a_page_of_a_locked_area_is_handed_out_without_being_locked() {
    row6(c::C_47, |w| {
        w.area(0, 2, rw());
        w.store(page(0), 1);
        w.set_area_flags(page(0), rw() | VmFlags::LOCKED);
        let pfn = w.mapped(page(0), true).unwrap();
        assert_eq!(ask(w, Entry::Get, Foll::WRITE, 0, 1).ret, 1);
        assert_eq!(ask(w, Entry::PinUnlocked, Foll::WRITE, 0, 1).ret, 1);
        assert!(!w.machine.frames().has(pfn, FrameFlags::MLOCKED));
        assert!(w.faults().is_empty() || w.count(c::C_47) == 2, "the page was there");
        assert_eq!(w.count(c::C_47), 2);
    });
}
#[test]
fn c_51_a_store_to_a_shared_page_may_end_with_the_lock_dropped() {
    row6(c::C_51, |w| {
        let memfd = w.file(FileKind::Shmem, 4, None);
        w.area_of(0, 4, rw() | SHARED, World::backing(&memfd), 0);
        let remote = |at, locked, foll| {
            Ask { locked, ..Ask::new(Entry::GetRemote, foll, page(at), 1) }.of(w)
        };
        let dropped = remote(0, Locked::Given, Foll::WRITE);
        assert_eq!((dropped.ret, dropped.lock_held), (1, false));
        assert_eq!(w.faults().len(), 1, "the page was there when it was looked for again");
        assert!(w.host().waited.lock().unwrap().is_empty());
        let there = remote(0, Locked::Given, Foll::WRITE);
        assert_eq!((there.ret, there.lock_held), (1, true), "no fault, no drop");
        assert!(remote(1, Locked::Null, Foll::WRITE).lock_held, "nor without leave");
        assert!(remote(2, Locked::Given, Foll::empty()).lock_held, "nor for a read");
        assert!(remote(3, Locked::Given, Foll::WRITE | Foll::NOWAIT).lock_held);
        // A file system that tracks dirty pages holds every writer up, this page dirty or not.
        let tracked = quick_file(w, 1);
        w.area_of(8, 1, rw() | SHARED, World::backing(&tracked), 0);
        w.load(page(8));
        w.machine.frames().set(w.mapped(page(8), false).unwrap(), FrameFlags::DIRTY);
        assert!(!remote(8, Locked::Given, Foll::WRITE).lock_held);
        let charged = w.task.min_flt.load(SeqCst) + w.task.maj_flt.load(SeqCst);
        let faults = w.faults().len();
        assert_eq!((faults as u64, w.count(c::C_51)), (charged, 2), "each is charged once");
        let flags = FaultFlags::WRITE | FaultFlags::ALLOW_RETRY;
        assert!(w.faults().iter().any(|fault| fault.contains(flags)));
    });
}
#[test]
fn c_65_a_negative_count_is_a_huge_one_to_the_fast_forms() {
    row6(c::C_65, |w| {
        w.area(0, 1, rw());
        let pin = |start: VirtAddr, nr, pages: &mut [Option<Page>]| {
            abi::pin_user_pages_fast(&w.task, &w.mm, start.get(), nr, 0, pages)
        };
        assert_eq!(pin(page(0), -1, &mut []), -Errno::EOVERFLOW.raw());
        assert_eq!(pin(page(0), i32::MIN, &mut []), -Errno::EOVERFLOW.raw());
        let low = VirtAddr::new(0);
        assert_eq!(pin(low, -1, &mut []), -Errno::EFAULT.raw(), "it ends below 2^64");
        assert_eq!((w.count(c::C_65), w.pinned()), (3, 0));
        let mut pages = [None];
        assert_eq!(pin(page(0), 1, &mut pages), 1);
        abi::unpin_user_pages(&w.machine, &mut pages);
    });
}
#[test]
fn c_72_a_huge_entry_gives_all_its_pages_at_once() {
    row6(c::C_72, |w| {
        w.area(0, 512, rw() | VmFlags::HUGEPAGE);
        assert!(w.store(page(0), 1));
        let head = w.mapped(page(0), true).unwrap();
        w.forget();
        let told = ask_fast(w, FastEntry::Pin, Foll::WRITE, page(5), 100);
        assert_eq!((told.ret, told.counts[0]), (100, (101, 100)));
        assert_eq!(told.frames, (5..105).map(|n| head.offset(n)).collect::<Vec<_>>());
        assert_eq!((w.count(c::C_72), w.count(c::C_74)), (1, 1), "one leaf, looked at once");
        w.change_entry(page(0), |perms| perms.protnone = true);
        let only = |at| ask_fast(w, FastEntry::GetOnly, Foll::empty(), page(at), 1).ret;
        assert_eq!(only(0), 0, "hinted");
        w.change_entry(page(0), |perms| perms.protnone = false);
        assert_eq!(only(0), 1);
        w.area(1024, 1, ro());
    });
}
