//! The preflight of `gup-mirror`, for C: one function, one struct.
//!
//! [`call`] has both; `include/gup_preflight.h` declares them.

pub mod call;
