//! Threads that get pages in every v4.4 way while others store, discard, unmap and fork: a page got
//! for an address never shows another address's bytes, however long it is held, and nothing leaks.
//! And 6.18's promise about fork: what was pinned for writing stays the parent's own.

use gup::abi;
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::fault::{FaultCx, handle_mm_fault};
use gup::flags::{FaultFlags, Foll, Prot};
use gup::frame::Kind;
use gup::gup::Page;
use gup::gup::fast::{FastEntry, fast};
use gup::heap_host::HeapHost;
use gup::host::Memory;
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, sys};
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::task::Task;
use std::sync::Arc;
use std::thread;

const PAGES: u64 = 24;
const ROUNDS: u64 = 10_000;
const THREADS: u64 = 4;
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// The address of page `n`.
fn page(n: u64) -> VirtAddr {
    VirtAddr::new(0x3000_0000_0000 + n * PAGE_SIZE)
}

/// The only byte that anybody ever stores at page `n`.
fn byte_of(n: u64) -> u8 {
    u8::try_from(n + 1).unwrap()
}

/// A small generator of numbers, one per thread.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    }
}

struct Space {
    machine: Arc<Machine<HeapHost>>,
    mm: Arc<Mm<HeapHost>>,
    task: Task,
}

impl Space {
    fn first_byte(&self, pfn: Pfn) -> u8 {
        let mut byte = [0];
        self.machine.memory().read(pfn, 0, &mut byte);
        byte[0]
    }
    /// Looks at pages got from page `from` on, as long as they are held, and gives them back.
    fn look_and_put(&self, from: u64, pages: &mut [Option<Page>]) {
        for _ in 0..4 {
            for (n, page) in (from..).zip(pages.iter()) {
                let Some(page) = page else { continue };
                assert!(self.machine.frames().refs(page.pfn()) > 0, "a page held is not free");
                let byte = self.first_byte(page.pfn());
                assert!(byte == 0 || byte == byte_of(n), "page {n} shows {byte}");
            }
        }
        for page in pages.iter_mut().filter_map(Option::take) {
            abi::put_page(&self.machine, page);
        }
    }
    /// Gets up to 4 pages from page `n` on in one of the ways there are.
    fn get(&self, way: u64, n: u64, write: i32) {
        let mut pages = [const { None }; 4];
        let (start, task, mm) = (page(n).get(), &self.task, &*self.mm);
        let got = match way {
            0 => i64::from(abi::get_user_pages_fast(task, mm, start, 4, write, &mut pages)),
            1 => i64::from(abi::__get_user_pages_fast(mm, start, 4, write, &mut pages)),
            2 => abi::get_user_pages_unlocked(task, None, mm, start, 4, write, 0, Some(&mut pages)),
            _ => {
                let mut lock = Lock::Read(mm.read());
                let out = Some(&mut pages[..]);
                abi::get_user_pages(task, None, &mut lock, start, 4, write, 0, out, None)
            }
        };
        let count = pages.iter().flatten().count();
        assert_eq!(count, usize::try_from(got).unwrap_or(0), "as many pages as it says");
        self.look_and_put(n, &mut pages);
    }
    fn step(&self, next: &mut impl FnMut(u64) -> u64) {
        let n = next(PAGES);
        match next(32) {
            way @ 0..20 => self.get(way % 4, n, i32::from(way < 10)),
            20..27 => {
                let mut bytes = [byte_of(n)];
                abi::access_remote_vm(&self.task, &self.mm, page(n).get(), &mut bytes, 1);
            }
            27..29 => {
                let mut writer = self.mm.write();
                let _ = mapping::munmap(&mut writer, page(n), PAGE_SIZE);
            }
            29 => {
                let request = MmapRequest::anonymous(PAGE_SIZE, RW).at(page(n));
                let _ = sys::mmap(&self.mm, &self.task, &request);
            }
            30 => {
                let child = mapping::fork(&mut self.mm.write(), &self.task).expect("a child");
                let mut bytes = [byte_of(n)];
                abi::access_remote_vm(&self.task, &child, page(n).get(), &mut bytes, 1);
            }
            _ => {
                let advice = Advice::DontNeed;
                let _ = mapping::madvise(&self.mm, &self.task, page(n), 4 * PAGE_SIZE, advice);
            }
        }
    }
}

#[test]
fn pages_got_while_others_unmap_and_fork_keep_their_bytes_and_nothing_leaks() {
    let config = MachineConfig::new(Linux::V4_4, 4096);
    let machine = Machine::new(HeapHost::new(4096), config).unwrap();
    let before = machine.frames().stats();
    let mm = Mm::new(&machine).unwrap();
    let space = Space { machine, mm, task: Task::default() };
    let request = MmapRequest::anonymous(PAGES * PAGE_SIZE, RW).at(page(0));
    sys::mmap(&space.mm, &space.task, &request).unwrap();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let space = &space;
            scope.spawn(move || {
                let mut next = numbers(0x51_7cc1 + thread);
                (0..ROUNDS).for_each(|_| space.step(&mut next));
            });
        }
    });
    let Space { machine, mm, .. } = space;
    drop(mm);
    let after = machine.frames().stats();
    for kind in [Kind::Anon, Kind::Table] {
        assert_eq!(after.of(kind), before.of(kind), "{kind:?} left behind");
    }
}

/// The process stores to page `n`; the frame that the store reaches.
fn store(mm: &Mm<HeapHost>, task: &Task, n: u64) -> Pfn {
    let map = mm.read();
    let vma = map.lookup(page(n)).expect("an area");
    loop {
        let walked = mm.tables().walk(page(n));
        if let Some(pfn) = walked.frame(page(n)).filter(|_| walked.entry.is_writable()) {
            return pfn;
        }
        let cx = FaultCx { mm, map: &map, vma, task };
        let _ = handle_mm_fault(&cx, page(n), FaultFlags::WRITE | FaultFlags::USER);
    }
}

#[test]
fn a_page_pinned_for_writing_stays_the_process_s_own_however_often_it_forks() {
    let machine =
        Machine::new(HeapHost::new(4096), MachineConfig::new(Linux::V6_18, 4096)).unwrap();
    let before = machine.frames().stats();
    let (mm, task) = (Mm::new(&machine).unwrap(), Task::default());
    let request = MmapRequest::anonymous(THREADS * PAGE_SIZE, RW).at(page(0));
    sys::mmap(&mm, &task, &request).unwrap();
    thread::scope(|scope| {
        let (mm, task, machine) = (&*mm, &task, &machine);
        for n in 0..THREADS - 1 {
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let mut pages = [None];
                    let outcome =
                        fast(FastEntry::Pin, task, mm, page(n), 1, Foll::WRITE, &mut pages);
                    assert_eq!(outcome.got, 1);
                    let pinned = pages[0].take().unwrap().pfn();
                    for _ in 0..4 {
                        assert_eq!(store(mm, task, n), pinned, "the pin and the process part");
                    }
                    machine.unpin_pages(pinned, 1);
                    store(mm, task, n);
                }
            });
        }
        scope.spawn(move || {
            for round in 0..ROUNDS / 8 {
                let child = mapping::fork(&mut mm.write(), task).expect("a child");
                store(&child, task, round % THREADS);
            }
        });
    });
    drop(mm);
    let after = machine.frames().stats();
    assert_eq!(after.of(Kind::Anon), before.of(Kind::Anon));
}
