//! What the processes of a case do, and what must hold.
//!
//! *Old*: what a page had before the last store. A child, or a pipe, that could see a page before
//! must see the old bytes; a pin must see the new ones. Linux: rows T-01 … T-21.

use super::backings::{Backing, Source};
use super::cases::Expected;
use super::play::{Failure, Held, Pin, Process, Span, Stage, holds};
use gup::fault::collapse;
use gup::flags::{MapFlags, Prot};
use std::fmt;

/// One body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is a row, which says what it does")]
pub enum Body {
    /// T-01, T-02.
    Fork(Protected),
    /// T-03, T-04.
    SpliceInChild(Protected),
    /// T-05, T-06.
    SpliceInParent(Spliced),
    /// T-07.
    RingReadOnly,
    /// T-08.
    RingFork,
    /// T-09 to T-14.
    ReadPin(Sharing, Speed),
    /// T-15 to T-18.
    Collapse(Collapsed),
    /// T-19.
    PrivateStore,
    /// T-20, T-21.
    PrivatePin(Speed),
}

/// Whether the parent protects the memory and takes that back, before it stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protected {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// When the parent splices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spliced {
    /// Before fork.
    Before,
    /// After fork.
    After,
}

/// With whom the page to be pinned is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// With a child.
    Shared,
    /// With a child that is gone.
    Previously,
    /// With nobody; its entry is read-only.
    Never,
}

/// Which function pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// `pin_user_pages`.
    Slow,
    /// `pin_user_pages_fast`.
    Fast,
}

/// What is shared with a child when a huge page is put together again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Collapsed {
    BeforeFork,
    Whole,
    LowerHalf,
    UpperHalf,
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let speed = |speed: &Speed| match speed {
            Speed::Slow => "GUP",
            Speed::Fast => "GUP-fast",
        };
        match self {
            Self::Fork(Protected::No) => f.write_str("T-01 COW after fork"),
            Self::Fork(Protected::Yes) => f.write_str("T-02 COW after fork, mprotect"),
            Self::SpliceInChild(Protected::No) => f.write_str("T-03 vmsplice, unmap in child"),
            Self::SpliceInChild(Protected::Yes) => {
                f.write_str("T-04 vmsplice, unmap in child, mprotect")
            }
            Self::SpliceInParent(Spliced::Before) => {
                f.write_str("T-05 vmsplice before fork, unmap in parent")
            }
            Self::SpliceInParent(Spliced::After) => {
                f.write_str("T-06 vmsplice after fork, unmap in parent")
            }
            Self::RingReadOnly => f.write_str("T-07 fixed buffer, mapped read-only"),
            Self::RingFork => f.write_str("T-08 fixed buffer, fork"),
            Self::ReadPin(sharing, by) => {
                let (number, what) = match sharing {
                    Sharing::Shared => (9, "shared"),
                    Sharing::Previously => (11, "previously shared"),
                    Sharing::Never => (13, "exclusive"),
                };
                let number = number + u8::from(*by == Speed::Fast);
                write!(f, "T-{number:02} R/O {} pin, {what} page", speed(by))
            }
            Self::Collapse(Collapsed::BeforeFork) => f.write_str("T-15 collapse before fork"),
            Self::Collapse(Collapsed::Whole) => f.write_str("T-16 collapse, all shared"),
            Self::Collapse(Collapsed::LowerHalf) => f.write_str("T-17 collapse, lower half shared"),
            Self::Collapse(Collapsed::UpperHalf) => f.write_str("T-18 collapse, upper half shared"),
            Self::PrivateStore => f.write_str("T-19 private store"),
            Self::PrivatePin(Speed::Slow) => f.write_str("T-20 R/O GUP pin of private memory"),
            Self::PrivatePin(Speed::Fast) => f.write_str("T-21 R/O GUP-fast pin of private memory"),
        }
    }
}

