//! What a program needs where there is no operating system: output, an end, a heap, and its frames
//! as the engine's memory.
//!
//! Output and end go through *semihosting*: the emulator, or a debugger, does them for the program.
//! Absent: interrupts, other threads, devices.
#![no_std]

extern crate alloc;

mod ram;
mod semihosting;
mod space;

pub use buddy_system_allocator::LockedHeap as Heap;
pub use ram::Ram;
pub use semihosting::{Console, Status, exit};
pub use space::Space;

/// Prints a line.
#[macro_export]
macro_rules! println {
    ($($part:tt)*) => {{
        use core::fmt::Write as _;
        let _never_fails = writeln!($crate::Console, $($part)*);
    }};
}
