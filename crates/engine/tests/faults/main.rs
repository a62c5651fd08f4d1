//! Faults, fork, files and swap: what every entry, byte and count is after each of them.

mod anon;
mod file;
mod fork;
mod moves;
mod races;
mod swap;
mod userfault;
mod world;
