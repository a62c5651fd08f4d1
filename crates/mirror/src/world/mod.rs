//! The world in which a mirrored process is explained: a machine of the engine without bytes.
//!
//! [`ghost`] memory holds page tables only; [`host`] is the machine's host; [`build`] puts areas
//! and page states of a [`crate::window::Window`] into an address space of that machine, with the
//! zones and settings of [`around`].
//!
//! Absent: the contents of any page, time, other processes. What a fault would bring is a new
//! frame.

pub mod around;
pub mod build;
pub mod dumped;
pub mod flags;
pub mod ghost;
pub mod host;
mod userfault;
