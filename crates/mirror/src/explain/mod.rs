//! Explaining: what one consumer would get from one range of a live process, and why.
//!
//! [`verdict`] is the answer as data. The reasons are the engine's: a verdict names the rule that
//! the engine decided by, when it ran on a mirror of the process, and no reason is found anywhere
//! else.

pub mod action;
pub(crate) mod form;
mod glance;
pub mod hints;
pub mod look;
pub(crate) mod play;
pub mod request;
mod run;
pub(crate) mod trial;
pub mod verdict;

pub use glance::{Glance, glance};
pub use run::{NoVerdict, explain, explain_window};
pub(crate) use run::{decided, differ};
