//! A stand-in for a userfaultfd handler.
//!
//! With `UFFD_FEATURE_SIGBUS` nobody is asked, and nothing is unknown. Otherwise the stand-in
//! answers as a handler does that wants the process to go on: a missing page becomes the zero page,
//! write protection is lifted. What the real one would do cannot be seen.

use crate::proc::uffd::Features;
use gup::host::{Host, Ticket};
use gup::mm::Mm;
use gup::pgtable::{Entry, Perms};
use gup::vma::{UserFault, UserFaultMessage};
use std::sync::{Arc, Mutex, PoisonError};

/// Messages that wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Vec<UserFaultMessage>>);

impl Inbox {
    fn push(&self, message: UserFaultMessage) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    }

    fn take(&self) -> Vec<UserFaultMessage> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers every message.
    pub(super) fn answer<H: Host>(&self, mm: &Mm<H>) {
        for message in self.take() {
            let tables = mm.tables();
            // Nothing is done where no table can be made: the fault is delivered again.
            let Ok(place) = tables.make(message.addr.page_floor(), 0) else { continue };
            let _locked = tables.lock(place.table);
            let seen = tables.load(place);
            let zero = || {
                let perms = Perms { special: true, young: true, ..Perms::default() };
                Entry::leaf(mm.machine().zero_page(), perms, 0)
            };
            let entry = if seen.is_present() {
                seen.map_perms(0, |perms| perms.uffd_wp = false)
            } else if message.write_protect {
                Entry::NONE
            } else {
                zero()
            };
            tables.store(place, entry);
        }
    }
}

/// A userfaultfd of a mirrored process.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// What it was opened with; `None` if that was not seen.
    pub(super) features: Option<Features>,
    /// Where its messages go.
    pub(super) inbox: Arc<Inbox>,
}

impl UserFault for Watched {
    fn sigbus(&self) -> bool {
        self.features.is_some_and(Features::sigbus)
    }

    fn wp_async(&self) -> bool {
        self.features.is_some_and(Features::wp_async)
    }

    fn deliver(&self, message: UserFaultMessage) -> Ticket {
        self.inbox.push(message);
        Ticket(0)
    }
}
