//! Getting and pinning user pages: the subject of this crate.
//!
//! *Grab*: get or pin, as the flags say. *Pass*: one walk over the request with the lock held
//! throughout. The slow path ([`slow`]) walks, faults and walks again; what differs between the two
//! kernels is in [`v4_4`] and [`v6_18`], behind one trait ([`semantics`]). It edits no entry but
//! accessed and dirty bits, and splits. Absent: filling entries ([`crate::fault`]), the kernel's
//! signatures ([`crate::abi`]).

pub(crate) mod args;
pub(crate) mod check;
pub mod dump;
mod family;
pub mod fast;
pub(crate) mod fast_v4_4;
mod fast_walk;
pub mod fault_in;
pub(crate) mod faultin;
pub(crate) mod follow;
pub(crate) mod gate;
pub(crate) mod hugetlb;
pub(crate) mod longterm;
pub(crate) mod look_v4_4;
pub mod memfd;
mod outcome;
mod page;
mod pins;
pub mod populate;
pub(crate) mod populate_v4_4;
pub mod proc_mem;
pub(crate) mod relock;
pub mod remote;
mod request;
mod runs;
mod segments;
mod semantics;
mod slow;
mod stop;
pub mod unpin;
pub(crate) mod v4_4;
pub(crate) mod v6_18;
mod walk;

pub use args::WantsPages;
pub use family::{Entry, Locked, gup};
pub(crate) use faultin::charge;
pub use outcome::Outcome;
pub use page::Page;
pub use pins::{Direction, GupError, Pins, PinsWithAreas, Read, Write};
pub(crate) use request::{Cx, Output, Request};
pub use runs::{PinnedRuns, Run, Term};
pub use segments::{Segment, SegmentLimits, Segments};
pub(crate) use semantics::Look;
pub(crate) use slow::pass;
pub use stop::Stop;
pub(crate) use stop::{Busy, End, Pass};
