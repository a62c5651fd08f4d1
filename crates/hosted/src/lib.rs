//! A host of the gup engine on std: memory, waiting, files, swap.
//!
//! - [`HostedMemory`]: frames in an anonymous mapping or in a memfd;
//! - [`Std`]: a ready [`gup::host::Host`] on any memory and observer, with [`Tickets`] to wait for
//!   and an [`Injector`] of failures;
//! - [`FileStore`], [`SwapFile`]: pages that live in a real file; [`SlowStore`]: any store, slowed
//!   down;
//! - [`Ledger`]: an observer that keeps who holds which page, and reports what a driver forgets.
//!
//! `unsafe` is in [`memory`](HostedMemory), one mapping and copies of its words, and in `dma`,
//! which lends pinned bytes to other crates (features `vm-memory` and `embedded-dma`). Absent:
//! policy.

#[cfg(any(feature = "embedded-dma", feature = "vm-memory"))]
pub mod dma;
mod host;
mod ledger;
mod memory;
mod store;

pub use host::{Epochs, Injector, Std, Tickets};
pub use ledger::{Held, Ledger, Mistake, Report, Site, Sited, Why};
pub use memory::HostedMemory;
pub use store::{FileStore, SlowStore, SwapFile};
