//! A program from a seed.
//!
//! The generator keeps no book of what is mapped: the worlds say what comes of an operation. It
//! knows which processes live, and which files there are.

use super::dice::Dice;
use super::draw::{self, ARENA, Field, HUGE, HUGE_PAGES, PAGES, STACK_PAGES, STACKS, absolute};
use super::means::Means;
use crate::ask::driver::Driver;
use crate::scenario::{
    Cached, Expect, FileSort, FileSpec, Length, Modes, Op, Program, Setup, Span, Step, Sys, Touch,
    Uffd,
};
use gup::addr::PAGE_SIZE;
use gup::linux::Linux;

/// Which operations are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Set {
    /// All that answer at once.
    #[default]
    Usual,
    /// On transparent huge pages.
    Huge,
    /// Those that wait, or work in the background, too: merging by KSM.
    Slow,
}

/// Processes of a program.
const PROCESSES: [&str; 3] = ["P", "Q", "R"];
/// Files: name, kind, pages. `f` is in memory from the start.
const FILES: [(&str, FileSort, u64); 3] =
    [("m", FileSort::Memfd, 40), ("n", FileSort::Memfd, 6), ("f", FileSort::Regular, 16)];

/// The program of `seed`, with `ops` drawn operations.
pub fn program(seed: u64, ops: usize, set: Set, means: Means) -> Program {
    let mut dice = Dice::new(seed);
    let field = match dice.below(8) {
        _ if set == Set::Huge && means.thp => Field::Huge,
        0..4 if set == Set::Slow && means.thp => Field::Huge,
        0..3 => Field::Stacks,
        _ => Field::Arena,
    };
    let hugetlb = field == Field::Huge && means.huge_pages >= 4 && dice.happens(1, 2);
    let setup = Setup {
        linux: Linux::V6_18,
        frames: match field {
            Field::Huge if hugetlb => 32_768,
            Field::Huge => 16_384,
            Field::Arena | Field::Stacks => 2048,
        },
        swap_pages: if means.swap { 16_384 } else { 0 },
        huge_pages: if hugetlb { means.huge_pages } else { 0 },
        watch: field.watch(),
        ..Setup::default()
    };
    let one_folio = dice.happens(1, 2);
    let watched = means.userfaultfd && dice.happens(1, 6);
    let mut drawn = Drawn {
        dice,
        field,
        set,
        watched,
        waits: false,
        hugetlb,
        one_folio,
        left: 16,
        live: vec![true],
        past: 1,
        ops: Vec::new(),
    };
    drawn.begin();
    for _ in 0..ops {
        let op = drawn.op();
        drawn.ops.push(op);
    }
    let steps = (1..).zip(drawn.ops).map(|(line, op)| step(line, op)).collect();
    Program { setup, steps, epilogue: Vec::new() }
}

/// A step that may give anything.
pub(super) fn step(line: u32, op: Op) -> Step {
    Step { line, text: op.to_string(), story: Vec::new(), op, expect: vec![Expect::Any] }
}

/// A program in the making.
#[allow(clippy::struct_excessive_bools, reason = "each says what this program draws")]
struct Drawn {
    dice: Dice,
    field: Field,
    set: Set,
    /// Process P has a userfaultfd.
    watched: bool,
    /// Its faults are not refused with SIGBUS.
    waits: bool,
    /// Huge pages of hugetlbfs are drawn.
    hugetlb: bool,
    /// The file on a disk is one large folio.
    one_folio: bool,
    /// Whole pages that the file on a disk still has.
    left: u64,
    /// The live ones among [`PROCESSES`], of those that have been.
    live: Vec<bool>,
    past: usize,
    ops: Vec<Op>,
}

