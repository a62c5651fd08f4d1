//! `gup explain -- CMD`: runs a command, and explains each of its calls that pins and fails.

mod human;
mod json;
mod report;
mod verb;

pub(crate) use verb::run;
