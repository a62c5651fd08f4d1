//! Why something was refused: an edit of the map, or a page.
//!
//! Closed enums, one exhaustive map to errno. Absent: partial results, which are no errors.

use crate::addr::VirtAddr;
use crate::errno::Errno;
use crate::rule::Rule;
use core::fmt;

/// Why an edit of a map was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapError {
    /// The request makes no sense here: length 0, a type other than shared or private, `MAP_FIXED`,
    /// or an address or a part of an area that cannot be unmapped.
    Invalid,
    /// No run of free frames is long enough, or the host injected that, or there are too many
    /// areas.
    OutOfMemory,
    /// A shared mapping of the file exists that this one is not a part of.
    Sharing,
    /// The file could not be read.
    Io,
}

impl MapError {
    /// The kernel's number for it.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Invalid => Errno::EINVAL,
            Self::OutOfMemory => Errno::ENOMEM,
            Self::Sharing => Errno::ETXTBSY,
            Self::Io => Errno::EIO,
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "the mapping cannot be made or unmade that way without an MMU",
            Self::OutOfMemory => "no contiguous memory is free",
            Self::Sharing => "another shared mapping of the file is in the way",
            Self::Io => "the file could not be read",
        })
    }
}
impl core::error::Error for MapError {}

/// A page that was refused: by which rule, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The rule.
    pub rule: Rule,
    /// The address.
    pub addr: VirtAddr,
    /// The kernel's number for it.
    pub errno: Errno,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {} ({})", self.errno, self.addr, self.rule.row().meaning, self.rule)
    }
}
impl core::error::Error for Refused {}
