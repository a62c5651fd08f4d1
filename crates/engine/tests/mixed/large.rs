//! Threads that store to huge pages and pin them for long, while others fork, split, assemble, lock
//! and drop them: no store is lost, and the books are right in the end.

use crate::audit::{Held, audit};
use gup::abi::v6_18 as abi;
use gup::addr::{PAGE_SIZE, PMD_ORDER, VirtAddr};
use gup::fault::split_page;
use gup::file::FileKind;
use gup::flags::{MapFlags, Prot};
use gup::frame::{FramesConfig, Zone};
use gup::gup::Page;
use gup::heap_host::HeapHost;
use gup::host::Memory;
use gup::linux::Linux;
use gup::mapping::{self, Advice, GrowProt, MmapRequest, sys};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::task::Task;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

const ROUNDS: u64 = 3_000;
const RW: Prot = Prot::READ.union(Prot::WRITE);
const HUGE: u64 = 512;
/// Two huge pages that are stored to, one that comes and goes, one of hugetlbfs.
const KEPT: u64 = 2 * HUGE;
const WILD: u64 = 3 * HUGE;
const POOL: u64 = 4 * HUGE;
const WRITE: u32 = 1;
const LONGTERM: u32 = 1 << 8;

fn page(n: u64) -> VirtAddr {
    VirtAddr::new(0x3000_0000_0000 + n * PAGE_SIZE)
}
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

/// Stores through a pin, as a device does, and looks before and after.
fn store(mm: &Mm<HeapHost>, task: &Task, n: u64, before: u8, value: u8) {
    let machine = mm.machine();
    for (flags, expected) in [(0, before), (WRITE, before), (0, value)] {
        let mut pages = [None];
        let got = abi::pin_user_pages_fast(task, mm, page(n).get(), 1, flags, &mut pages);
        assert_eq!(got, 1, "page {n}");
        let held = pages[0].as_ref().map(Page::pfn).expect("counted, so there");
        let mut byte = [0];
        machine.memory().read(held, 0, &mut byte);
        assert_eq!(byte, [expected], "page {n} lost a store");
        if flags == WRITE {
            machine.memory().write(held, 0, &[value]);
        }
        abi::unpin_user_pages(machine, &mut pages);
    }
}

fn disturb(mm: &Mm<HeapHost>, task: &Task, next: &mut impl FnMut(u64) -> u64) {
    let at = next(WILD);
    let base = at / HUGE * HUGE;
    let bytes = (1 + next(8)) * PAGE_SIZE;
    match next(8) {
        0 => drop(mapping::fork(&mut mm.write(), task)),
        1 => {
            let map = mm.read();
            let _ = split_page(map.mm(), page(at));
        }
        2 => drop(mapping::madvise(mm, task, page(base), HUGE * PAGE_SIZE, Advice::Collapse)),
        3 => drop(mapping::madvise(mm, task, page(KEPT + at % HUGE), bytes, Advice::DontNeed)),
        4 => drop(mapping::madvise(mm, task, page(KEPT + at % HUGE), bytes, Advice::PopulateWrite)),
        5 => drop(mapping::mlock(mm, task, page(base), HUGE * PAGE_SIZE)),
        6 => drop(mapping::munlock(mm, page(base), HUGE * PAGE_SIZE)),
        _ => {
            let exact = GrowProt::Exact;
            let _ = sys::mprotect(mm, task, page(KEPT + at % HUGE), PAGE_SIZE, Prot::READ, exact);
            let _ = sys::mprotect(mm, task, page(KEPT), HUGE * PAGE_SIZE, RW, exact);
        }
    }
}

#[test]
fn huge_pages_move_for_long_pins_while_everybody_else_uses_them() {
    // Four runs of 512 frames are pinnable, and sometimes none of them is free.
    let frames = FramesConfig::normal(2600).and(Zone::Movable, 0, 8192);
    let config = MachineConfig { frames, ..MachineConfig::new(Linux::V6_18, 0) };
    let machine = Machine::new(HeapHost::new(2600 + 8192), config).expect("frames");
    let mm = Mm::new(&machine).expect("a root");
    let task = Task::default();
    let request = MmapRequest::anonymous(WILD * PAGE_SIZE, RW).at(page(0));
    sys::mmap(&mm, &task, &request).expect("room");
    mapping::madvise(&mm, &task, page(0), WILD * PAGE_SIZE, Advice::HugePage).expect("advice");
    assert_eq!(machine.resize_hugetlb(PMD_ORDER, 2), 2);
    let file = machine.new_file(FileKind::Hugetlb(PMD_ORDER), HUGE * PAGE_SIZE, None);
    let request =
        MmapRequest::file(&file, 0, HUGE * PAGE_SIZE, RW, MapFlags::SHARED).at(page(POOL));
    sys::mmap(&mm, &task, &request).expect("room");
    let (well, stuck, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let writer = |thread: u64| {
            let (mm, task) = (Arc::clone(&mm), Task::default());
            scope.spawn(move || {
                let mut next = numbers(0x9e37_79b9 + thread);
                let mut values = [0; 64];
                for round in 0..ROUNDS {
                    let slot = next(64);
                    let value = u8::try_from(round % 251).unwrap();
                    let before = &mut values[usize::try_from(slot).unwrap()];
                    store(&mm, &task, slot * 16 + thread, *before, value);
                    *before = value;
                }
            })
        };
        let writers = [writer(0), writer(1)];
        scope.spawn(|| {
            let (task, mut next) = (Task::default(), numbers(77));
            while !over.load(SeqCst) {
                let at = [next(WILD), POOL + next(HUGE)][usize::from(next(4) == 0)];
                let mut pages: [Option<Page>; 3] = Default::default();
                let flags = if next(2) == 0 { WRITE | LONGTERM } else { LONGTERM };
                let out = Some(&mut pages[..]);
                let start = page(at).get();
                let got = abi::pin_user_pages_unlocked(&task, &mm, start, 3, out, flags);
                if got < 0 {
                    assert!(got == -12 || got == -14, "{got}");
                    stuck.fetch_add(1, SeqCst);
                }
                for pinned in pages.iter().flatten() {
                    assert_eq!(machine.frames().zone(pinned.pfn()), Zone::Normal);
                    well.fetch_add(1, SeqCst);
                }
                abi::unpin_user_pages(&machine, &mut pages);
            }
        });
        scope.spawn(|| {
            let (task, mut next) = (Task::default(), numbers(99));
            while !over.load(SeqCst) {
                disturb(&mm, &task, &mut next);
            }
        });
        let done = writers.map(thread::ScopedJoinHandle::join);
        over.store(true, SeqCst);
        assert!(done.iter().all(Result::is_ok), "a writer lost a store");
    });
    println!("{} pinned well, {} calls failed", well.load(SeqCst), stuck.load(SeqCst));
    audit(&machine, [&*mm], &[&file], &Held::new());
    drop((mm, file));
    let stats = machine.frames().stats();
    assert_eq!((stats.of(gup::frame::Kind::Anon), stats.of(gup::frame::Kind::Table)), (0, 0));
}
