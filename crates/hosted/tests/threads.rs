//! Many threads of this machine on one address space: faults beside one another, pins that take no
//! lock, and in the middle of them munmap, mmap and fork. Each promise is put to both ways in which
//! freed tables wait for walks.

use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::file::FileKind;
use gup::flags::{Foll, MapFlags, Prot};
use gup::frame::Kind;
use gup::gup::Page;
use gup::gup::fast::{FastEntry, fast};
use gup::gup::unpin::unpin_user_pages;
use gup::host::{ReadMode, Store, StoreRead, StoreWrite};
use gup::linux::Linux;
use gup::mapping::{self, MmapRequest, sys};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::observe::Silent;
use gup::pgtable::{Reclaim, Walkers, X86_64};
use gup::task::Task;
use gup_hosted::{Epochs, HostedMemory, Std};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::thread;

type Host<R> = Std<HostedMemory, Silent, X86_64, R>;

const RW: Prot = Prot::READ.union(Prot::WRITE);
/// 32 MiB.
const FRAMES: u64 = 8192;
/// Areas of one page table each, and their pages.
const AREAS: u64 = 6;
const PAGES: u64 = 48;
/// Pages of one call.
const CALL: usize = 8;
/// Threads that fault and pin, and their calls.
const PINNERS: u64 = 4;
const CALLS: u64 = 6000;
/// What the thread that unmaps, and the one that forks, do at most.
const EDITS: u64 = 1500;

fn machine<R: Reclaim>() -> Arc<Machine<Host<R>>> {
    let memory = HostedMemory::anonymous(FRAMES).expect("memory");
    Machine::new(Std::new(memory, Silent), MachineConfig::new(Linux::V6_18, FRAMES))
        .expect("a frame")
}

fn area(n: u64) -> VirtAddr {
    VirtAddr::new(0x2000_0000_0000 + (n << 21))
}

/// A small generator of numbers, one per thread.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

struct Crowd<R: Reclaim> {
    machine: Arc<Machine<Host<R>>>,
    mm: Arc<Mm<Host<R>>>,
    task: Task,
    /// Threads that still pin.
    busy: AtomicUsize,
    /// Pages that were pinned.
    pinned: AtomicUsize,
}

impl<R: Reclaim> Crowd<R> {
    fn new() -> Self {
        let machine = machine();
        let mm = Mm::new(&machine).expect("a frame");
        let (busy, pinned) = (AtomicUsize::new(PINNERS as usize), AtomicUsize::new(0));
        let crowd = Self { machine, mm, task: Task::default(), busy, pinned };
        (0..AREAS).for_each(|n| crowd.map(n));
        crowd
    }
    fn map(&self, n: u64) {
        let request = MmapRequest::anonymous(PAGES * PAGE_SIZE, RW).at(area(n));
        sys::mmap(&self.mm, &self.task, &request).expect("mapped");
    }
    /// Faults and pins, writes through the pins, reads it back, and gives the pages back.
    fn pin(&self, me: u64) {
        let mut next = Numbers(me + 1);
        for call in 0..CALLS {
            let mut pages = [const { None }; CALL];
            let at = area(next.below(AREAS)).wrapping_add(next.below(PAGES) * PAGE_SIZE);
            let outcome = fast(
                FastEntry::Pin,
                &self.task,
                &self.mm,
                at,
                CALL as u64,
                Foll::WRITE,
                &mut pages,
            );
            self.pinned.fetch_add(outcome.got as usize, Relaxed);
            self.use_pins(&pages, me << 32 | call);
            unpin_user_pages(&self.machine, &mut pages);
        }
        self.busy.fetch_sub(1, Relaxed);
    }
    /// What is pinned for writing is nobody else's, mapped still or not: each thread has 8 bytes.
    fn use_pins(&self, pages: &[Option<Page>], what: u64) {
        let (memory, frames) = (self.machine.memory(), self.machine.frames());
        let own = (what >> 32) as usize * size_of::<u64>();
        let held: Vec<Pfn> = pages.iter().flatten().map(Page::pfn).collect();
        for &pfn in &held {
            gup::host::Memory::write(memory, pfn, own, &what.to_ne_bytes());
        }
        for &pfn in &held {
            assert!(
                frames.pins(pfn) > 0 && frames.kind(pfn) == Kind::Anon,
                "a pin on a freed page"
            );
            let mut bytes = [0; size_of::<u64>()];
            gup::host::Memory::read(memory, pfn, own, &mut bytes);
            assert_eq!(u64::from_ne_bytes(bytes), what, "a pinned page was given to another");
        }
    }
    /// Does `edit` until nobody pins any more, or often enough.
    fn meanwhile(&self, seed: u64, mut edit: impl FnMut(u64)) {
        let mut next = Numbers(seed);
        for _ in 0..EDITS {
            if self.busy.load(Relaxed) == 0 {
                break;
            }
            edit(next.below(AREAS));
            thread::yield_now();
        }
    }
    fn unmap(&self, n: u64) {
        sys::munmap(&self.mm, area(n), PAGES * PAGE_SIZE).expect("unmapped");
        self.map(n);
    }
    /// A child that goes at once, or stays until the next.
    fn fork(&self, n: u64, child: &mut Option<Arc<Mm<Host<R>>>>) {
        *child = Some(mapping::fork(&mut self.mm.write(), &self.task).expect("frames enough"));
        if n == 0 {
            *child = None;
        }
    }
}

