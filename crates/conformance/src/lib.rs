//! Scenarios as data, played in the engine and in the running kernel.
//!
//! [`fixture`] makes a process with a range of one memory *kind*; [`ask`] puts one question to the
//! running kernel about it through a *driver*, a system call that pins. The answers are compared
//! with what the engine says, and with the rows recorded in `vectors/`.
//!
//! A question that cannot be put (no permission, no such feature) is *cannot ask*, with the
//! reason; it is never counted as agreement.

pub mod agree;
pub mod ask;
pub mod bench;
#[cfg(feature = "bpf")]
pub mod bpf;
#[cfg(not(feature = "bpf"))]
#[path = "bpf/absent.rs"]
mod bpf;
mod by_kernel;
pub mod cost;
pub mod fixture;
pub mod live;
pub mod matrix;
pub mod puppet;
mod ram;
pub mod random;
pub mod replay;
pub mod rows;
pub mod scenario;
pub mod sys;
pub mod vectors;
pub mod world;
