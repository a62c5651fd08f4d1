//! What happened inside a call, as events: the trace that `gup run --trace` prints and that tests
//! look at.
//!
//! An [`Observer`] that is [`Silent`] costs nothing: `ON` is a constant, so the event is never
//! built. Absent: decisions. An observer cannot change what the engine does.

use crate::addr::{Pfn, VirtAddr};
use crate::flags::FaultFlags;
use crate::rule::Rule;
use core::panic::Location;

/// Something the engine did or decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A rule decided about `addr` (0 where no address is concerned).
    Rule {
        /// The rule.
        rule: Rule,
        /// The address it decided about.
        addr: VirtAddr,
    },
    /// The VMA that covers an address was found.
    VmaFound {
        /// Its first address.
        start: VirtAddr,
        /// Its end.
        end: VirtAddr,
    },
    /// A page-table entry was read.
    Walk {
        /// 0 = PTE, 1 = PMD, 2 = PUD, 3 = PGD.
        level: u8,
        /// The address looked up.
        addr: VirtAddr,
        /// The raw entry.
        entry: u64,
    },
    /// A fault begins.
    Fault {
        /// The faulting address.
        addr: VirtAddr,
        /// How it is taken.
        flags: FaultFlags,
    },
    /// The fault ended; `what` is one word for its outcome.
    FaultEnd {
        /// The faulting address.
        addr: VirtAddr,
        /// How it ended.
        what: FaultEnd,
    },
    /// A page was handed out.
    Grab {
        /// Index in the request, in pages.
        index: u64,
        /// Its frame.
        pfn: Pfn,
    },
    /// This many pages were pinned (`nr_foll_pin_acquired`, row C-92).
    Pinned(u32),
    /// This many pins were given back (`nr_foll_pin_released`).
    Unpinned(u32),
    /// Areas went from here: unmapped, moved away, or the address space ended. Whoever remembers
    /// which frames stood there remembers wrongly from now on.
    Unmapped {
        /// The root table, which names the address space while it lives.
        root: Pfn,
        /// The first address.
        start: VirtAddr,
        /// The end.
        end: VirtAddr,
    },
    /// A folio was moved to other frames.
    Moved {
        /// Its head before.
        from: Pfn,
        /// Its head now.
        to: Pfn,
        /// How many pages it has.
        pages: u64,
    },
    /// The mmap lock was dropped.
    LockDropped,
    /// The mmap lock was taken again.
    LockTaken,
    /// The engine waits for this ticket.
    Wait(u64),
}

/// How a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the outcomes of `fault::Fault`, in one word")]
pub enum FaultEnd {
    Minor,
    Major,
    Kept,
    Retry,
    Completed,
    Oom,
    Sigbus,
    Sigsegv,
    HwPoison,
    Fallback,
}

/// Who receives events.
pub trait Observer: Send + Sync {
    /// Whether events are wanted at all. `false` removes every trace of them from the code.
    const ON: bool;
    /// Receives one event and the place in the engine that produced it.
    fn event(&self, event: &Event, at: &'static Location<'static>);
}

/// Wants no events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    const ON: bool = false;
    #[inline]
    fn event(&self, _: &Event, _: &'static Location<'static>) {}
}
