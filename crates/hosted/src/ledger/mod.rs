//! A pin ledger: who holds which page, taken where, and what a driver got wrong about it.
//!
//! *Site*: a place in a driver's code, or a label. *Held*: by reference (get) or by pin. *Stale*: a
//! remembered translation that the address space no longer has. [`Ledger`] is an observer, which is
//! how it learns what was unmapped; pages are entered and struck out through [`Sited`], which calls
//! the engine and keeps the book.
//!
//! Invariant: a page goes back to the engine as it was taken, also when the driver says otherwise:
//! the mistake is reported, the counts stay right. Absent: policy; a report changes nothing.

mod book;
mod report;
mod site;
mod sited;

pub use book::Ledger;
pub use report::{Held, Mistake, Report, Why};
pub use site::Site;
pub use sited::Sited;
