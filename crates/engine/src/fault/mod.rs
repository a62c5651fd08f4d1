//! Page faults: the only code that fills entries on demand.
//!
//! Absent: who asks ([`crate::gup`], or a host's own access), and what an outcome means to them.
//! Linux: mm/memory.c `handle_mm_fault` (6.18; v4.4 where rows A-48 and F-20 say so).

mod outcome;

pub use outcome::{Fault, FaultError};
