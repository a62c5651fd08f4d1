//! What of the machine around a process a mirror takes over: where frames may not stay pinned, and
//! where faults make huge pages.
//!
//! The default is a machine without movable memory that makes huge pages where they are asked for.

use crate::proc::thp::{self, Thp};
use crate::proc::zones::{Lies, Zones};
use crate::process::Process;
use crate::window::{Page, PageState};

/// Zones and settings of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// Its zones.
    pub zones: Zones,
    /// Where faults make huge pages.
    pub thp: Thp,
    /// Sizes of large folios below a huge page that faults make everywhere, bit n for 2^n pages.
    pub orders: u16,
    /// How many copies of every page there is room for, besides the one that a pin makes.
    pub copies: usize,
}

impl Around {
    /// The machine around `process`.
    pub fn of(process: &Process) -> Self {
        let text = |path: &str| process.read_machine_file(path).unwrap_or_default();
        let thp = Thp::parse(&text(thp::FILE));
        Self {
            zones: Zones::parse(&text("/proc/zoneinfo"), &process.cma_ranges()),
            thp,
            orders: thp::orders(thp, |size| text(&thp::file_of(size))),
            copies: 0,
        }
    }

    /// Where the frame of a page lies; `None` if there is no page that could be moved.
    pub fn lies(&self, page: &Page) -> Option<Lies> {
        match page.state {
            PageState::Absent | PageState::Swap | PageState::Guard | PageState::Zero => None,
            PageState::Poisoned | PageState::Marked => None,
            PageState::AnonExclusive | PageState::AnonShared | PageState::AnonOnce => {
                Some(page.pfn.map_or(Lies::Unknown, |pfn| self.zones.of(pfn)))
            }
            PageState::Ksm | PageState::File | PageState::AnonOrZero => {
                Some(page.pfn.map_or(Lies::Unknown, |pfn| self.zones.of(pfn)))
            }
        }
    }

    /// Whether a page lies where a long-term pin is known not to stay.
    pub(super) fn must_move(&self, page: &Page) -> bool {
        match self.lies(page) {
            Some(Lies::Movable | Lies::Cma) => true,
            Some(Lies::Ordinary | Lies::Device | Lies::Unknown) | None => false,
        }
    }
}
