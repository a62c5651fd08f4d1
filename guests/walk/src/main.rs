//! A program without an operating system: the processor that it runs on walks the engine's page
//! tables, and every access ends as the engine says.
//!
//! It runs where addresses are not translated (RISC-V: M-mode; AArch64: EL2), so that the tables
//! that are examined need no place for it; or in tables of its own (x86-64). It prints figures and
//! ends with a status; a difference is a panic. Absent: interrupts, devices; the emulator loads it
//! and zeroes what is not loaded.
#![no_std]
#![no_main]

extern crate alloc;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(not(target_arch = "x86_64"))]
mod program;
#[cfg(target_arch = "riscv64")]
mod riscv64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
use aarch64 as processor;
#[cfg(target_arch = "riscv64")]
use riscv64 as processor;
#[cfg(target_arch = "x86_64")]
use x86_64 as processor;

use alloc::sync::Arc;
use bare::{Heap, Ram, Space, Status, exit, println};
use core::panic::PanicInfo;
use exam::{Layout, Processor, examine};
use gup::addr::Pfn;

/// Address spaces for each format.
const ROUNDS: u64 = 10_000;
/// Frames for tables, then for data.
const TABLES: u64 = 2048;
const DATA: u64 = 1024;
/// Frames before the data for the program's instructions and the processor's own tables.
const OWN: u64 = 512;
const HEAP_BYTES: usize = 96 << 20;

/// The processor's memory: the engine's tables, the processor's own frames, the data. Frames of
/// data are in blocks of 2 MiB.
#[repr(align(0x20_0000))]
struct Frames(Space<{ (TABLES + OWN + DATA) as usize * 4096 }>);

static FRAMES: Frames = Frames(Space::zeroed());
static HEAP_SPACE: Space<HEAP_BYTES> = Space::zeroed();

#[global_allocator]
static HEAP: Heap<32> = Heap::new();

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(Status::Failed)
}

/// What there is to walk in, and for what.
pub(crate) struct Room {
    pub(crate) memory: Arc<Ram>,
    pub(crate) layout: Layout,
    /// The first of the processor's own frames.
    pub(crate) own: Pfn,
}

impl Room {
    fn new() -> Self {
        let start = FRAMES.0.start();
        let first = Ram::frame_of(start);
        // SAFETY: a static's bytes, page-aligned, that nothing else here uses.
        let memory = unsafe { Ram::new(start, first, TABLES + OWN + DATA) };
        let own = first.offset(TABLES);
        let data = own.offset(OWN).get();
        let layout = Layout { tables: first.get()..own.get(), data: data..data + DATA };
        Self { memory: Arc::new(memory), layout, own }
    }
}

/// Examines one format, and prints what was compared.
pub(crate) fn report<P: Processor>(name: &str, mut processor: P, room: &Room) {
    match examine(&mut processor, &room.layout, ROUNDS) {
        Ok(counts) => println!("{name}: {counts:?}, no difference"),
        Err(reason) => println!("cannot ask, {name}: {reason}"),
    }
}

/// Called by the processor's first instructions, with a stack and nothing else.
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    let (at, bytes) = (HEAP_SPACE.start().addr(), HEAP_SPACE.bytes());
    // SAFETY: a static's bytes that nothing else uses, given to the heap once.
    unsafe { HEAP.lock().init(at, bytes) };
    processor::examine_all(&Room::new());
    exit(Status::Passed)
}
