//! The board: its vectors, its memory, and what happens when nothing goes on.
//!
//! Source: Arm, *Cortex-M3 Devices Generic User Guide*, *Application Note AN385*.

use bare::{Heap, Ram, Status, exit, println};
use core::panic::PanicInfo;
use core::sync::atomic::AtomicU8;
use gup::addr::Pfn;

const HEAP_BYTES: usize = 512 << 10;
const FRAMES: usize = 64;

#[repr(C, align(4096))]
struct Frames([AtomicU8; FRAMES * 4096]);

static FRAME_BYTES: Frames = Frames([const { AtomicU8::new(0) }; _]);
static HEAP_SPACE: [AtomicU8; HEAP_BYTES] = [const { AtomicU8::new(0) }; _];

#[global_allocator]
static HEAP: Heap<24> = Heap::new();

unsafe extern "C" {
    /// Where the stack begins: the linker's.
    static stack_top: u32;
}

/// What the processor reads first: the stack, then where to go, on reset and on exceptions.
#[repr(C)]
struct Vectors {
    stack: &'static u32,
    handlers: [extern "C" fn() -> !; 15],
}

#[used]
#[unsafe(link_section = ".vectors")]
static VECTORS: Vectors = Vectors {
    // SAFETY: the address alone is used, by the processor.
    stack: unsafe { &stack_top },
    handlers: [
        reset, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault,
        fault, fault,
    ],
};

extern "C" fn reset() -> ! {
    let start = (&raw const HEAP_SPACE).addr();
    // SAFETY: a static of atomics that nothing else uses, given to the heap once.
    unsafe { HEAP.lock().init(start, HEAP_BYTES) };
    crate::main()
}

extern "C" fn fault() -> ! {
    println!("an exception that nobody waits for");
    exit(Status::Failed)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(Status::Failed)
}

/// The flat memory, at most `frames` frames, and its address.
pub(crate) fn memory(frames: u64) -> (Ram, usize) {
    let start = (&raw const FRAME_BYTES).cast_mut().cast::<u8>();
    // SAFETY: a static, page-aligned and of atomics, so it may be written to through shared
    // pointers; only the engine and devices use it.
    let ram = unsafe { Ram::new(start, Pfn::new(0), frames.min(FRAMES as u64)) };
    (ram, start.expose_provenance())
}
