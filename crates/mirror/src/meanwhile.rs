//! What others may know of a look while it runs, and how they end it early.
//!
//! A look at many pages takes seconds. Whoever waits can count the pages that were read, and can
//! *interrupt*: the look then ends with what it has, and says how much that is
//! ([`Glance::interrupted`](crate::explain::Glance)). An interruption is heeded once, by the next
//! look at a long range if none runs.
//!
//! One flag for the whole program, since it stands for the keyboard.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

static READ: AtomicU64 = AtomicU64::new(0);

/// The flag that interrupts: a signal handler may set it.
pub fn interruption() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// Pages of long ranges that were read so far, by all looks.
pub fn pages_read() -> u64 {
    READ.load(Ordering::Relaxed)
}

/// A look at a long range that runs.
#[derive(Debug)]
pub(crate) struct Reading {
    begun: Cell<bool>,
}

/// Begins a look at a long range.
pub(crate) const fn heed() -> Reading {
    Reading { begun: Cell::new(false) }
}

impl Reading {
    /// So many more pages were read.
    pub(crate) fn read(&self, pages: u64) {
        self.begun.set(true);
        READ.fetch_add(pages, Ordering::Relaxed);
    }

    /// Whether somebody has interrupted; not before something was read.
    pub(crate) fn is_over(&self) -> bool {
        self.begun.get() && interruption().swap(false, Ordering::SeqCst)
    }
}
