//! A stand-in for a userfaultfd handler.
//!
//! Linux does not say from outside in which mode a userfaultfd was opened, nor what its handler would do; the
//! stand-in refuses, as `UFFD_FEATURE_SIGBUS` does, and the verdict says that this was not seen.

use gup::host::Ticket;
use gup::vma::{UserFault, UserFaultMessage};

/// A userfaultfd whose handler refuses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched;

impl UserFault for Watched {
    fn sigbus(&self) -> bool {
        true
    }

    fn wp_async(&self) -> bool {
        false
    }

    fn deliver(&self, _message: UserFaultMessage) -> Ticket {
        Ticket(0)
    }
}
