//! Page tables beside the `x86_64` crate's: nanoseconds per 4 KiB page, medians.
//!
//! Both work in memory of one kind, a flat array of frames; the peer has tables of its own there.
//! Run: `cargo bench -p gup --bench pgtable`.

use gup::addr::{Pfn, VirtAddr, VirtRange};
use gup::frame::{Frames, FramesConfig};
use gup::host::{Host, Memory, Ticket, WaitMode, Woken};
use gup::observe::Silent;
use gup::pgtable::{Cursor, Entry, Perms, RunTo, Tables, Walkers, X86_64};
use gup::task::Task;
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use x86_64::structures::paging::mapper::{CleanUp, MappedPageTable, PageTableFrameMapping};
use x86_64::structures::paging::{
    FrameAllocator, Mapper, Page, PageTable, PageTableFlags, PhysFrame, Size4KiB,
};

const PAGES: u64 = 1 << 16;
const BASE: u64 = 0x7000_0000_0000;
const ROUNDS: usize = 21;

/// Frames one after another.
struct Flat(Box<[[AtomicU64; 512]]>);

impl Flat {
    fn frame(&self, pfn: Pfn) -> &[AtomicU64; 512] {
        &self.0[usize::try_from(pfn.get()).expect("64-bit host")]
    }
}

impl Memory for Flat {
    fn frames(&self) -> u64 {
        self.0.len() as u64
    }
    #[inline]
    fn table(&self, pfn: Pfn) -> &[AtomicU64; 512] {
        self.frame(pfn)
    }
    fn zero(&self, pfn: Pfn, count: u64) {
        for n in 0..count {
            self.frame(pfn.offset(n)).iter().for_each(|word| word.store(0, Relaxed));
        }
    }
    fn copy(&self, _: Pfn, _: Pfn, _: u64) {}
    fn read(&self, _: Pfn, _: usize, _: &mut [u8]) {}
    fn write(&self, _: Pfn, _: usize, _: &[u8]) {}
}

struct Bench(Flat);

impl Host for Bench {
    type Memory = Flat;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    type Format = X86_64;
    type Observer = Silent;
    type Reclaim = Walkers;
    const HARDWARE_WALKS: bool = false;
    fn memory(&self) -> &Flat {
        &self.0
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
}

/// The peer's memory: tables in a vector that never grows, found by number.
struct Peer(*mut PageTable);

// SAFETY: `frame_to_pointer` gives a pointer into the vector that the bench keeps, for every frame
// that `Next` hands out; numbers stay below its length.
unsafe impl PageTableFrameMapping for Peer {
    fn frame_to_pointer(&self, frame: PhysFrame) -> *mut PageTable {
        let index = usize::try_from(frame.start_address().as_u64() >> 12).expect("64-bit host");
        self.0.wrapping_add(index)
    }
}

/// Hands out the peer's frames in order.
struct Next(u64, u64);

// SAFETY: each number is handed out once.
unsafe impl FrameAllocator<Size4KiB> for Next {
    fn allocate_frame(&mut self) -> Option<PhysFrame> {
        self.0 += 1;
        let addr = x86_64::PhysAddr::new(self.0 << 12);
        (self.0 < self.1).then(|| PhysFrame::containing_address(addr))
    }
}

/// The median of `ROUNDS` runs, in nanoseconds per page.
fn measure(mut run: impl FnMut() -> u64) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let pages = run();
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let per_page = start.elapsed().as_nanos() as f64 / pages as f64;
            per_page
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn row(name: &str, ours: f64, peer: f64) {
    println!("{name:<44} {ours:>8.2} {peer:>8.2}   {:>5.2}", ours / peer);
}

/// Does `work` for each page, and lets the compiler believe that its results matter.
fn each<T>(pages: impl Iterator<Item = u64>, mut work: impl FnMut(u64) -> T) -> u64 {
    for page in pages {
        black_box(work(page));
    }
    PAGES
}

/// Pages in an order that no prefetcher guesses.
fn shuffled() -> Vec<u64> {
    let mut order: Vec<u64> = (0..PAGES).collect();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for n in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(n, usize::try_from(state % (n as u64 + 1)).expect("small"));
    }
    order
}

fn addr(page: u64) -> VirtAddr {
    VirtAddr::new(BASE + page * 4096)
}

