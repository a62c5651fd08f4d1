//! Vectors: a situation, a system call, and what Linux answers, as data; and who answers alike.
//!
//! `vectors/README.md` has the schema, for readers who never build this crate. [`ask_engine`] puts
//! a vector to the engine, [`ask_kernel`] to the running kernel, in a process of its own.
//! Absent: the recorded kinds and drivers ([`crate::rows`]), which have a form of their own.

mod answer;
mod builder;
mod engine;
mod family;
mod file;
mod kernel;
mod layout;
mod raw;
mod run;
mod userfault;
mod words;

pub use answer::{Answer, Told};
pub use engine::ask_engine;
pub use file::{BadVectors, Vector, open};
pub use kernel::ask_kernel;
pub use run::{Found, Tally, VectorTotals, run};
pub(crate) use userfault::can_watch;
