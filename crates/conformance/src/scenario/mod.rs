//! Scenarios: small stories about mappings, faults and pins, as text, as data, and played.
//!
//! [`parse`] reads one, [`play`] plays it in the engine and says of each step what it did and
//! whether what was expected came. The language is described in `scenarios/README.md`.
//! Absent: the running kernel.

mod cursor;
mod lex;
mod mistake;
mod parse;
mod program;
mod scope;
mod verbs;
mod wishes;

pub use mistake::Mistake;
pub use parse::{parse, parse_bytes};
pub use program::*;