impl Drawn {
    fn begin(&mut self) {
        let first = PROCESSES[0].to_owned();
        self.ops.push(Op::Process { name: first.clone() });
        for (name, kind, pages) in FILES {
            let cached = match kind {
                FileSort::Regular if self.one_folio => Cached::Folio,
                FileSort::Regular => Cached::Pages,
                _ => Cached::Nothing,
            };
            let fill = if kind == FileSort::Regular { b"3".to_vec() } else { Vec::new() };
            let len = Length::Pages(pages);
            let spec = FileSpec { len, kind, fill, slow: false, cached };
            self.ops.push(Op::File { name: name.to_owned(), spec });
        }
        if self.watched {
            let sigbus = self.dice.happens(2, 3);
            self.waits = !sigbus;
            let call = if sigbus { Uffd::OpenSigbus } else { Uffd::OpenAsync };
            self.ops.push(Op::Uffd { process: first.clone(), call });
        }
        let mut map = |at, bytes, flags| {
            let call = Sys::Mmap { at: absolute(at), bytes, prot: 3, flags, file: None };
            self.ops.push(Op::Sys { process: first.clone(), name: None, call });
        };
        map(ARENA, PAGES / 2 * PAGE_SIZE, FIXED | PRIVATE | ANONYMOUS);
        match self.field {
            Field::Arena => {}
            Field::Stacks => {
                let top = STACKS + (STACK_PAGES - 3) * PAGE_SIZE;
                map(top, 3 * PAGE_SIZE, FIXED | PRIVATE | ANONYMOUS | GROWSDOWN);
            }
            Field::Huge => {
                map(HUGE, 2 * HUGE_PAGES * PAGE_SIZE, FIXED | PRIVATE | ANONYMOUS);
                let call = Sys::Madvise {
                    at: absolute(HUGE),
                    bytes: 2 * HUGE_PAGES * PAGE_SIZE,
                    advice: 14,
                };
                self.ops.push(Op::Sys { process: first, name: None, call });
            }
        }
    }

    /// A live process.
    fn process(&mut self) -> String {
        let live: Vec<&str> = PROCESSES
            .into_iter()
            .zip(&self.live)
            .filter_map(|(name, live)| live.then_some(name))
            .collect();
        self.dice.one_of(&live).to_owned()
    }

    fn op(&mut self) -> Op {
        let process = self.process();
        match self.dice.below(1000) {
            0..430 => {
                let call = self.call();
                Op::Sys { process, name: None, call }
            }
            430..600 => {
                let touch = self.dice.one_of(&[Touch::Store, Touch::Store, Touch::Load]);
                Op::Touch { process, span: draw::span(&mut self.dice, self.field), touch }
            }
            600..830 => self.ask(process),
            830..850 => Op::Unregister { process },
            850..880 => self.fork(process),
            880..900 => self.exit(process),
            900..915 => self.truncate(),
            915..955 => {
                let (at, _) = self.field.pages(&mut self.dice, 1);
                let at = absolute(at + self.dice.below(4090));
                Op::Load { process, at, count: 4 }
            }
            955..960 => Op::Seal { file: "n".to_owned(), seals: 8 },
            _ if self.watched => self.uffd(),
            _ => self.ask(process),
        }
    }

    fn fork(&mut self, process: String) -> Op {
        if self.past < PROCESSES.len() {
            let child = PROCESSES[self.past].to_owned();
            self.past += 1;
            self.live.push(true);
            return Op::Fork { process, child };
        }
        Op::Unregister { process }
    }

    /// The first process never ends.
    fn exit(&mut self, process: String) -> Op {
        let slot = PROCESSES.iter().position(|name| *name == process).unwrap_or(0);
        if slot == 0 {
            return Op::Touch {
                process,
                span: draw::span(&mut self.dice, self.field),
                touch: Touch::Load,
            };
        }
        self.live[slot] = false;
        Op::Exit { process }
    }

    /// A file on a disk only becomes shorter ([`super::ON_PURPOSE`]).
    fn truncate(&mut self) -> Op {
        let files = if self.one_folio { &FILES[..2] } else { &FILES[..] };
        let (file, kind, all) = self.dice.one_of(files);
        let pages = if kind == FileSort::Regular { self.left } else { all };
        let len = match self.dice.below(4) {
            0 => Length::Pages(pages),
            1 => Length::Bytes(self.dice.below(pages * PAGE_SIZE)),
            _ => Length::Pages(self.dice.below(pages + 1)),
        };
        if kind == FileSort::Regular {
            self.left = len.bytes() / PAGE_SIZE;
        }
        Op::Truncate { file: file.to_owned(), len }
    }

