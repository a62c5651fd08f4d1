//! The kernel's signatures: `count / 0 / -errno`, flag words, pages that must be given back by hand.
//!
//! The only place with in-band codes. v4.4's names live here, its twin without an MMU in [`nommu`].
//! Use [`crate::gup`] from Rust programs: there a page cannot be forgotten, nor a refused flag set built.
//! Linux: include/linux/mm.h and mm/gup.c of v4.4.

pub mod flags;
mod get;
mod release;

pub use get::__get_user_pages;
pub use release::{put_page, set_page_dirty, set_page_dirty_lock};
