//! What a world itself has of a page, beside what it shows: its counts, and what its page-table
//! entry says.
//!
//! The kernel's is seen through BPF only (feature `bpf`). Absent: soft-dirty, which not every
//! kernel has; the counts of the zero pages and of what is mapped without being counted.

use std::fmt::{self, Display, Formatter, Write};

/// Counts of a frame, and of the folio that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `_refcount` of the folio: a pin of a small one counts 1024.
    pub refs: i32,
    /// `_pincount`; `None` of a small folio, which has none.
    pub pins: Option<i32>,
    /// Entries that map this page, those that map its whole folio among them.
    pub mapcount: u32,
    /// Entries that map any page of the folio.
    pub of_folio: u32,
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { refs, pins, mapcount, of_folio } = self;
        write!(f, "{refs} references")?;
        pins.map_or(Ok(()), |pins| write!(f, ", {pins} pins"))?;
        write!(f, ", mapped {mapcount} times")?;
        if pins.is_some() { write!(f, " of {of_folio}") } else { Ok(()) }
    }
}

/// What an entry that maps a page says.
#[allow(clippy::struct_excessive_bools, reason = "independent bits, each a letter of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// To the processor, too: not `PROT_NONE`, no NUMA hint.
    pub present: bool,
    /// Stores are allowed.
    pub write: bool,
    /// Written to.
    pub dirty: bool,
    /// Accessed.
    pub young: bool,
    /// Write-protected by userfaultfd.
    pub uffd_wp: bool,
}

impl Display for Marks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { present, write, dirty, young, uffd_wp } = *self;
        let letters = [(present, 'p'), (write, 'w'), (dirty, 'd'), (young, 'y'), (uffd_wp, 'u')];
        letters.into_iter().try_for_each(|(is, letter)| f.write_char(if is { letter } else { '-' }))
    }
}

/// Of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exact {
    /// `None` where nothing is counted.
    pub counts: Option<Counts>,
    /// `None` where nothing is mapped.
    pub marks: Option<Marks>,
}

impl Display for Exact {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.marks {
            Some(marks) => write!(f, "entry {marks}")?,
            None => f.write_str("no entry")?,
        }
        self.counts.map_or(Ok(()), |counts| write!(f, ", {counts}"))
    }
}
