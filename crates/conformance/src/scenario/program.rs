//! A scenario as data: what the machine is, and what happens on it, step by step.
//!
//! *Process*: an address space and the task that acts in it. *Mapping*: a name for an address of a
//! process; a child has its parent's. *Pin*: pages that one call handed out, by name.
//! Invariant of a parsed program: every name in it was made by an earlier line; what a name stands
//! for when it is played is the player's affair.
//! Absent: how a scenario is written ([`super::parse`]), how it is played ([`super::play`]).

pub use super::system::{Modes, Sys, Uffd};
use crate::ask::driver::Driver;
use gup::errno::Errno;
use gup::flags::{Foll, MapFlags, Prot};
use gup::linux::Linux;
use gup::mapping::Advice;
use gup::rule::Rule;

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The machine.
    pub setup: Setup,
    /// What happens.
    pub steps: Vec<Step>,
    /// Comments after the last step.
    pub epilogue: Vec<String>,
}

/// The machine that a scenario is played on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// The kernel.
    pub linux: Linux,
    /// Memory, in frames.
    pub frames: u64,
    /// v4.4's Dirty COW is to be had back.
    pub dirty_cow: bool,
    /// The machine has no MMU.
    pub nommu: bool,
    /// Transparent huge pages are used without being asked for.
    pub thp_always: bool,
    /// Pages of swap.
    pub swap_pages: u64,
    /// 2 MiB pages in the hugetlb pool.
    pub huge_pages: u64,
    /// What is looked at after each step, in every process: first address, pages. Empty: the first
    /// pages of every mapping that has a name.
    pub watch: Vec<(u64, u64)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            linux: Linux::V6_18,
            frames: 16_384,
            dirty_cow: false,
            nommu: false,
            thp_always: false,
            swap_pages: 0,
            huge_pages: 0,
            watch: Vec::new(),
        }
    }
}

/// One line that does something.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its line, from 1.
    pub line: u32,
    /// The line as written, without its comment.
    pub text: String,
    /// The comments above it: the story.
    pub story: Vec<String>,
    /// What happens.
    pub op: Op,
    /// What must come of it; empty: it must succeed.
    pub expect: Vec<Expect>,
}

impl Step {
    /// A step that does `op`, and of which nothing is expected.
    pub fn of(op: Op) -> Self {
        let (text, story, expect) = (op.to_string(), Vec::new(), vec![Expect::Any]);
        Self { line: 0, text, story, op, expect }
    }
}

/// A number of pages or bytes, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Base pages.
    Pages(u64),
    /// Bytes.
    Bytes(u64),
}

impl Length {
    /// In bytes; the largest number if it does not fit.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Pages(count) => count.saturating_mul(gup::addr::PAGE_SIZE),
            Self::Bytes(count) => count,
        }
    }
    /// In pages, a part counting as a whole one.
    pub fn pages(self) -> u64 {
        match self {
            Self::Pages(count) => count,
            Self::Bytes(count) => count.div_ceil(gup::addr::PAGE_SIZE),
        }
    }
}

/// An address of a process: a mapping's start or a number, and an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// What it counts from.
    pub base: Base,
    /// Bytes added, modulo 2^64.
    pub offset: u64,
}

/// What an address counts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A mapping's first address.
    Mapping(String),
    /// Zero.
    Absolute,
}

/// Addresses of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub at: At,
    /// How many.
    pub len: Length,
}

/// What a mapping shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Anonymous memory.
    Anon,
    /// A file, from this page on, by a descriptor that may read and write.
    File(String, u64),
    /// The same, by a descriptor that may only read.
    ReadOnlyFile(String, u64),
    /// Memory of a device (`VM_IO | VM_PFNMAP`).
    Device,
    /// Anonymous huge pages of hugetlbfs.
    Hugetlb,
}

/// What a file is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Its size.
    pub len: Length,
    /// Its kind.
    pub kind: FileSort,
    /// Its bytes, repeated; zeroes if empty.
    pub fill: Vec<u8>,
    /// Its disk is slow: a read is only started, until it is completed.
    pub slow: bool,
    /// What of it is in memory from the start.
    pub cached: Cached,
}

/// What of a new file is in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cached {
    /// Nothing.
    #[default]
    Nothing,
    /// All of it, page by page: it was written so.
    Pages,
    /// All of it, as one large folio: it was written by one call.
    Folio,
}

/// The kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSort {
    /// On a file system that tracks dirty pages.
    Regular,
    /// Without write-back.
    Ramfs,
    /// On a DAX device.
    Fsdax,
    /// A memfd.
    Memfd,
    /// `memfd_secret`.
    Secret,
}

/// A function that gets or pins pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's names")]
pub enum Function {
    UnderGetUserPages,
    GetUserPages,
    GetUserPagesLocked,
    GetUserPagesUnlocked,
    UnderGetUserPagesUnlocked,
    GetUserPagesRemote,
    GetUserPagesFast,
    UnderGetUserPagesFast,
    GetUserPagesFastOnly,
    PinUserPages,
    PinUserPagesRemote,
    PinUserPagesUnlocked,
    PinUserPagesFast,
}

