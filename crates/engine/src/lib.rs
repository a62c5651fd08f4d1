//! gup: Linux's `get_user_pages` as a library, with the kernel's exact results, with an MMU and
//! without.
//!
//! The engine keeps address spaces (VMAs, page tables, faults, fork, huge pages, swap) on memory
//! that a [`host::Host`] lends it, and pins their pages as Linux does. Entry points:
//!
//! - [`mm::Mm::pin`]: the typed layer that Rust programs use ([`gup`]);
//! - [`abi`]: the kernel's own signatures, `count / 0 / -errno`;
//! - [`nommu`]: the twin for a machine without an MMU.
//!
//! Exact for two kernels ([`linux::Linux`]): v4.4, the form with `vmas` and `nonblocking`, and
//! 6.18. Absent: I/O, clocks, threads, globals, `unsafe`. Every decision is a numbered row
//! ([`rule`]).
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod abi;
pub mod addr;
pub mod errno;
pub mod fault;
pub mod file;
pub mod flags;
pub mod frame;
pub mod gup;
pub mod heap_host;
pub mod host;
pub mod hugetlb;
pub mod linux;
pub mod mapping;
pub mod memory;
pub mod mm;
pub mod nommu;
pub mod observe;
pub mod pgtable;
pub mod rule;
pub mod swap;
mod sync;
pub mod task;
pub mod vma;

/// The README's program is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
