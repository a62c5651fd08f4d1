//! The processor agrees: a virtual one walks the engine's own x86-64 tables in the engine's own
//! memory, and every access ends as the engine says.
//!
//! Compared for each access: whether it succeeds, the page fault's error code and address, and
//! every bit of every table, accessed and dirty among them. Built with the feature `kvm` alone;
//! where KVM cannot be used the tests say why and pass.

mod guest;

use guest::{BREAKPOINT, CannotAsk, Ended, Guest, KERNEL_FRAMES};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr, VirtRange};
use gup::frame::{Frames, FramesConfig, Kind};
use gup::host::{Host, Memory, Ticket, WaitMode, Woken};
use gup::observe::Silent;
use gup::pgtable::{
    Action, Entry, Format, Part, Perms, SwapEntry, Tables, Touch, Touched, Visit, Walkers, X86,
};
use gup::task::Task;
use gup_hosted::HostedMemory;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// Frames for the engine's tables; then the guest's kernel; then data.
const TABLE_FRAMES: u64 = 512;
/// Data frames begin at a multiple of 2 MiB.
const DATA: u64 = 1024;
const DATA_FRAMES: u64 = 1024;
const ALL_FRAMES: u64 = DATA + DATA_FRAMES;

const _: () = assert!(TABLE_FRAMES + KERNEL_FRAMES <= DATA);

const ROUNDS: u64 = 600;
const ACCESSES: u64 = 20;

/// The host: real memory, nothing else.
struct Bare<const LEVELS: u8>(Arc<HostedMemory>);

impl<const LEVELS: u8> Host for Bare<LEVELS> {
    type Memory = HostedMemory;
    type RawMutex = parking_lot::RawMutex;
    type RawRwLock = parking_lot::RawRwLock;
    type Format = X86<LEVELS>;
    type Observer = Silent;
    type Reclaim = Walkers;
    fn memory(&self) -> &HostedMemory {
        &self.0
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
}

/// Numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    fn perms(&mut self) -> Perms {
        Perms {
            write: self.one_in(2),
            exec: self.one_in(2),
            protnone: self.one_in(6),
            young: self.one_in(2),
            dirty: self.one_in(3),
            special: self.one_in(5),
            uffd_wp: self.one_in(5),
            soft_dirty: self.one_in(2),
        }
    }
    fn touch(&mut self) -> Touch {
        [Touch::Read, Touch::Write, Touch::Execute][self.below(3) as usize]
    }
}

/// The windows that tables map: a start, and the frames there.
struct Windows {
    program: u64,
    small: u64,
    huge: u64,
    giant: u64,
}

impl Windows {
    /// Anywhere in the user half, each in a 1 GiB of its own.
    fn random<F: Format>(random: &mut Random) -> Self {
        let slots = (1 << (F::USER_BITS - 30)) / 4;
        let mut next = |quarter: u64| (quarter * slots + 1 + random.below(slots - 2)) << 30;
        Self { program: next(0), small: next(1), huge: next(2), giant: next(3) }
    }
    /// An address in one of them that maps a data frame if it is mapped; or beside them.
    fn address(&self, random: &mut Random) -> u64 {
        let offset = random.below(PAGE_SIZE);
        match random.below(16) {
            0..8 => self.small + random.below(1024) * PAGE_SIZE + offset,
            8..12 => self.huge + random.below(DATA_FRAMES) * PAGE_SIZE + offset,
            12..15 => self.giant + (DATA + random.below(DATA_FRAMES)) * PAGE_SIZE + offset,
            _ => self.small.wrapping_sub((1 + random.below(1 << 18)) * PAGE_SIZE) + offset,
        }
    }
}

fn range(start: u64, pages: u64) -> VirtRange {
    VirtRange::from_len(VirtAddr::new(start), pages * PAGE_SIZE).expect("no overflow")
}

/// Random leaves of all sizes, swap entries, splits and holes, by the engine's own edits.
fn fill<const LEVELS: u8>(
    tables: &Tables<'_, Bare<LEVELS>>,
    at: &Windows,
    largest: u8,
    random: &mut Random,
) {
    for block in 0..2 {
        let frame = Pfn::new(DATA + block * 512);
        let perms = random.perms();
        tables.map(range(at.huge + (block << 21), 512), frame, perms, 1).expect("room");
    }
    tables.map(range(at.giant, 1 << 18), Pfn::new(0), random.perms(), largest).expect("room");
    let mut page = 0;
    while page < 1024 {
        let count = (1 + random.below(60)).min(1024 - page);
        let first = Pfn::new(DATA + random.below(DATA_FRAMES - count));
        if !random.one_in(4) {
            tables
                .map(range(at.small + page * PAGE_SIZE, count), first, random.perms(), 0)
                .expect("room");
        }
        page += count;
    }
    for _ in 0..random.below(12) {
        let part = range(at.small + random.below(1000) * PAGE_SIZE, 1 + random.below(24));
        let (write, protnone) = (random.one_in(2), random.one_in(4));
        match random.below(3) {
            0 => tables.unmap(part, |_, _, _| ()).expect("nothing to split"),
            1 => tables.protect(part, |perms| Perms { write, protnone, ..perms }).expect("room"),
            _ => swap_out(tables, part),
        }
    }
    if random.one_in(2) {
        let some = range(at.huge + random.below(900) * PAGE_SIZE, 1 + random.below(100));
        tables.protect(some, |perms| Perms { write: !perms.write, ..perms }).expect("room");
    }
    if random.one_in(3) {
        let some = range(at.giant + random.below(2000) * PAGE_SIZE, 1 + random.below(1000));
        tables.protect(some, |perms| Perms { exec: !perms.exec, ..perms }).expect("room");
    }
}

