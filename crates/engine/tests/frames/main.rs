//! Frames through their public face: counts, mapcounts, flags, locks, lists, splits, memory,
//! threads.

mod alloc;
mod counts;
mod memory;
mod split;
mod support;
mod threads;
