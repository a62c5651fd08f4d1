//! Ranges of any length: a verdict that costs what is in the range, not what it spans.
//!
//! [`survey`] reads the range as runs of pages that are alike and jumps over what is empty;
//! [`condense`] takes whole 2 MiB blocks out of the middle of long runs, so that a small window is
//! left in which every page has its old neighbours; the engine plays on that, and the verdict is
//! widened again. Absent: the answers that need every page ([`crate::answer`]).

pub(crate) mod condense;
pub(crate) mod survey;
pub(crate) mod widen;
