//! Small random programs of two to four threads in one process.
//!
//! What must hold while and after they run is [`crate::world`]'s; where they run is
//! [`crate::scene`]'s.

use crate::scene::{Area, Behind, FILE_PAGES, HUGE, RW, Scene, page};
use crate::scheduler::{Numbers, run, walks};
use crate::world::{Ask, Mine, Way, World, store};
use gup::addr::{PAGE_SIZE, PMD_ORDER};
use gup::fault::userfault::{self, Protection};
use gup::fault::{collapse, merge_equal, move_page, split_page};
use gup::flags::Prot;
use gup::mapping::{self, Advice, GrowProt, MremapFlags, MremapRequest, sys};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What one thread does at one time. `at` is a place's index.
#[derive(Clone, Copy, Debug)]
pub enum Op {
    Get { at: usize, ask: Ask },
    GiveBack,
    Write { at: usize, way: Way },
    WriteAt { at: usize },
    Poke,
    Load { at: usize, way: Way },
    Fork { store: bool },
    ChildWrite { at: usize },
    Exit,
    Store { at: usize },
    Edit { at: usize, edit: Edit },
    Upkeep { at: usize, upkeep: Upkeep },
    File { file: usize, change: Change },
    Resize { pages: u64 },
}

/// What the process does to its map.
#[derive(Clone, Copy, Debug)]
pub enum Edit {
    Unmap,
    Map,
    Protect(Prot),
    DontNeed,
    Free,
    /// Two places lose their pages, and get each other's frames, as free lists go.
    Exchange(usize),
    /// mremap to another place.
    Remap(usize),
}

/// What is done to pages without the process's asking, or for a handler of its own.
#[derive(Clone, Copy, Debug)]
pub enum Upkeep {
    PageOut,
    Collapse,
    Split,
    /// KSM, with another place.
    Merge(usize),
    /// `UFFDIO_MOVE` to another place.
    Move(usize),
    Copy,
    Protection(Protection),
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
pub enum Change {
    /// To so many pages, and back.
    Truncate(u64),
    Punch(u64),
    Invalidate,
    WriteBack,
}

/// A thread's steps.
pub type Steps = Vec<Op>;

/// What is random about a program.
struct Dice<'a> {
    numbers: &'a mut Numbers,
    scene: Scene,
    /// Places that threads meet at.
    places: &'a [usize],
    files: usize,
    /// Without forks, what is stored through a plain reference is not lost either (row F-06).
    forks: bool,
}

impl Dice<'_> {
    fn below(&mut self, count: usize) -> usize {
        self.numbers.next(count as u64) as usize
    }
    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
    fn place(&mut self) -> usize {
        self.places[self.below(self.places.len())]
    }
    fn way(&mut self) -> Way {
        [Way::Fast, Way::Fast, Way::Slow][self.below(3)]
    }
    fn writing(&mut self) -> Way {
        if self.forks || self.coin() { self.way() } else { Way::FastGet }
    }
    fn ask(&mut self) -> Ask {
        let lasts = self.below(if self.scene == Scene::Movable { 2 } else { 6 }) == 0;
        let way = match (self.below(7), lasts) {
            (0, _) => Way::FastGet,
            (1..5, false) => Way::Fast,
            (1..5, true) => Way::FastLong,
            (_, false) => Way::Slow,
            (_, true) => Way::SlowLong,
        };
        let count = if self.below(3) == 0 { 3 } else { 1 };
        Ask { way, write: self.below(3) != 0, count }
    }
    fn op(&mut self) -> Op {
        if self.below(4) == 0 { self.special() } else { self.usual() }
    }
    fn usual(&mut self) -> Op {
        let (at, other) = (self.place(), self.place());
        let edit = |edit| Op::Edit { at, edit };
        let upkeep = |upkeep| Op::Upkeep { at, upkeep };
        match self.below(32) {
            0..7 => Op::Get { at, ask: self.ask() },
            7..9 => Op::GiveBack,
            9..12 => Op::Write { at, way: self.writing() },
            12 => [Op::Poke, Op::WriteAt { at }][self.below(2)],
            13 => Op::Load { at, way: self.way() },
            14..17 if self.forks => Op::Fork { store: self.coin() },
            14..17 => Op::Write { at, way: Way::FastGet },
            17 => Op::ChildWrite { at },
            18 => Op::Exit,
            19..21 => edit(Edit::Unmap),
            21..23 => edit(Edit::Map),
            23 => edit(Edit::Protect(Prot::READ)),
            24 => edit(Edit::Protect(RW)),
            25..27 => Op::Store { at },
            27 => edit(Edit::DontNeed),
            28..30 => edit(Edit::Exchange(other)),
            _ => upkeep(Upkeep::PageOut),
        }
    }
    /// What only this scene has.
    fn special(&mut self) -> Op {
        let (at, other) = (self.place(), self.place());
        let edit = |edit| Op::Edit { at, edit };
        let upkeep = |upkeep| Op::Upkeep { at, upkeep };
        match self.scene {
            Scene::Small => match self.below(4) {
                0 => edit(Edit::Free),
                1 => upkeep(Upkeep::PageOut),
                _ => edit(Edit::Exchange(other)),
            },
            Scene::Huge => match self.below(4) {
                0 => upkeep(Upkeep::Split),
                _ => upkeep(Upkeep::Collapse),
            },
            Scene::Movable => {
                let way = if self.coin() { Way::FastLong } else { Way::SlowLong };
                Op::Get { at, ask: Ask { way, write: self.coin(), count: 1 + self.below(3) } }
            }
            Scene::Files => self.of_file(),
            Scene::Hugetlb => match self.below(3) {
                0 => Op::Resize { pages: self.numbers.next(4) },
                _ => self.of_file(),
            },
            Scene::Watched => match self.below(6) {
                0 => upkeep(Upkeep::Copy),
                1 => upkeep(Upkeep::Protection(Protection::On)),
                2 => upkeep(Upkeep::Protection(Protection::Off)),
                3 => edit(Edit::Remap(other)),
                _ => upkeep(Upkeep::Move(other)),
            },
            Scene::Merged => upkeep(Upkeep::Merge(other)),
        }
    }
    fn of_file(&mut self) -> Op {
        let file = self.below(self.files);
        let change = match self.below(6) {
            0 | 1 => Change::Truncate(self.numbers.next(3)),
            2 | 3 => Change::Punch(self.numbers.next(3)),
            4 => Change::Invalidate,
            _ => Change::WriteBack,
        };
        Op::File { file, change }
    }
}

