//! The kernel's signatures: `count / 0 / -errno`, flag words, pages that must be given back by
//! hand.
//!
//! The only place with in-band codes. v4.4's names live here, its twin without an MMU in [`nommu`].
//! Use [`crate::gup`] from Rust programs: there a page cannot be forgotten, nor a refused flag set
//! built.
//! Linux: include/linux/mm.h and mm/gup.c of v4.4.

mod access;
mod dump;
mod entry;
mod fast;
mod fixup;
pub mod flags;
mod follow_page;
mod get;
mod locked;
pub mod nommu;
pub mod nommu_v6_18;
mod populate;
mod release;
pub mod v6_18;

pub use access::{access_process_vm, access_remote_vm};
pub use dump::get_dump_page;
pub use entry::get_user_pages;
pub use fast::{__get_user_pages_fast, __get_user_pages_fast_weak};
pub use fast::{get_user_pages_fast, get_user_pages_fast_weak};
pub use fixup::fixup_user_fault;
pub use follow_page::follow_page;
pub use get::__get_user_pages;
pub use locked::{__get_user_pages_unlocked, get_user_pages_locked, get_user_pages_unlocked};
pub use populate::{__mlock_posix_error_return, __mm_populate, populate_vma_page_range};
pub use release::{put_page, set_page_dirty, set_page_dirty_lock};
