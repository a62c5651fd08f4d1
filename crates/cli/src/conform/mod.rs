//! `gup conform`: the engine beside the running kernel, or beside what one has answered.
//!
//! Scenario files are played in both ([`files`]); recorded answers in the engine alone
//! ([`replay`]); new ones are recorded ([`record`], [`rows`]). Random programs are played in both
//! ([`random`]), situations and their answers in either ([`vectors`]).

mod files;
mod random;
mod record;
mod replay;
mod rows;
mod vectors;
mod verb;

pub(crate) use verb::run_verb;
