//! `cargo xtask tidy`: the rules of style that a tool can check.
//!
//! Each part looks at one kind of rule and returns findings; this file only wires them together.

mod engine;
mod files;
mod links;
mod map;
mod report;
mod sizes;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use report::run;
