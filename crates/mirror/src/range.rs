//! The range that a person asks about: an address or the name of a mapping, and a length.
//!
//! Addresses are hexadecimal, with or without `0x`; a name is one of the maps file (`heap`,
//! `[heap]`, a path, or the last part of a path) and stands for the start of the first such area.
//! Lengths are bytes, or carry a unit: `64K`, `2M`, `1G`, `16p` (pages). Nothing here wraps around.

use crate::error::MirrorError;
use crate::proc::maps::{self, Area};
use crate::process::Process;
use std::str::FromStr;
use thiserror::Error;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// The most pages that are looked at one by one: 16 GiB. Pages that are alike count once.
pub const MAX_PAGES: u64 = 1 << 22;

/// Why a text is not a range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadRange {
    /// Neither hexadecimal nor a name.
    #[error(
        "{0:?} is not an address: give it in hexadecimal (0x7f12a4c00000), or as heap, stack, or \
         the name of a mapping in /proc/PID/maps"
    )]
    Address(String),
    /// Hexadecimal, but more than 64 bits.
    #[error("{0} does not fit in 64 bits, so it is not an address")]
    AddressTooLarge(String),
    /// Not a length.
    #[error("{0:?} is not a length: give bytes (4096), or 64K, 2M, 1G, or pages (16p)")]
    Length(String),
    /// No bytes.
    #[error("a length of 0 asks about nothing: give at least 1 byte")]
    Empty,
    /// More than an address space holds.
    #[error("a length of {len:#x} bytes is longer than an address space")]
    LongerThanUserSpace {
        /// The length, in bytes.
        len: u64,
    },
    /// More than is looked at at once.
    #[error(
        "a range of {pages} pages has more in it than the 16G ({MAX_PAGES} pages) that are looked \
         at page by page: ask about a part of it"
    )]
    TooLong {
        /// The length, in pages.
        pages: u64,
    },
    /// The end is beyond the last address.
    #[error("the range wraps around: {start:#x} plus {len:#x} bytes is beyond the last address")]
    Wraps {
        /// First byte address.
        start: u64,
        /// Length in bytes.
        len: u64,
    },
    /// No area has this name.
    #[error("process {pid} has no mapping named {name:?}; `cat /proc/{pid}/maps` lists the names")]
    NoSuchMapping {
        /// The process.
        pid: u32,
        /// The name.
        name: String,
    },
}

/// An address as a person gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A number.
    At(u64),
    /// The start of the area with this name.
    Named(String),
}

impl FromStr for Address {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let prefixed = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let digits = prefixed.unwrap_or(text);
        let is_hex = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if is_hex {
            let too_large = |_| BadRange::AddressTooLarge(text.to_owned());
            return u64::from_str_radix(digits, 16).map(Self::At).map_err(too_large);
        }
        let named = text.starts_with(|c: char| c.is_alphabetic() || "/[_.".contains(c));
        if prefixed.is_some() || !named {
            return Err(BadRange::Address(text.to_owned()));
        }
        Ok(Self::Named(text.to_owned()))
    }
}

/// A length in bytes as a person gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub u64);

impl FromStr for Length {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let bad = || BadRange::Length(text.to_owned());
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        if let Some(hex) = hex {
            return u64::from_str_radix(hex, 16).map(Self).map_err(|_| bad());
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: u64 = match unit {
            "" | "B" => 1,
            "k" | "K" | "KiB" => 1 << 10,
            "m" | "M" | "MiB" => 1 << 20,
            "g" | "G" | "GiB" => 1 << 30,
            "t" | "T" | "TiB" => 1 << 40,
            "p" => PAGE,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(scale).map(Self).ok_or_else(bad)
    }
}

/// A range of bytes that is not empty and does not wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    start: u64,
    len: u64,
}

impl ByteRange {
    /// `len` bytes from `start`.
    ///
    /// # Errors
    /// [`BadRange`], when there is no such range or it is longer than is looked at.
    pub fn new(start: u64, len: u64) -> Result<Self, BadRange> {
        if len == 0 {
            return Err(BadRange::Empty);
        }
        let wraps = BadRange::Wraps { start, len };
        // The last byte, not the end: a range may end with the last address.
        let last = start.checked_add(len - 1).ok_or(wraps)?;
        if len > 1 << 57 {
            return Err(BadRange::LongerThanUserSpace { len });
        }
        debug_assert!(last >= start);
        Ok(Self { start, len })
    }

    /// Its part on the first `pages` pages (at least 1).
    pub(crate) fn first_pages(self, pages: u64) -> Self {
        let inside = pages.max(1).saturating_mul(PAGE) - self.start % PAGE;
        Self { start: self.start, len: self.len.min(inside) }
    }

