//! System calls whose numbers are given as they are, legal or not, and userfaultfd's.
//!
//! Addresses are a process's ([`At`]); lengths are in bytes, and need not be whole pages.
//! Linux: `mm/mmap.c`, `mm/mremap.c`, `mm/madvise.c`, `mm/mlock.c`, `fs/userfaultfd.c`.

use super::program::{At, Span};
use bitflags::bitflags;

/// A system call about a map.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the kernel's arguments")]
pub enum Sys {
    /// `file` is its name, whether its descriptor may only read, and the offset in bytes.
    Mmap {
        at: At,
        bytes: u64,
        prot: u32,
        flags: u32,
        file: Option<(String, bool, u64)>,
    },
    Munmap {
        at: At,
        bytes: u64,
    },
    Mprotect {
        at: At,
        bytes: u64,
        prot: u32,
    },
    Mremap {
        at: At,
        old: u64,
        new: u64,
        flags: u32,
        to: At,
    },
    Madvise {
        at: At,
        bytes: u64,
        advice: i32,
    },
    Mlock {
        at: At,
        bytes: u64,
        flags: u32,
    },
    Munlock {
        at: At,
        bytes: u64,
    },
    Mseal {
        at: At,
        bytes: u64,
        flags: u64,
    },
    Brk {
        at: At,
    },
}

impl Sys {
    /// The kernel's name, and where its first address points.
    pub fn name(&self) -> (&'static str, &At) {
        match self {
            Self::Mmap { at, .. } => ("mmap", at),
            Self::Munmap { at, .. } => ("munmap", at),
            Self::Mprotect { at, .. } => ("mprotect", at),
            Self::Mremap { at, .. } => ("mremap", at),
            Self::Madvise { at, .. } => ("madvise", at),
            Self::Mlock { at, .. } => ("mlock2", at),
            Self::Munlock { at, .. } => ("munlock", at),
            Self::Mseal { at, .. } => ("mseal", at),
            Self::Brk { at } => ("brk", at),
        }
    }
}

bitflags! {
    /// What a userfaultfd is told of (`UFFDIO_REGISTER_MODE_…`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Modes: u64 {
        /// Pages that are missing.
        const MISSING = 1;
        /// Stores to pages that it write-protects.
        const WP = 2;
        /// Pages that the file has and the table lacks.
        const MINOR = 4;
    }
}

/// What a process does with its userfaultfd, of which it has one.
///
/// Nobody answers: it is opened so that faults get SIGBUS, or that write protection ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the kernel's arguments")]
pub enum Uffd {
    /// With `UFFD_FEATURE_SIGBUS`.
    OpenSigbus,
    /// With `UFFD_FEATURE_WP_ASYNC` and `_WP_UNPOPULATED`.
    OpenAsync,
    Register {
        span: Span,
        modes: Modes,
    },
    Unregister {
        span: Span,
    },
    Zeropage {
        span: Span,
    },
    Copy {
        to: Span,
        from: At,
    },
    Continue {
        span: Span,
    },
    Poison {
        span: Span,
    },
    Protect {
        span: Span,
    },
    Unprotect {
        span: Span,
    },
    Move {
        to: Span,
        from: At,
    },
}
