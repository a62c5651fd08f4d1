//! A *bundle*: what Linux publishes about one process, kept in a file, to be explained elsewhere.
//!
//! It has the text files of `/proc/PID` that a verdict rests on, what stands behind each area, and
//! one word with its frame's flags for every run of pages. [`crate::process::Process`] is opened
//! from it as from a live process, so that nothing else knows the difference. It never has the
//! contents of a page.

pub mod collect;
pub mod format;
pub mod kept;

pub use collect::{Wanted, collect};
pub use format::{BadBundle, read, write};
pub use kept::Bundle;
