//! A program's access, as a processor takes it through the tables: [`Tables::touch`].
//!
//! For hosts that walk the tables in software, and for comparing the engine with processors.
//! Invariant: marks are added with one exchange, so that nothing a lock holder wrote is lost.
//! Absent: TLBs, faults, bytes, and the kernel's own accesses.

use super::tables::{Tables, Walked};
use super::{Entry, Format, Touch};
use crate::addr::{Pfn, VirtAddr};
use crate::host::Host;
use core::sync::atomic::Ordering;

/// How a program's access ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touched {
    /// It reached this frame; the leaf is marked.
    Frame(Pfn),
    /// A fault: no valid leaf is there.
    Absent,
    /// A fault: the leaf does not allow it, or wants software to mark it.
    Denied,
}

impl<H: Host> Tables<'_, H> {
    /// Takes the access `touch` of a user program to `addr`, without locks: marks the leaf accessed
    /// or dirty as the processor does, or says why it takes a fault.
    ///
    /// On a host where [`Host::HARDWARE_WALKS`] is false, the leaf's table is locked, or nobody
    /// edits it meanwhile.
    pub fn touch(&self, addr: VirtAddr, touch: Touch) -> Touched {
        loop {
            let found = self.walk(addr);
            let Walked { place, entry } = found;
            let frame = found.frame(addr).filter(|_| !entry.is_protnone());
            let Some(frame) = frame else { return Touched::Absent };
            let Some(marked) = H::Format::touch(entry.raw(), place.level, touch) else {
                return Touched::Denied;
            };
            if marked == entry.raw() || self.mark(found, Entry::from_raw(marked)) {
                return Touched::Frame(frame);
            }
        }
    }

    /// Marks the entry that was found, if it is still that; a group's member stays one.
    fn mark(&self, found: Walked<H::Format>, marked: Entry<H::Format>) -> bool {
        let word = self.word(found.place);
        let now = word.load(Ordering::Acquire);
        let member = H::Format::is_grouped(now);
        if self.load(found.place) != found.entry {
            return false;
        }
        let new = if member { H::Format::grouped(marked.raw()) } else { marked.raw() };
        word.compare_exchange(now, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}
