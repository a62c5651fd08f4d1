//! Everything at once: a scenario that fails at every point where it can, and random programs whose
//! every grabbed page is the one that a plain walk reaches.

#![allow(missing_docs, unreachable_pub, reason = "a test program")]

mod audit;
mod crowd;
mod failures;
mod flat;
mod found;
mod hostile;
mod large;
mod programs;
mod races;
#[path = "../rows/support.rs"]
mod support;
