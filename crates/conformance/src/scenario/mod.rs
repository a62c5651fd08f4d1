//! Scenarios: small stories about mappings, faults and pins, as text, as data, and played.
//!
//! [`parse`] reads one, [`play`] plays it in the engine and says of each step what it did and
//! whether what was expected came. The language is described in `scenarios/README.md`.
//! Absent: the running kernel ([`crate::live`]).

mod access;
mod acts;
mod calls;
mod check;
mod cursor;
mod drivers;
mod flat;
mod grabs;
mod host;
mod lex;
mod mistake;
mod parse;
mod player;
mod program;
mod report;
mod scope;
mod shown;
mod sight;
mod sysacts;
mod system;
mod sysverbs;
mod text;
mod tokens;
mod verbs;
mod wishes;

pub(crate) use check::areas_fit;
pub use host::{PlayHost, Recorder, Seen};
pub use mistake::Mistake;
pub use parse::{parse, parse_bytes};
pub use player::{Played, Player, play};
pub use program::*;
pub use report::{Report, Value};
pub use shown::Handed;
pub(crate) use tokens::fits;
