//! `/proc/kpageflags` and `/proc/kpagecount`: flags and map counts by frame number, for root.
//!
//! Linux reuses the bit of *mapped to disk* on anonymous pages for `PageAnonExclusive` (5.19 and
//! later), so a reader of kpageflags sees exclusivity.
//! Linux: `fs/proc/page.c`.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;

/// The flags of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KpageFlags(pub u64);

impl KpageFlags {
    /// An anonymous page.
    pub const fn anon(self) -> bool {
        self.bit(12)
    }
    /// A hugetlb page.
    pub const fn hugetlb(self) -> bool {
        self.bit(17)
    }
    /// A memory error was found in it.
    pub const fn hwpoison(self) -> bool {
        self.bit(19)
    }
    /// A KSM page.
    pub const fn ksm(self) -> bool {
        self.bit(21)
    }
    /// Part of a transparent huge page.
    pub const fn thp(self) -> bool {
        self.bit(22)
    }
    /// The zero page, small or huge.
    pub const fn zero_page(self) -> bool {
        self.bit(24)
    }
    /// `PageAnonExclusive`, meaningful for anonymous pages.
    pub const fn anon_exclusive(self) -> bool {
        self.anon() && !self.ksm() && self.bit(34)
    }
    /// A file system has data of its own for it, and a reference.
    pub const fn private(self) -> bool {
        self.bit(35)
    }

    /// The first page of a folio of several.
    pub const fn compound_head(self) -> bool {
        self.bit(15)
    }
    /// Another page of such a folio.
    pub const fn compound_tail(self) -> bool {
        self.bit(16)
    }

    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
}

/// Open handles on both files, for as many look-ups as needed.
#[derive(Debug)]
pub struct Kpages {
    flags: OwnedFd,
    counts: OwnedFd,
}

impl Kpages {
    /// Opens both files; `None` without permission, or on a kernel without them.
    pub fn open() -> Option<Self> {
        let open =
            |path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        Some(Self { flags: open("/proc/kpageflags")?, counts: open("/proc/kpagecount")? })
    }

    /// The flags of frame `pfn`.
    pub fn flags(&self, pfn: u64) -> Option<KpageFlags> {
        word(&self.flags, pfn).map(KpageFlags)
    }

    /// The flags of as many frames from `first` on as `into` holds; how many were read.
    pub(crate) fn many_flags(&self, first: u64, into: &mut [u64]) -> usize {
        words(&self.flags, first, into)
    }

    /// How often each of the frames from `first` on is mapped; how many were read.
    pub(crate) fn many_mapcounts(&self, first: u64, into: &mut [u64]) -> usize {
        words(&self.counts, first, into)
    }

    /// How often frame `pfn` is mapped.
    pub fn mapcount(&self, pfn: u64) -> Option<u64> {
        word(&self.counts, pfn)
    }
}

/// A folio: pages that are allocated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folio {
    /// Its first frame.
    pub head: u64,
    /// How many frames.
    pub pages: u64,
}

/// No folio has more pages than this, a hugetlb page of 1 GiB.
const FOLIO_MAX: u64 = 1 << 18;

impl Kpages {
    /// The folio that frame `pfn` is part of; `None` if that was not seen.
    pub fn folio(&self, pfn: u64) -> Option<Folio> {
        let flags = self.flags(pfn)?;
        if !flags.compound_head() && !flags.compound_tail() {
            return Some(Folio { head: pfn, pages: 1 });
        }
        let is_head = |pfn: &u64| self.flags(*pfn).is_some_and(KpageFlags::compound_head);
        let head = (pfn.saturating_sub(FOLIO_MAX - 1)..=pfn).rev().find(is_head)?;
        let is_tail = |pfn: &u64| self.flags(*pfn).is_some_and(KpageFlags::compound_tail);
        let tails = (head + 1..head + FOLIO_MAX).take_while(is_tail).count() as u64;
        Some(Folio { head, pages: tails + 1 })
    }
}

/// Where the folios of a process are looked up.
#[derive(Debug)]
pub enum Folios {
    /// The running kernel.
    Live(Kpages),
    /// A bundle: the number of pages by the first frame, of those that have several.
    Kept(BTreeMap<u64, u64>),
    /// They cannot be seen.
    Unseen,
}

impl Folios {
    /// The folio that frame `pfn` is part of; `None` if that was not seen.
    pub fn of(&self, pfn: u64) -> Option<Folio> {
        match self {
            Self::Live(kpages) => kpages.folio(pfn),
            Self::Kept(large) => {
                let before = large.range(..=pfn).next_back();
                let part = before.filter(|(head, pages)| pfn - **head < **pages);
                let folio = |(&head, &pages): (&u64, &u64)| Folio { head, pages };
                Some(part.map_or(Folio { head: pfn, pages: 1 }, folio))
            }
            Self::Unseen => None,
        }
    }
}

fn word(fd: &OwnedFd, pfn: u64) -> Option<u64> {
    let mut one = [0];
    (words(fd, pfn, &mut one) == 1).then_some(one[0])
}

fn words(fd: &OwnedFd, first: u64, into: &mut [u64]) -> usize {
    let mut bytes = vec![0_u8; into.len() * 8];
    let Some(at) = first.checked_mul(8) else { return 0 };
    let got = rustix::io::pread(fd, &mut bytes, at).unwrap_or(0) / 8;
    for (word, bytes) in into.iter_mut().zip(bytes.chunks_exact(8)).take(got) {
        *word = u64::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    got
}