/// A call that gets or pins pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gup {
    /// Whose pages.
    pub process: String,
    /// Who calls; the process itself if it is not said.
    pub by: Option<String>,
    /// A name for the pages; without one they are given back at once.
    pub name: Option<String>,
    /// The function.
    pub function: Function,
    /// The first byte.
    pub at: At,
    /// Base pages.
    pub nr_pages: u64,
    /// The flags.
    pub foll: Foll,
    /// `nonblocking` (v4.4) or `locked` (6.18) is passed: the lock may be dropped.
    pub may_drop: bool,
    /// `pages` is NULL.
    pub no_pages: bool,
}

/// How another process's bytes are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `process_vm_readv` and _writev: pins.
    ProcessVm,
    /// ptrace and /proc/PID/mem: by force.
    Ptrace,
}

/// A page of somebody's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// What a process's address shows.
    Mapped {
        /// The process.
        process: String,
        /// The address.
        at: At,
    },
    /// A pinned page, by its index.
    Pinned {
        /// The pin.
        pin: String,
        /// Its index.
        index: u64,
    },
}

/// A count of a page's folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// References, pins included.
    Refs,
    /// Pins.
    Pins,
    /// Entries that map the page.
    Mapcount,
}

/// What a line does.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are named as in the language")]
pub enum Op {
    Process {
        name: String,
    },
    File {
        name: String,
        spec: FileSpec,
    },
    Truncate {
        file: String,
        len: Length,
    },
    Complete {
        file: String,
    },
    Kill {
        process: String,
    },
    Interrupt {
        process: String,
    },
    Map(Map),
    Munmap {
        process: String,
        span: Span,
    },
    Mprotect {
        process: String,
        span: Span,
        prot: Prot,
    },
    Madvise {
        process: String,
        span: Span,
        advice: Advice,
    },
    Mremap {
        process: String,
        name: Option<String>,
        span: Span,
        to: Length,
        at: Option<At>,
    },
    Mlock {
        process: String,
        span: Span,
    },
    Munlock {
        process: String,
        span: Span,
    },
    /// A call whose numbers are given as they are, legal or not.
    Sys {
        process: String,
        name: Option<String>,
        call: Sys,
    },
    /// A system call that gets or pins pages, by its name among the drivers.
    Ask {
        process: String,
        driver: Driver,
        span: Span,
    },
    /// The buffer that `iou_reg` registered is given back.
    Unregister {
        process: String,
    },
    /// One byte of each page is loaded or stored.
    Touch {
        process: String,
        span: Span,
        touch: Touch,
    },
    Uffd {
        process: String,
        call: Uffd,
    },
    Seal {
        file: String,
        seals: u32,
    },
    Fork {
        process: String,
        child: String,
    },
    Exit {
        process: String,
    },
    Store {
        process: String,
        at: At,
        bytes: Vec<u8>,
    },
    Load {
        process: String,
        at: At,
        count: u64,
    },
    RemoteStore {
        process: String,
        reach: Reach,
        at: At,
        bytes: Vec<u8>,
    },
    RemoteLoad {
        process: String,
        reach: Reach,
        at: At,
        count: u64,
    },
    Gup(Gup),
    PinRead {
        pin: String,
        offset: u64,
        count: u64,
    },
    PinWrite {
        pin: String,
        offset: u64,
        bytes: Vec<u8>,
    },
    PinDirty {
        pin: String,
    },
    PinRelease {
        pin: String,
    },
    Meanwhile {
        after: u64,
        op: Box<Op>,
    },
    ExpectState {
        process: String,
        at: At,
        pages: u64,
        tokens: Vec<String>,
    },
    ExpectAreas {
        process: String,
        at: At,
        pages: u64,
        areas: String,
    },
    ExpectSame {
        left: Place,
        right: Place,
    },
    ExpectOther {
        left: Place,
        right: Place,
    },
    ExpectCount {
        place: Place,
        counted: Counted,
        value: u64,
    },
}

/// What is done with a byte of each page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// It is loaded.
    Load,
    /// It is stored: 0x40 and the page's number modulo 64.
    Store,
}

impl Touch {
    /// The byte that is stored at `addr`.
    pub const fn byte(addr: u64) -> u8 {
        0x40 + ((addr >> gup::addr::PAGE_SHIFT) & 63) as u8
    }
}

/// An mmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Who maps.
    pub process: String,
    /// A name for the address.
    pub name: Option<String>,
    /// How much.
    pub len: Length,
    /// Permissions.
    pub prot: Prot,
    /// Shared or private, and other flags.
    pub flags: MapFlags,
    /// What is shown.
    pub source: Source,
    /// Where, exactly.
    pub at: Option<At>,
}

/// A signal that an access gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's names")]
pub enum Signal {
    Sigsegv,
    Sigbus,
    Sigkill,
}

impl Signal {
    /// Its number.
    pub const fn number(self) -> i64 {
        match self {
            Self::Sigsegv => 11,
            Self::Sigbus => 7,
            Self::Sigkill => 9,
        }
    }
}

/// What must come of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever comes.
    Any,
    /// It succeeds.
    Ok,
    /// It returns this number.
    Returns(i64),
    /// It fails with this errno.
    Fails(Errno),
    /// The access gets this signal.
    Gets(Signal),
    /// It reads these bytes.
    Reads(Vec<u8>),
    /// So many minor faults are taken.
    Minor(u64),
    /// So many major faults are taken.
    Major(u64),
    /// Somebody waited so often.
    Waits(u64),
    /// The mmap lock was dropped.
    Dropped,
    /// The mmap lock was kept.
    Kept,
    /// `*nonblocking` is this afterwards.
    Nonblocking(i64),
    /// This rule decided something.
    Decided(Rule),
}
