//! One process of a scene, what its threads hold, and what must be true of that.
//!
//! *Detached*: the process itself took the page away from the address (munmap, `MADV_DONTNEED`,
//! truncation), so that its pins and the address part rightly. *Firm*: a pin whose page is the one
//! that the process's stores reach, and not a file's page behind a private area.
//! Promises: a page handed out is the address's own and in use (no reference on a freed frame), and
//! the first pages of those asked for (I-18); what is stored through a pin is what the process
//! reads, and a child does not (no pinned page shared, I-20); a firm pin that nothing detached is
//! reached by the process's next store (no lost pin); the books are right; everything is given
//! back. Each thread has a byte of its own in each page, so that it alone says what is there.

use crate::audit::{Held, audit};
use crate::host::ExploreHost;
use crate::scene::{Area, Behind, RW, SLOTS, Scene, page};
use crate::scheduler::{Numbers, blocked, hot_point};
use gup::addr::{PAGE_SIZE, PMD_ORDER, Pfn, VirtAddr};
use gup::fault::{FaultCx, handle_mm_fault, userfault};
use gup::file::File;
use gup::flags::{FaultFlags, Foll};
use gup::frame::{FrameFlags, Kind, Zone};
use gup::gup::fast::{FastEntry, fast};
use gup::gup::{Entry, Locked, Page};
use gup::host::{Memory, ReadMode, Store, StoreRead, StoreWrite};
use gup::mapping::{GrowProt, sys};
use gup::mm::{Lock, Machine, Mm};
use gup::task::Task;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The most pages of one call.
const RUN: usize = 3;

/// Swap, or a disk, that keeps what it is given.
#[derive(Default)]
pub struct Kept(Mutex<BTreeMap<u64, Vec<u8>>>);

impl Store for Kept {
    fn read_page(&self, index: u64, _: ReadMode, into: &mut [u8]) -> StoreRead {
        match self.0.lock().unwrap().get(&index) {
            Some(bytes) => into.copy_from_slice(bytes),
            None => into.fill(0),
        }
        StoreRead::Ready
    }
    fn write_page(&self, index: u64, from: &[u8]) -> StoreWrite {
        // The device takes its time.
        hot_point();
        self.0.lock().unwrap().insert(index, from.to_vec());
        StoreWrite::Done
    }
}

/// How pages are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A reference, without the lock or not at all.
    FastGet,
    Fast,
    FastLong,
    Slow,
    SlowLong,
}

impl Way {
    fn pins(self) -> bool {
        self != Self::FastGet
    }
    fn lasts(self) -> bool {
        self == Self::FastLong || self == Self::SlowLong
    }
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub way: Way,
    pub write: bool,
    /// Pages wanted from the place on.
    pub count: usize,
}

impl Ask {
    pub fn one(way: Way, write: bool) -> Self {
        Self { way, write, count: 1 }
    }
}

/// Something got, and not given back yet.
#[derive(Clone, Copy, Debug)]
pub struct Got {
    pub pfn: Pfn,
    pub at: usize,
    ask: Ask,
    firm: bool,
    dirty: bool,
    /// Of the place, before the call.
    since: Since,
}

/// How often a place was detached, and its page moved; `None` while that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Since {
    detached: Option<u64>,
    moved: Option<u64>,
}

impl Since {
    /// Nothing happened to the place between the two times.
    fn until(self, now: Self) -> bool {
        self == now && self.detached.is_some() && self.moved.is_some()
    }
}

