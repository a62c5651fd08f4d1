//! Small random programs of two or three threads in one process, and what must hold while and after
//! they run.
//!
//! *Detached*: the process itself took the page away from the address (munmap, `MADV_DONTNEED`), so
//! that its pins and the address part rightly. Promises looked at: a page handed out is the
//! address's own and in use (no reference on a freed frame); a pin that nothing detached is reached
//! by the process's next store (no lost pin); a pinned anonymous page has one mapping at most (no
//! pinned page shared); the books are right, and everything is given back. Absent: files, hugetlb.

use crate::audit::{Held, audit};
use crate::host::ExploreHost;
use crate::scheduler::{Numbers, run, walks};
use gup::addr::{PAGE_SIZE, PMD_ORDER, Pfn, VirtAddr};
use gup::fault::{FaultCx, handle_mm_fault};
use gup::flags::{FaultFlags, Foll, Prot};
use gup::frame::{FrameFlags, Kind};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page};
use gup::host::{ReadMode, Store, StoreRead, StoreWrite};
use gup::linux::Linux;
use gup::mapping::{self, Advice, GrowProt, MmapRequest, sys};
use gup::mm::{Lock, Machine, MachineConfig, Mm};
use gup::task::Task;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

const RW: Prot = Prot::READ.union(Prot::WRITE);
/// Pages of the areas: three neighbours, and two that stand alone under tables of their own.
const PLACES: [u64; 5] = [0, 1, 2, 7 << 9, 9 << 9 | 1];
/// A huge area's first page.
const HUGE: u64 = 64 << 9;
/// The pages of it that programs touch.
const HUGE_PLACES: [u64; 3] = [HUGE, HUGE + 1, HUGE + 511];

fn page(n: u64) -> VirtAddr {
    VirtAddr::new(0x5555_4000_0000 + n * PAGE_SIZE)
}

/// What one thread does at one time. `at` is a place's index.
#[derive(Clone, Copy, Debug)]
enum Op {
    Fast {
        at: usize,
        write: bool,
        pin: bool,
    },
    Slow {
        at: usize,
        write: bool,
    },
    GiveBack,
    Fork {
        store: bool,
    },
    Exit,
    Unmap {
        at: usize,
    },
    Map {
        at: usize,
    },
    Protect {
        at: usize,
        prot: Prot,
    },
    Store {
        at: usize,
    },
    DontNeed {
        at: usize,
    },
    PageOut {
        at: usize,
    },
    /// Two places lose their pages, and get each other's frames, as free lists go.
    Exchange {
        at: usize,
        other: usize,
    },
}

impl Op {
    fn random(numbers: &mut Numbers, places: &[usize]) -> Self {
        let mut place = || places[numbers.next(places.len() as u64) as usize];
        let (at, other) = (place(), place());
        match numbers.next(27) {
            0..5 => Self::Fast { at, write: numbers.next(3) != 0, pin: numbers.next(4) != 0 },
            5..7 => Self::Slow { at, write: numbers.next(2) == 0 },
            7..9 => Self::GiveBack,
            9..12 => Self::Fork { store: numbers.next(2) == 0 },
            12 => Self::Exit,
            13..15 => Self::Unmap { at },
            15..17 => Self::Map { at },
            17 => Self::Protect { at, prot: Prot::READ },
            18 => Self::Protect { at, prot: RW },
            19..21 => Self::Store { at },
            21 => Self::DontNeed { at },
            22..25 => Self::Exchange { at, other },
            _ => Self::PageOut { at },
        }
    }
}

/// Swap that keeps what it is given.
#[derive(Default)]
struct Kept(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Store for Kept {
    fn read_page(&self, index: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        match self.0.lock().unwrap().get(&index) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => into.fill(0),
        }
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        self.0.lock().unwrap().insert(index, from.to_vec());
        StoreWrite::Done
    }
}

/// Something got, and not given back yet.
#[derive(Debug)]
struct Got {
    pfn: Pfn,
    at: usize,
    pin: bool,
    /// [`World::detached`] of the place before the call.
    since: u64,
}

struct World {
    machine: Arc<Machine<ExploreHost>>,
    mm: Arc<Mm<ExploreHost>>,
    task: Task,
    places: Vec<u64>,
    /// How often each place's page was taken from it; odd steps while that happens.
    detached: Vec<AtomicU64>,
}

/// What a thread keeps.
#[derive(Default)]
struct Mine {
    got: Vec<Got>,
    children: Vec<Arc<Mm<ExploreHost>>>,
}

