//! Following the command with ptrace: its stops, its threads, and what of it is told.

pub mod failed;
pub mod foreign;
mod interrupts;
mod people;
mod session;

pub use session::{Children, DirectIo, Ended, Options, Told, follow};
