//! An x86-64 kernel in a few pages, which lets a user program take a list of accesses: [`Kernel`].
//!
//! It notes how an access ended (by a breakpoint or by a page fault), takes the next one from the
//! list, and lets the program go on with that; then it ends as whoever wrote it wants, and on any
//! other exception it halts. Its pages are mapped by tables of its own in the upper half, which the
//! engine never looks at. Source: Intel SDM volume 3, AMD64 manual volume 2.

use crate::compare::{CannotAsk, Ended, Walk};
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::SeqCst;
use gup::addr::Pfn;
use gup::host::Memory;
use gup::pgtable::Touch;

/// The kernel's frames: tables, then what they map.
const TABLES: u64 = 4;
const GDT: u64 = 0;
const IDT: u64 = 1;
const TSS: u64 = 2;
const STACK: u64 = 3;
const HANDLERS: u64 = 4;
/// Pairs of words: where the program begins an access, and the access's address; 0 ends the list.
const LIST: u64 = 5;
/// Pairs of words: the fault's error code, or [`DONE`], and its address.
const RESULTS: u64 = 6;
const PAGES: u64 = 7;
/// The frame of the program's instructions.
const PROGRAM: u64 = TABLES + PAGES;

/// The first address of the upper half with 4 levels; with 5, the addresses are sign-extended too.
const BASE: u64 = 0xffff_8000_0000_0000;
/// Present, writable, accessed and dirty: no leaf of a user.
const SUPERVISOR: u64 = 1 | 1 << 1 | 1 << 5 | 1 << 6;

const KERNEL_CODE: u64 = 8;
const BREAKPOINT_VECTOR: usize = 3;
const PAGE_FAULT_VECTOR: usize = 14;
const HLT: u8 = 0xf4;
/// A jump by as many bytes as its four-byte operand says, from its own end.
const JUMP: u8 = 0xe9;
const JUMP_BYTES: usize = 5;

/// What is noted of an access that was done.
const DONE: u64 = u64::MAX;
/// The routines, from byte [`ROUTINES_AT`] of their page on. `rsi` is where the next pair of the
/// list is, `rdi` where the next result goes, `rsp` where the program's registers were put; `rdx`
/// is nobody's.
#[rustfmt::skip]
const ROUTINES: [u8; 42] = [
    // A breakpoint: mov qword [rdi], -1; jmp next
    0x48, 0xc7, 0x07, 0xff, 0xff, 0xff, 0xff, 0xeb, 0x09,
    // A page fault: pop qword [rdi]; mov rdx, cr2; mov [rdi + 8], rdx
    0x8f, 0x07, 0x0f, 0x20, 0xd2, 0x48, 0x89, 0x57, 0x08,
    // next: add rdi, 16; lodsq; test rax, rax; jz end
    0x48, 0x83, 0xc7, 0x10, 0x48, 0xad, 0x48, 0x85, 0xc0, 0x74, 0x0d,
    // mov [rsp], rax; lodsq; iretq
    0x48, 0x89, 0x04, 0x24, 0x48, 0xad, 0x48, 0xcf,
    // enter, with rdx the root: mov cr3, rdx; iretq
    0x0f, 0x22, 0xda, 0x48, 0xcf,
    // end: what the kernel was written with.
];
const ROUTINES_AT: usize = 512;
/// The routine of page faults.
const FAULT_ROUTINE: usize = 9;
/// The routine that begins a program.
const ENTER_ROUTINE: usize = 37;

/// The kernel.
#[derive(Debug)]
pub struct Kernel<M> {
    memory: Arc<M>,
    first: Pfn,
}

/// How a program begins: the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// Where it goes on.
    pub rip: u64,
    /// The first access's address.
    pub rax: u64,
    /// What is stored: what the data is full of.
    pub rcx: u64,
    /// The rest of the list.
    pub rsi: u64,
    /// The results.
    pub rdi: u64,
    /// A stack that is never used.
    pub rsp: u64,
}