impl World {
    fn play(&self, mine: &mut Mine, op: Op) {
        walks(false);
        match op {
            Op::Get { at, ask } => self.get(mine, at, ask),
            Op::GiveBack => {
                if let Some(got) = mine.got.pop() {
                    self.give_back(&got);
                }
            }
            Op::Write { at, way } => self.write(mine, at, way),
            Op::WriteAt { at } => self.write_at(mine, at),
            Op::Poke => self.poke(mine),
            Op::Load { at, way } => self.load(mine, at, way),
            Op::Fork { store } => self.fork(mine, store),
            Op::ChildWrite { at } => self.child_writes(mine, at),
            Op::Exit => mine.child_exits(),
            Op::Store { at } => {
                store(&self.mm, &self.task, self.address(at));
            }
            Op::Edit { at, edit } => self.edit(at, edit),
            Op::Upkeep { at, upkeep } => self.upkeep(at, upkeep),
            Op::File { file, change } => self.change(file, change),
            Op::Resize { pages } => {
                self.machine.resize_hugetlb(PMD_ORDER, pages);
            }
        }
    }
    fn edit(&self, at: usize, edit: Edit) {
        let n = self.places[at];
        let range = self.unit_range(n);
        let bytes = range.pages() * PAGE_SIZE;
        match edit {
            Edit::Unmap => self.detaching(&[self.unit(n)], || {
                let _ = sys::munmap(&self.mm, range.start, bytes);
            }),
            Edit::Map => self.detaching(&[self.unit(n)], || self.map(n)),
            Edit::Protect(prot) => {
                let grow = GrowProt::Exact;
                let _ = sys::mprotect(&self.mm, &self.task, range.start, bytes, prot, grow);
            }
            Edit::DontNeed => self.discard(at, Advice::DontNeed),
            Edit::Free => self.discard(at, Advice::Free),
            Edit::Exchange(other) => self.detaching(&[self.unit(n), self.unit_of(other)], || {
                self.discard(at, Advice::DontNeed);
                self.discard(other, Advice::DontNeed);
                store(&self.mm, &self.task, self.address(other));
                store(&self.mm, &self.task, self.address(at));
            }),
            Edit::Remap(other) => {
                let (addr, new_addr) = (self.address(at), self.address(other));
                let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
                let (old_bytes, new_bytes) = (PAGE_SIZE, PAGE_SIZE);
                let request = MremapRequest { addr, old_bytes, new_bytes, flags, new_addr };
                self.detaching(&[self.unit(n), self.unit_of(other)], || {
                    let _ = sys::mremap(&self.mm, &self.task, &request);
                });
            }
        }
    }
    /// `MADV_DONTNEED` or `MADV_FREE`: a page is lost, unless a file has it.
    fn discard(&self, at: usize, advice: Advice) {
        let n = self.places[at];
        let area = self.area(n);
        // One page of a huge one, but not of hugetlb's.
        let whole = area.unit() > 1 && self.scene == Scene::Hugetlb;
        let range = if whole { self.unit(n) } else { n..n + 1 };
        let lost = if area.is_shared() { vec![] } else { vec![range.clone()] };
        let bytes = (range.end - range.start) * PAGE_SIZE;
        self.detaching(&lost, || {
            let _ = mapping::madvise(&self.mm, &self.task, page(range.start), bytes, advice);
        });
    }
    fn unit_of(&self, at: usize) -> Range<u64> {
        self.unit(self.places[at])
    }

