//! A processor walks the engine's own page tables, and every access ends as the engine says.
//!
//! Random tables are made by the engine's edits in memory that the processor has; then the engine
//! and the processor take the same random accesses. Compared: whether each succeeds, what the fault
//! reports and at which address, and every bit of every table, accessed and dirty among them.
//! Absent: processors ([`Processor`]): a virtual one (`crates/hosted/tests/kvm`) and emulated ones
//! (`guests/walk`); but what an x86-64 one needs to take accesses is here for both ([`Kernel`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod compare;
mod fill;
mod host;
mod random;
mod x86_kernel;

pub use compare::{Access, CannotAsk, Counts, Ended, Processor, Walk, examine};
pub use host::{Bare, Layout};
pub use x86_kernel::{Begin, Kernel};
