//! Threads that fault, get, pin and discard while another edits, forks and swaps, with huge pages
//! and small: when all is quiet again, the books are right ([`crate::audit`]).

use crate::audit::{Held, audit};
use crate::failures::Kept;
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::file::{File, FileKind};
use gup::flags::{Foll, MapFlags, Prot};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page};
use gup::heap_host::HeapHost;
use gup::host::Store;
use gup::linux::Linux;
use gup::mapping::{self, Advice, MmapRequest, MremapFlags, MremapRequest, sys};
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::task::Task;
use std::sync::Arc;
use std::thread;

const RW: Prot = Prot::READ.union(Prot::WRITE);
const FRAMES: u64 = 3000;
/// Small pages at 0 to 24, a file's at 24 to 32, a huge page at 512.
const HUGE: u64 = 512;
const ROUNDS: u64 = 4000;

fn page(n: u64) -> VirtAddr {
    VirtAddr::new(0x3000_0000_0000 + n * PAGE_SIZE)
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
    /// A page of the arena.
    fn page(&mut self) -> u64 {
        if self.below(3) == 0 { HUGE + self.below(16) * 32 } else { self.below(32) }
    }
}

struct Crowd {
    machine: Arc<Machine<HeapHost>>,
    mm: Arc<Mm<HeapHost>>,
    file: Arc<File<HeapHost>>,
    task: Task,
}

impl Crowd {
    fn new(linux: Linux) -> Self {
        let config = MachineConfig::new(linux, FRAMES);
        let machine = Machine::new(HeapHost::new(FRAMES), config).expect("frames");
        let swap: Arc<dyn Store> = Arc::new(Kept::default());
        machine.swap().on(swap, 64);
        let file = machine.new_file(FileKind::Shmem, 8 * PAGE_SIZE, None);
        let mm = Mm::new(&machine).expect("a frame");
        Self { machine, mm, file, task: Task::default() }
    }
    fn map(&self, small: bool) {
        let (mm, task) = (&*self.mm, &self.task);
        if small {
            let file = MmapRequest::file(&self.file, 0, 8 * PAGE_SIZE, RW, MapFlags::SHARED);
            let _ = sys::mmap(mm, task, &MmapRequest::anonymous(24 * PAGE_SIZE, RW).at(page(0)));
            let _ = sys::mmap(mm, task, &file.at(page(24)));
        } else {
            let huge = MmapRequest::anonymous(HUGE * PAGE_SIZE, RW).at(page(HUGE));
            let _ = sys::mmap(mm, task, &huge);
            let _ = mapping::madvise(mm, task, page(HUGE), HUGE * PAGE_SIZE, Advice::HugePage);
        }
    }

    /// One step of a thread that uses the memory.
    fn use_it(&self, next: &mut Numbers) {
        let (mm, task) = (&*self.mm, &self.task);
        let mut pages = [const { None }; 6];
        let at = page(next.page());
        let foll = if next.below(2) == 0 { Foll::WRITE } else { Foll::empty() };
        let pinned = match next.below(6) {
            0 => {
                let _ = fast(FastEntry::Pin, task, mm, at, 6, foll, &mut pages);
                true
            }
            1 => {
                let _ = fast(FastEntry::Get, task, mm, at, 6, foll, &mut pages);
                false
            }
            2 | 3 => {
                let mut lock = Lock::Read(mm.read());
                let out = Some(&mut pages[..]);
                let entry = Entry::PinRemote;
                let _ = gup::gup::gup(entry, task, &mut lock, at, 6, foll, out, Locked::Given);
                true
            }
            4 => {
                let write = i32::from(foll.contains(Foll::WRITE));
                gup::abi::get_user_pages_fast(task, mm, at.get(), 6, write, &mut pages);
                false
            }
            _ => {
                let advice = [Advice::DontNeed, Advice::PageOut, Advice::Free, Advice::Cold];
                let advice = advice[usize::try_from(next.below(4)).unwrap()];
                let _ = mapping::madvise(mm, task, at, 3 * PAGE_SIZE, advice);
                false
            }
        };
        for page in pages.into_iter().flatten() {
            self.give_back(page, pinned);
        }
    }
    fn give_back(&self, page: Page, pinned: bool) {
        if pinned {
            self.machine.unpin_pages(page.pfn(), 1);
        } else {
            gup::abi::put_page(&self.machine, page);
        }
    }

    /// One step of the thread that edits the map.
    fn edit(&self, next: &mut Numbers, children: &mut Vec<Arc<Mm<HeapHost>>>) {
        let (mm, task) = (&*self.mm, &self.task);
        let at = next.page();
        match next.below(10) {
            0 => self.map(true),
            1 => self.map(false),
            2 => {
                let _ = sys::munmap(mm, page(at), 2 * PAGE_SIZE);
            }
            3 | 4 => {
                let prot = if next.below(2) == 0 { Prot::READ } else { RW };
                let grow = mapping::GrowProt::Exact;
                let _ = sys::mprotect(mm, task, page(at), 4 * PAGE_SIZE, prot, grow);
            }
            5 => {
                let (old_bytes, new_bytes) = (2 * PAGE_SIZE, 2 * PAGE_SIZE);
                let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
                let (addr, new_addr) = (page(at), page(next.page()));
                let request = MremapRequest { addr, old_bytes, new_bytes, flags, new_addr };
                let _ = sys::mremap(mm, task, &request);
            }
            6 => {
                self.file.punch_hole(&self.machine, next.below(8), next.below(8));
            }
            _ => {
                if children.len() > 2 {
                    children.clear();
                }
                children.extend(mapping::fork(&mut mm.write(), task));
                let child = next.below(4) > 0 && !children.is_empty();
                if let Some(child) = children.last().filter(|_| child) {
                    let mut bytes = [1];
                    gup::abi::access_remote_vm(task, child, page(at).get(), &mut bytes, 1);
                }
            }
        }
    }
}

fn all_at_once(linux: Linux, seed: u64) {
    let crowd = Crowd::new(linux);
    crowd.map(true);
    crowd.map(false);
    let mut children = Vec::new();
    thread::scope(|scope| {
        for thread in 1..3 {
            let (crowd, mut next) = (&crowd, Numbers(seed * 977 + thread));
            scope.spawn(move || (0..ROUNDS).for_each(|_| crowd.use_it(&mut next)));
        }
        let mut next = Numbers(seed);
        (0..ROUNDS / 2).for_each(|_| crowd.edit(&mut next, &mut children));
    });
    let mms = children.iter().map(|child| &**child).chain([&*crowd.mm]);
    audit(&crowd.machine, mms, &[&crowd.file], &Held::new());
    drop(children);
    let Crowd { machine, mm, file, .. } = crowd;
    drop(mm);
    file.truncate(&machine, 0);
    audit(&machine, [], &[], &Held::new());
    assert_eq!(machine.swap().free_slots(), 64, "swap slots left behind");
}

#[test]
fn the_books_are_right_after_a_crowd_on_v4_4() {
    (1..3).for_each(|seed| all_at_once(Linux::V4_4, seed));
}

#[test]
fn the_books_are_right_after_a_crowd_on_v6_18() {
    (1..3).for_each(|seed| all_at_once(Linux::V6_18, seed));
}