    fn ask(&mut self, process: String) -> Op {
        let driver = self.dice.one_of(&DRIVERS);
        Op::Ask { process, driver, span: draw::span(&mut self.dice, self.field) }
    }

    fn call(&mut self) -> Sys {
        let (at, bytes) = draw::bytes(&mut self.dice, self.field);
        match self.dice.below(100) {
            0..25 => self.mmap(),
            25..36 => Sys::Munmap { at, bytes },
            36..56 => Sys::Mprotect { at, bytes, prot: draw::prot(&mut self.dice) },
            56..68 => self.mremap(),
            68..91 => Sys::Madvise { at, bytes, advice: self.advice() },
            91..95 => {
                let flags = self.dice.weighed(&[(6, 0), (3, 1), (1, 2)]);
                Sys::Mlock { at, bytes, flags }
            }
            95..99 => Sys::Munlock { at, bytes },
            _ => Sys::Mseal { at, bytes, flags: self.dice.weighed(&[(9, 0), (1, 1)]) },
        }
    }

    fn advice(&mut self) -> i32 {
        let advice = self.dice.one_of(&ADVICES);
        match (advice, self.set) {
            (12 | 25, Set::Usual | Set::Huge) => 4,
            // A large folio of a file is not cut ([`super::ON_PURPOSE`]).
            (9, _) if self.one_folio => 4,
            // Nor are pages of one taken out of memory that would be read again.
            (9 | 21, _) if !self.one_folio => 4,
            _ => advice,
        }
    }

    fn mmap(&mut self) -> Sys {
        let (at, bytes) = draw::bytes(&mut self.dice, self.field);
        let place = self.dice.weighed(&[(15, FIXED), (1, NOREPLACE)]);
        let more = self.dice.weighed(&[
            (24, 0),
            (2, NORESERVE),
            (2, POPULATE),
            (1, LOCKED),
            (1, STACK),
            (1, DENYWRITE),
            (1, POPULATE | NONBLOCK),
        ]);
        let prot = draw::prot(&mut self.dice);
        let offset = at.offset.wrapping_sub(ARENA) & 0xf_f000;
        if self.hugetlb && self.dice.happens(1, 5) {
            let half = HUGE_PAGES * PAGE_SIZE;
            let at = absolute(HUGE + self.dice.below(2) * half);
            let sort = self.dice.one_of(&[PRIVATE, SHARED]);
            let flags = place | sort | ANONYMOUS | HUGETLB;
            return Sys::Mmap { at, bytes: half, prot, flags, file: None };
        }
        let grows = if self.field == Field::Stacks { 4 } else { 0 };
        // Shared memory is not collapsed ([`super::ON_PURPOSE`]).
        let shared = (self.field != Field::Huge || self.set != Set::Slow).into();
        let (sort, file) = self.dice.weighed(&[
            (9, (PRIVATE | ANONYMOUS, None)),
            (3 * shared, (SHARED | ANONYMOUS, None)),
            (3 * shared, (SHARED, Some("m"))),
            (2 * shared, (PRIVATE, Some("m"))),
            (shared, (SHARED, Some("n"))),
            (shared, (PRIVATE, Some("n"))),
            (3, (SHARED, Some("f"))),
            (3, (PRIVATE, Some("f"))),
            (grows, (PRIVATE | ANONYMOUS | GROWSDOWN, None)),
            (1, (DROPPABLE | ANONYMOUS, None)),
        ]);
        let mut flags = place | more | sort;
        if self.dice.happens(1, 40) {
            flags = self.dice.one_of(&[FIXED, FIXED | 4, FIXED | ANONYMOUS, FIXED | 3 | ANONYMOUS]);
        }
        let reader = self.dice.happens(1, 5);
        let shift = self.dice.weighed(&[(8, 0), (1, PAGE_SIZE), (1, 1 << 40), (1, 100)]);
        let file = file.map(|name| (name.to_owned(), reader, offset.wrapping_add(shift)));
        Sys::Mmap { at, bytes, prot, flags, file }
    }

