//! Random programs: played in two worlds at once, compared after every operation, and shrunk when
//! the worlds differ.
//!
//! *Pair*: the engine and a referee, the running kernel unless a test plants another engine. *Set*:
//! which operations are drawn. Everything follows from the seed: the same seed gives the same
//! programs on every machine that has the same [`Means`].
//! Absent: how a world plays ([`crate::world`]).

mod change;
mod dice;
mod draw;
mod generate;
mod kept;
mod means;
mod purpose;
mod report;
mod run;
mod shrink;
mod tally;

pub use generate::{Set, program};
pub use kept::scenario_of;
pub use means::Means;
pub use purpose::{ON_PURPOSE, Purpose};
pub use report::{Made, markdown};
pub use run::{First, Live, Pair, Plan, Progress, Totals, Worlds, run};
pub use shrink::{Shrunk, shrink};
pub use tally::{Count, Tally};
