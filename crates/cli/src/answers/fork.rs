//! `--fork`: what becomes of the range and its pins when the process forks.

use super::words::{count, size_of};
use anstyle::{AnsiColor, Style};
use gup::errno::Errno;
use gup_mirror::answer::fork::{Child, Fork, Held, Neighbour, Parent, Segment};
use serde::Serialize;
use std::io::{self, Write};

const BAD: Style = AnsiColor::Red.on_default().bold();

/// The field `fork`.
#[derive(Debug, Serialize)]
pub(crate) struct Object {
    held: &'static str,
    errno: Option<&'static str>,
    diverging_pages: u64,
    copied: u64,
    copied_outside: u64,
    page_tables: u64,
    segments: Vec<SegmentObject>,
    neighbours: Vec<NeighbourObject>,
}

#[derive(Debug, Serialize)]
struct SegmentObject {
    start: String,
    pages: u64,
    child: &'static str,
    parent: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct NeighbourObject {
    start: String,
    len: u64,
    lost: bool,
}

impl Object {
    /// The JSON form.
    pub(crate) fn new(fork: &Fork) -> Self {
        Self {
            held: match fork.held {
                Held::Nothing => "nothing",
                Held::References => "references",
                Held::Pins => "pins",
            },
            errno: fork.errno.map(Errno::name),
            diverging_pages: fork.diverging(),
            copied: fork.copied,
            copied_outside: fork.copied_outside,
            page_tables: fork.page_tables,
            segments: fork.segments.iter().map(segment).collect(),
            neighbours: fork.neighbours.iter().map(neighbour).collect(),
        }
    }
}

fn segment(segment: &Segment) -> SegmentObject {
    SegmentObject {
        start: format!("{:#x}", segment.start),
        pages: segment.pages,
        child: match segment.child {
            Child::Unmapped => "unmapped",
            Child::Wiped => "wiped",
            Child::Shared => "shared",
            Child::UntilWrite => "until-write",
            Child::Copy => "copy",
            Child::Nothing => "nothing",
        },
        parent: match segment.parent {
            Parent::Keeps => Some("keeps"),
            Parent::Leaves => Some("leaves"),
            Parent::HoldsNone => None,
        },
    }
}

fn neighbour(neighbour: &Neighbour) -> NeighbourObject {
    NeighbourObject {
        start: format!("{:#x}", neighbour.start),
        len: neighbour.len,
        lost: neighbour.lost,
    }
}

/// The paragraph.
pub(crate) fn print(fork: &Fork, out: &mut impl Write) -> io::Result<()> {
    if let Some(errno) = fork.errno {
        return writeln!(
            out,
            "  fork      {BAD}would fail with {errno}{BAD:#}: pages that are pinned have to be \
             copied at once, and there is no memory for it; mark them MADV_DONTFORK"
        );
    }
    match (fork.held, fork.diverging()) {
        (Held::Nothing, _) => {
            writeln!(
                out,
                "  fork      nothing is held when the call has ended: a later fork is safe"
            )?;
        }
        (_, 0) => writeln!(
            out,
            "  fork      safe for this process: it keeps the pages that are held, whoever forks"
        )?,
        (_, pages) => writeln!(
            out,
            "  fork      {BAD}{} diverge{BAD:#}: after a fork the parent's next store goes to a \
             copy, and what is held is no longer what it sees",
            count(pages, "page")
        )?,
    }
    if fork.diverging() > 0 {
        writeln!(
            out,
            "  instead   mark whole pages MADV_DONTFORK before the fork, or write to them only \
             when nothing holds them any more"
        )?;
    }
    if fork.copied > 0 {
        let outside = match fork.copied_outside {
            0 => String::new(),
            bytes => format!(", {} of them other parts of its huge pages", size_of(bytes)),
        };
        writeln!(out, "            {} are copied by fork itself{outside}", size_of(fork.copied))?;
    }
    children(fork, out)?;
    neighbours(fork, out)
}

/// What the child has.
fn children(fork: &Fork, out: &mut impl Write) -> io::Result<()> {
    let children = [
        (Child::Copy, "has a copy, and sees nothing that arrives later"),
        (Child::UntilWrite, "shares the page until somebody writes"),
        (Child::Shared, "shares the page for good"),
        (Child::Wiped, "sees zeros (MADV_WIPEONFORK)"),
        (Child::Unmapped, "has nothing mapped there (MADV_DONTFORK), and faults"),
    ];
    for (child, what) in children {
        let pages = fork.pages(child);
        if pages > 0 {
            writeln!(out, "  child     {what}: {}", count(pages, "page"))?;
        }
    }
    Ok(())
}

/// What shares pages with the range.
fn neighbours(fork: &Fork, out: &mut impl Write) -> io::Result<()> {
    for neighbour in &fork.neighbours {
        let (start, len) = (neighbour.start, neighbour.len);
        let bytes = count(len, "byte");
        if neighbour.lost {
            writeln!(
                out,
                "  beside it {BAD}{bytes} at {start:#x} are no part of the range, share a page \
                 with it{BAD:#}, and are missing in a child"
            )?;
        } else {
            writeln!(
                out,
                "  beside it {bytes} at {start:#x} share a page with it: with MADV_DONTFORK they \
                 would be missing in a child too; align the buffer to pages"
            )?;
        }
    }
    Ok(())
}
