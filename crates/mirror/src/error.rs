//! Why a process could not be looked at: what was tried, on what, and what to do about it.
//!
//! Closed by cause. None of these says anything about pins: they end a look, not a pin.

use rustix::io::Errno;
use thiserror::Error;

/// Why a process could not be looked at.
#[derive(Debug, Error)]
pub enum MirrorError {
    /// No process has this id, or it ended while it was looked at.
    #[error("process {pid} is gone (tried {tried}); check the id with `ps -p {pid}`")]
    Gone {
        /// The process id.
        pid: u32,
        /// The file that was opened or read.
        tried: String,
    },
    /// The process exists, and the kernel refuses this reader.
    #[error(
        "not permitted to read {tried}: process {pid} belongs to another user or is protected; \
         run as its owner, or with CAP_SYS_PTRACE (sudo)"
    )]
    NotPermitted {
        /// The process id.
        pid: u32,
        /// The file that was opened or read.
        tried: String,
    },
    /// A kernel thread: it has no user memory to pin.
    #[error(
        "process {pid} ({name}) is a kernel thread: it has no user memory, so nothing can be pinned"
    )]
    KernelThread {
        /// The process id.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A process that ended and waits for its parent: its memory is gone already.
    #[error("process {pid} ({name}) has ended and waits for its parent: its memory is gone")]
    Zombie {
        /// The process id.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// The areas changed between two readings, several times in a row.
    #[error(
        "the mappings of process {pid} at {start:#x} changed while they were read ({tries} tries); \
         stop the process (kill -STOP {pid}) and ask again"
    )]
    Raced {
        /// The process id.
        pid: u32,
        /// The start of the range, a byte address.
        start: u64,
        /// How many readings disagreed.
        tries: u32,
    },
    /// The kernel published something that this version does not understand.
    #[error(
        "could not understand {tried} of process {pid}: {line:?}; please report it with the \
         kernel version"
    )]
    Malformed {
        /// The process id.
        pid: u32,
        /// The file that was read.
        tried: String,
        /// The line in question.
        line: String,
    },
    /// A bundle does not have it.
    #[error(
        "the bundle of process {pid} does not have {what}; collect it again, with that range or \
         with none: gup collect --pid {pid}"
    )]
    NotCollected {
        /// The process id that it had.
        pid: u32,
        /// What was looked for.
        what: String,
    },
    /// Any other refusal of the kernel.
    #[error("reading {tried} of process {pid} failed: {errno}")]
    Io {
        /// The process id.
        pid: u32,
        /// The file that was opened or read.
        tried: String,
        /// The kernel's answer.
        errno: Errno,
    },
}

impl MirrorError {
    /// The error that `errno` stands for when `tried`, a file of process `pid`, was touched.
    pub(crate) fn from_errno(pid: u32, tried: &str, errno: Errno) -> Self {
        let tried = tried.to_owned();
        match errno {
            Errno::NOENT | Errno::SRCH => Self::Gone { pid, tried },
            Errno::ACCESS | Errno::PERM => Self::NotPermitted { pid, tried },
            errno => Self::Io { pid, tried, errno },
        }
    }
}
