//! The state of a page, and how it is written: `-` no entry, `Z` zero page, `Ax1#0` anonymous,
//! exclusive, mapped once, in the frame of class 0.

use std::fmt::{self, Display, Formatter, Write};

/// What an entry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// There is no area.
    #[default]
    NoArea,
    /// Nothing.
    Empty,
    /// The zero page, small or huge.
    Zero,
    /// An anonymous page.
    Anon {
        /// `PageAnonExclusive`.
        exclusive: bool,
    },
    /// A page of a file, of shared memory, or special.
    File,
    /// A merged page.
    Ksm,
    /// A swap entry.
    Swap,
    /// A guard region.
    Guard,
}

/// The state of a page, without what is lazy (dirty, mlocked).
#[allow(clippy::struct_excessive_bools, reason = "independent marks, each a letter of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Token {
    /// What the entry holds.
    pub content: Content,
    /// Of hugetlbfs.
    pub hugetlb: bool,
    /// Of a folio of PMD size.
    pub large: bool,
    /// Mapped by an entry of the PMD's level.
    pub huge_entry: bool,
    /// Entries that map it, at most 9; 0 where that is not counted.
    pub mapcount: u8,
    /// In the swap cache.
    pub swap_cache: bool,
    /// Write-protected by userfaultfd.
    pub uffd_wp: bool,
    /// Its frame's class; `None` without a frame that is counted.
    pub class: Option<u32>,
}

impl Token {
    /// A token of nothing but its content.
    pub fn of(content: Content) -> Self {
        Self { content, ..Self::default() }
    }
    /// Without the frame's class.
    #[must_use]
    pub fn without_class(self) -> Self {
        Self { class: None, ..self }
    }
}

impl Display for Token {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self.content {
            Content::NoArea => ".",
            Content::Empty => "-",
            Content::Zero => "Z",
            Content::Anon { exclusive: true } => "Ax",
            Content::Anon { exclusive: false } => "As",
            Content::File => "F",
            Content::Ksm => "K",
            Content::Swap => "S",
            Content::Guard => "G",
        })?;
        let letters = [(self.hugetlb, 'h'), (self.large, 'T'), (self.huge_entry, 'H')];
        letters.iter().filter(|(is, _)| *is).try_for_each(|(_, letter)| f.write_char(*letter))?;
        if self.mapcount > 0 {
            write!(f, "{}", self.mapcount)?;
        }
        let letters = [(self.swap_cache, 'c'), (self.uffd_wp, 'w')];
        letters.iter().filter(|(is, _)| *is).try_for_each(|(_, letter)| f.write_char(*letter))?;
        self.class.map_or(Ok(()), |class| write!(f, "#{class}"))
    }
}

/// Numbers frames by first appearance.
#[derive(Debug, Default)]
pub(crate) struct Classes(std::collections::HashMap<u64, u32>);

impl Classes {
    /// The class of frame `pfn`.
    pub(crate) fn of(&mut self, pfn: u64) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(pfn).or_insert(next)
    }
}
