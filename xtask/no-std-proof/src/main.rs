//! A program without std that links the engine; it is checked, not run.
//!
//! Its panic handler is the proof: if anything below it linked std, there would be two and the
//! compiler would refuse.
#![no_std]
#![no_main]

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;
use gup as _;

/// An allocator that has no memory.
struct Nothing;

// SAFETY: `alloc` returns null, which the trait allows for "no memory"; so no block exists that
// `dealloc` could be given, and nothing unwinds.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    loop {}
}
