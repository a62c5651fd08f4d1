//! Files: the page cache of one file, shmem object, hugetlbfs file or secret memory, and what is
//! done to it.
//!
//! *Page cache*: the file's pages that are in memory, by index; each holds one reference. A frame's
//! owner is the file's id, so that a truncated page, which has none, can be told. Lock order: mmap
//! lock, then page-table lock, then the page cache's, then swap's. Absent: faults
//! ([`crate::fault`]).
//! Linux: mm/filemap.c, mm/shmem.c, mm/truncate.c (6.18).

mod bytes;
mod cache;
mod invalidate;
mod load;
mod truncate;

pub use cache::{File, FileKind, Slot};
pub use load::LoadError;
