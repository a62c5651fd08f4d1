//! The verdict: what GUP returns, what the caller sees, page by page what happens, and what stops
//! it.

use crate::consumer::Consumer;
use crate::explain::action::Action;
use crate::unseen::Unseen;
use crate::window::{PageState, Place};
use gup::errno::Errno;
use gup::flags::Foll;
use gup::rule::Rule;

/// What one consumer would get from one range.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The consumer; `None` when only flags were given.
    pub consumer: Option<Consumer>,
    /// The flags that reach GUP.
    pub flags: Foll,
    /// Address of the first page, in bytes.
    pub start: u64,
    /// Number of pages.
    pub nr_pages: u64,
    /// What GUP returns: the pages obtained, or an errno if there were none.
    pub gup: Result<u64, Errno>,
    /// What the caller sees; `None` when only flags were given.
    pub call: Option<Call>,
    /// What happens to each page before the stop, in address order.
    pub segments: Vec<Segment>,
    /// What stops it; `None` if every page is obtained.
    pub stop: Option<StopAt>,
    /// What could not be seen and could change the answer.
    pub unseen: Vec<Unseen>,
}

/// What the caller of a system call sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The return value; -1 on failure. For calls that are made once per page: how many of them
    /// work.
    pub ret: i64,
    /// The errno; with calls that are made once per page, that of the last one that fails.
    pub errno: Option<Errno>,
    /// For calls that are made once per page, a bit for each of the first 64 that works.
    pub mask: u64,
}

/// Pages that follow one another and are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first page, in bytes.
    pub start: u64,
    /// Number of pages.
    pub pages: u64,
    /// What the page tables held.
    pub state: PageState,
    /// What happens.
    pub action: Action,
    /// The last rule that decided about the first page.
    pub rule: Option<Rule>,
}

/// The page that stops the call.
#[derive(Clone, Debug)]
pub struct StopAt {
    /// Its number in the range, from 0.
    pub index: u64,
    /// Its address, in bytes.
    pub addr: u64,
    /// The errno of the refusal.
    pub errno: Errno,
    /// The rule that refuses.
    pub rule: Rule,
    /// The area that it lies in, and what stands behind it, if any.
    pub place: Option<Place>,
    /// How the fault there ended, or what the call asks of its address and length, for a person;
    /// `None` if neither stopped it.
    pub fault: Option<&'static str>,
}

impl Verdict {
    /// Whether the call does all that is asked of it.
    pub const fn is_fine(&self) -> bool {
        self.stop.is_none()
    }
}

/// Adds one page to `segments`, to the last one if it is alike.
pub(crate) fn push(segments: &mut Vec<Segment>, page: Segment) {
    if let Some(last) = segments.last_mut()
        && (last.state, last.action, last.rule) == (page.state, page.action, page.rule)
        && last.start.wrapping_add(last.pages << 12) == page.start
    {
        last.pages += page.pages;
        return;
    }
    segments.push(page);
}