impl Body {
    /// Those of anonymous memory.
    pub(super) const ANON: [Self; 14] = [
        Self::Fork(Protected::No),
        Self::Fork(Protected::Yes),
        Self::SpliceInChild(Protected::No),
        Self::SpliceInChild(Protected::Yes),
        Self::SpliceInParent(Spliced::Before),
        Self::SpliceInParent(Spliced::After),
        Self::RingReadOnly,
        Self::RingFork,
        Self::ReadPin(Sharing::Shared, Speed::Slow),
        Self::ReadPin(Sharing::Shared, Speed::Fast),
        Self::ReadPin(Sharing::Previously, Speed::Slow),
        Self::ReadPin(Sharing::Previously, Speed::Fast),
        Self::ReadPin(Sharing::Never, Speed::Slow),
        Self::ReadPin(Sharing::Never, Speed::Fast),
    ];
    /// Those of huge pages put together again.
    pub(super) const COLLAPSE: [Self; 4] = [
        Self::Collapse(Collapsed::BeforeFork),
        Self::Collapse(Collapsed::Whole),
        Self::Collapse(Collapsed::LowerHalf),
        Self::Collapse(Collapsed::UpperHalf),
    ];
    /// Those of private memory that is not anonymous.
    pub(super) const PRIVATE: [Self; 3] =
        [Self::PrivateStore, Self::PrivatePin(Speed::Slow), Self::PrivatePin(Speed::Fast)];

    /// What Linux does: a store to hugetlb memory that only one process maps goes to the page
    /// itself, though a pipe has it too (row F-26).
    pub(super) fn expected_on(self, backing: Backing) -> Expected {
        match (self, backing) {
            (Self::SpliceInChild(_) | Self::SpliceInParent(_), Backing::Hugetlb(_)) => {
                Expected::Breaks
            }
            _ => Expected::Holds,
        }
    }

    /// Plays it with the anonymous memory `span` of `parent`.
    pub(super) fn on_anon(self, parent: &Process, span: Span) -> Result<(), Failure> {
        match self {
            Self::Fork(protected) => fork(parent, span, protected),
            Self::SpliceInChild(protected) => splice_in_child(parent, span, protected),
            Self::SpliceInParent(when) => splice_in_parent(parent, span, when),
            Self::RingReadOnly => {
                let buffer = register(parent, span)?;
                read_only_entries(parent, span)?;
                sees_stores(parent, span, &buffer)
            }
            Self::RingFork => {
                let buffer = register(parent, span)?;
                let _child = parent.fork()?;
                sees_stores(parent, span, &buffer)
            }
            Self::ReadPin(sharing, speed) => read_pin(parent, span, sharing, speed),
            Self::Collapse(when) => collapsed(parent, span, when),
            Self::PrivateStore | Self::PrivatePin(_) => {
                Err(Failure::cannot("it is about memory that is not anonymous"))
            }
        }
    }

    /// Plays it with a private mapping of `source`, beside a second one that only reads.
    pub(super) fn on_private(self, stage: &Stage, source: Source) -> Result<(), Failure> {
        let process = stage.process();
        let rw = Prot::READ | Prot::WRITE;
        let maps = [(MapFlags::PRIVATE, rw), (MapFlags::PRIVATE, Prot::READ)];
        let spans = source.map(stage, &process, &maps)?;
        let [mem, other] = spans[..] else { return Err(Failure::cannot("two mappings")) };
        let old = process.snapshot(other)?;
        holds("both mappings read the same", process.snapshot(mem)? == old)?;
        if !source.is_mapped_at(&process, mem) {
            return Err(Failure::cannot("another page is mapped there"));
        }
        match self {
            Self::PrivateStore => {
                process.fill(mem, 0xff)?;
                holds("the store is the mapping's own", process.snapshot(other)? == old)
            }
            Self::PrivatePin(speed) => {
                let pinned = pin_for_reading(&process, mem, speed)?;
                sees_stores(&process, mem, &pinned)?;
                holds("the store is the mapping's own", process.snapshot(other)? == old)
            }
            Self::Fork(_)
            | Self::SpliceInChild(_)
            | Self::SpliceInParent(_)
            | Self::RingReadOnly
            | Self::RingFork
            | Self::ReadPin(..)
            | Self::Collapse(_) => Err(Failure::cannot("it is about anonymous memory")),
        }
    }
}

fn fork(parent: &Process, span: Span, protected: Protected) -> Result<(), Failure> {
    let child = parent.fork()?;
    let old = child.snapshot(span)?;
    store_in(parent, span, protected)?;
    holds("the child sees the old bytes", child.snapshot(span)? == old)
}