/// How often something began and ended.
#[derive(Default)]
struct Tally {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Tally {
    fn now(&self) -> Option<u64> {
        let begun = self.begun.load(SeqCst);
        (begun == self.ended.load(SeqCst)).then_some(begun)
    }
}

/// A thread's byte of a place, and the place's count when it was stored.
type Byte = Option<(u8, Since)>;

pub struct World {
    pub scene: Scene,
    pub machine: Arc<Machine<ExploreHost>>,
    pub mm: Arc<Mm<ExploreHost>>,
    pub files: Vec<Arc<File<ExploreHost>>>,
    pub task: Task,
    pub areas: Vec<Area>,
    pub places: Vec<u64>,
    /// How often each place was detached.
    detached: Vec<Tally>,
    /// How often its page went to another place, which only a page does that nobody has pinned.
    moved: Vec<Tally>,
}

/// A child, and the bytes that its parent's thread had at the time.
struct Child {
    mm: Arc<Mm<ExploreHost>>,
    bytes: Vec<Byte>,
}

/// What a thread keeps.
pub struct Mine {
    number: usize,
    pub got: Vec<Got>,
    children: Vec<Child>,
    bytes: Vec<Byte>,
    last: u8,
}

impl Mine {
    pub fn new(number: usize, world: &World) -> Self {
        let bytes = vec![None; world.places.len()];
        Self { number, got: Vec::new(), children: Vec::new(), bytes, last: 0 }
    }
    /// Where in a page the thread's byte for the place is.
    fn offset(&self, at: usize) -> usize {
        64 * (self.number + 1) + at
    }
    /// The youngest child ends.
    pub fn child_exits(&mut self) {
        drop(self.children.pop());
    }
    /// A byte never stored before.
    fn next(&mut self) -> u8 {
        self.last += 1;
        self.last
    }
}

impl World {
    pub fn new(scene: Scene, numbers: &mut Numbers) -> Self {
        let machine = scene.machine();
        let files = scene.files(&machine);
        let mm = Mm::new(&machine).expect("a root table");
        let areas = scene.areas(numbers);
        let places = scene.places(&areas);
        let zeroes = || places.iter().map(|_| Tally::default()).collect();
        let (detached, moved, task) = (zeroes(), zeroes(), Task::default());
        let world = Self { scene, machine, mm, files, task, areas, places, detached, moved };
        for area in &world.areas {
            area.range().step_by(area.unit() as usize).for_each(|n| world.map(n));
        }
        for at in 0..world.places.len() {
            if world.scene == Scene::Watched && at % 2 == 0 {
                let _ = userfault::copy(&world.mm.read(), world.address(at), &[]);
            }
            store(&world.mm, &world.task, world.address(at));
        }
        world
    }
    pub fn address(&self, at: usize) -> VirtAddr {
        page(self.places[at])
    }
    /// Something that takes `pages` away from the places among them, or may.
    pub fn detaching<T>(&self, pages: &[Range<u64>], then: impl FnOnce() -> T) -> T {
        let touched = |n: &u64| pages.iter().any(|pages| pages.contains(n));
        let tallies = || {
            let all = self.places.iter().zip(&self.detached);
            all.filter(|(n, _)| touched(n)).map(|(_, tally)| tally)
        };
        tallies().for_each(|tally| _ = tally.begun.fetch_add(1, SeqCst));
        let result = then();
        tallies().for_each(|tally| _ = tally.ended.fetch_add(1, SeqCst));
        result
    }
    /// The pages of two places change places, unless they are pinned.
    pub fn moving(&self, at: usize, other: usize, then: impl FnOnce()) {
        for at in [at, other] {
            self.moved[at].begun.fetch_add(1, SeqCst);
        }
        then();
        for at in [at, other] {
            self.moved[at].ended.fetch_add(1, SeqCst);
        }
    }
    fn since(&self, at: usize) -> Since {
        Since { detached: self.detached[at].now(), moved: self.moved[at].now() }
    }
    fn in_movable(&self, pfn: Pfn) -> bool {
        self.machine.frames().zone(pfn) == Zone::Movable
    }

