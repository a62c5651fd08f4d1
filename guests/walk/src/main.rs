//! A program without an operating system: the processor that it runs on walks the engine's page
//! tables, and every access ends as the engine says.
//!
//! It runs where addresses are not translated (RISC-V: M-mode; AArch64: EL2), so that the tables
//! that are examined need no place for it. It prints figures and ends with a status; a difference
//! is a panic. Absent: interrupts, devices; the emulator loads it and zeroes what is not loaded.
#![no_std]
#![no_main]

extern crate alloc;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "riscv64")]
mod riscv64;

#[cfg(target_arch = "aarch64")]
use aarch64 as processor;
#[cfg(target_arch = "riscv64")]
use riscv64 as processor;

use alloc::sync::Arc;
use bare::{Heap, Ram, Status, exit, println};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use exam::{Layout, Processor, examine};
use gup::addr::Pfn;
use gup::host::Memory;

/// Address spaces for each format.
const ROUNDS: u64 = 10_000;
/// Frames for tables, then for data.
const TABLES: u64 = 2048;
const DATA: u64 = 1024;
/// Frames before the data for the program's instructions and the processor's own tables.
const OWN: u64 = 512;
const HEAP_BYTES: usize = 96 << 20;

/// The processor's memory: the engine's tables, the processor's own frames, the data.
#[repr(C, align(0x20_0000))]
struct Frames([AtomicU8; (TABLES + OWN + DATA) as usize * 4096]);

#[repr(align(4096))]
struct HeapBytes([AtomicU8; HEAP_BYTES]);

static FRAMES: Frames = Frames([const { AtomicU8::new(0) }; _]);
static HEAP_SPACE: HeapBytes = HeapBytes([const { AtomicU8::new(0) }; _]);

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
        let start = (&raw const FRAMES).cast_mut().cast::<u8>();
        let first = Ram::frame_of(start);
        // SAFETY: a static, page-aligned and of atomics, so it may be written to through shared
        // pointers; nothing else here uses it.
        let memory = unsafe { Ram::new(start, first, TABLES + OWN + DATA) };
        let own = first.offset(TABLES);
        let data = own.offset(OWN).get();
        let layout = Layout { tables: first.get()..own.get(), data: data..data + DATA };
        Self { memory: Arc::new(memory), layout, own }
    }
    /// Writes instructions into the frame `pfn`, from its beginning, 16 bytes apart.
    pub(crate) fn write_program(&self, pfn: Pfn, parts: &[&[u32]]) {
        for (n, part) in parts.iter().enumerate() {
            for (word, place) in part.iter().zip((16 * n..).step_by(4)) {
                self.memory.write(pfn, place, &word.to_le_bytes());
            }
        }
    }
}

/// Examines one format, and prints what was compared.
pub(crate) fn report<P: Processor>(name: &str, mut processor: P, layout: &Layout) {
    match examine(&mut processor, layout, ROUNDS) {
        Ok(counts) => println!("{name}: {counts:?}, no difference"),
        Err(reason) => println!("cannot ask, {name}: {reason}"),
    }
}

/// Called by the processor's first instructions, with a stack and nothing else.
#[unsafe(no_mangle)]
extern "C" fn start() -> ! {
    let heap = (&raw const HEAP_SPACE).addr();
    // SAFETY: a static of atomics that nothing else uses, given to the heap once.
    unsafe { HEAP.lock().init(heap, HEAP_SPACE.0.len()) };
    let _bytes_are_atomic = HEAP_SPACE.0[0].load(Relaxed);
    processor::examine_all(&Room::new());
    exit(Status::Passed)
}