impl<M: Memory> Kernel<M> {
    /// Frames that it takes.
    pub const FRAMES: u64 = PROGRAM + 1;
    /// An instruction of one byte that a program uses to say that it got here.
    pub const BREAKPOINT: u8 = 0xcc;
    /// Selectors of the program's code and data, and of the task.
    pub const USER_CODE: u16 = 0x18 | 3;
    /// See [`Kernel::USER_CODE`].
    pub const USER_DATA: u16 = 0x20 | 3;
    /// See [`Kernel::USER_CODE`].
    pub const TASK: u16 = 0x28;
    /// Address and limit of the descriptors.
    pub const GDT: (u64, u16) = (BASE + GDT * 4096, 7 * 8 - 1);
    /// Address and limit of the gates.
    pub const IDT: (u64, u16) = (BASE + IDT * 4096, 32 * 16 - 1);
    /// Address and limit of the task.
    pub const TSS: (u64, u16) = (BASE + TSS * 4096, 0x67);
    /// The end of its stack.
    pub const STACK: u64 = BASE + STACK * 4096 + 4096;
    /// The routine that takes the root in `rdx`, and an interrupt's frame on the stack.
    pub const ENTER: u64 = BASE + HANDLERS * 4096 + (ROUTINES_AT + ENTER_ROUTINE) as u64;
    /// Where `end` is.
    pub const END: u64 = BASE + HANDLERS * 4096 + (ROUTINES_AT + ROUTINES.len()) as u64;

    /// Writes it into the frames from `first` on; it ends with the instructions `end`.
    pub fn new(memory: &Arc<M>, first: Pfn, end: &[u8]) -> Self {
        let kernel = Self { memory: Arc::clone(memory), first };
        kernel.write_tables();
        kernel.write_descriptors();
        kernel.write_instructions(end);
        kernel
    }
    /// The frame of the program's instructions.
    pub fn program(&self) -> Pfn {
        self.first.offset(PROGRAM)
    }
    fn page(&self, page: u64) -> Pfn {
        self.first.offset(TABLES + page)
    }
    fn set_word(&self, pfn: Pfn, index: usize, word: u64) {
        self.memory.table(pfn)[index].store(word, SeqCst);
    }

    fn write_tables(&self) {
        for frame in 0..TABLES + PAGES {
            self.memory.zero(self.first.offset(frame), 1);
        }
        // One table a level; with 4 levels the topmost stays unused.
        for level in 1..TABLES {
            let (table, below) = (self.first.offset(level), self.first.offset(level - 1));
            // With 5 levels, the addresses' bits 39 to 47 are those of entry 256.
            let index = if level == 3 { 256 } else { 0 };
            self.set_word(table, index, below.get() << 12 | SUPERVISOR);
        }
        for page in 0..PAGES {
            self.set_word(self.first, page as usize, self.page(page).get() << 12 | SUPERVISOR);
        }
    }

    fn write_descriptors(&self) {
        let (tss, limit) = Self::TSS;
        let low =
            u64::from(limit) | (tss & 0xff_ffff) << 16 | 0x89 << 40 | (tss >> 24 & 0xff) << 56;
        let descriptors = [
            0,
            0x00af_9b00_0000_ffff,
            0x00cf_9300_0000_ffff,
            0x00af_fb00_0000_ffff,
            0x00cf_f300_0000_ffff,
            low,
            tss >> 32,
        ];
        for (index, word) in descriptors.into_iter().enumerate() {
            self.set_word(self.page(GDT), index, word);
        }
        for vector in 0..32 {
            let handler = BASE + HANDLERS * 4096 + 16 * vector as u64;
            // An interrupt gate that a program may use.
            let low =
                handler & 0xffff | KERNEL_CODE << 16 | 0xee << 40 | (handler >> 16 & 0xffff) << 48;
            self.set_word(self.page(IDT), 2 * vector, low);
            self.set_word(self.page(IDT), 2 * vector + 1, handler >> 32);
        }
        self.memory.write(self.page(TSS), 4, &Self::STACK.to_le_bytes());
    }