fn swap_out<const LEVELS: u8>(tables: &Tables<'_, Bare<LEVELS>>, part: VirtRange) {
    let mut visitor = |visit: &Visit<X86<LEVELS>>| match visit.part {
        Part::Some => Action::SplitFirst,
        Part::Whole => {
            let slot = visit.entry.pfn().get();
            let (exclusive, uffd_wp, soft_dirty) =
                (slot.is_multiple_of(2), slot.is_multiple_of(3), slot.is_multiple_of(5));
            Action::Replace(Entry::swap(SwapEntry::Swap { slot, exclusive, uffd_wp, soft_dirty }))
        }
    };
    tables.for_each(part, &mut visitor).expect("room");
}

/// Every word of every frame that can hold a table.
fn snapshot(memory: &HostedMemory, frames: &[u64]) -> Vec<u64> {
    let words = frames.iter().flat_map(|&pfn| memory.table(Pfn::new(pfn)));
    words.map(|word| word.load(SeqCst)).collect()
}

/// What was counted.
#[derive(Debug, Default)]
struct Counts {
    tables: u64,
    accesses: u64,
    done: u64,
    absent: u64,
    denied: u64,
    marked: u64,
    huge: u64,
}

/// One access: the engine says how it ends and what it marks, which is undone; then the processor
/// takes it.
fn compare<const LEVELS: u8>(
    guest: &mut Guest,
    tables: &Tables<'_, Bare<LEVELS>>,
    program: u64,
    (addr, touch): (u64, Touch),
    counts: &mut Counts,
) -> Result<(), CannotAsk> {
    let memory = tables.host.memory();
    let used: Vec<u64> =
        (0..TABLE_FRAMES).filter(|&pfn| tables.frames.kind(Pfn::new(pfn)) == Kind::Table).collect();
    let before = snapshot(memory, &used);
    let said = tables.touch(VirtAddr::new(addr), touch);
    let wanted = snapshot(memory, &used);
    let words = used.iter().flat_map(|&pfn| memory.table(Pfn::new(pfn)));
    words.zip(&before).for_each(|(word, &old)| word.store(old, SeqCst));
    let ended = guest.access(program, addr, touch)?;
    let expected = match X86::<LEVELS>::fault_code(said, touch, 0, 0) {
        None => Ended::Done,
        Some(code) => Ended::PageFault { code, addr },
    };
    let entry = tables.walk(VirtAddr::new(addr));
    assert_eq!(ended, expected, "{touch:?} of {addr:#x}, {said:?}, {entry:?}");
    let after = snapshot(memory, &used);
    for (n, (after, wanted)) in after.iter().zip(&wanted).enumerate() {
        assert_eq!(after, wanted, "word {n} of the tables after {touch:?} of {addr:#x}, {entry:?}");
    }
    counts.accesses += 1;
    counts.marked += u64::from(before != wanted);
    counts.huge += u64::from(entry.place.level > 0);
    match said {
        Touched::Frame(_) => counts.done += 1,
        Touched::Absent => counts.absent += 1,
        Touched::Denied => counts.denied += 1,
    }
    Ok(())
}

fn play<const LEVELS: u8>(rounds: u64) -> Result<(u8, Counts), CannotAsk> {
    let memory = HostedMemory::anonymous(ALL_FRAMES).map_err(|error| error.to_string())?;
    let memory = Arc::new(memory);
    for pfn in DATA..ALL_FRAMES {
        memory.write(Pfn::new(pfn), 0, &[BREAKPOINT; 4096]);
    }
    let host = Bare::<LEVELS>(Arc::clone(&memory));
    let frames = Frames::new(&FramesConfig::normal(TABLE_FRAMES));
    let walkers = Walkers::new();
    let mut guest = Guest::new(memory, Pfn::new(TABLE_FRAMES), LEVELS)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut counts = Counts::default();
    for _ in 0..rounds {
        let root = Tables::new_root(&host, &frames).expect("room for a root");
        let tables = Tables { host: &host, frames: &frames, root, walkers: &walkers };
        let at = Windows::random::<X86<LEVELS>>(&mut random);
        let code = Perms { exec: true, young: true, ..Perms::default() };
        tables.map(range(at.program, 1), guest.program(), code, 0).expect("room");
        fill(&tables, &at, guest.largest(), &mut random);
        guest.load(root)?;
        for _ in 0..ACCESSES {
            let access = (at.address(&mut random), random.touch());
            compare(&mut guest, &tables, at.program, access, &mut counts)?;
        }
        guest.unload(root);
        tables.destroy();
        counts.tables += 1;
    }
    Ok((guest.largest(), counts))
}

fn ask<const LEVELS: u8>() {
    match play::<LEVELS>(ROUNDS) {
        Ok((largest, counts)) => {
            println!("{LEVELS} levels, leaves up to level {largest}: {counts:?}, no difference");
            assert!(counts.accesses >= 10_000, "{counts:?}");
            let each = [counts.done, counts.absent, counts.denied, counts.marked, counts.huge];
            assert!(each.iter().all(|&count| count > 100), "each case comes up: {counts:?}");
        }
        Err(reason) => println!("cannot ask, {LEVELS} levels: {reason}"),
    }
}

#[test]
fn a_processor_walks_tables_of_4_levels_as_the_engine_says() {
    ask::<4>();
}

#[test]
fn a_processor_walks_tables_of_5_levels_as_the_engine_says() {
    ask::<5>();
}
