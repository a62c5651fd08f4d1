//! One test per row of `docs/semantics.md`, named for it.
//!
//! A row counts only when its test made the engine take that decision, seen through the observer, and asserted
//! the result; [`support::row`] writes the evidence that `cargo xtask linux-map` collects.

#![allow(missing_docs, unreachable_pub, reason = "a test program")]

mod check;
mod gate;
mod n;
mod pte;
mod stack;
mod support;
mod top;
mod w;
