//! The comparison: the engine takes accesses, what it marked is undone, the processor takes them.
//!
//! Many address spaces at a time, so that a processor need not be asked anew for each access.
//! Invariant: between the two, the tables are word for word the same.

use crate::fill::{Filler, Windows, range};
use crate::host::{Bare, Layout};
use crate::random::Random;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::SeqCst;
use gup::addr::{Pfn, VirtAddr};
use gup::frame::{Frames, FramesConfig, Kind, Zone, ZoneConfig};
use gup::host::Memory;
use gup::pgtable::{Format, Perms, Place, Tables, Touch, Touched, Walkers};

/// Tables that one address space needs at most. As many address spaces as there is room for are
/// made, asked and compared together, since asking may take long.
const TABLES_EACH: u64 = 32;
/// Accesses to each.
const ACCESSES: u64 = 4;
/// Fewest times that each kind of outcome must have come up.
const EACH_MIN: u64 = 100;

/// Why a processor cannot be asked.
pub type CannotAsk = String;

/// Where a program accesses memory, and how.
pub type Access = (u64, Touch);

/// How a program's access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was done.
    Done,
    /// A fault.
    Fault {
        /// What the processor reports: see [`Format::fault_code`].
        code: u64,
        /// At which address.
        addr: u64,
    },
}

/// One address space, and what a program does in it.
#[derive(Debug)]
pub struct Walk {
    /// The root table.
    pub root: Pfn,
    /// Where the program's instructions are mapped.
    pub program: u64,
    /// Its accesses.
    pub accesses: Vec<Access>,
    /// How each ended.
    pub ended: Vec<Ended>,
}

/// Something that walks page tables.
pub trait Processor {
    /// How it reads them.
    type Format: Format;
    /// Its memory.
    type Memory: Memory + 'static;
    /// What the data frames are full of: instructions by which a program says that it got there.
    const FILL: [u8; 4];
    /// Where an instruction may begin: at multiples of this many bytes.
    const ALIGN: u64;

    /// The memory.
    fn memory(&self) -> &Arc<Self::Memory>;
    /// The level of the largest leaves that it knows.
    fn largest(&self) -> u8;
    /// What leaves may not have, since it reserves the bits.
    fn never(&self) -> Perms {
        Perms::default()
    }
    /// Whether it may mark a leaf at `level` accessed that refuses the access, as the architecture
    /// leaves open and real ones do not.
    fn may_mark_refused(&self, _level: u8) -> bool {
        false
    }
    /// The frame of the program's instructions.
    fn program(&self) -> Pfn;
    /// Takes the accesses of all `walks`, each in order, with no translation remembered from before
    /// the call.
    /// # Errors
    /// Why it cannot.
    fn take(&mut self, walks: &mut [Walk]) -> Result<(), CannotAsk>;
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Address spaces.
    pub tables: u64,
    /// Accesses.
    pub accesses: u64,
    /// Accesses that succeeded.
    pub done: u64,
    /// Accesses that found no valid leaf.
    pub absent: u64,
    /// Accesses that a leaf refused.
    pub denied: u64,
    /// Accesses that marked a leaf.
    pub marked: u64,
    /// Accesses that ended above level 0.
    pub huge: u64,
    /// Accesses to a member of a group.
    pub grouped: u64,
}

/// What the engine says of one access.
struct Said {
    ended: Ended,
    /// Whether a leaf refused it.
    denied: bool,
    raw: u64,
    place: Place,
}

/// Compares `processor` with the engine in at least `rounds` random address spaces, with
/// [`ACCESSES`] accesses each.
/// # Errors
/// The processor cannot be asked.
/// # Panics
/// They disagree, or some kind of outcome hardly came up.
pub fn examine<P: Processor>(
    processor: &mut P,
    layout: &Layout,
    rounds: u64,
) -> Result<Counts, CannotAsk> {
    let memory = Arc::clone(processor.memory());
    for pfn in layout.data.clone() {
        for offset in (0..4096).step_by(4) {
            memory.write(Pfn::new(pfn), offset, &P::FILL);
        }
    }
    let host = Bare::<P::Memory, P::Format>::new(&memory);
    let zone = ZoneConfig { kind: Zone::Normal, node: 0, frames: layout.tables.clone() };
    let frames = Frames::new(&FramesConfig { zones: [zone].into() });
    let walkers = Walkers::new();
    let (largest, never) = (processor.largest(), processor.never());
    let filler = Filler { layout, largest, never };
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut counts = Counts::default();
    let together = (layout.tables.end - layout.tables.start) / TABLES_EACH;
    assert!(together > 0, "room for one address space");
    while counts.tables < rounds {
        let tables = |root| Tables { host: &host, frames: &frames, root, walkers: &walkers };
        let mut walks: Vec<Walk> = Vec::new();
        for _ in 0..together {
            let root = Tables::new_root(&host, &frames).expect("room for a root");
            let at = Windows::random::<P::Format>(&mut random);
            let code = Perms { exec: true, young: true, ..Perms::default() };
            let page = range(at.program, 1);
            tables(root).map(page, processor.program(), code, 0).expect("room");
            filler.fill(&tables(root), &at, &mut random);
            let accesses = (0..ACCESSES).map(|_| at.access(layout, P::ALIGN, &mut random));
            let accesses = accesses.collect();
            walks.push(Walk { root, program: at.program, accesses, ended: Vec::new() });
        }
        let of_kind = |&pfn: &u64| frames.kind(Pfn::new(pfn)) == Kind::Table;
        let used: Vec<u64> = layout.tables.clone().filter(of_kind).collect();
        let before = snapshot(&*memory, &used);
        let said = walks.iter().map(|walk| engine(&tables(walk.root), walk, &mut counts));
        let said: Vec<Vec<Said>> = said.collect();
        let mut wanted = snapshot(&*memory, &used);
        restore(&*memory, &used, &before);
        processor.take(&mut walks)?;
        for (walk, said) in walks.iter().zip(&said) {
            compare_ends(walk, said);
        }
        let after = snapshot(&*memory, &used);
        let open = |said: &&Said| said.denied && processor.may_mark_refused(said.place.level);
        for said in said.iter().flatten().filter(open) {
            leave_open::<P::Format>(&used, said.place, &after, &mut wanted);
        }
        compare_tables::<P::Format>(&used, &after, &wanted);
        for walk in &walks {
            tables(walk.root).destroy();
            counts.tables += 1;
        }
    }
    let each = [counts.done, counts.absent, counts.denied, counts.huge];
    assert!(each.iter().all(|&count| count >= EACH_MIN), "each case comes up: {counts:?}");
    let new = P::Format::leaf(Pfn::new(0), Perms::default(), 0);
    let marks = P::Format::touch(new, 0, Touch::Read).is_some();
    assert_eq!(counts.marked >= EACH_MIN, marks, "a processor that marks does: {counts:?}");
    Ok(counts)
}

