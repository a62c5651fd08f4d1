//! `gup explain`: one verdict about one range of a live process.

mod human;
mod json;
mod verb;

pub(crate) use verb::{Answered, run};
