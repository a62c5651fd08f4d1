//! One test per row of `docs/semantics.md`, named for it.
//!
//! A row counts only when its test made the engine take that decision, seen through the observer,
//! and asserted the result; [`support::row`] writes the evidence that `cargo xtask linux-map`
//! collects.

#![allow(missing_docs, unreachable_pub, reason = "a test program")]

mod advice;
mod c_args;
mod c_around;
mod c_calls;
mod c_check;
mod c_counts;
mod c_fast;
mod c_longterm;
mod c_look;
mod c_migrate;
mod c_slow;
mod check;
mod edits;
mod entry;
mod f_fault;
mod f_fork;
mod f_huge;
mod f_reclaim;
mod f_share;
mod f_unmap;
mod faultin;
mod gate;
mod huge;
mod i_calls;
mod i_pages;
mod m_pages;
mod mlocked;
mod n;
mod o;
mod populate;
mod pte;
mod runs;
mod s_cow;
mod s_walk;
mod single;
mod six;
mod stack;
mod stage;
mod store;
mod support;
mod t;
mod top;
mod versions;
mod w;
