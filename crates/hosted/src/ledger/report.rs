//! Reports: what a driver got wrong, with the places in its code that it concerns.

use super::site::Site;
use gup::addr::{Pfn, VirtAddr};
use std::fmt;

/// How a page is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Held {
    /// By reference: `get_user_pages`, given back with `put_page`.
    Get,
    /// By pin: `pin_user_pages`, given back with `unpin_user_page`.
    Pin,
}

impl Held {
    const fn taken(self) -> &'static str {
        match self {
            Self::Get => "taken with get_user_pages",
            Self::Pin => "taken with pin_user_pages",
        }
    }
    const fn given_back(self) -> &'static str {
        match self {
            Self::Get => "given back with put_page",
            Self::Pin => "given back with unpin_user_page",
        }
    }
}

/// Why a remembered translation is stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// The address was unmapped, or moved away, after the page was taken.
    Unmapped,
    /// The address maps another frame now.
    OtherFrame,
    /// Nobody holds the page at this address: it was given back, or never taken.
    NotHeld,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mistake {
    /// Taken one way, given back the other: on a kernel the count is off by 1,023 from then on.
    Mismatch {
        /// How it was taken; it was given back the other way.
        taken: Held,
        /// Where it was taken.
        at: Site,
        /// Where it was given back.
        released: Site,
    },
    /// Given back, though nobody held it.
    NotHeld {
        /// How it was given back.
        as_if: Held,
        /// Where.
        released: Site,
    },
    /// Taken, and still held.
    Leak {
        /// How it was taken.
        taken: Held,
        /// Where.
        at: Site,
    },
    /// A translation was used that is no longer true.
    Stale {
        /// Why it is not.
        why: Why,
        /// Where the page was taken, if it is held.
        at: Option<Site>,
        /// Where the translation was used.
        used: Site,
    },
}

/// A mistake, and how many pages it concerns so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// What went wrong.
    pub mistake: Mistake,
    /// The first page concerned: its frame.
    pub pfn: Pfn,
    /// Its address, where one is known.
    pub addr: Option<VirtAddr>,
    /// How many times: base pages, over all calls at these sites.
    pub pages: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mistake {
            Mistake::Mismatch { taken, at, released } => {
                let back = match taken {
                    Held::Get => Held::Pin,
                    Held::Pin => Held::Get,
                };
                write!(f, "{} at {at}, but {} at {released}", taken.taken(), back.given_back())
            }
            Mistake::NotHeld { as_if, released } => {
                write!(f, "{} at {released}, but nobody holds it", as_if.given_back())
            }
            Mistake::Leak { taken, at } => write!(f, "{} at {at}, and still held", taken.taken()),
            Mistake::Stale { why, at, used } => stale(f, why, at, used),
        }?;
        write!(f, ": {} pages, the first {:?}", self.pages, self.pfn)?;
        self.addr.map_or(Ok(()), |addr| write!(f, " at {addr}"))
    }
}

fn stale(f: &mut fmt::Formatter<'_>, why: Why, at: Option<Site>, used: Site) -> fmt::Result {
    write!(f, "a stale translation was used at {used}: ")?;
    f.write_str(match why {
        Why::Unmapped => "the address was unmapped since",
        Why::OtherFrame => "the address maps another frame now",
        Why::NotHeld => "the page is not held",
    })?;
    at.map_or(Ok(()), |at| write!(f, "; the page was taken at {at}"))
}
