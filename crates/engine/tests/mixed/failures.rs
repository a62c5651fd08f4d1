//! A mixed scenario, failed at its n-th allocation for every n: it answers with an error or goes
//! on, and leaves nothing behind (promise 6: every error path leaves counts as they were).

use crate::audit::{Held, audit};
use crate::support::{TestHost, World, page};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::file::FileKind;
use gup::flags::{Foll, MapFlags, Prot};
use gup::frame::Kind;
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page, Read, Write};
use gup::host::{Injection, ReadMode, Store, StoreRead, StoreWrite};
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, sys};
use gup::mm::{Lock, Mm};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// A store that keeps what it is given.
#[derive(Default)]
pub struct Kept(Mutex<std::collections::BTreeMap<u64, Vec<u8>>>);

impl Store for Kept {
    fn read_page(&self, index: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        match self.0.lock().unwrap().get(&index) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => into.fill(0x33),
        }
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.0.lock().unwrap().insert(index, from.to_vec());
        StoreWrite::Done
    }
}

const RW: Prot = Prot::READ.union(Prot::WRITE);
const PAGES: u64 = 8 * PAGE_SIZE;

/// Gets pages by v4.4's call or 6.18's, as the machine is, and gives them back.
fn grab(world: &World, mm: &Mm<TestHost>, start: VirtAddr, nr: u64, foll: Foll) {
    let mut pages: Vec<Option<Page>> = (0..nr).map(|_| None).collect();
    let task = &world.task;
    let pin = match world.machine.linux() {
        Linux::V4_4 => {
            let mut lock = Lock::Read(mm.read());
            let flags = (foll | Foll::GET | Foll::TOUCH).to_v4_4();
            let (start, out) = (start.get(), Some(&mut pages[..]));
            gup::abi::__get_user_pages(task, None, &mut lock, start, nr, flags, out, None, None);
            false
        }
        Linux::V6_18 => {
            let mut lock = Lock::Read(mm.read());
            let out = Some(&mut pages[..]);
            let entry = Entry::PinRemote;
            let _ = gup::gup::gup(entry, task, &mut lock, start, nr, foll, out, Locked::Given);
            true
        }
    };
    for page in pages.into_iter().flatten() {
        if pin {
            world.machine.unpin_pages(page.pfn(), 1);
        } else {
            gup::abi::put_page(&world.machine, page);
        }
    }
}