    fn upkeep(&self, at: usize, upkeep: Upkeep) {
        let (mm, addr) = (&*self.mm, self.address(at));
        match upkeep {
            Upkeep::PageOut => {
                let _ = mapping::madvise(mm, &self.task, addr, PAGE_SIZE, Advice::PageOut);
            }
            Upkeep::Collapse => {
                let _ = collapse(&mm.write(), addr);
            }
            Upkeep::Split => {
                let _map = mm.read();
                let _ = split_page(mm, addr);
            }
            Upkeep::Merge(other) => {
                let _ = merge_equal(&mm.read(), addr, self.address(other));
            }
            Upkeep::Move(other) => self.moving(at, other, || {
                let _ = move_page(&mm.read(), self.address(other), addr);
            }),
            Upkeep::Copy => {
                let _ = userfault::copy(&mm.read(), addr, &[]);
            }
            Upkeep::Protection(protection) => {
                let range = self.unit_range(self.places[at]);
                let _ = userfault::write_protect(&mm.read(), range, protection);
            }
        }
    }

    fn change(&self, file: usize, change: Change) {
        let of = |behind: Behind| matches!(behind, Behind::File { file: f, .. } if f == file);
        let areas = || self.areas.iter().filter(|area| of(area.behind));
        let Some(file) = self.files.get(file) else { return };
        let machine = &self.machine;
        // A huge page of a file goes whole.
        let huge = self.scene == Scene::Hugetlb;
        let full = if huge { HUGE } else { FILE_PAGES };
        match change {
            Change::Truncate(pages) => {
                let lost: Vec<_> = areas().map(Area::range).collect();
                self.detaching(&lost, || {
                    let pages = if huge { 0 } else { pages };
                    file.truncate(machine, pages * PAGE_SIZE);
                    file.truncate(machine, full * PAGE_SIZE);
                });
            }
            Change::Punch(index) => {
                let hole = if huge { 0..HUGE } else { index..index + 1 };
                let shared = areas().filter(|area| area.is_shared());
                let lost = shared.map(|area| area.first + hole.start..area.first + hole.end);
                self.detaching(&lost.collect::<Vec<_>>(), || {
                    file.punch_hole(machine, hole.start, hole.end);
                });
            }
            Change::Invalidate => {
                file.invalidate(machine, 0, full);
            }
            Change::WriteBack => {
                file.write_back(machine);
            }
        }
    }
}

/// Runs these programs in an order that `seed` chooses, and judges. Answers a number that stands
/// for the order, or says that a promise was broken.
pub fn perform(seed: u64, world: World, programs: &[Steps]) -> Result<u64, ()> {
    let bodies = programs.iter().enumerate().map(|(number, steps)| {
        let world = &world;
        move || {
            let mut mine = Mine::new(number, world);
            for &op in steps {
                world.play(&mut mine, op);
            }
            mine
        }
    });
    let (mine, trace) = run(seed, bodies.collect());
    let judged = catch_unwind(AssertUnwindSafe(|| {
        let mine: Option<Vec<Mine>> = mine.into_iter().collect();
        let mine = mine.expect("every thread ends");
        world.judge(&mine);
        world.end(mine);
    }));
    judged.map(|()| trace).map_err(drop)
}

/// Makes programs of `seed` in `scene`, or any, and performs them in an order of `seed`.
pub fn explore(seed: u64, scene: Option<Scene>) -> Result<u64, ()> {
    let mut numbers = Numbers::new(seed ^ 0x6775_7000);
    let any = Scene::random(&mut numbers);
    let scene = scene.unwrap_or(any);
    let world = World::new(scene, &mut numbers);
    let threads = 2 + numbers.next(7) / 3;
    // In every third run all meet at few places.
    let count = world.places.len();
    let mut places: Vec<usize> = (0..count).collect();
    if numbers.next(3) == 0 {
        places = vec![count - 1, numbers.next(count as u64) as usize];
    }
    let (files, forks) = (world.files.len(), numbers.next(3) != 0);
    let programs: Vec<Steps> = (0..threads)
        .map(|_| {
            let length = 2 + numbers.next(5);
            let mut dice = Dice { numbers: &mut numbers, scene, places: &places, files, forks };
            (0..length).map(|_| dice.op()).collect()
        })
        .collect();
    let result = perform(seed, world, &programs);
    if result.is_err() {
        eprintln!("seed {seed} breaks a promise in {scene:?}; its threads:");
        for program in programs {
            eprintln!("  {program:?}");
        }
    }
    result
}