fn peer_page(page: u64) -> Page {
    Page::containing_address(x86_64::VirtAddr::new(BASE + page * 4096))
}

fn main() {
    let host = Bench(Flat((0..4096).map(|_| [const { AtomicU64::new(0) }; 512]).collect()));
    let frames = Frames::new(&FramesConfig::normal(4096));
    let root = Tables::new_root(&host, &frames).expect("room");
    let walkers = Walkers::new();
    let tables = Tables { host: &host, frames: &frames, root, walkers: &walkers };
    let range = VirtRange::from_len(addr(0), PAGES * 4096).expect("small");

    let mut memory: Vec<PageTable> = (0..4096).map(|_| PageTable::new()).collect();
    let base = memory.as_mut_ptr();
    // SAFETY: frame 0 of the peer's memory is its root, handed out to nobody else, and `memory`
    // outlives `peer`.
    let peer_root = unsafe { &mut *base };
    // SAFETY: the root is empty, and `Peer` finds every table that it will point to.
    let mut peer = unsafe { MappedPageTable::new(peer_root, Peer(base)) };
    let mut next = Next(0, 4096);

    println!("{:<44} {:>8} {:>8}   ratio", "ns per 4 KiB page", "gup", "x86_64");
    edits(&tables, range, &mut peer, &mut next);
    lookups(&tables, range, &peer);
    scattered(&tables, range, &mut peer, &mut next);
    large(&tables, range);
}

const RW: Perms = Perms {
    write: true,
    exec: false,
    protnone: false,
    young: false,
    dirty: false,
    special: false,
    uffd_wp: false,
    soft_dirty: false,
};

fn peer_map(peer: &mut MappedPageTable<'_, Peer>, next: &mut Next, page: u64, frame: u64) {
    let flags =
        PageTableFlags::PRESENT | PageTableFlags::WRITABLE | PageTableFlags::USER_ACCESSIBLE;
    let frame = PhysFrame::containing_address(x86_64::PhysAddr::new(frame << 12));
    // SAFETY: nothing runs on these tables.
    unsafe { peer.map_to(peer_page(page), frame, flags, next) }.expect("room").ignore();
}

/// Leaves everything mapped, to consecutive frames.
fn edits(
    tables: &Tables<'_, Bench>,
    range: VirtRange,
    peer: &mut MappedPageTable<'_, Peer>,
    next: &mut Next,
) {
    let (mut map, mut protect, mut unmap) = (Vec::new(), Vec::new(), Vec::new());
    let mut write = false;
    let pass = |kind: &mut Vec<f64>, run: &mut dyn FnMut()| {
        kind.push(measure_once(run));
    };
    for _ in 0..ROUNDS {
        pass(&mut map, &mut || tables.map(range, Pfn::new(1), RW, 0).expect("room"));
        pass(&mut protect, &mut || {
            tables.protect(range, |perms| Perms { write, ..perms }).expect("room");
        });
        write = !write;
        pass(&mut unmap, &mut || {
            let removed = |_, entry, _| {
                black_box::<Entry<X86_64>>(entry);
            };
            tables.unmap(range, removed).expect("room");
        });
    }
    let (mut peer_maps, mut peer_protects, mut peer_unmaps) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        pass(&mut peer_maps, &mut || (0..PAGES).for_each(|n| peer_map(peer, next, n, n + 1)));
        pass(&mut peer_protects, &mut || {
            for n in 0..PAGES {
                let flags = PageTableFlags::PRESENT | PageTableFlags::USER_ACCESSIBLE;
                // SAFETY: nothing runs on these tables.
                unsafe { peer.update_flags(peer_page(n), flags) }.expect("mapped").ignore();
            }
        });
        pass(&mut peer_unmaps, &mut || {
            for n in 0..PAGES {
                black_box(peer.unmap(peer_page(n)).expect("mapped").0);
            }
        });
    }
    row("map, tables there, one call", median(map), median(peer_maps));
    row("protect, one call", median(protect), median(peer_protects));
    row("unmap, one call", median(unmap), median(peer_unmaps));
    tables.map(range, Pfn::new(1), RW, 0).expect("room");
    (0..PAGES).for_each(|n| peer_map(peer, next, n, n + 1));
}

