//! A world that plays scenarios: the engine is one, the running kernel another.
//!
//! *Heard*: what a world says of one step, in words that both share: the value, the faults charged
//! to the caller, the pins of the machine, and of every process its areas and the state of every
//! page that is looked at ([`crate::scenario::Setup::watch`]; without that, the first pages of
//! every mapping with a name). Frames have class numbers, by first appearance over all processes
//! and pages of one snapshot: what is compared is the partition, never a frame's number.
//! Absent: what is asked ([`crate::scenario`]).

mod compare;
mod engine;
mod exact;
mod heard;
mod pair;
pub(crate) mod token;

pub use compare::{Difference, Verdict, compare};
pub use engine::Engine;
pub use exact::{Counts, Exact, Marks};
pub use heard::{Area, Heard, Space, WATCHED_PAGES, Window, World};
pub(crate) use pair::beside;
pub use pair::{Both, Pair};
pub use token::{Content, Token};
