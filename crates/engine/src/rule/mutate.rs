//! Switching rules off, for `cargo xtask mutate`. Exists only with the feature `mutate`.
//!
//! The only state outside a call in the engine, and in no build that anybody uses.

use super::Rule;
use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

/// The rule that is off, as its two bytes; 0 is none.
static OFF: AtomicU16 = AtomicU16::new(0);

/// Switches `rule` off for the rest of the process (one at a time).
pub fn switch_off(rule: Rule) {
    OFF.store(u16::from_be_bytes([rule.family, rule.number]), Relaxed);
}

/// Whether `rule` is the one that is off.
#[inline]
pub(super) fn is_off(rule: Rule) -> bool {
    OFF.load(Relaxed) == u16::from_be_bytes([rule.family, rule.number])
}
