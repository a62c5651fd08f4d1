//! The map's edits: what each system call does, refuses, and leaves behind.
//!
//! Tables of arguments and errnos; every edit by its effect on areas and pages; random programs
//! against a model.

mod edits;
mod errnos;
mod failures;
mod model;
mod special;
mod world;
