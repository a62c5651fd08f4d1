//! A process that does what it is told, one line at a time: what the answers of `gup explain` are
//! checked against.
//!
//! The other fixtures hold one kind of memory, or play whole programs; a *puppet* changes who it is
//! (user, limits, capabilities), registers sets of buffers, forks, and stays as it is while it is
//! looked at. [`Puppet`] is the side that tells, [`serve()`] the side that does.
//!
//! Absent: any expectation. Memory is mapped in the arena of [`crate::sys`] only.

mod serve;
mod tell;

pub use serve::serve;
pub use tell::{PUPPET_ARGUMENT, Puppet};