fn measure_once(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    run();
    #[allow(clippy::cast_precision_loss, reason = "small")]
    let per_page = start.elapsed().as_nanos() as f64 / PAGES as f64;
    per_page
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn lookups(tables: &Tables<'_, Bench>, range: VirtRange, peer: &MappedPageTable<'_, Peer>) {
    let order = shuffled();
    let walk = |n| tables.walk(addr(n)).frame(addr(n));
    let random = measure(|| each(order.iter().copied(), walk));
    let peer_random =
        measure(|| each(order.iter().copied(), |n| peer.translate_page(peer_page(n))));
    let sequential = measure(|| each(0..PAGES, walk));
    let cursor = measure(|| {
        let mut cursor = Cursor::new(*tables);
        each(0..PAGES, |n| cursor.walk(addr(n)).frame(addr(n)))
    });
    let peer_sequential = measure(|| each(0..PAGES, |n| peer.translate_page(peer_page(n))));
    row("walk, random pages", random, peer_random);
    row("walk, page after page", sequential, peer_sequential);
    row("Cursor::walk, page after page", cursor, peer_sequential);
    row("translate, consecutive frames", measure(|| translated(tables, range)), peer_sequential);
}

fn translated(tables: &Tables<'_, Bench>, range: VirtRange) -> u64 {
    let mut pages = 0;
    tables.translate(range, |run| {
        if let RunTo::Frames(pfn, _) = run.to {
            black_box(pfn);
            pages += run.pages;
        }
    });
    pages
}

fn scattered(
    tables: &Tables<'_, Bench>,
    range: VirtRange,
    peer: &mut MappedPageTable<'_, Peer>,
    next: &mut Next,
) {
    tables.unmap(range, |_, _, _| {}).expect("room");
    for (n, frame) in (0..PAGES).zip(shuffled()) {
        let page = VirtRange::from_len(addr(n), 4096).expect("small");
        tables.map(page, Pfn::new(frame + 1), RW, 0).expect("room");
        peer.unmap(peer_page(n)).expect("mapped").1.ignore();
        peer_map(peer, next, n, frame + 1);
    }
    let peer_sequential = measure(|| each(0..PAGES, |n| peer.translate_page(peer_page(n))));
    row("translate, frames in no order", measure(|| translated(tables, range)), peer_sequential);
    // SAFETY: the tables that are freed are used by nobody after.
    unsafe { peer.clean_up(&mut Ignore) };
}

/// Takes the peer's freed tables and does nothing with them.
struct Ignore;

impl x86_64::structures::paging::FrameDeallocator<Size4KiB> for Ignore {
    unsafe fn deallocate_frame(&mut self, _: PhysFrame) {}
}

/// What has no counterpart: figures alone.
fn large(tables: &Tables<'_, Bench>, range: VirtRange) {
    let alone = |name: &str, ns: f64| println!("{name:<44} {ns:>8.2}");
    let one = VirtRange::from_len(addr(77), 4096).expect("small");
    let call = measure(|| {
        for _ in 0..1000 {
            tables.protect(black_box(one), |perms| perms).expect("room");
        }
        1000
    });
    alone("protect of one page, per call", call);
    let call = measure(|| {
        for _ in 0..1000 {
            tables.unmap(one, |_, _, _| {}).expect("room");
            tables.map(one, Pfn::new(5), RW, 0).expect("room");
        }
        1000
    });
    alone("unmap and map of one page, per pair", call);
    tables.unmap(range, |_, _, _| {}).expect("room");
    let freed = measure(|| {
        let made = (0..PAGES / 512).map(|n| tables.make(addr(n * 512), 0).expect("room"));
        black_box(made.count());
        tables.free_tables(range, VirtAddr::new(0), VirtAddr::new(u64::MAX))
    });
    alone("make and free a table, per table", freed);
    let entered = measure(|| each(0..PAGES, |_| tables.enter()));
    alone("enter and leave, per walk without the lock", entered);
    tables.map(range, Pfn::new(512), RW, 1).expect("room");
    alone("translate, 2 MiB leaves", measure(|| translated(tables, range)));
    let splits = measure(|| {
        for n in 0..PAGES / 512 {
            tables.split(addr(n * 512)).expect("room");
        }
        tables.unmap(range, |_, _, _| {}).expect("room");
        tables.free_tables(range, VirtAddr::new(0), VirtAddr::new(u64::MAX));
        tables.map(range, Pfn::new(512), RW, 1).expect("room");
        PAGES
    });
    alone("split, unmap, free, map 2 MiB leaves", splits);
}
