//! The map's edits, by their system calls' names: mmap, munmap, mprotect, mremap, brk, mlock,
//! madvise.
//!
//! *Edit*: a change of areas, made with the mmap lock held for writing. What is to be populated
//! afterwards is returned by the edit, and populated by the wrapper that takes the
//! [`Mm`](crate::mm::Mm) itself. Arguments may be anything: each function answers with the kernel's
//! errno, and never panics. Absent: filling entries ([`crate::fault`]), who may look at whose
//! memory.
//! Linux: mm/vma.c, mm/mmap.c, mm/mprotect.c, mm/mremap.c, mm/mlock.c, mm/madvise.c, kernel/fork.c
//! (6.18).

mod brk;
mod edit;
mod entries;
mod fork;
mod fork_huge;
mod guard;
pub(crate) mod limits;
mod madvise;
mod mlock;
mod mmap;
mod moving;
mod mprotect;
mod mremap;
mod mseal;
mod munmap;
mod pages;
mod place;
mod populate;
mod request;
mod soft_dirty;
mod special;
pub mod sys;
mod uffd;

pub use brk::brk;
pub use fork::fork;
pub use madvise::{Advice, Whose, madvise, process_madvise};
pub use mlock::{MclFlags, MlockFlags, mlock, mlock2, mlockall, munlock, munlockall};
pub use mmap::mmap;
pub use mprotect::{GrowProt, mprotect};
pub use mremap::{MremapFlags, MremapRequest, Remapped, mremap};
pub use mseal::mseal;
pub use munmap::munmap;
pub(crate) use munmap::release_charges;
pub use request::{MmapRequest, OpenMode, Source};
pub use soft_dirty::clear_soft_dirty;
pub use special::{insert_page, insert_pfn, install_special, remap_pfn_range};
pub use uffd::{userfault_register, userfault_unregister};