fn store_in(parent: &Process, span: Span, protected: Protected) -> Result<(), Failure> {
    if protected == Protected::Yes {
        parent.protect_and_back(span)?;
    }
    parent.fill(span, 0xff)
}

fn splice_in_child(parent: &Process, span: Span, protected: Protected) -> Result<(), Failure> {
    let child = parent.fork()?;
    let old = child.snapshot(span.piped())?;
    let pipe = child.splice(span.piped())?;
    child.unmap(span)?;
    store_in(parent, span, protected)?;
    holds("the pipe has the old bytes", pipe.snapshot() == old)
}

fn splice_in_parent(parent: &Process, span: Span, when: Spliced) -> Result<(), Failure> {
    let old = parent.snapshot(span.piped())?;
    let (pipe, child) = match when {
        Spliced::Before => (parent.splice(span.piped())?, parent.fork()?),
        Spliced::After => {
            let child = parent.fork()?;
            (parent.splice(span.piped())?, child)
        }
    };
    parent.unmap(span)?;
    child.fill(span, 0xff)?;
    holds("the pipe has the old bytes", pipe.snapshot() == old)
}

/// Registers a fixed buffer: a long-term pin for writing.
fn register(process: &Process, span: Span) -> Result<Held, Failure> {
    let pin = process.pin(Pin { write: true, fast: true }, span);
    pin.map_err(|errno| Failure::broken(format!("io_uring_register: errno {}", errno.raw())))
}

fn pin_for_reading(process: &Process, span: Span, speed: Speed) -> Result<Held, Failure> {
    let pin = process.pin(Pin { write: false, fast: speed == Speed::Fast }, span);
    pin.map_err(|errno| Failure::broken(format!("the pin: errno {}", errno.raw())))
}

/// Entries that allow no stores in an area that does.
fn read_only_entries(process: &Process, span: Span) -> Result<(), Failure> {
    process.protect_and_back(span)?;
    process.clear_soft_dirty(span)
}

fn sees_stores(process: &Process, span: Span, held: &Held) -> Result<(), Failure> {
    process.fill(span, 0xff)?;
    holds("the pin sees what the mapping has", held.snapshot() == process.snapshot(span)?)
}

fn read_pin(parent: &Process, span: Span, sharing: Sharing, speed: Speed) -> Result<(), Failure> {
    let child = match sharing {
        Sharing::Shared => Some(parent.fork()?),
        Sharing::Previously => {
            drop(parent.fork()?);
            None
        }
        Sharing::Never => {
            // Present, as it was before it was swapped out.
            parent.snapshot(span)?;
            read_only_entries(parent, span)?;
            None
        }
    };
    let old = child.as_ref().map(|child| child.snapshot(span)).transpose()?;
    let pinned = pin_for_reading(parent, span, speed)?;
    sees_stores(parent, span, &pinned)?;
    let theirs = child.as_ref().map(|child| child.snapshot(span)).transpose()?;
    holds("the child sees the old bytes", theirs == old)
}

/// A huge page that is mapped page by page becomes one again; a child sees the bytes of the part
/// that it shares.
fn collapsed(parent: &Process, span: Span, when: Collapsed) -> Result<(), Failure> {
    parent.protect_and_back(span.sub(1, 1))?;
    let half = span.pages / 2;
    let (shared, kept) = match when {
        Collapsed::BeforeFork | Collapsed::Whole => (span, None),
        Collapsed::LowerHalf => (span.sub(0, half), Some(span.sub(half, half))),
        Collapsed::UpperHalf => (span.sub(half, half), Some(span.sub(0, half))),
    };
    let child = if when == Collapsed::BeforeFork {
        put_together(parent, span)?;
        parent.fork()?
    } else {
        let child = parent.fork_without(kept)?;
        put_together(parent, span)?;
        child
    };
    let old = child.snapshot(shared)?;
    parent.fill(span, 0xff)?;
    holds("the child sees the old bytes", child.snapshot(shared)? == old)
}

fn put_together(process: &Process, span: Span) -> Result<(), Failure> {
    let level = || process.mm.tables().walk(span.start).place.level;
    holds("the pages are mapped one by one", level() == 0)?;
    collapse(&process.mm.write(), span.start)
        .map_err(|errno| Failure::cannot(format!("collapse refused: errno {}", errno.raw())))?;
    holds("one entry maps the page", level() == 1)
}