    /// First byte address.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Length in bytes, at least 1.
    pub const fn len_bytes(self) -> u64 {
        self.len
    }

    /// Address of the first page.
    pub const fn first_page(self) -> u64 {
        self.start & !(PAGE - 1)
    }

    /// Number of pages that it touches, at least 1.
    pub const fn pages(self) -> u64 {
        (self.start + (self.len - 1)) / PAGE - self.start / PAGE + 1
    }
}

/// Why the range of a request was not found.
#[derive(Debug, Error)]
pub enum NoRange {
    /// The request makes no sense.
    #[error(transparent)]
    Bad(#[from] BadRange),
    /// The process could not be looked at.
    #[error(transparent)]
    Look(#[from] MirrorError),
}

impl Address {
    /// The byte address that it stands for in `process`.
    ///
    /// # Errors
    /// [`BadRange::NoSuchMapping`], or as [`maps::all`].
    pub fn resolve(&self, process: &Process) -> Result<u64, NoRange> {
        let name = match self {
            Self::At(addr) => return Ok(*addr),
            Self::Named(name) => name,
        };
        let areas = maps::all(process)?;
        let found = areas.iter().find(|area| is_named(area, name));
        let missing = || BadRange::NoSuchMapping { pid: process.pid(), name: name.clone() };
        Ok(found.ok_or_else(missing)?.start)
    }
}

fn is_named(area: &Area, name: &str) -> bool {
    let own = area.name.as_str();
    let bare = own.strip_prefix('[').and_then(|own| own.strip_suffix(']'));
    let last = own.strip_suffix(" (deleted)").unwrap_or(own).rsplit('/').next();
    !own.is_empty() && (own == name || bare == Some(name) || last == Some(name))
}

#[cfg(test)]
mod tests {
    use super::{Address, BadRange, ByteRange, Length, is_named};
    use crate::proc::maps::Area;

    #[test]
    fn addresses_are_hexadecimal_or_names() {
        let at = |text: &str| text.parse::<Address>();
        assert_eq!(at("0x7f00"), Ok(Address::At(0x7f00)));
        assert_eq!(at("7f00"), Ok(Address::At(0x7f00)));
        assert_eq!(at("heap"), Ok(Address::Named("heap".into())));
        assert_eq!(at("libc.so.6"), Ok(Address::Named("libc.so.6".into())));
        for bad in ["", "0x", "0xzz", "-4096", "12 34", "*"] {
            assert_eq!(at(bad), Err(BadRange::Address(bad.into())), "{bad:?}");
        }
        assert!(matches!(at("0x10000000000000000"), Err(BadRange::AddressTooLarge(_))));
    }

    #[test]
    fn lengths_carry_units() {
        for (text, want) in
            [("4096", 4096), ("64K", 65_536), ("2M", 2 << 20), ("16p", 65_536), ("0x1000", 4096)]
        {
            assert_eq!(text.parse(), Ok(Length(want)), "{text}");
        }
        for bad in ["", "K", "4096x", "-1", "18446744073709551616", "99999999999G", "1.5M"] {
            assert_eq!(bad.parse::<Length>(), Err(BadRange::Length(bad.into())), "{bad}");
        }
    }

    #[test]
    fn no_range_is_empty_or_wraps() {
        assert_eq!(ByteRange::new(0x1000, 0), Err(BadRange::Empty));
        let wraps = BadRange::Wraps { start: 0x1000, len: u64::MAX };
        assert_eq!(ByteRange::new(0x1000, u64::MAX), Err(wraps));
        let long = BadRange::LongerThanUserSpace { len: u64::MAX };
        assert_eq!(ByteRange::new(0, u64::MAX), Err(long));
        assert_eq!(ByteRange::new(0, 1 << 40).map(ByteRange::pages), Ok(1 << 28));
        let last = ByteRange::new(u64::MAX - 4095, 4096).unwrap();
        assert_eq!((last.pages(), last.first_page()), (1, u64::MAX - 4095));
    }

    #[test]
    fn a_range_counts_every_page_that_it_touches() {
        assert_eq!(ByteRange::new(0x1fff, 2).unwrap().pages(), 2);
        assert_eq!(ByteRange::new(0x1001, 4095).unwrap().pages(), 1);
    }

    #[test]
    fn a_mapping_is_found_by_each_of_its_names() {
        let area = |name| Area::parse(&format!("1000-2000 r--p 0 0:0 0 {name}")).unwrap();
        assert!(is_named(&area("[heap]"), "heap") && is_named(&area("[heap]"), "[heap]"));
        assert!(is_named(&area("/lib/libc.so.6"), "libc.so.6"));
        assert!(is_named(&area("/memfd:x (deleted)"), "memfd:x"));
        assert!(!is_named(&area(""), ""), "memory without a name has none");
    }
}
