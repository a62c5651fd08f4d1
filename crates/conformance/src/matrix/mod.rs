//! Linux's own tests of copy-on-write and long-term pins, as data: scenario bodies × backings.
//!
//! *Body*: what processes do, and what must hold afterwards ([`bodies`]). *Backing*: what kind of
//! memory they do it with ([`backings`]). *Case*: one body on one backing, played on a machine of
//! its own ([`play`]). A case *holds*, *breaks* (its bytes are not the ones promised), or *cannot*
//! be played, with the reason; the last is never counted as holding. Some break in Linux too, and
//! must break here.
//!
//! Absent: the kernel; the test programs' text.
//! Linux: the facts of `tools/testing/selftests/mm/{cow,gup_longterm,madv_populate,mkdirty`,
//! guard-regions}.c (6.18), rows T-01 … T-25 and T-32.

mod backings;
mod bodies;
mod cases;
mod longterm;
mod others;
mod play;

pub use backings::{Backing, Source};
pub use bodies::Body;
pub use cases::{Case, Expected, Report, Subject, Verdict, cow, gup_longterm, others};
pub use longterm::{Call, LongTerm};
pub use others::Other;
pub use play::Decided;
