//! Replaying recorded programs in the engine: every answer, and the state of every page, as the
//! kernel gave them.
//!
//! *Program*: the records of one seed, in order. *Slot*: a process of a program, P0 to P2. *Arena*:
//! the 16 pages that all operations are about. `vectors/linux-6.18/kernel-rows.md` says what each
//! operation does. New programs are recorded from the running kernel.

mod drivers;
mod file;
mod generate;
mod kinds;
mod kinds_files;
mod kinds_special;
mod live;
pub(crate) mod operations;
mod record;
mod run;
mod state;
mod translate;
pub(crate) mod world;

pub use drivers::{Unlike, compare};
pub use file::{BadRecording, Recording, open};
pub use live::{ask_kernel, record_program};
pub use record::{Record, programs};
pub use run::{AfterDifference, FirstDifference, Heard, Side, Totals, run};
pub use world::{Difference, Player, play};
