//! Readers of `/proc`: one file of it each. They parse and keep; they decide nothing.
//!
//! Unknown keys and flags are kept, so that a newer kernel loses nothing here.

pub mod backing;
pub(crate) mod frames;
pub mod hugepages;
pub mod image;
pub mod kernel;
pub mod kpage;
pub mod limits;
pub mod maps;
pub mod mounts;
pub mod pagemap;
pub mod privilege;
pub mod rings;
pub mod scan;
pub mod status;
pub mod thp;
pub mod uffd;
pub mod vmflags;
pub mod zones;