fn counts_balance<R: Reclaim>() {
    let crowd = Crowd::<R>::new();
    let in_use = |machine: &Machine<Host<R>>| machine.frames().stats();
    let before = in_use(&machine::<R>());
    thread::scope(|scope| {
        let crowd = &crowd;
        (0..PINNERS).for_each(|me| drop(scope.spawn(move || crowd.pin(me))));
        scope.spawn(|| crowd.meanwhile(11, |n| crowd.unmap(n)));
        scope.spawn(|| {
            let mut child = None;
            crowd.meanwhile(13, |n| crowd.fork(n, &mut child));
        });
    });
    let Crowd { machine, mm, pinned, .. } = crowd;
    assert!(pinned.into_inner() as u64 > CALLS, "most calls pin");
    drop(mm);
    assert_eq!(in_use(&machine), before, "every frame came back, every count with it");
}

#[test]
fn counts_balance_after_faults_fast_pins_munmap_and_fork_at_once_with_the_engine_s_walkers() {
    counts_balance::<Walkers<32>>();
}
#[test]
fn counts_balance_when_threads_share_what_their_walks_are_counted_on() {
    counts_balance::<Walkers>();
}
#[test]
fn counts_balance_after_faults_fast_pins_munmap_and_fork_at_once_with_epochs() {
    counts_balance::<Epochs>();
}

/// A store that answers when as many threads read as there are.
struct Together(Arc<Barrier>);

impl Store for Together {
    fn read_page(&self, _: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        self.0.wait();
        into.fill(7);
        StoreRead::Ready
    }
    fn write_page(&self, _: u64, _: &[u8]) -> StoreWrite {
        StoreWrite::Done
    }
}

#[test]
fn faults_of_one_address_space_run_side_by_side_while_another_thread_reads_its_map() {
    let machine = machine::<Walkers<32>>();
    let (mm, task) = (Mm::new(&machine).expect("a frame"), Task::default());
    let together = Arc::new(Barrier::new(PINNERS as usize));
    for n in 0..PINNERS {
        let store = Box::new(Together(Arc::clone(&together)));
        let file = machine.new_file(FileKind::Regular, PAGE_SIZE, Some(store));
        let request = MmapRequest::file(&file, 0, PAGE_SIZE, Prot::READ, MapFlags::PRIVATE);
        sys::mmap(&mm, &task, &request.at(area(n))).expect("mapped");
    }
    let reader = mm.read();
    thread::scope(|scope| {
        for n in 0..PINNERS {
            let (mm, task, machine) = (&mm, &task, &machine);
            scope.spawn(move || {
                // The read of this page ends when all threads are in theirs.
                let mut pages = [None];
                let got = fast(FastEntry::Get, task, mm, area(n), 1, Foll::empty(), &mut pages);
                assert_eq!(got.got, 1, "{got:?}");
                pages.into_iter().flatten().for_each(|page| gup::abi::put_page(machine, page));
            });
        }
    });
    drop(reader);
}

/// A wait ends only when the walk that was there has.
fn waits_for_those_who_are_inside<R: Reclaim>() {
    let walkers = R::default();
    let (entered, turns) = (Barrier::new(2), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let inside = walkers.enter(1);
            entered.wait();
            while turns.load(Relaxed) < 3 {
                thread::yield_now();
            }
            drop(inside);
        });
        entered.wait();
        walkers.wait(|| {
            turns.fetch_add(1, Relaxed);
        });
        assert!(turns.load(Relaxed) >= 3, "left before the walk did");
    });
}

#[test]
fn a_wait_lasts_as_long_as_the_walks_that_it_found() {
    waits_for_those_who_are_inside::<Walkers<32>>();
    waits_for_those_who_are_inside::<Walkers>();
    waits_for_those_who_are_inside::<Epochs>();
}

/// A walk that begins once the wait has begun, and goes on until the wait has ended. (Epochs wait
/// for it, too.)
fn ends_though_another_walk_began<R: Reclaim>() {
    let (done, told) = (Barrier::new(2), AtomicUsize::new(0));
    let walkers = R::default();
    thread::scope(|scope| {
        let inside = walkers.enter(1);
        scope.spawn(|| {
            walkers.wait(|| {
                told.fetch_add(1, Relaxed);
            });
            done.wait();
        });
        while told.load(Relaxed) == 0 {
            thread::yield_now();
        }
        drop(inside);
        let _later = walkers.enter(1);
        done.wait();
    });
}

#[test]
fn a_wait_does_not_last_longer_than_the_walks_that_it_found() {
    ends_though_another_walk_began::<Walkers<32>>();
    ends_though_another_walk_began::<Walkers>();
}
