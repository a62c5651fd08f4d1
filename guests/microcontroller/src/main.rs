//! A driver on a microcontroller without an MMU: buffers of a program, pinned for a DMA engine.
//!
//! The board is QEMU's `mps2-an385`, a Cortex-M3. The engine's flat memory is a static: an address
//! of the engine's, a pointer of the program's and the address that the device is told are one
//! number. Shown, and checked: what the device writes, the program reads; memory that is unmapped
//! while it is pinned stays the device's; what may not be pinned is refused, with the rule; v4.4's
//! `__get_user_pages` in its exact form (rows N-01 to N-05). Absent: interrupts, and a real DMA
//! engine, which the board has not: [`dma`] stands in.
#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod dma;

use alloc::sync::Arc;
use bare::{Ram, Status, exit, println};
use dma::Dma;
use gup::abi::flags::{FOLL_FORCE, FOLL_GET, FOLL_WRITE};
use gup::abi::{nommu, put_page};
use gup::addr::{PAGE_SIZE, Pfn, VirtAddr};
use gup::flags::{MapFlags, Prot};
use gup::gup::Page;
use gup::host::{Host, Ticket, WaitMode, Woken};
use gup::linux::Linux;
use gup::mm::{Machine, MachineConfig};
use gup::nommu::{FlatMemory, Lock, MapRequest, NommuMm, Pins, Read, Source, Write};
use gup::observe::Silent;
use gup::pgtable::{Sv39, Walkers};
use gup::task::Task;

/// Frames of the flat memory.
const FRAMES: u64 = 64;

/// The host: the board's memory.
struct Board(Ram);

impl Host for Board {
    type Memory = Ram;
    type RawMutex = spin::Mutex<()>;
    type RawRwLock = spin::RwLock<()>;
    /// Never used: there are no tables without an MMU.
    type Format = Sv39;
    type Observer = Silent;
    type Reclaim = Walkers;
    const HARDWARE_WALKS: bool = false;
    fn memory(&self) -> &Ram {
        &self.0
    }
    fn observer(&self) -> &Silent {
        &Silent
    }
    fn wait(&self, _: Ticket, _: WaitMode, _: &Task) -> Woken {
        Woken::Ready
    }
}

/// An address space, and where its memory is.
struct Program {
    machine: Arc<Machine<Board>>,
    flat: Arc<FlatMemory<Board>>,
    mm: Arc<NommuMm<Board>>,
}

impl Program {
    fn new() -> Self {
        let (memory, base) = board::memory(FRAMES);
        let config = MachineConfig::new(Linux::V4_4, FRAMES);
        let machine = Machine::new(Board(memory), config).expect("a frame");
        let flat = FlatMemory::new(&machine, VirtAddr::new(base as u64)).expect("page-aligned");
        let mm = NommuMm::new(&flat);
        Self { machine, flat, mm }
    }
    /// Private memory of `pages` pages.
    fn map(&self, pages: u64, prot: Prot) -> VirtAddr {
        let (len, flags, source) = (pages * PAGE_SIZE, MapFlags::PRIVATE, Source::Anonymous);
        self.mm.write().mmap(&MapRequest { len, prot, flags, source }).expect("room")
    }
    fn unmap(&self, start: VirtAddr, pages: u64) {
        self.mm.write().munmap(start, pages * PAGE_SIZE).expect("mapped");
    }
    fn refs(&self, pfn: Pfn) -> u32 {
        self.machine.frames().refs(pfn)
    }
    /// The address that a device is told for page `index` of `pins`.
    fn bus_address<A: gup::nommu::Access>(&self, pins: &Pins<Board, A>, index: usize) -> u32 {
        let pfn = pins.frame(index).expect("a page");
        self.flat.address_of(pfn).get() as u32
    }
}

