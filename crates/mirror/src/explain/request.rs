//! What is asked of the explainer.

use crate::consumer::{Consumer, Entry};
use crate::range::ByteRange;
use gup::flags::Foll;

/// Who pins, and which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Who pins.
    pub ask: Ask,
    /// Which bytes.
    pub range: ByteRange,
}

/// Who pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A system call or driver.
    Consumer(Consumer),
    /// A bare GUP call with these flags, on the slow path; REMOTE is added, since the caller is
    /// another process.
    Flags(Foll),
}

impl Ask {
    /// The consumer, if one was named.
    pub const fn consumer(self) -> Option<Consumer> {
        match self {
            Self::Consumer(consumer) => Some(consumer),
            Self::Flags(_) => None,
        }
    }

    /// The flags that reach GUP.
    pub const fn flags(self) -> Foll {
        match self {
            Self::Consumer(consumer) => consumer.flags(),
            Self::Flags(flags) => flags.union(Foll::REMOTE),
        }
    }

    /// The entry point.
    pub const fn entry(self) -> Entry {
        match self {
            Self::Consumer(consumer) => consumer.entry(),
            Self::Flags(_) => Entry::Remote,
        }
    }
}
