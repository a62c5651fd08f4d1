//! An address space and the machine it lives on.
//!
//! [`Machine`] owns memory, frames, swap and pools; [`Mm`] is one address space; [`Lock`] is the
//! mmap lock as a value that says how it is held. Absent: edits ([`crate::mapping`]), faults, pins.

mod lock;
mod machine;
mod space;

pub use lock::{Lock, MmRead, MmWrite};
pub use machine::{Machine, MachineConfig, Overcommit, ProcMemForce, Quirks, Sysctl, Vsyscall};
pub use space::{Counter, Mm};
