//! `cargo xtask mutate`: switch rules of the engine off, one at a time, and see which test notices.
//!
//! The row tests are built once with the engine's test-only feature `mutate`, and run once for each
//! rule with the rule's id in `GUP_RULE_OFF`; then that rule never decides. A run that fails, or
//! does not end in time (a refusal that is gone can loop for ever), has *noticed*. For a row that
//! another rule keeps, that rule is off, and the row's own tests must notice. Absent: any change of
//! the source.

mod play;
mod rules;
mod verb;

pub(crate) use rules::switches;
pub(crate) use verb::run;
