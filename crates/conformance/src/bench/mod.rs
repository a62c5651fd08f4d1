//! `gup bench`: the engine beside the running kernel and beside the physical floor, in one run, as
//! ratios.
//!
//! *Floor*: the memory traffic that no implementation avoids: read an entry, one locked add on the
//! frame's metadata, store a frame number. Sides are measured in turn, round by round; figures are
//! medians. Absent: verdicts. Nothing here fails because a machine is slow.

mod edits;
mod explain;
mod fast;
mod faults;
mod floor;
mod fork;
mod huge;
mod kernel;
mod longterm;
mod measure;
mod memory;
mod release;
mod report;
mod run;
mod slow;
mod space;
mod threads;
mod translate;

pub use report::{About, Aim, Figure, Markdown, Report, Row};
pub use run::{Effort, run};
pub use space::CannotBench;
