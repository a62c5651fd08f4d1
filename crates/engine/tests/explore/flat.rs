//! The twin without an MMU: threads that map, unmap and pin the same flat memory.
//!
//! Promises: an anonymous mapping is zero, whoever had its frames before; a shared mapping of a
//! file shows the file from the start; a pinned frame is nobody else's, whoever unmaps it; at the
//! end no frame and no region is left.

use crate::host::ExploreHost;
use crate::scheduler::{Numbers, run};
use gup::addr::{PAGE_SIZE, VirtAddr};
use gup::file::{File, FileKind};
use gup::flags::{MapFlags, Prot};
use gup::host::{ReadMode, Store, StoreRead, StoreWrite};
use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig};
use gup::nommu::{FlatMemory, MapRequest, NommuMm, Pins, Source, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

const FRAMES: u64 = 48;
const FILE_PAGES: u64 = 2;
/// What every byte of the file is.
const FILLED: u8 = 0xa5;
const RW: Prot = Prot::READ.union(Prot::WRITE);

struct Filled;

impl Store for Filled {
    fn read_page(&self, _: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        into.fill(FILLED);
        StoreRead::Ready
    }
    fn write_page(&self, _: u64, _: &[u8]) -> StoreWrite {
        StoreWrite::Failed
    }
}

/// What one thread does at one time. `mm` is one of two address spaces.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Map {
        mm: usize,
        pages: u64,
    },
    MapFile {
        mm: usize,
        pgoff: u64,
    },
    /// Of what anybody mapped, the `pick`-th: all of it, or its first page.
    Unmap {
        pick: usize,
        whole: bool,
    },
    Pin {
        pick: usize,
        count: usize,
    },
    /// Stores a byte through the oldest pin, and looks whether the last one is still there.
    Store,
    Unpin,
}

impl Op {
    fn random(numbers: &mut Numbers) -> Self {
        let mut below = |count: usize| numbers.next(count as u64) as usize;
        let (mm, pick) = (below(2), below(8));
        match below(10) {
            0..2 => Self::Map { mm, pages: below(3) as u64 + 1 },
            2 => Self::MapFile { mm, pgoff: below(2) as u64 },
            3..5 => Self::Unmap { pick, whole: below(3) > 0 },
            5..8 => Self::Pin { pick, count: below(3) + 1 },
            8 => Self::Store,
            _ => Self::Unpin,
        }
    }
}

/// Pins that a thread holds, and the byte that it stored there last.
struct Held {
    pins: Pins<ExploreHost, Write>,
    byte: Option<u8>,
}

struct Flat {
    machine: Arc<Machine<ExploreHost>>,
    memory: Arc<FlatMemory<ExploreHost>>,
    mms: [Arc<NommuMm<ExploreHost>>; 2],
    file: Arc<File<ExploreHost>>,
    /// What was mapped: where, and how many pages.
    mapped: Mutex<Vec<(usize, VirtAddr, u64)>>,
}

