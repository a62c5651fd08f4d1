//! The window before a call: one letter a page, neighbours of one letter mapped as one.
//!
//! Both worlds build a layout in the same order: every run is mapped, from the left; then its pages
//! are touched; then it is protected, locked, guarded or sealed.

use super::words::WINDOW_PAGES;

/// What a run of pages is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// Private anonymous memory: what is done to it after it was mapped read-write.
    Anon(Anon),
    /// Shared anonymous memory, untouched.
    Shared,
    /// A private mapping of a memfd full of bytes, untouched.
    FilePrivate,
    /// A shared one.
    FileShared,
    /// A shared read-only mapping of a descriptor opened for reading.
    FileReadOnly,
    /// A shared mapping of a memfd that ends before it.
    PastEnd,
    /// A shared writable mapping of a regular file on a disk.
    Disk,
    /// Secret memory, shared, untouched.
    Secret,
}

/// Private anonymous memory, and what was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anon {
    Fresh,
    Written,
    Read,
    ReadOnlyFresh,
    ReadOnlyWritten,
    NoneFresh,
    NoneWritten,
    ExecuteOnly,
    Guarded,
    GrowsDown,
    Locked,
    Sealed,
    SealedReadOnly,
    UffdMissing,
    UffdProtected,
}

/// Pages of one kind that lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) pages: u64,
    pub(super) page: Page,
}

/// What a letter stands for; `None` is a hole.
fn page(letter: char) -> Result<Option<Page>, String> {
    Ok(Some(match letter {
        '.' => return Ok(None),
        'e' => Page::Anon(Anon::Fresh),
        'w' => Page::Anon(Anon::Written),
        'z' => Page::Anon(Anon::Read),
        'r' => Page::Anon(Anon::ReadOnlyFresh),
        'R' => Page::Anon(Anon::ReadOnlyWritten),
        'n' => Page::Anon(Anon::NoneFresh),
        'N' => Page::Anon(Anon::NoneWritten),
        'x' => Page::Anon(Anon::ExecuteOnly),
        'g' => Page::Anon(Anon::Guarded),
        'd' => Page::Anon(Anon::GrowsDown),
        'l' => Page::Anon(Anon::Locked),
        'k' => Page::Anon(Anon::Sealed),
        'K' => Page::Anon(Anon::SealedReadOnly),
        'u' => Page::Anon(Anon::UffdMissing),
        'U' => Page::Anon(Anon::UffdProtected),
        's' => Page::Shared,
        'p' => Page::FilePrivate,
        'q' => Page::FileShared,
        'o' => Page::FileReadOnly,
        'b' => Page::PastEnd,
        'D' => Page::Disk,
        'X' => Page::Secret,
        _ => return Err(format!("no such letter in a layout: {letter:?}")),
    }))
}

/// The runs of a layout.
pub(super) fn runs(layout: &str) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    for (at, letter) in (0..).zip(layout.chars()) {
        let Some(page) = page(letter)? else { continue };
        match runs.last_mut() {
            Some(last) if last.page == page && last.first + last.pages == at => last.pages += 1,
            Some(_) | None => runs.push(Run { first: at, pages: 1, page }),
        }
    }
    if layout.chars().count() as u64 > WINDOW_PAGES {
        return Err("a layout has at most 16 pages".to_owned());
    }
    Ok(runs)
}
