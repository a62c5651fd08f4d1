//! `gup explain`: one verdict about one range of a live process.

pub(crate) mod human;
pub(crate) mod json;
mod verb;

pub(crate) use verb::{Answered, run};
