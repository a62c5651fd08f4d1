//! Answers: what else people ask about a pin, besides whether it works.
//!
//! Each is a function from one [`crate::explain::look::Look`] to a plain struct, in a file of its
//! own, whose header says what it answers.
//!
//! Absent: printing. Where an answer depends on what a pin does to pages, the engine plays it on
//! the mirror, and the answer is read off; no rule is written down again.

pub mod buffers;
pub mod cost;
pub mod fork;
pub mod memlock;
pub mod movable;
pub mod rates;
pub mod readers;
pub mod rss;
pub mod user_bucket;
pub mod what_if;
