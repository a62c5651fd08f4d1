//! The board: its vectors, its memory, and what happens when nothing goes on.
//!
//! Source: Arm, *Cortex-M3 Devices Generic User Guide*, *Application Note AN385*.

use bare::{Heap, Ram, Space, Status, exit, println};
use core::panic::PanicInfo;
use gup::addr::Pfn;

const HEAP_BYTES: usize = 512 << 10;
const FRAMES: usize = 64;

#[repr(align(4096))]
struct Frames(Space<{ FRAMES * 4096 }>);

static FRAME_BYTES: Frames = Frames(Space::zeroed());
static HEAP_SPACE: Space<HEAP_BYTES> = Space::zeroed();

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
    let (at, bytes) = (HEAP_SPACE.start().addr(), HEAP_SPACE.bytes());
    // SAFETY: a static's bytes that nothing else uses, given to the heap once.
    unsafe { HEAP.lock().init(at, bytes) };
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
    let start = FRAME_BYTES.0.start();
    // SAFETY: a static's bytes, page-aligned; only the engine and devices use them, as atomics.
    let ram = unsafe { Ram::new(start, Pfn::new(0), frames.min(FRAMES as u64)) };
    (ram, start.expose_provenance())
}
