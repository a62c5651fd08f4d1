//! Long-term pins of file memory: what may be pinned, and what is refused.
//!
//! A device may store to the pages for as long as it likes, so a file system that has to be told of
//! dirt refuses a writable pin of its shared pages, with EFAULT (rows C-32, C-73). Linux: row T-22.

use super::backings::Source;
use super::play::{Failure, Pin, Stage};
use gup::errno::Errno;
use gup::flags::{MapFlags, Prot};
use std::fmt;

/// Who pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `pin_user_pages`, for writing.
    Write,
    /// `pin_user_pages_fast`, for writing.
    WriteFast,
    /// `pin_user_pages`, for reading, of memory that is mapped read-only.
    Read,
    /// `pin_user_pages_fast`, likewise.
    ReadFast,
    /// The registration of a fixed buffer.
    Ring,
}

/// One of the ten: who pins, and whether the mapping is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongTerm {
    /// Who pins.
    pub call: Call,
    /// `MAP_SHARED`, or else `MAP_PRIVATE`.
    pub shared: bool,
}

impl fmt::Display for LongTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = match self.call {
            Call::Write => "R/W GUP",
            Call::WriteFast => "R/W GUP-fast",
            Call::Read => "R/O GUP",
            Call::ReadFast => "R/O GUP-fast",
            Call::Ring => "fixed buffer",
        };
        write!(f, "T-22 {call}, {}", if self.shared { "shared" } else { "private" })
    }
}

impl LongTerm {
    pub(super) fn all() -> Vec<Self> {
        let calls = [Call::Write, Call::WriteFast, Call::Read, Call::ReadFast, Call::Ring];
        let both = |call| [true, false].map(|shared| Self { call, shared });
        calls.into_iter().flat_map(both).collect()
    }
    fn writes(self) -> bool {
        match self.call {
            Call::Write | Call::WriteFast | Call::Ring => true,
            Call::Read | Call::ReadFast => false,
        }
    }
    fn fast(self) -> bool {
        match self.call {
            Call::WriteFast | Call::ReadFast | Call::Ring => true,
            Call::Write | Call::Read => false,
        }
    }

    /// Plays it with a file of this kind.
    pub(super) fn on(self, stage: &Stage, source: Source) -> Result<(), Failure> {
        let process = stage.process();
        let flags = if self.shared { MapFlags::SHARED } else { MapFlags::PRIVATE };
        let spans = source.map(stage, &process, &[(flags, Prot::READ | Prot::WRITE)])?;
        let [span] = spans[..] else { return Err(Failure::cannot("one mapping")) };
        process.fill(span, 0)?;
        if !self.writes() {
            process.protect(span, Prot::READ)?;
        }
        let refused = self.shared && self.writes() && !source.stores_go_unnoticed();
        let pin = process.pin(Pin { write: self.writes(), fast: self.fast() }, span);
        match (pin.map(drop), refused) {
            (Ok(()), false) | (Err(Errno::EFAULT), true) => Ok(()),
            (Ok(()), true) => Err(Failure::broken("the pin is refused")),
            (Err(errno), _) => Err(Failure::broken(format!("the pin: errno {}", errno.raw()))),
        }
    }
}