    fn write_instructions(&self, end: &[u8]) {
        let page = self.page(HANDLERS);
        self.memory.write(page, 0, &[HLT; ROUTINES_AT]);
        self.memory.write(page, ROUTINES_AT, &ROUTINES);
        self.memory.write(page, ROUTINES_AT + ROUTINES.len(), end);
        for (vector, routine) in [(BREAKPOINT_VECTOR, 0), (PAGE_FAULT_VECTOR, FAULT_ROUTINE)] {
            let from = 16 * vector;
            let to = (ROUTINES_AT + routine - from - JUMP_BYTES) as u32;
            self.memory.write(page, from, &[JUMP]);
            self.memory.write(page, from + 1, &to.to_le_bytes());
        }
        let program = [
            // mov dl, [rax]; mov [rax], cl; jmp rax
            (Touch::Read, [0x8a, 0x10, Self::BREAKPOINT]),
            (Touch::Write, [0x88, 0x08, Self::BREAKPOINT]),
            (Touch::Execute, [0xff, 0xe0, Self::BREAKPOINT]),
        ];
        for (touch, bytes) in program {
            self.memory.write(self.program(), part(touch) as usize, &bytes);
        }
    }

    /// The entry of a root by which the kernel is mapped, with `levels` levels: index and word.
    pub fn root_entry(&self, levels: u8) -> (usize, u64) {
        let top = self.first.offset(u64::from(levels) - 2);
        (if levels == 5 { 511 } else { 256 }, top.get() << 12 | SUPERVISOR)
    }
    /// Maps the kernel in the tables under `root`, which have `levels` levels.
    pub fn map(&self, root: Pfn, levels: u8) {
        let (index, word) = self.root_entry(levels);
        self.set_word(root, index, word);
    }
    /// Takes the kernel out of them again.
    pub fn unmap(&self, root: Pfn, levels: u8) {
        self.set_word(root, self.root_entry(levels).0, 0);
    }

    /// Writes the list of `walk`'s accesses; how its program begins.
    /// # Errors
    /// They are none, or too many.
    pub fn prepare(&self, walk: &Walk) -> Result<Begin, CannotAsk> {
        let count = walk.accesses.len();
        let Some(&(rax, touch)) = walk.accesses.first().filter(|_| count < 256) else {
            return Err(format!("a list of {count} accesses"));
        };
        let pairs = walk.accesses.iter().map(|&(addr, touch)| [walk.program + part(touch), addr]);
        for (index, word) in pairs.flatten().chain([0]).enumerate() {
            self.set_word(self.page(LIST), index, word);
        }
        Ok(Begin {
            rip: walk.program + part(touch),
            rax,
            rcx: u64::from(Self::BREAKPOINT),
            rsi: BASE + LIST * 4096 + 16,
            rdi: BASE + RESULTS * 4096,
            rsp: walk.program,
        })
    }
    /// Puts an interrupt's frame for `begin` on the stack; where the stack ends then.
    pub fn push(&self, begin: &Begin) -> u64 {
        let (code, data) = (u64::from(Self::USER_CODE), u64::from(Self::USER_DATA));
        let frame = [begin.rip, code, 2, begin.rsp, data];
        for (index, word) in (512 - frame.len()..).zip(frame) {
            self.set_word(self.page(STACK), index, word);
        }
        Self::STACK - 8 * frame.len() as u64
    }
    /// Reads how the accesses of `walk` ended.
    pub fn note(&self, walk: &mut Walk) {
        let word = |n: usize| self.memory.table(self.page(RESULTS))[n].load(SeqCst);
        let ended = (0..walk.accesses.len()).map(|n| match word(2 * n) {
            DONE => Ended::Done,
            code => Ended::Fault { code, addr: word(2 * n + 1) },
        });
        walk.ended = ended.collect();
    }
}

/// Where in the program's page an access begins.
const fn part(touch: Touch) -> u64 {
    match touch {
        Touch::Read => 0,
        Touch::Write => 16,
        Touch::Execute => 32,
    }
}
