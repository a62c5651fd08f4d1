//! The calls that pin: which they are, and what one of them asked for.

pub(crate) mod completions;
pub mod decode;
mod ioctls;
pub mod memory;
mod rings;
pub mod table;
