//! `gup demo`: explains a fixture of every kind for every consumer, asks the kernel, prints both
//! side by side.

mod table;
mod verb;

pub(crate) use verb::{Tally, run};
