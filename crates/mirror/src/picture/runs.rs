//! Runs: stretches of pages of one area, in address order, with the number of pages of each kind.
//!
//! A *kind* is a look that occurs in the area. Invariants: the runs of a region follow each other
//! without gap or overlap; the parts of a run add up to its pages, or there are none, when its
//! pages were not looked at. When there are more runs than wanted, short neighbours that lie in one
//! block of 2, 4, 8, … pages are put together, so that long runs keep their ends.

use super::fate::Fate;
use super::look::Look;

/// Pages of one area that look alike.
#[derive(Clone, Debug)]
pub struct Kind {
    /// What they look like.
    pub look: Look,
    /// How many there are.
    pub pages: u64,
    /// The address of one of them, in bytes.
    pub sample: u64,
    /// What a pin of each of them alone would meet; `None` if nobody was named who pins.
    pub fate: Option<Fate>,
}

/// A stretch of pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// First byte address.
    pub start: u64,
    /// Number of pages, at least 1.
    pub pages: u64,
    /// The kinds that occur, by their place in the region's list, and how many pages each has.
    pub parts: Vec<(u16, u64)>,
}

impl Run {
    /// First byte address after it.
    pub const fn end(&self) -> u64 {
        self.start.saturating_add(self.pages << 12)
    }

    fn add(&mut self, kind: u16, pages: u64) {
        match self.parts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += pages,
            None => self.parts.push((kind, pages)),
        }
    }
}

/// Runs and kinds of one region while its pages go by.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) kinds: Vec<Kind>,
    pub(super) runs: Vec<Run>,
    at: u64,
    budget: usize,
    /// Neighbours in one block of `1 << block` pages are one run.
    block: u32,
}

impl Builder {
    /// Runs from byte address `start`, about `budget` of them at most.
    pub(super) const fn new(start: u64, budget: usize) -> Self {
        Self { kinds: Vec::new(), runs: Vec::new(), at: start, budget, block: 0 }
    }

    /// Where the next page begins.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// Pages up to byte address `end` look like `look`.
    pub(super) fn push(&mut self, end: u64, look: Look) {
        let pages = end.saturating_sub(self.at) >> 12;
        if pages == 0 {
            return;
        }
        let kind = self.kind(look);
        if let Some(known) = self.kinds.get_mut(usize::from(kind)) {
            known.pages += pages;
        }
        let run = Run { start: self.at, pages, parts: vec![(kind, pages)] };
        self.at = run.end();
        match self.runs.last_mut() {
            Some(last) if last.parts.len() == 1 && last.parts[0].0 == kind => {
                last.pages += pages;
                last.parts[0].1 += pages;
            }
            Some(last) if self.block > 0 && in_one_block(last, &run, self.block) => {
                join(last, &run);
            }
            _ => self.runs.push(run),
        }
        while self.runs.len() > self.budget && self.block < 40 {
            self.block += 1;
            self.coarsen();
        }
    }

    /// The pages up to byte address `end` are not looked at.
    pub(super) fn skip(&mut self, end: u64) {
        let pages = end.saturating_sub(self.at) >> 12;
        if pages > 0 {
            self.runs.push(Run { start: self.at, pages, parts: Vec::new() });
            self.at = end;
        }
    }

    fn kind(&mut self, look: Look) -> u16 {
        let place = self.kinds.iter().position(|kind| kind.look == look).unwrap_or_else(|| {
            self.kinds.push(Kind { look, pages: 0, sample: self.at, fate: None });
            self.kinds.len() - 1
        });
        // Looks are made of few facts: a few hundred at most.
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    fn coarsen(&mut self) {
        let mut joined: Vec<Run> = Vec::with_capacity(self.runs.len());
        for run in self.runs.drain(..) {
            match joined.last_mut() {
                Some(last) if in_one_block(last, &run, self.block) => join(last, &run),
                _ => joined.push(run),
            }
        }
        self.runs = joined;
    }
}

/// Whether two runs that were looked at lie in one block of `1 << block` pages.
fn in_one_block(a: &Run, b: &Run, block: u32) -> bool {
    let shift = 12 + block;
    !a.parts.is_empty() && !b.parts.is_empty() && a.start >> shift == (b.end() - 1) >> shift
}

fn join(last: &mut Run, next: &Run) {
    last.pages += next.pages;
    for &(kind, pages) in &next.parts {
        last.add(kind, pages);
    }
}

#[cfg(test)]
mod tests {
    use super::{Builder, Look};
    use crate::window::PageState;

    fn file() -> Look {
        Look { state: PageState::File, ..Look::ABSENT }
    }

    #[test]
    fn pages_that_look_alike_are_one_run() {
        let mut builder = Builder::new(0x1000, 8);
        builder.push(0x2000, file());
        builder.push(0x2000, Look::ABSENT);
        builder.push(0x5000, file());
        assert_eq!((builder.runs.len(), builder.kinds.len()), (1, 1));
        assert_eq!((builder.runs[0].pages, builder.at()), (4, 0x5000));
    }

    #[test]
    fn many_changes_are_put_together_and_no_page_is_lost() {
        let mut builder = Builder::new(0x7000, 100);
        for page in 7..100_000_u64 {
            builder.push((page + 1) << 12, if page % 3 == 0 { file() } else { Look::ABSENT });
        }
        let end = 1 << 40;
        builder.push(end, Look::ABSENT);
        assert!(builder.runs.len() <= 101, "{}", builder.runs.len());
        let mut at = 0x7000;
        for run in &builder.runs {
            assert_eq!((run.start, run.parts.iter().map(|part| part.1).sum()), (at, run.pages));
            at = run.end();
        }
        assert_eq!(at, end);
        let last = builder.runs.last().unwrap();
        assert_eq!(last.parts.len(), 1, "a long run keeps its beginning to a few pages");
        let files: u64 = builder.kinds.iter().filter(|k| k.look == file()).map(|k| k.pages).sum();
        assert_eq!(files, (7..100_000).filter(|page| page % 3 == 0).count() as u64);
    }
}
