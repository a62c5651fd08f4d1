//! Reading a range as runs of pages that are alike.
//!
//! *Run*: consecutive pages with the same state, as far as a verdict depends on it: frame numbers
//! are left out. Memory is asked about in steps that grow while something is found; what is empty
//! is left to `PAGEMAP_SCAN`, which passes over it by the table.

use crate::error::MirrorError;
use crate::meanwhile;
use crate::proc::maps::Huge;
use crate::proc::pagemap::{PagemapWord, words_from};
use crate::proc::scan;
use crate::process::Process;
use crate::window::{Notes, Page, PageState, Raw};
use rustix::fd::AsFd;

/// Pages that follow one another and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// How many.
    pub(crate) pages: u64,
    /// Each of them.
    pub(crate) page: Page,
}

/// What was read of a range.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// The runs, in address order.
    pub(crate) runs: Vec<Run>,
    /// What was noticed.
    pub(crate) notes: Notes,
}

/// A page that is not there.
pub(crate) const ABSENT: Page = Page {
    state: PageState::Absent,
    huge: false,
    userfault_wp: false,
    pfn: None,
    mapcount: None,
    hwpoison: None,
};

/// The fewest pages that are asked about at once, and the most.
const STEP: (usize, usize) = (512, 1 << 16);

impl Survey {
    /// Reads `pages` pages of `process` from `start` on, or fewer if somebody interrupts; `huge` is
    /// what smaps says of them.
    ///
    /// # Errors
    /// As [`Process::open_file`].
    pub(crate) fn read(
        process: &Process,
        start: u64,
        pages: u64,
        huge: Huge,
    ) -> Result<Self, MirrorError> {
        let mut survey = Self::default();
        if process.bundle().is_some() {
            survey.take_kept(process, start, start.saturating_add(pages << 12), huge)?;
            return Ok(survey);
        }
        let pagemap = process.open_file("pagemap")?;
        let kpages = process.kpages();
        let end = start.saturating_add(pages << 12);
        let (mut at, mut step) = (start, STEP.0);
        let begun = meanwhile::heed();
        while at < end && !begun.is_over() {
            let here = usize::try_from((end - at) >> 12).unwrap_or(usize::MAX).min(step);
            let words = words_from(process, pagemap.as_fd(), at, here)?;
            let found = words.iter().any(|word| *word != PagemapWord::default());
            let ends_empty = words.last().is_none_or(|word| *word == PagemapWord::default());
            if found {
                let raw = Raw::with_words(process, at, words, huge, kpages.as_ref())?;
                survey.take(&raw, here);
            } else {
                survey.push(Run { pages: here as u64, page: ABSENT });
            }
            at = at.saturating_add((here as u64) << 12);
            begun.read(here as u64);
            step = if found { (step * 2).min(STEP.1) } else { STEP.0 };
            if ends_empty && let Some(next) = scan::first_occupied(process, at, end)? {
                survey.push(Run { pages: next.saturating_sub(at) >> 12, page: ABSENT });
                at = next.max(at);
                step = STEP.0;
            }
        }
        Ok(survey)
    }

    /// Takes `[start, end)` from the bundle of `process`, one look for each of its runs.
    fn take_kept(
        &mut self,
        process: &Process,
        start: u64,
        end: u64,
        huge: Huge,
    ) -> Result<(), MirrorError> {
        let mut at = start;
        while at < end {
            let bundle = process.bundle();
            let next = bundle.and_then(|bundle| bundle.next_run(at, end));
            let missing = || process.not_collected(&format!("all pages from {start:#x}"));
            let (from, to) = next.ok_or_else(missing)?;
            self.push(Run { pages: (from - at) >> 12, page: ABSENT });
            if from < to {
                let page = Raw::read(process, from, 1, huge)?.page(0, &mut self.notes);
                self.push(Run { pages: (to - from) >> 12, page: alike(page) });
            }
            at = to;
        }
        Ok(())
    }

    fn take(&mut self, raw: &Raw, pages: usize) {
        for i in 0..pages {
            let page = raw.page(i, &mut self.notes);
            self.push(Run { pages: 1, page: alike(page) });
        }
    }

    fn push(&mut self, run: Run) {
        match self.runs.last_mut() {
            Some(last) if last.page == run.page => last.pages += run.pages,
            Some(_) | None if run.pages > 0 => self.runs.push(run),
            Some(_) | None => {}
        }
    }
}

/// A page as what it has in common with others: mapped elsewhere or not is all that counts.
fn alike(page: Page) -> Page {
    Page { pfn: None, mapcount: page.mapcount.map(|count| count.min(2)), ..page }
}