/// Touches a bit of everything; errors are taken as they come.
fn scenario(world: &World) {
    let (machine, mm, task) = (&world.machine, &world.mm, &world.task);
    let swap: Arc<dyn Store> = Arc::new(Kept::default());
    machine.swap().on(swap, 64);
    let file = machine.new_file(FileKind::Regular, PAGES, Some(Box::new(Kept::default())));
    let memfd = machine.new_file(FileKind::Shmem, PAGES, None);
    file.add_mapper(mm);
    memfd.add_mapper(mm);
    let anon = sys::mmap(mm, task, &MmapRequest::anonymous(PAGES, RW).at(page(0)));
    let maps = [
        MmapRequest::file(&file, 0, PAGES, RW, MapFlags::PRIVATE).at(page(16)),
        MmapRequest::file(&file, 0, PAGES, RW, MapFlags::SHARED).at(page(32)),
        MmapRequest::file(&memfd, 0, PAGES, RW, MapFlags::SHARED).at(page(48)),
        MmapRequest::anonymous(4 << 20, RW).at(page(1024)),
    ];
    for request in maps {
        let _ = sys::mmap(mm, task, &request);
    }
    let _ = mapping::madvise(mm, task, page(1024), 4 << 20, Advice::HugePage);
    for at in [0, 1, 17, 34, 49, 1024] {
        let _ = (world.store(page(at), 1), world.load(page(at + 1)));
    }
    for at in [0, 16, 32, 48, 1024] {
        grab(world, mm, page(at), 4, Foll::empty());
        grab(world, mm, page(at + 2), 4, Foll::WRITE);
    }
    let child = mapping::fork(&mut mm.write(), task);
    if let Ok(child) = &child {
        for at in [0, 16, 48, 1024] {
            grab(world, child, page(at), 6, Foll::WRITE);
        }
        let _ = child.pin::<Read>(task, page(2), 3);
    }
    let held = mm.pin::<Write>(task, page(3), 3);
    let _ = mapping::madvise(mm, task, page(0), PAGES, Advice::PageOut);
    let _ = mapping::madvise(mm, task, page(48), PAGES, Advice::PageOut);
    for at in 0..8 {
        let _ = (world.load(page(at)), world.store(page(48 + at), 3));
    }
    let mut pages = [const { None }; 8];
    let got = fast(FastEntry::Get, task, mm, page(0), 8, Foll::empty(), &mut pages);
    assert!(got.got <= 8);
    world.hold(pages.into_iter().flatten());
    let _ = sys::mprotect(mm, task, page(1), PAGE_SIZE, Prot::READ, mapping::GrowProt::Exact);
    let _ = sys::munmap(mm, page(3), PAGE_SIZE);
    let _ = sys::munmap(mm, page(1025), PAGE_SIZE);
    let _ = mapping::mlock(mm, task, page(16), PAGES);
    file.truncate(machine, PAGE_SIZE);
    memfd.punch_hole(machine, 1, 3);
    drop(held);
    world.put_all();
    let mms = child.iter().map(|child| &**child).chain([&**mm]);
    audit(machine, mms, &[&file, &memfd], &Held::new());
    drop(child);
    let _ = anon;
    exit(world, &[&file, &memfd]);
}

/// The process ends, and the files go.
fn exit(world: &World, files: &[&gup::file::File<TestHost>]) {
    let _ = sys::munmap(&world.mm, page(0), 0x1000_0000);
    for file in files {
        file.truncate(&world.machine, 0);
    }
    let stats = world.machine.frames().stats();
    assert_eq!((stats.of(Kind::File), stats.of(Kind::Shmem)), (0, 0), "page cache left behind");
}

/// How many points the scenario passes; the `fail`-th fails.
fn play(linux: Linux, fail: u64) -> u64 {
    let world = World::new(linux);
    let passed = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&passed);
    *world.host().inject.lock().unwrap() = Some(Box::new(move |point| match point {
        Injection::LockContended | Injection::StrayOutcome => false,
        Injection::TableAlloc
        | Injection::FolioAlloc(_)
        | Injection::Bookkeeping
        | Injection::SwapSlot => count.fetch_add(1, SeqCst) + 1 == fail,
    }));
    scenario(&world);
    let swap = world.machine.swap().free_slots();
    assert_eq!(swap, 64, "swap slots left behind at point {fail}");
    world.end();
    passed.load(SeqCst)
}

fn every_point(linux: Linux) {
    let points = play(linux, 0);
    assert!(points > 40, "the scenario allocates a lot: {points}");
    for fail in 1..=points {
        play(linux, fail);
    }
}

#[test]
fn a_failed_allocation_leaves_nothing_behind_on_v4_4() {
    every_point(Linux::V4_4);
}
#[test]
fn a_failed_allocation_leaves_nothing_behind_on_v6_18() {
    every_point(Linux::V6_18);
}

/// The same with two failures in a row, at every second point.
#[test]
fn a_run_of_failures_leaves_nothing_behind() {
    let points = play(Linux::V6_18, 0);
    for first in (1..=points).step_by(2) {
        let world = World::new(Linux::V6_18);
        let mut passed = 0;
        *world.host().inject.lock().unwrap() = Some(Box::new(move |point| {
            let never = matches!(point, Injection::LockContended | Injection::StrayOutcome);
            passed += u64::from(!never);
            !never && (first..first + 8).contains(&passed)
        }));
        scenario(&world);
        world.end();
    }
}
