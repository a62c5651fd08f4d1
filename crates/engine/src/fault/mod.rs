//! Page faults: the only code that fills entries on demand, and what takes pages out of entries
//! again.
//!
//! *Site*: one fault's address, entry and place. Every handler reads the entry without a lock,
//! prepares what it needs, locks the table, and looks again: an entry that changed meanwhile means
//! that somebody else served the fault. Absent: who asks ([`crate::gup`], or a host's own access),
//! and what an outcome means to them.
//! Linux: mm/memory.c `handle_mm_fault` (6.18; v4.4 where rows A-48 and F-20 say so).

mod anon;
mod collapse;
mod cow;
mod file;
mod handle;
mod history;
mod hugetlb;
mod ksm;
mod large;
pub(crate) mod lazyfree;
pub(crate) mod migrate;
mod migrate_entries;
pub(crate) mod mlocked;
mod numa;
mod outcome;
mod page;
mod pageout;
mod poison;
mod rmap;
mod site;
mod split;
mod stack_guard;
mod swap;
mod swap_ahead;
mod thp;
mod uffd_move;
mod upgrade;
pub mod userfault;
mod zap;

pub use collapse::collapse;
pub use handle::{FaultCx, handle_mm_fault};
pub use ksm::{Merge, merge_equal};
pub use numa::mark_hinted;
pub use outcome::{Fault, FaultError};
pub use page::{counter_of, leaf_perms, normal_page};
pub use pageout::{PageOut, page_out};
pub use poison::memory_failure;
pub use split::{split_edges, split_leaf, split_page, split_page_and_zeroes};
pub use uffd_move::move_page;
pub use zap::{Cows, Markers, Zap, zap_range, zap_range_as};

/// What fork does with huge pages.
pub(crate) mod huge {
    pub(crate) use super::hugetlb::make_anon;
    pub(crate) use super::thp::{PMD, add_mapping};
}

pub(crate) use collapse::collapse_range;
pub(crate) use history::change_entries;
pub(crate) use page::{add_first_mapping, add_mapping, new_anon_page};
pub(crate) use pageout::page_out_folio;
pub(crate) use upgrade::is_made_writable;
pub(crate) use zap::{teardown, zap_area};