/// The engine takes the accesses of `walk`.
fn engine<M: Memory + 'static, F: Format>(
    tables: &Tables<'_, Bare<M, F>>,
    walk: &Walk,
    counts: &mut Counts,
) -> Vec<Said> {
    let take = |&(addr, touch): &Access| {
        let at = VirtAddr::new(addr);
        let found = tables.walk(at);
        let (raw, place) = (found.entry.raw(), found.place);
        let level = place.level;
        let word = || tables.entries(place.table)[place.index].load(SeqCst);
        let old = word();
        let touched = tables.touch(at, touch);
        counts.accesses += 1;
        counts.marked += u64::from(word() != old);
        counts.huge += u64::from(level > 0);
        counts.grouped += u64::from(level == 0 && F::is_grouped(old));
        *match touched {
            Touched::Frame(_) => &mut counts.done,
            Touched::Absent => &mut counts.absent,
            Touched::Denied => &mut counts.denied,
        } += 1;
        let code = F::fault_code(touched, touch, raw, level);
        let ended = code.map_or(Ended::Done, |code| Ended::Fault { code, addr });
        Said { ended, denied: touched == Touched::Denied, raw, place }
    };
    walk.accesses.iter().map(take).collect()
}

fn compare_ends(walk: &Walk, said: &[Said]) {
    assert_eq!(walk.ended.len(), said.len(), "every access ended");
    for ((&(addr, touch), ended), said) in walk.accesses.iter().zip(&walk.ended).zip(said) {
        let (raw, level) = (said.raw, said.place.level);
        let what = "ended otherwise than the engine says";
        assert_eq!(*ended, said.ended, "{touch:?} of {addr:#x} at {raw:#x}, level {level}, {what}");
    }
}

/// Every word of the frames `used`.
fn snapshot(memory: &impl Memory, used: &[u64]) -> Vec<u64> {
    let words = used.iter().flat_map(|&pfn| memory.table(Pfn::new(pfn)));
    words.map(|word| word.load(SeqCst)).collect()
}

fn restore(memory: &impl Memory, used: &[u64], words: &[u64]) {
    let places = used.iter().flat_map(|&pfn| memory.table(Pfn::new(pfn)));
    for (place, &word) in places.zip(words) {
        if place.load(SeqCst) != word {
            place.store(word, SeqCst);
        }
    }
}

/// Accepts the mark "accessed" at `place`, if that is all that was not wanted there.
fn leave_open<F: Format>(used: &[u64], place: Place, after: &[u64], wanted: &mut [u64]) {
    let Ok(table) = used.binary_search(&place.table.get()) else { return };
    let index = table * 512 + place.index;
    if after[index] == wanted[index] | F::BITS.young {
        wanted[index] = after[index];
    }
}

fn compare_tables<F: Format>(used: &[u64], after: &[u64], wanted: &[u64]) {
    if after == wanted {
        return;
    }
    // What happened to one page of a group happened to all; which of them is marked is nobody's
    // business.
    let alike = |now: &[u64], said: &[u64]| {
        let mut words = now.iter().chain(said);
        let gathered = |words: &[u64]| words.iter().copied().reduce(F::gather);
        words.all(|&word| F::is_grouped(word))
            && now.iter().zip(said).all(|(&a, &b)| F::timeless(a) == F::timeless(b))
            && gathered(now).map(F::perms) == gathered(said).map(F::perms)
    };
    let groups = after.chunks(F::GROUP).zip(wanted.chunks(F::GROUP)).enumerate();
    for (n, (now, said)) in groups {
        let index = n * F::GROUP;
        let table = used.get(index / 512).copied().unwrap_or_default();
        let same = now == said || F::GROUP > 1 && alike(now, said);
        assert!(same, "table {table:#x}, word {}: {now:x?}, not {said:x?}", index % 512);
    }
}
