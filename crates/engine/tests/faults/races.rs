//! Many threads on one address space: whatever wins, nothing leaks and no byte is wrong.

use crate::world::{Disk, RW, RWS, Shared, Space, assert_empty, page};
use gup::fault::{Fault, page_out, zap_range};
use gup::linux::Linux;
use gup::mm::Counter;
use std::sync::Arc;
use std::thread;

const ROUNDS: u64 = 2_000;

/// A small generator of numbers, one per thread.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

#[test]
fn faults_zaps_pageouts_forks_and_truncations_at_once_leave_nothing_behind() {
    let space = Space::new(Linux::V6_18);
    let machine = space.machine();
    let disk = Disk::new(0);
    machine.swap().on(Arc::new(Shared(Arc::clone(&disk))), 16);
    let memfd = space.memfd(8);
    space.anon(0, 8, RW);
    space.file(8, 16, RWS, &memfd);
    space.file(16, 24, RW, &memfd);
    thread::scope(|scope| {
        for thread in 0..4 {
            let (space, memfd, machine) = (&space, &memfd, &machine);
            scope.spawn(move || {
                let mut next = numbers(0x9e37_79b9 + thread);
                for _ in 0..ROUNDS {
                    let n = next(24);
                    let done = match next(16) {
                        0..4 => space.read(n),
                        4..9 => space.write(n),
                        9..11 => space.unshare(n),
                        11 => {
                            let map = space.mm.read();
                            let vma = map.lookup(page(n)).unwrap();
                            zap_range(&space.mm, vma, crate::world::pages(n, n + 1)).unwrap();
                            Fault::MINOR
                        }
                        12..14 => {
                            let map = space.mm.read();
                            let _ = page_out(&space.mm, map.lookup(page(n)).unwrap(), page(n));
                            Fault::MINOR
                        }
                        14 => {
                            let child = space.fork().unwrap();
                            let _ = child.write(n);
                            Fault::MINOR
                        }
                        _ => {
                            memfd.truncate(machine, next(9) << 12);
                            memfd.truncate(machine, 8 << 12);
                            Fault::MINOR
                        }
                    };
                    assert!(matches!(done, Fault::Done { .. }) || n >= 8, "{done:?} at page {n}");
                }
            });
        }
    });
    space.zap(0, 24);
    for counter in [Counter::Anon, Counter::File, Counter::Shmem, Counter::Swap] {
        assert_eq!(space.mm.rss(counter), 0, "{counter:?}");
    }
    drop((space, memfd));
    assert_empty(&machine);
    assert_eq!(machine.swap().free_slots(), 16);
}
