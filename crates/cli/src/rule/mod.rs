//! `gup rule`: the rules, one by one and by what people see of them.

mod json;
mod pages;
mod phrases;
mod verb;

pub(crate) use verb::run;
