//! A read-only mirror of a live Linux process.
//!
//! [`process::Process`] holds one process by its `/proc/PID` directory; [`proc`] reads what Linux
//! publishes about it; [`window`] puts together what is known of one range: its areas and the
//! state of each of its pages; [`picture`] puts together the whole address space, coarsely.
//! Nothing here writes to the process, stops it, or reads a byte of its memory, and what could not
//! be seen is an [`unseen::Unseen`], never a guess.
//!
//! [`explain`] says what one consumer would get from the range; [`answer`] what else people ask
//! then: whose limit counts, what fork does, how much memory is added.
//!
//! [`kernel`] says whose rules apply: the running kernel's, or those of one that is asked about.
//!
//! Absent: rules. Why a pin fails is decided by the engine (crate `gup`) alone.

pub mod answer;
pub mod bundle;
pub mod consumer;
pub mod error;
pub mod explain;
pub mod kernel;
mod large;
pub mod meanwhile;
pub mod picture;
pub mod preflight;
pub mod proc;
pub mod process;
pub mod range;
pub mod unseen;
pub mod window;
pub mod world;

pub use preflight::preflight;
