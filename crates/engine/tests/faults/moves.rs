//! Pages that move for long-term pins while others store to them, fork, swap and truncate.

use crate::world::{Disk, RW, RWS, Shared, Space, assert_empty, movable_machine, page};
use gup::abi::v6_18 as abi;
use gup::addr::PAGE_SIZE;
use gup::fault::{page_out, zap_range};
use gup::frame::Zone;
use gup::gup::Page;
use gup::gup::unpin::{Written, unpin_user_pages_dirty_lock};
use gup::host::Memory;
use gup::mm::Counter;
use gup::rule::c;
use gup::task::Task;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// Stores of each writer, at least.
const ROUNDS: u64 = 1_500;
/// And at most, should nothing be pinned and moved beside the first ones: whoever does that may
/// come to run only when they are over, on a busy machine.
const ROUNDS_MAX: u64 = 100 * ROUNDS;
const WRITE: u32 = 1;
const LONGTERM: u32 = 1 << 8;

fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

/// Stores through a pin, as a device does, says so, and loads again.
///
/// Unless it is said (row F-52), the store may be lost: a page that a load brought back from the
/// swap cache is clean, and so is its entry, which already allows stores; the lockless walk marks
/// neither, and reclaim drops what is clean.
fn store_and_load(space: &Space, task: &Task, n: u64, value: u8, before: u8) {
    let machine = space.machine();
    for (flags, expected) in [(0, before), (WRITE, before), (0, value)] {
        let mut pages = [None];
        let got = abi::pin_user_pages_fast(task, &space.mm, page(n).get(), 1, flags, &mut pages);
        assert_eq!(got, 1, "page {n}");
        let held = pages[0].as_ref().expect("counted, so stored").pfn();
        let mut byte = [0];
        machine.memory().read(held, 0, &mut byte);
        assert_eq!(byte, [expected], "page {n} lost a store");
        let written = if flags == WRITE { Written::Yes } else { Written::No };
        if written == Written::Yes {
            machine.memory().write(held, 0, &[value]);
        }
        unpin_user_pages_dirty_lock(&machine, &mut pages, written);
    }
}

#[test]
fn no_store_is_lost_and_nothing_leaks_while_pages_move() {
    let machine = movable_machine();
    let space = Space::on(&machine);
    let disk = Disk::new(0);
    machine.swap().on(Arc::new(Shared(Arc::clone(&disk))), 64);
    let memfd = space.memfd(8);
    space.anon(0, 16, RW);
    space.file(16, 24, RWS, &memfd);
    let (well, stuck, over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let moved = AtomicBool::new(false);
    let enough = || moved.load(Relaxed) && well.load(Relaxed) > 0;
    thread::scope(|scope| {
        let stores = |thread: u64| {
            let (space, task) = (&space, Task::default());
            let (first, end) = if thread == 0 { (0, 8) } else { (8, 16) };
            let mut values = [0; 8];
            let mut next = numbers(0x517c_c1b7 + thread);
            for round in 0..ROUNDS_MAX {
                if round >= ROUNDS && enough() {
                    break;
                }
                let at = next(end - first);
                let value = u8::try_from(round % 251).unwrap();
                let slot = &mut values[usize::try_from(at).unwrap()];
                store_and_load(space, &task, first + at, value, *slot);
                *slot = value;
            }
        };
        let writers = [scope.spawn(move || stores(0)), scope.spawn(move || stores(1))];
        scope.spawn(|| {
            let (task, mut next) = (Task::default(), numbers(77));
            while !over.load(Relaxed) {
                let (at, nr) = (next(24), 1 + next(3));
                let nr = nr.min(24 - at);
                let mut pages: [Option<Page>; 3] = Default::default();
                let flags = if next(2) == 0 { WRITE | LONGTERM } else { LONGTERM };
                let (start, out) = (page(at).get(), Some(&mut pages[..]));
                let got = abi::pin_user_pages_unlocked(&task, &space.mm, start, nr, out, flags);
                // EFAULT: past the end of the file just now.
                if got < 0 {
                    assert!(got == -12 || got == -14, "{got}");
                    stuck.fetch_add(1, Relaxed);
                }
                for pinned in pages.iter().flatten() {
                    assert_eq!(machine.frames().zone(pinned.pfn()), Zone::Normal);
                    well.fetch_add(1, Relaxed);
                }
                abi::unpin_user_pages(&machine, &mut pages);
                if !moved.load(Relaxed) && space.decided(c::C_77, at) {
                    moved.store(true, Relaxed);
                }
            }
        });
        scope.spawn(|| {
            let mut next = numbers(99);
            while !over.load(Relaxed) {
                let n = next(24);
                match next(8) {
                    0 => {
                        let child = space.fork().unwrap();
                        let _ = child.write(n);
                    }
                    1 if n >= 16 => {
                        memfd.truncate(&machine, next(9) * PAGE_SIZE);
                        memfd.truncate(&machine, 8 * PAGE_SIZE);
                    }
                    2 if n >= 16 => {
                        let map = space.mm.read();
                        let vma = map.lookup(page(n)).unwrap();
                        let range = crate::world::pages(n, n + 1);
                        zap_range(&space.mm, vma, range).unwrap();
                    }
                    3 if n >= 16 => drop(space.write(n)),
                    _ => {
                        let map = space.mm.read();
                        let _ = page_out(&space.mm, map.lookup(page(n)).unwrap(), page(n));
                    }
                }
            }
        });
        let done = writers.map(thread::ScopedJoinHandle::join);
        over.store(true, Relaxed);
        assert!(done.iter().all(Result::is_ok), "a writer lost a store");
    });
    assert!(well.load(Relaxed) > 0, "nothing was ever pinned; {stuck:?} were stuck");
    assert!(moved.load(Relaxed), "no page ever had to move");
    space.zap(0, 24);
    for counter in [Counter::Anon, Counter::File, Counter::Shmem, Counter::Swap] {
        assert_eq!(space.mm.rss(counter), 0, "{counter:?}");
    }
    drop((space, memfd));
    assert_empty(&machine);
    assert_eq!(machine.swap().free_slots(), 64);
}