/// Two buffers are pinned, and the device copies one to the other.
fn a_device_copies_between_pinned_buffers(program: &Program) {
    let (from, to) = (program.map(2, Prot::READ), program.map(2, Prot::READ | Prot::WRITE));
    let text = b"what the program wrote, a device copied";
    program.flat.write(from.wrapping_add(PAGE_SIZE), text);
    let source = program.mm.read().pin::<Read>(from, 2).expect("readable");
    let sink = program.mm.read().pin::<Write>(to, 2).expect("writable");
    for page in 0..2 {
        let (from, to) = (program.bus_address(&source, page), program.bus_address(&sink, page));
        Dma::start(from, to, PAGE_SIZE as u32).finish();
    }
    let mut seen = [0; 39];
    program.flat.read(to.wrapping_add(PAGE_SIZE), &mut seen);
    assert_eq!(&seen, text);
    println!(
        "pinned 2 + 2 pages; the device copied {} bytes; the program reads them",
        2 * PAGE_SIZE
    );
    drop((source, sink));
    program.unmap(from, 2);
    program.unmap(to, 2);
}

/// A buffer is unmapped while the device has it: nobody else gets its memory before it is released.
fn what_is_pinned_outlives_its_mapping(program: &Program) {
    let at = program.map(1, Prot::READ | Prot::WRITE);
    let pins = program.mm.read().pin::<Write>(at, 1).expect("writable");
    let pfn = pins.frame(0).expect("a page");
    program.unmap(at, 1);
    assert_eq!(program.refs(pfn), 1, "the pin's");
    let other = program.map(8, Prot::READ | Prot::WRITE);
    let taken = program.flat.frame_at(other).expect("inside");
    assert!(pfn < taken || taken.offset(8) <= pfn, "somebody else got the device's page");
    let target = program.bus_address(&pins, 0);
    Dma::start(other.get() as u32, target, 64).finish();
    drop(pins);
    assert_eq!(program.refs(pfn), 0, "free at last");
    println!("unmapped while pinned: the page stayed the device's until it was released");
    program.unmap(other, 8);
}

/// What may not be pinned says why.
fn what_may_not_be_pinned_is_refused(program: &Program) {
    let at = program.map(1, Prot::READ);
    let refused = program.mm.read().pin::<Write>(at, 1).err().expect("not writable");
    println!("refused: {refused}");
    let past = at.wrapping_add(PAGE_SIZE);
    let outside = program.mm.read().pin::<Read>(past, 1).err().expect("not mapped");
    println!("refused: {outside}");
    program.unmap(at, 1);
}

/// v4.4's `__get_user_pages`, by its own signature: the counts and numbers that a kernel gives.
fn the_exact_form_answers_as_the_kernel_does(program: &Program) {
    let read_only = program.map(2, Prot::READ);
    let task = Task::default();
    let table = [
        // pages asked for, flags, answer, why
        (2, FOLL_GET, 2, "both pages"),
        (3, FOLL_GET, 2, "a short count where the area ends (N-03)"),
        (2, FOLL_GET | FOLL_WRITE, -14, "EFAULT: the area forbids it (N-01)"),
        (2, FOLL_GET | FOLL_WRITE | FOLL_FORCE, 2, "force looks at what it might allow (N-01)"),
        (2, 0, 2, "pages are referenced without FOLL_GET (N-04)"),
    ];
    for (nr_pages, flags, answer, because) in table {
        let mut pages: [Option<Page>; 3] = [None, None, None];
        let mut lock = Lock::Read(program.mm.read());
        let start = read_only.get();
        let ret = nommu::__get_user_pages(
            &task,
            None,
            &mut lock,
            start,
            nr_pages,
            flags,
            Some(&mut pages),
            None,
            None,
        );
        assert_eq!(ret, answer, "{because}");
        println!("__get_user_pages(nr_pages {nr_pages}, flags {flags:#x}) = {ret}: {because}");
        for page in pages.into_iter().flatten() {
            put_page(&program.machine, page);
        }
    }
    program.unmap(read_only, 2);
}

/// Called by the reset handler.
fn main() -> ! {
    let program = Program::new();
    let free = program.machine.frames().stats().free_total();
    a_device_copies_between_pinned_buffers(&program);
    what_is_pinned_outlives_its_mapping(&program);
    what_may_not_be_pinned_is_refused(&program);
    the_exact_form_answers_as_the_kernel_does(&program);
    let left = program.machine.frames().stats().free_total();
    assert_eq!(left, free, "everything was given back");
    println!("no-MMU: all as it should be, {free} frames free before and after");
    exit(Status::Passed)
}