impl Flat {
    fn new() -> Self {
        let config = MachineConfig::new(Linux::V6_18, FRAMES);
        let machine = Machine::new(ExploreHost::new(FRAMES), config).expect("frames");
        let flat = FlatMemory::new(&machine, VirtAddr::new(0x4000_0000)).expect("aligned");
        let mms = [NommuMm::new(&flat), NommuMm::new(&flat)];
        let bytes = FILE_PAGES * PAGE_SIZE;
        let file = machine.new_file(FileKind::Regular, bytes, Some(Box::new(Filled)));
        Self { machine, memory: flat, mms, file, mapped: Mutex::default() }
    }
    /// Maps, and looks at the bytes before anybody else does.
    fn map(&self, mm: usize, pages: u64, source: Source<'_, ExploreHost>, first: u8) {
        let anonymous = matches!(source, Source::Anonymous);
        let flags = if anonymous { MapFlags::PRIVATE } else { MapFlags::SHARED };
        let request = MapRequest { len: pages * PAGE_SIZE, prot: RW, flags, source };
        // With the lock held, nobody can pin them by an address that was mapped once before.
        let mut lock = self.mms[mm].write();
        let Ok(start) = lock.mmap(&request) else { return };
        // Frames of a file are stored to by whoever has them pinned, at byte 64 and behind.
        for n in 0..pages {
            let mut bytes = [0; 128];
            self.memory.read(start.saturating_add(n * PAGE_SIZE), &mut bytes);
            let own = if anonymous { &bytes[..] } else { &bytes[..64] };
            assert!(own.iter().all(|byte| *byte == first), "page {n} at {start:?}: {own:?}");
        }
        drop(lock);
        self.mapped.lock().unwrap().push((mm, start, pages));
    }
    fn play(&self, number: usize, held: &mut Vec<Held>, last: &mut u8, op: Op) {
        let picked = |pick: usize| {
            let mapped = self.mapped.lock().unwrap();
            mapped.get(pick % mapped.len().max(1)).copied()
        };
        match op {
            Op::Map { mm, pages } => self.map(mm, pages, Source::Anonymous, 0),
            Op::MapFile { mm, pgoff } => {
                let source = Source::File { file: &self.file, pgoff };
                self.map(mm, FILE_PAGES - pgoff, source, FILLED);
            }
            Op::Unmap { pick, whole } => {
                let Some((mm, start, pages)) = picked(pick) else { return };
                let pages = if whole { pages } else { 1 };
                let _ = self.mms[mm].write().munmap(start, pages * PAGE_SIZE);
            }
            Op::Pin { pick, count } => {
                let Some((mm, start, _)) = picked(pick) else { return };
                let pins = self.mms[mm].read().pin::<Write>(start, count);
                held.extend(pins.map(|pins| Held { pins, byte: None }));
            }
            Op::Store => {
                let Some(Held { pins, byte }) = held.first_mut() else { return };
                let mut seen = [0];
                pins.read(0, 64 + number, &mut seen);
                assert!(byte.is_none_or(|byte| seen == [byte]), "{seen:?}: a store is lost");
                *last += 1;
                *byte = Some(*last);
                pins.write(0, 64 + number, &[*last]);
            }
            Op::Unpin => drop(held.pop()),
        }
    }
    fn end(self, held: Vec<Vec<Held>>) {
        for pins in held.iter().flatten().map(|held| &held.pins) {
            let frames = (0..pins.len()).filter_map(|n| pins.frame(n));
            frames.for_each(|pfn| assert!(self.machine.frames().refs(pfn) > 0, "{pfn:?} is free"));
        }
        drop(held);
        let Self { machine, memory, mms, .. } = self;
        drop(mms);
        assert!(memory.regions().is_empty(), "regions left behind");
        let used: u64 = machine.frames().stats().used.iter().sum();
        // Frame 0 and the zero page.
        assert_eq!(used, 2, "frames left behind");
    }
}

/// Runs these programs in an order that `seed` chooses, and judges. Answers a number that stands
/// for the order, or says that a promise was broken.
pub fn perform(seed: u64, programs: &[Vec<Op>]) -> Result<u64, ()> {
    let world = Flat::new();
    let bodies = programs.iter().enumerate().map(|(number, program)| {
        let world = &world;
        move || {
            let (mut held, mut last) = (Vec::new(), 0);
            for op in program {
                world.play(number, &mut held, &mut last, *op);
            }
            held
        }
    });
    let (held, trace) = run(seed, bodies.collect());
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let held: Option<Vec<Vec<Held>>> = held.into_iter().collect();
        world.end(held.expect("every thread ends"));
    }));
    judged.map(|()| trace).map_err(|_| {
        eprintln!("seed {seed} breaks a promise without an MMU; its threads:");
        for program in programs {
            eprintln!("  {program:?}");
        }
    })
}

/// Makes programs of `seed`, and performs them in an order of `seed`.
pub fn explore(seed: u64) -> Result<u64, ()> {
    let mut numbers = Numbers::new(seed ^ 0x666c_6174);
    let threads = 2 + numbers.next(3);
    let programs: Vec<Vec<Op>> = (0..threads)
        .map(|_| (0..2 + numbers.next(7)).map(|_| Op::random(&mut numbers)).collect())
        .collect();
    perform(seed, &programs)
}
