//! `gup explain`: one verdict about one range of a live process.

pub(crate) mod human;
pub(crate) mod json;
mod verb;

pub(crate) use json::flag_names;
pub(crate) use verb::{Answered, answers_of, consumer_named, flags_named, kernel_named, run};