impl World {
    fn new(huge: bool) -> Self {
        let frames = if huge { 4 << PMD_ORDER } else { 96 };
        let config = MachineConfig::new(Linux::V6_18, frames);
        let machine = Machine::new(ExploreHost::new(frames), config).expect("frames");
        machine.host().watch(Arc::downgrade(&machine));
        machine.swap().on(Arc::new(Kept::default()), 32);
        let mm = Mm::new(&machine).expect("a root table");
        let places = if huge { HUGE_PLACES.to_vec() } else { PLACES.to_vec() };
        let detached = places.iter().map(|_| AtomicU64::new(0)).collect();
        let world = Self { machine, mm, task: Task::default(), places, detached };
        if huge {
            let bytes = PAGE_SIZE << PMD_ORDER;
            let request = MmapRequest::anonymous(bytes, RW).at(page(HUGE));
            sys::mmap(&world.mm, &world.task, &request).expect("a huge area");
            let advice = Advice::HugePage;
            mapping::madvise(&world.mm, &world.task, page(HUGE), bytes, advice).expect("advice");
        }
        for at in 0..world.places.len() {
            if !huge {
                world.map(at);
            }
            store(&world.mm, &world.task, world.address(at));
        }
        world
    }
    fn address(&self, at: usize) -> VirtAddr {
        page(self.places[at])
    }
    /// Something that takes the page away from the place, or may.
    fn detaching<T>(&self, at: usize, then: impl FnOnce() -> T) -> T {
        self.detached[at].fetch_add(1, SeqCst);
        let result = then();
        self.detached[at].fetch_add(1, SeqCst);
        result
    }
    fn map(&self, at: usize) {
        let request = MmapRequest::anonymous(PAGE_SIZE, RW).at(self.address(at));
        let _ = self.detaching(at, || sys::mmap(&self.mm, &self.task, &request));
    }
    fn advise(&self, at: usize, advice: Advice) {
        let _ = mapping::madvise(&self.mm, &self.task, self.address(at), PAGE_SIZE, advice);
    }

    fn play(&self, mine: &mut Mine, op: Op) {
        walks(false);
        match op {
            Op::Fast { at, write, pin } => self.fast(mine, at, write, pin),
            Op::Slow { at, write } => self.slow(mine, at, write),
            Op::GiveBack => {
                if let Some(got) = mine.got.pop() {
                    self.give_back(&got);
                }
            }
            Op::Fork { store: stores } => {
                let child = mapping::fork(&mut self.mm.write(), &self.task);
                let Ok(child) = child else { return };
                if stores {
                    store(&child, &self.task, self.address(0));
                }
                mine.children.push(child);
            }
            Op::Exit => drop(mine.children.pop()),
            Op::Unmap { at } => self.detaching(at, || {
                let _ = sys::munmap(&self.mm, self.address(at), PAGE_SIZE);
            }),
            Op::Map { at } => self.map(at),
            Op::Protect { at, prot } => {
                let grow = GrowProt::Exact;
                let _ =
                    sys::mprotect(&self.mm, &self.task, self.address(at), PAGE_SIZE, prot, grow);
            }
            Op::Store { at } => {
                store(&self.mm, &self.task, self.address(at));
            }
            Op::DontNeed { at } => self.detaching(at, || self.advise(at, Advice::DontNeed)),
            Op::Exchange { at, other } => self.detaching(at, || {
                self.detaching(other, || {
                    self.advise(at, Advice::DontNeed);
                    self.advise(other, Advice::DontNeed);
                    store(&self.mm, &self.task, self.address(other));
                    store(&self.mm, &self.task, self.address(at));
                });
            }),
            Op::PageOut { at } => self.advise(at, Advice::PageOut),
        }
    }
    fn fast(&self, mine: &mut Mine, at: usize, write: bool, pin: bool) {
        let since = self.detached[at].load(SeqCst);
        let entry = if pin { FastEntry::Pin } else { FastEntry::GetOnly };
        let foll = if write { Foll::WRITE } else { Foll::empty() };
        let mut pages = [None];
        let _ = fast(entry, &self.task, &self.mm, self.address(at), 1, foll, &mut pages);
        self.keep(mine, pages, Got { pfn: Pfn::new(0), at, pin, since });
    }
    fn slow(&self, mine: &mut Mine, at: usize, write: bool) {
        let since = self.detached[at].load(SeqCst);
        let foll = if write { Foll::WRITE } else { Foll::empty() };
        let mut pages = [None];
        let mut lock = Lock::Dropped(&*self.mm);
        let (entry, out) = (Entry::PinUnlocked, Some(&mut pages[..]));
        let start = self.address(at);
        let _ = gup::gup::gup(entry, &self.task, &mut lock, start, 1, foll, out, Locked::Given);
        self.keep(mine, pages, Got { pfn: Pfn::new(0), at, pin: true, since });
    }
    /// Looks at what was handed out, and keeps it.
    fn keep(&self, mine: &mut Mine, [page]: [Option<Page>; 1], got: Got) {
        let Some(page) = page else { return };
        let pfn = page.pfn();
        // Zero pages are never pinned; a reference to one is nobody's concern.
        let frames = self.machine.frames();
        if frames.kind(pfn) == Kind::Special {
            if !got.pin {
                gup::abi::put_page(&self.machine, page);
            }
            return;
        }
        assert_eq!(frames.kind(pfn), Kind::Anon, "{pfn:?}, handed out for place {}", got.at);
        let index = frames.index_of(pfn);
        let wanted = self.address(got.at).page_number() & 0xffff_ffff;
        // A page of the swap cache is named by its slot.
        let named = !frames.has(pfn, FrameFlags::SWAPCACHE);
        assert!(!named || index == wanted, "{pfn:?} is not the page of place {}", got.at);
        mine.got.push(Got { pfn, ..got });
    }
    fn give_back(&self, got: &Got) {
        if got.pin {
            self.machine.unpin_pages(got.pfn, 1);
        } else {
            self.machine.put_page(got.pfn);
        }
    }