    /// Gets pages of `mm` from the place on: one call, and what must be true of its result.
    fn ask(&self, mm: &Mm<ExploreHost>, at: usize, ask: Ask) -> Vec<Got> {
        // Only neighbours are reached by one call.
        let neighbours = self.places[at..].iter().zip(self.places[at]..);
        let count = neighbours.take_while(|(n, next)| *n == next).count().min(ask.count);
        let since: Vec<Since> = (at..at + count).map(|at| self.since(at)).collect();
        let mut pages = [const { None }; RUN];
        let got = self.call(mm, at, ask, &mut pages[..count]);
        let filled = pages.iter().take_while(|page| page.is_some()).count();
        let all = pages.iter().flatten().count();
        assert!(filled == got && all == got, "{got} pages, and {filled} of {all} slots (I-18)");
        let pages = pages.into_iter().flatten().zip(at..).zip(since);
        pages.filter_map(|((page, at), since)| self.look(page, at, ask, since)).collect()
    }
    fn call(&self, mm: &Mm<ExploreHost>, at: usize, ask: Ask, pages: &mut [Option<Page>]) -> usize {
        let write = if ask.write { Foll::WRITE } else { Foll::empty() };
        let long = if ask.way.lasts() { Foll::LONGTERM } else { Foll::empty() };
        let (foll, start, count) = (write | long, self.address(at), pages.len() as u64);
        let (task, out) = (&self.task, pages);
        let outcome = match ask.way {
            Way::FastGet => fast(FastEntry::GetOnly, task, mm, start, count, foll, out),
            Way::Fast | Way::FastLong => fast(FastEntry::Pin, task, mm, start, count, foll, out),
            Way::Slow | Way::SlowLong => {
                let (mut lock, out) = (Lock::Dropped(mm), Some(out));
                let entry = Entry::PinUnlocked;
                gup::gup::gup(entry, task, &mut lock, start, count, foll, out, Locked::Given)
            }
        };
        usize::try_from(outcome.got).unwrap()
    }
    /// Looks at what was handed out. Nothing if it was a zero page.
    fn look(&self, page: Page, at: usize, ask: Ask, since: Since) -> Option<Got> {
        let (pfn, frames) = (page.pfn(), self.machine.frames());
        let kind = frames.kind(pfn);
        // Zero pages are never pinned; a reference to one is nobody's concern.
        if kind == Kind::Special {
            if !ask.way.pins() {
                gup::abi::put_page(&self.machine, page);
            }
            return None;
        }
        let named = frames.owner(pfn).owner != 0 && !frames.has(pfn, FrameFlags::SWAPCACHE);
        let area = self.area(self.places[at]);
        let index = match area.behind {
            Behind::File { .. } => self.places[at] - area.first,
            Behind::Nothing | Behind::Advised | Behind::Merged | Behind::Watched => {
                self.address(at).page_number() & 0xffff_ffff
            }
        };
        match kind {
            Kind::Anon | Kind::File | Kind::Shmem | Kind::Hugetlb => {}
            Kind::Free | Kind::Table | Kind::Secret | Kind::Special | Kind::Kernel | Kind::Slab => {
                panic!("{pfn:?}, handed out for place {at}, is {kind:?}")
            }
        }
        let lasting = self.scene.names_last() && kind != Kind::Hugetlb;
        let known = !named || !lasting || frames.index_of(pfn) == index;
        assert!(known, "{kind:?} {pfn:?} is not the page of place {at}");
        assert!(!ask.way.lasts() || !self.in_movable(pfn), "{pfn:?} is pinned for long");
        let firm = area.is_shared() || frames.is_anon(pfn);
        Some(Got { pfn, at, ask, firm, dirty: false, since })
    }
    /// Gets pages and keeps them.
    pub fn get(&self, mine: &mut Mine, at: usize, ask: Ask) {
        mine.got.extend(self.ask(&self.mm, at, ask));
    }
    pub fn give_back(&self, got: &Got) {
        let frames = self.machine.frames();
        if got.dirty {
            let locked = loop {
                match frames.try_lock_folio(got.pfn) {
                    Some(locked) => break locked,
                    None => blocked(),
                }
            };
            frames.set(got.pfn, FrameFlags::DIRTY);
            drop(locked);
        }
        if got.ask.way.pins() {
            self.machine.unpin_pages(got.pfn, 1);
        } else {
            self.machine.put_page(got.pfn);
        }
    }

    /// Stores a new byte through a pin of a moment, as a device does.
    pub fn write(&self, mine: &mut Mine, at: usize, way: Way) {
        let byte = mine.next();
        let offset = mine.offset(at);
        for mut got in self.ask(&self.mm, at, Ask::one(way, true)) {
            // The device takes its time.
            hot_point();
            self.machine.memory().write(got.pfn, offset, &[byte]);
            got.dirty = true;
            mine.bytes[at] = Some((byte, got.since));
            self.give_back(&got);
        }
    }
    /// Stores a new byte with `write()`, if a file's page is shared there.
    pub fn write_at(&self, mine: &mut Mine, at: usize) {
        let area = self.area(self.places[at]);
        let Behind::File { file, shared: true } = area.behind else { return };
        let (byte, since) = (mine.next(), self.since(at));
        let offset = (self.places[at] - area.first) * PAGE_SIZE + mine.offset(at) as u64;
        // hugetlbfs has no write().
        let has = self.scene != Scene::Hugetlb;
        let inside = has && offset < self.files[file].size();
        if inside && self.files[file].write_at(&self.machine, offset, &[byte]).is_ok() {
            mine.bytes[at] = Some((byte, since));
        }
    }
    /// Stores a new byte through a pin that is kept.
    pub fn poke(&self, mine: &mut Mine) {
        let byte = mine.next();
        let number = mine.number;
        let kept = mine.got.iter_mut().rev().find(|got| got.ask.way.pins() && got.ask.write);
        let Some(got) = kept else { return };
        got.dirty = true;
        let (at, pfn, since) = (got.at, got.pfn, got.since);
        let offset = 64 * (number + 1) + at;
        self.machine.memory().write(pfn, offset, &[byte]);
        mine.bytes[at] = Some((byte, since));
    }
    /// Loads the thread's byte, and compares.
    pub fn load(&self, mine: &Mine, at: usize, way: Way) {
        self.compare(&self.mm, mine, at, mine.bytes[at], way);
    }
    fn compare(&self, mm: &Mm<ExploreHost>, mine: &Mine, at: usize, byte: Byte, way: Way) {
        for got in self.ask(mm, at, Ask::one(way, false)) {
            let mut seen = [0];
            self.machine.memory().read(got.pfn, mine.offset(at), &mut seen);
            if let Some((byte, since)) = byte.filter(|(_, since)| since.until(self.since(at))) {
                assert_eq!(seen, [byte], "place {at}, {since:?}: a store is lost");
            }
            self.give_back(&got);
        }
    }

