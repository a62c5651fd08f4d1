//! Which kernel answers: the running one, or one that is asked about by its version.
//!
//! *Facts* are what a verdict needs of a kernel: which rules of the engine's catalogue it has
//! ([`gup::linux::Kernel`]), and who may force an access. The running kernel is probed, since
//! distributions carry changes back ([`probe`]); what system calls were before is [`history`]; what
//! changed between two kernels for one range is [`changes`].
//!
//! Absent: rules. Their versions stand in the catalogue (`gup::rule`), and nowhere else.

pub mod changes;
mod facts;
pub mod history;
pub mod probe;

pub use facts::{BadVersion, Facts, Forced, PROBES, parse};
