//! The whole address space, coarsely: which areas there are, what their pages are, and what a pin
//! of each page alone would meet.
//!
//! A [`Look`] is all that a pin's fate depends on, besides the area: pages of one area with one
//! look are alike, and one of them is played in the engine for all ([`fate`]). A [`Run`] is a
//! stretch of pages with the number of pages of each look; where looks change too often, stretches
//! are put together ([`runs`]), so that a picture stays small whatever the size of the address
//! space.
//!
//! Absent: limits that count pages (of locked memory), since every page is asked about alone; and
//! how it is drawn.

pub mod fate;
mod look;
mod read;
mod runs;

pub use look::{Look, Mappings};
pub use read::{Picture, Region};
pub use runs::{Kind, Run};