    /// Only forms that say where the memory goes, or cannot move it.
    fn mremap(&mut self) -> Sys {
        const MAYMOVE: u32 = 1;
        const TO: u32 = 2;
        const DONTUNMAP: u32 = 4;
        let (at, old) = draw::bytes(&mut self.dice, self.field);
        let (to, other) = draw::bytes(&mut self.dice, self.field);
        let same = self.dice.happens(1, 2);
        let new = if same { old } else { other };
        let flags = self.dice.weighed(&[
            (4, 0),
            (10, MAYMOVE | TO),
            (3, MAYMOVE | TO | DONTUNMAP),
            (1, TO),
            (1, DONTUNMAP),
            (1, MAYMOVE),
            (1, 8),
        ]);
        // A length of 0, or one that wraps to it, would make a second mapping wherever there is
        // room.
        let old = if flags == MAYMOVE { (old & 0xfff_ffff).max(1) } else { old };
        let new = if flags == MAYMOVE { new.min(old) } else { new };
        let old = if flags & TO != 0 && self.dice.happens(1, 20) { 0 } else { old };
        Sys::Mremap { at, old, new, flags, to }
    }

    fn uffd(&mut self) -> Op {
        let span = |drawn: &mut Self| draw::span(&mut drawn.dice, drawn.field);
        let one = |drawn: &mut Self| Span { len: Length::Pages(1), ..span(drawn) };
        let call = match self.dice.below(14) {
            0..4 => {
                // Without SIGBUS, a missing page that nobody brings is waited for for ever.
                let sigbus = [Modes::MISSING, Modes::WP, Modes::MINOR];
                let modes = if self.waits { Modes::WP } else { self.dice.one_of(&sigbus) };
                Uffd::Register { span: span(self), modes }
            }
            4 => Uffd::Unregister { span: span(self) },
            5 => Uffd::Zeropage { span: span(self) },
            6 | 7 => Uffd::Copy { to: one(self), from: span(self).at },
            8 | 9 => Uffd::Protect { span: span(self) },
            10 => Uffd::Unprotect { span: span(self) },
            11 => Uffd::Continue { span: one(self) },
            12 => Uffd::Poison { span: one(self) },
            _ => Uffd::Move { to: one(self), from: span(self).at },
        };
        Op::Uffd { process: PROCESSES[0].to_owned(), call }
    }
}

const SHARED: u32 = 1;
const PRIVATE: u32 = 2;
const DROPPABLE: u32 = 8;
const FIXED: u32 = 0x10;
const ANONYMOUS: u32 = 0x20;
const GROWSDOWN: u32 = 0x100;
const DENYWRITE: u32 = 0x800;
const LOCKED: u32 = 0x2000;
const NORESERVE: u32 = 0x4000;
const POPULATE: u32 = 0x8000;
const NONBLOCK: u32 = 0x1_0000;
const STACK: u32 = 0x2_0000;
const HUGETLB: u32 = 0x4_0000;
const NOREPLACE: u32 = 0x10_0000;

/// Advice by its number: what changes pages more often, one that there is not.
const ADVICES: [i32; 38] = [
    0, 1, 2, 3, 4, 4, 4, 4, 8, 8, 9, 10, 11, 12, 13, 14, 14, 15, 15, 16, 17, 18, 19, 20, 21, 21,
    21, 22, 23, 24, 25, 25, 99, 102, 102, 102, 103, 103,
];

const DRIVERS: [Driver; 21] = [
    Driver::Mempolicy,
    Driver::FutexWake,
    Driver::PopulateRead,
    Driver::PopulateWrite,
    Driver::Mlock,
    Driver::MlockOnfault,
    Driver::Vmsplice,
    Driver::DirectWrite,
    Driver::DirectRead,
    Driver::RingBuffer,
    Driver::RingBuffer,
    Driver::RingPbuf,
    Driver::XdpUmem,
    Driver::SelfMemRead,
    Driver::SelfMemWrite,
    Driver::VmRead,
    Driver::VmWrite,
    Driver::MemRead,
    Driver::MemWrite,
    Driver::Peek,
    Driver::Poke,
];
