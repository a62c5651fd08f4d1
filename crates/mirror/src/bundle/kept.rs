//! A bundle in memory, and what it answers in place of `/proc`.
//!
//! Invariants, which [`super::format`] checks of a file: runs are in address order, do not overlap,
//! have at least one page and do not wrap; so look-ups are binary searches, and a run of a hostile
//! length costs nothing until its pages are asked for.

use crate::proc::backing::Backing;
use crate::proc::hugepages::HugePages;
use crate::proc::kpage::KpageFlags;
use crate::proc::pagemap::PagemapWord;
use crate::proc::scan::Categories;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pages that follow one another and whose words are alike, but for the frame's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Address of the first page, in bytes.
    pub at: u64,
    /// Number of pages.
    pub pages: u64,
    /// The word of pagemap of the first page.
    pub word: u64,
    /// How much the frame number grows from page to page: 0 or 1.
    pub step: u64,
    /// The categories of `PAGEMAP_SCAN`, if it was there.
    pub categories: Option<u64>,
    /// The frame's flags, if they could be seen.
    pub flags: Option<u64>,
    /// How often the frame is mapped, if that could be seen.
    pub mapped: Option<u64>,
}

impl Run {
    /// Address after its last page; saturates.
    pub const fn end(&self) -> u64 {
        self.at.saturating_add(self.pages.saturating_mul(4096))
    }

    /// The word of page `index`.
    const fn word_at(&self, index: u64) -> PagemapWord {
        PagemapWord(self.word.wrapping_add(self.step.wrapping_mul(index)))
    }

    /// The step with which this run goes on to `next`, if that is the page after it and alike.
    fn step_to(&self, next: &Self) -> Option<u64> {
        let alike = (self.categories, self.flags, self.mapped)
            == (next.categories, next.flags, next.mapped);
        let step = if self.pages == 1 { next.word.wrapping_sub(self.word) } else { self.step };
        let follows = self.word.wrapping_add(step.wrapping_mul(self.pages)) == next.word;
        (alike && follows && step <= 1 && self.end() == next.at).then_some(step)
    }

    /// Adds one page to `runs`, to the last one if it is alike.
    pub(super) fn push(runs: &mut Vec<Self>, page: Self) {
        if let Some(last) = runs.last_mut()
            && let Some(step) = last.step_to(&page)
        {
            last.step = step;
            last.pages += 1;
            return;
        }
        runs.push(page);
    }
}

/// One page of a bundle, as `/proc` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptPage {
    /// Its word of pagemap.
    pub word: PagemapWord,
    /// Its categories, if `PAGEMAP_SCAN` was there.
    pub categories: Option<Categories>,
    /// Its frame's flags, if they could be seen.
    pub flags: Option<KpageFlags>,
    /// How often its frame is mapped, if that could be seen.
    pub mapped: Option<u64>,
}

/// What was collected of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The process id that it had.
    pub pid: u32,
    /// The kernel's release, as `uname` has it.
    pub release: String,
    /// First address whose page was looked at, and the one after the last.
    pub looked_at: (u64, u64),
    /// Text files by name: those of `/proc/PID` by their last part, others by their whole path.
    pub files: BTreeMap<String, String>,
    /// What stands behind the area that begins at an address.
    pub backings: BTreeMap<u64, Backing>,
    /// Features that all userfaultfds of the process have in common.
    pub userfaultfd: Option<u64>,
    /// The machine's 2 MiB pages.
    pub huge_pages: HugePages,
    /// Whether `PAGEMAP_SCAN` was there.
    pub scanned: bool,
    /// The address of the last byte of the range that was asked for, and whether it is 0; `None` if
    /// it was not looked at.
    pub last_byte: Option<(u64, bool)>,
    /// The pages that are not absent.
    pub runs: Vec<Run>,
    /// Folios of several pages: how many, by the first frame.
    pub folios: BTreeMap<u64, u64>,
}

impl Bundle {
    /// Whether frames and their flags could be seen.
    pub fn shows_frames(&self) -> bool {
        self.runs.iter().any(|run| run.flags.is_some())
    }

    /// The text file with this name, if it was collected.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.files.get(name).map(String::as_str)
    }

    /// The `pages` pages from the page of `start`; those of no run are absent. `None` if some of
    /// them were not looked at.
    pub fn pages(&self, start: u64, pages: usize) -> Option<Vec<KeptPage>> {
        let start = start & !0xfff;
        let end = start.saturating_add((pages as u64).saturating_mul(4096));
        if start < self.looked_at.0 || end > self.looked_at.1 {
            return None;
        }
        let absent =
            KeptPage { categories: self.scanned.then(Categories::default), ..KeptPage::default() };
        let mut found = vec![absent; pages];
        let first = self.runs.partition_point(|run| run.end() <= start);
        for run in self.runs[first..].iter().take_while(|run| run.at < end) {
            let (from, to) = (run.at.max(start), run.end().min(end));
            for addr in (from..to).step_by(4096) {
                if let Some(page) = found.get_mut(((addr - start) >> 12) as usize) {
                    *page = kept(run, (addr - run.at) >> 12);
                }
            }
        }
        Some(found)
    }

    /// The part of the next run that lies in `[at, end)`, as first address and the one after; both
    /// are `end` if there is none. `None` if not all of it was looked at.
    pub(crate) fn next_run(&self, at: u64, end: u64) -> Option<(u64, u64)> {
        if at < self.looked_at.0 || end > self.looked_at.1 {
            return None;
        }
        let run = self.runs.get(self.runs.partition_point(|run| run.end() <= at));
        let part = |run: &Run| (run.at.max(at).min(end), run.end().min(end));
        Some(run.map_or((end, end), part))
    }

    /// The byte at `addr`: 0, or some other byte, if it is the last one that was looked at.
    pub fn byte_at(&self, addr: u64) -> Option<u8> {
        self.last_byte.filter(|(at, _)| *at == addr).map(|(_, zero)| u8::from(!zero))
    }
}

fn kept(run: &Run, index: u64) -> KeptPage {
    KeptPage {
        word: run.word_at(index),
        categories: run.categories.map(Categories::from_bits),
        flags: run.flags.map(KpageFlags),
        mapped: run.mapped,
    }
}

#[cfg(test)]
mod tests {
    use super::Run;

    fn page(at: u64, word: u64) -> Run {
        Run { at, pages: 1, word, step: 0, categories: None, flags: None, mapped: None }
    }

    #[test]
    fn frames_that_follow_one_another_and_frames_that_are_one_make_one_run() {
        let mut runs = Vec::new();
        for (at, word) in [(0, 7), (1, 8), (2, 9), (3, 9), (4, 9), (5, 11), (7, 12)] {
            Run::push(&mut runs, page(at << 12, word));
        }
        let seen: Vec<(u64, u64, u64, u64)> =
            runs.iter().map(|run| (run.at >> 12, run.pages, run.word, run.step)).collect();
        assert_eq!(seen, [(0, 3, 7, 1), (3, 2, 9, 0), (5, 1, 11, 0), (7, 1, 12, 0)]);
    }
}
