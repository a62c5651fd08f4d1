//! The running kernel as a world that plays scenarios.
//!
//! *Laboratory* ([`Lab`]): the controller with its keeper and its shared memory. *Subject*: a
//! process of a program, which does what it is ordered. *Keeper*: a small process of our own that
//! makes subjects by fork and puts the machine's settings back.
//! Law: `vectors/linux-6.18/kernel-rows.md`, *How to ask a kernel and get the same answer twice*:
//! one CPU, a fresh subject per program, text, stack and buffers touched first, nothing compared
//! that is lazy, and nothing observed by what disturbs.
//! Absent: what is asked ([`crate::scenario`]), what is compared ([`crate::world`]).

mod acts;
mod asks;
mod exact;
mod expect;
mod files;
mod keeper;
mod kernel;
mod lab;
mod machine;
mod mailbox;
mod observe;
mod remote;
pub mod rows;
mod subject;
mod touch;

pub use keeper::{KEEPER_ARGUMENT, serve as serve_keeper};
pub use kernel::Kernel;
pub use lab::{Changes, Lab, Watch};
