//! What else `gup explain` answers, each by an option, a field of the JSON object and a paragraph,
//! all of the same name.
//!
//! An answer is two files of that name: `gup_mirror::answer` computes it, the one here prints it;
//! [`given`] lists them.

mod cost;
mod fork;
mod given;
mod memlock;
mod movable;
mod readers;
mod rss;
mod words;

pub(crate) use given::{AnswerArgs, Answers, Objects};
pub(crate) use words::count;