    pub fn fork(&self, mine: &mut Mine, stores: bool) {
        let child = gup::mapping::fork(&mut self.mm.write(), &self.task);
        let Ok(mm) = child else { return };
        let bytes = (0..self.places.len()).map(|at| {
            let private = !self.area(self.places[at]).is_shared();
            mine.bytes[at].filter(|(_, since)| private && since.until(self.since(at)))
        });
        let bytes = bytes.collect();
        if stores {
            store(&mm, &self.task, self.address(0));
        }
        mine.children.push(Child { mm, bytes });
    }
    /// The last child stores a byte of its own.
    pub fn child_writes(&self, mine: &mut Mine, at: usize) {
        let byte = mine.next();
        let offset = mine.offset(at);
        let Some(child) = mine.children.last_mut() else { return };
        let shared = self.area(self.places[at]).is_shared();
        for mut got in self.ask(&child.mm, at, Ask::one(Way::Slow, true)) {
            self.machine.memory().write(got.pfn, offset, &[byte]);
            got.dirty = true;
            if shared {
                mine.bytes[at] = Some((byte, got.since));
            } else {
                child.bytes[at] = Some((byte, got.since));
            }
            self.give_back(&got);
        }
    }
    /// Everything is at rest.
    pub fn judge(&self, mine: &[Mine]) {
        let frames = self.machine.frames();
        let mut held = Held::new();
        for got in mine.iter().flat_map(|mine| &mine.got) {
            assert!(frames.refs(got.pfn) > 0, "{got:?} is free");
            *held.entry(frames.head(got.pfn)).or_default() += 1;
            if got.ask.way.pins() {
                assert!(frames.pins(got.pfn) > 0, "{got:?}: the pin is gone");
                let maps = if frames.is_anon(got.pfn) { frames.mapcount(got.pfn) } else { 0 };
                assert!(maps <= 1, "{got:?}: pinned, and mapped {maps} times");
            }
        }
        let files: Vec<&File<ExploreHost>> = self.files.iter().map(|file| &**file).collect();
        let children = mine.iter().flat_map(|mine| &mine.children);
        let spaces = children.map(|child| &*child.mm).chain([&*self.mm]);
        audit(&self.machine, spaces, &files, &held);
        for mine in mine {
            for at in 0..self.places.len() {
                self.load(mine, at, Way::Slow);
                for child in &mine.children {
                    self.compare(&child.mm, mine, at, child.bytes[at], Way::Slow);
                }
            }
        }
        for got in mine.iter().flat_map(|mine| &mine.got) {
            let firm = got.firm && got.since.detached.is_some();
            let same = self.since(got.at).detached == got.since.detached;
            if got.ask.way.pins() && firm && same {
                let unit = self.unit_range(got.at_page(self));
                let (addr, bytes) = (unit.start, unit.pages() * PAGE_SIZE);
                let _ = sys::mprotect(&self.mm, &self.task, addr, bytes, RW, GrowProt::Exact);
                let reached = store(&self.mm, &self.task, self.address(got.at));
                assert_eq!(reached, Some(got.pfn), "{got:?}: the pin and the process part");
            }
        }
    }
    /// Everything is given back.
    pub fn end(self, mine: Vec<Mine>) {
        for got in mine.iter().flat_map(|mine| &mine.got) {
            self.give_back(got);
        }
        drop(mine);
        let Self { machine, mm, files, .. } = self;
        drop(mm);
        for file in files {
            file.truncate(&machine, 0);
        }
        machine.resize_hugetlb(PMD_ORDER, 0);
        let stats = machine.frames().stats();
        for kind in [Kind::Anon, Kind::Table, Kind::File, Kind::Shmem, Kind::Hugetlb] {
            assert_eq!(stats.of(kind), 0, "{kind:?} left behind");
        }
        assert_eq!(machine.swap().free_slots() as u64, SLOTS, "swap left behind");
    }
}

impl Got {
    fn at_page(&self, world: &World) -> u64 {
        world.places[self.at]
    }
}

/// The process stores at `addr`; the page that it reaches.
pub fn store(mm: &Mm<ExploreHost>, task: &Task, addr: VirtAddr) -> Option<Pfn> {
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
