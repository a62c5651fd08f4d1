//! What the kernel itself has of a page: its counts and its page-table entry, through BPF.
//!
//! One BPF program of nineteen instructions copies words of kernel memory into a map that this
//! process has mapped. It is written here ([`program`]), loaded by three system calls
//! ([`calls`]) and run where it is asked for, in this process: nothing is attached, and all of it
//! is gone with the process. Where the fields are is read from the kernel's own description of its
//! types ([`btf`]); where the frames and tables are is found from this process's task ([`place`]).
//! `docs/counts.md` says what it needs.
//! Absent: any write; anything but words of memory.

mod btf;
mod calls;
mod place;
mod program;
mod sight;

pub(crate) use sight::Root;
pub use sight::Sight;
