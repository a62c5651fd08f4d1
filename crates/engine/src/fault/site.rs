//! One fault in progress: whose it is, the entry it is about, and the same entry under its table's
//! lock.
//!
//! Invariant: an entry is written only after [`Site::lock`] found it as it was read.
//! Linux: `struct vm_fault`, `vmf_pte_changed` (6.18).

use super::handle::FaultCx;
use super::outcome::Fault;
use crate::addr::{Pfn, VirtAddr, VirtRange};
use crate::flags::{FaultFlags, VmFlags};
use crate::frame::{AllocFlags, Frames, TableGuard};
use crate::host::{Host, Ticket, WaitMode, Woken};
use crate::linux::Linux;
use crate::mm::Machine;
use crate::observe::Event;
use crate::pgtable::{Entry, Place, Tables, level_span};
use crate::rule::{c, f, w};
use alloc::sync::Arc;

/// One fault in progress.
pub(super) struct Site<'a, H: Host> {
    pub(super) cx: FaultCx<'a, H>,
    /// The page's first address.
    pub(super) addr: VirtAddr,
    pub(super) flags: FaultFlags,
    /// Where the entry is; above level 0 for a huge page, of which `addr` is the first address
    /// then.
    pub(super) place: Place,
    /// What it was.
    pub(super) seen: Entry<H::Format>,
    /// There was no table for it before this fault; known for files only.
    pub(super) new_table: bool,
}

impl<'a, H: Host> Site<'a, H> {
    #[inline]
    pub(super) fn machine(&self) -> &'a Arc<Machine<H>> {
        self.cx.mm.machine()
    }
    #[inline]
    pub(super) fn host(&self) -> &'a H {
        self.cx.mm.machine().host()
    }
    #[inline]
    pub(super) fn frames(&self) -> &'a Frames<H> {
        self.cx.mm.machine().frames()
    }
    #[inline]
    pub(super) fn tables(&self) -> Tables<'a, H> {
        self.cx.mm.tables()
    }
    #[inline]
    pub(super) fn has(&self, flags: FaultFlags) -> bool {
        self.flags.contains(flags)
    }
    /// Where pages for this fault may come from (row C-76).
    #[inline]
    pub(super) fn user_memory(&self) -> AllocFlags {
        self.cx.task.user_memory()
    }
    /// The page's range.
    pub(super) fn range(&self) -> VirtRange {
        VirtRange::new(self.addr, self.addr.saturating_add(level_span(self.place.level)))
    }
    /// Locks the table, if the entry is still what was seen; otherwise the fault is over.
    #[inline]
    pub(super) fn lock(&self) -> Option<TableGuard<'a>> {
        let guard = self.tables().lock(self.place.table);
        (self.tables().load(self.place) == self.seen).then_some(guard)
    }
    /// Writes the entry. The table's lock is held, and the entry was empty or not present.
    #[inline]
    pub(super) fn set(&self, entry: Entry<H::Format>) {
        self.tables().store(self.place, entry);
    }
    /// Writes an entry over a present one that maps the same frame. The table's lock is held.
    pub(super) fn update(&self, entry: Entry<H::Format>) {
        self.tables().store(self.place, entry);
        if entry != self.seen {
            self.host().flush_tlb(self.cx.mm.root(), self.range());
        }
    }
    /// Writes an entry over a present one that maps another frame: empty and flushed in between
    /// (row F-31). The table's lock is held.
    pub(super) fn replace(&self, entry: Entry<H::Format>) {
        self.tables().break_entry(self.addr, self.place);
        self.tables().store(self.place, entry);
    }
    /// Gives a reference back that the fault did not need.
    pub(super) fn put(&self, pfn: Pfn) {
        self.machine().put_page(pfn);
    }

    /// Waits for `ticket`, as far as the fault's flags allow (row W-03).
    ///
    /// Without leave to drop the lock it is waited for here, under the lock; a second attempt
    /// (TRIED) has no such leave any more.
    /// # Errors
    /// The fault's end: the caller is to wait, or may not, or a signal ended the wait.
    pub(super) fn wait(&self, ticket: Ticket) -> Result<(), Fault> {
        self.host().decided(w::W_03, self.addr);
        if w::W_03.when(self.has(FaultFlags::ALLOW_RETRY)) {
            if self.has(FaultFlags::RETRY_NOWAIT) {
                return Err(Fault::Kept(ticket));
            }
            if !self.has(FaultFlags::TRIED) {
                return Err(Fault::Retry(ticket));
            }
        }
        let mode = if self.has(FaultFlags::KILLABLE) {
            WaitMode::Killable
        } else {
            WaitMode::Uninterruptible
        };
        self.host().see(Event::Wait(ticket.0));
        match self.host().wait(ticket, mode, self.cx.task) {
            Woken::Ready => Ok(()),
            Woken::Signal => Err(Fault::Retry(ticket)),
        }
    }
    /// Whether the entry that a store is served with allows stores: not where the store was forced
    /// upon an area that forbids them (row F-29).
    pub(super) fn may_store(&self) -> bool {
        let forced = !self.cx.vma.flags.contains(VmFlags::WRITE);
        !self.host().rule(f::F_29, forced, self.addr)
    }
    /// The fault wrote to a page that is shared through its file, and `dirtied` it: a first attempt
    /// that may drop the lock ends without it, since the writer may be held up until enough was
    /// written back (row C-51).
    pub(super) fn wrote_shared(&self, dirtied: bool, fault: Fault) -> Fault {
        let told = dirtied || super::page::tracks_dirty(self.cx.vma);
        let first = self.has(FaultFlags::ALLOW_RETRY)
            && !self.flags.intersects(FaultFlags::TRIED | FaultFlags::RETRY_NOWAIT);
        let Fault::Done { major, .. } = fault else { return fault };
        let drops = told && first && !self.is_v4_4() && self.cx.vma.backing.file().is_some();
        if c::C_51.when(drops) { Fault::Completed { major } } else { fault }
    }
    /// The machine runs v4.4.
    pub(super) fn is_v4_4(&self) -> bool {
        self.machine().linux() == Linux::V4_4
    }
}