    /// Everything is at rest.
    fn judge(&self, mine: &[Mine]) {
        let frames = self.machine.frames();
        let mut held = Held::new();
        for got in mine.iter().flat_map(|mine| &mine.got) {
            assert!(frames.refs(got.pfn) > 0, "{got:?} is free");
            *held.entry(frames.head(got.pfn)).or_default() += 1;
            if got.pin {
                assert!(frames.pins(got.pfn) > 0, "{got:?}: the pin is gone");
                let maps = frames.mapcount(got.pfn);
                assert!(maps <= 1, "{got:?}: pinned, and mapped {maps} times");
            }
        }
        let children = mine.iter().flat_map(|mine| &mine.children);
        audit(&self.machine, children.map(|child| &**child).chain([&*self.mm]), &[], &held);
        for got in mine.iter().flat_map(|mine| &mine.got) {
            if got.pin && self.detached[got.at].load(SeqCst) == got.since {
                let _ = sys::mprotect(
                    &self.mm,
                    &self.task,
                    self.address(got.at),
                    PAGE_SIZE,
                    RW,
                    GrowProt::Exact,
                );
                let reached = store(&self.mm, &self.task, self.address(got.at));
                assert_eq!(reached, Some(got.pfn), "{got:?}: the pin and the process part");
            }
        }
    }
    /// Everything is given back.
    fn end(self, mine: Vec<Mine>) {
        for got in mine.iter().flat_map(|mine| &mine.got) {
            self.give_back(got);
        }
        drop(mine);
        let Self { machine, mm, .. } = self;
        drop(mm);
        let stats = machine.frames().stats();
        assert_eq!(stats.of(Kind::Anon), 0, "pages left behind");
        assert_eq!(stats.of(Kind::Table), 0, "tables left behind");
    }
}

/// The process stores at `addr`; the page that it reaches.
fn store(mm: &Mm<ExploreHost>, task: &Task, addr: VirtAddr) -> Option<Pfn> {
    for _ in 0..8 {
        let map = mm.read();
        let vma = map.lookup(addr)?;
        let walked = mm.tables().walk(addr);
        if let Some(pfn) = walked.frame(addr).filter(|_| walked.entry.is_writable()) {
            return Some(pfn);
        }
        let cx = FaultCx { mm, map: &map, vma, task };
        let _ = handle_mm_fault(&cx, addr, FaultFlags::WRITE | FaultFlags::USER);
    }
    None
}

/// Makes a program of `seed`, runs it in an order of `seed`, and judges it. Answers a number that
/// stands for the order, or says that a promise was broken.
pub fn explore(seed: u64) -> Result<u64, ()> {
    let mut numbers = Numbers::new(seed ^ 0x6775_7000);
    let huge = numbers.next(8) == 0;
    let world = World::new(huge);
    let threads = 2 + numbers.next(2);
    // In every third run all meet at few places.
    let count = world.places.len();
    let mut places: Vec<usize> = (0..count).collect();
    if numbers.next(3) == 0 {
        places = vec![count - 1, numbers.next(count as u64) as usize];
    }
    let programs: Vec<Vec<Op>> = (0..threads)
        .map(|_| {
            let length = 2 + numbers.next(5);
            (0..length).map(|_| Op::random(&mut numbers, &places)).collect()
        })
        .collect();
    let bodies = programs.iter().map(|program| {
        let world = &world;
        move || {
            let mut mine = Mine::default();
            for &op in program {
                world.play(&mut mine, op);
            }
            mine
        }
    });
    let (mine, trace) = run(seed, bodies.collect());
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mine: Option<Vec<Mine>> = mine.into_iter().collect();
        let mine = mine.expect("every thread ends");
        world.judge(&mine);
        world.end(mine);
    }));
    judged.map(|()| trace).map_err(|_| {
        eprintln!("seed {seed} breaks a promise; its threads:");
        for program in programs {
            eprintln!("  {program:?}");
        }
    })
}
