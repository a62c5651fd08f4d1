//! Every rule as data: id, meaning, errno, versions, remedy. A verdict names one of these.
//!
//! A [`Rule`] is a row of `docs/semantics.md`. A refusal is made by one predicate that returns a
//! `Rule`; `abi` reads its errno, `gup explain` its sentence, a test its id. Absent: predicates.
//! With the feature `mutate` (tests only) one rule can be switched off, to see which test notices.

pub mod a;
pub mod c;
pub mod f;
pub mod i;
mod id;
pub mod m;
#[cfg(feature = "mutate")]
pub mod mutate;
pub mod n;
pub mod o;
mod origin;
pub mod s;
mod table;
pub mod w;

pub use id::Rule;
pub(crate) use table::rows;
pub use table::{Before, Row};
