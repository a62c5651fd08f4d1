//! Translating a range into runs of consecutive frames: [`Tables::translate`].
//!
//! *Run*: pages that follow one another in the address space and are alike. Runs are as long as
//! they can be, across tables and leaf sizes, except that swap entries are not joined. One walk, no
//! locks, no allocation: what is reported was true when its entry was read.
//! Linux: no such function; the nearest is `walk_page_range` (mm/pagewalk.c).

use super::tables::{Place, Tables, clip, index_at, level_pages, slot_end};
use super::{Decoded, Entry, Format, Perms, SwapEntry};
use crate::addr::{PAGE_SHIFT, Pfn, VirtAddr, VirtRange};
use crate::host::Host;
use crate::sync::Word;
use core::marker::PhantomData;
use core::sync::atomic::Ordering;

/// Pages that follow one another and are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the first page starts.
    pub start: VirtAddr,
    /// How many pages.
    pub pages: u64,
    /// What is there.
    pub to: RunTo,
}

/// What the pages of a run are mapped to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunTo {
    /// Nothing.
    Hole,
    /// Consecutive frames from this one, with these permissions; `young`, `dirty` and `soft_dirty`
    /// are set if they are for any page of the run.
    Frames(Pfn, Perms),
    /// One swap entry; the run is what it covers of the range.
    Swap(SwapEntry),
}

impl<H: Host> Tables<'_, H> {
    /// Tells `visit` what the pages of `range` are mapped to, in address order and without gaps:
    /// runs of frames, holes, swap entries. `range` is widened to whole pages and cut to the user
    /// half.
    pub fn translate(&self, range: VirtRange, visit: impl FnMut(Run)) {
        let (start, end) = clip::<H::Format>(range);
        if start < end {
            let mut runs = Runs { visit, open: None, format: PhantomData::<H::Format> };
            self.translate_table(self.root, H::Format::LEVELS - 1, start, end, &mut runs);
            runs.report();
        }
    }

    fn translate_table<V: FnMut(Run)>(
        &self,
        table: Pfn,
        level: u8,
        start: u64,
        end: u64,
        runs: &mut Runs<H::Format, V>,
    ) {
        let words = self.entries(table);
        if level == 0 && H::Format::GROUP > 1 {
            for (n, index) in (0..).zip(index_at(start, 0)..=index_at(end - 1, 0)) {
                let entry = self.load(Place { table, index, level });
                runs.add(decoded::<H::Format>(start + (n << PAGE_SHIFT), 1, entry.raw(), 0));
            }
            return;
        }
        if level == 0 {
            let last = index_at(end - 1, 0);
            runs.leaves(&words[index_at(start, 0)..=last], start);
            return;
        }
        let mut at = start;
        while at < end {
            let stop = slot_end(at, end, level);
            let raw = words[index_at(at, level)].load(Ordering::Acquire);
            if H::Format::is_table(raw, level) {
                self.translate_table(H::Format::pfn(raw), level - 1, at, stop, runs);
            } else {
                runs.add(decoded::<H::Format>(at, (stop - at) >> PAGE_SHIFT, raw, level));
            }
            at = stop;
        }
    }
}

/// The runs so far: all but the last are reported.
struct Runs<F, V> {
    visit: V,
    open: Option<Run>,
    format: PhantomData<F>,
}

impl<F: Format, V: FnMut(Run)> Runs<F, V> {
    /// Adds the entries of a table at level 0, for the pages from `at`.
    ///
    /// Only the first piece can go on where the last table ended, and only the last can go on in
    /// the next table: those between are reported at once.
    fn leaves(&mut self, words: &[Word], mut at: u64) {
        let mut rest = words;
        while let Some((first, after)) = rest.split_first() {
            let (more, all) = extent::<F>(first.load(Ordering::Acquire), after);
            let pages = more as u64 + 1;
            // Decoded in each arm, so that what `visit` does not look at is not decoded at all.
            if rest.len() == words.len() || more == after.len() {
                self.add(decoded::<F>(at, pages, all, 0));
            } else {
                if self.open.is_some() {
                    self.report();
                }
                (self.visit)(decoded::<F>(at, pages, all, 0));
            }
            at += pages << PAGE_SHIFT;
            rest = &after[more..];
        }
    }

    /// Adds a run that follows what was added before.
    #[inline]
    fn add(&mut self, next: Run) {
        if let Some(run) = &mut self.open
            && run.absorb(&next)
        {
            return;
        }
        self.report();
        self.open = Some(next);
    }

    /// Reports the open run, if there is one.
    #[inline]
    fn report(&mut self) {
        if let Some(run) = self.open.take() {
            (self.visit)(run);
        }
    }
}

/// How many of `words` continue what the entry `first` at level 0 begins, and `first` with their
/// history. One comparison for each; nothing is decoded.
#[inline]
fn extent<F: Format>(first: u64, words: &[Word]) -> (usize, u64) {
    let mut raws = words.iter().map(|word| word.load(Ordering::Acquire));
    if first == 0 {
        return (raws.position(|raw| raw != 0).unwrap_or(words.len()), 0);
    }
    if !F::is_present(first) {
        return (0, first);
    }
    let (mut last, mut all) = (first, first);
    let stop = raws.position(|raw| {
        let stop = !F::continues(last, raw, 0);
        if !stop {
            all = F::gather(all, raw);
            last = raw;
        }
        stop
    });
    (stop.unwrap_or(words.len()), all)
}

/// What the entry `raw` at `level` says of the `pages` pages from `at`, which it begins to map.
#[inline]
fn decoded<F: Format>(at: u64, pages: u64, raw: u64, level: u8) -> Run {
    let to = match Entry::<F>::from_raw(raw).decode(level) {
        Decoded::None | Decoded::Table(_) => RunTo::Hole,
        Decoded::Leaf(pfn, perms) => {
            let within = (at >> PAGE_SHIFT) & (level_pages(level) - 1);
            RunTo::Frames(pfn.offset(within), perms)
        }
        Decoded::Swap(entry) => RunTo::Swap(entry),
    };
    Run { start: VirtAddr::new(at), pages, to }
}

impl Run {
    /// Grows by `next`, which follows in the address space, if the two are alike.
    #[inline]
    fn absorb(&mut self, next: &Self) -> bool {
        let grown = match (self.to, next.to) {
            (RunTo::Hole, RunTo::Hole) => RunTo::Hole,
            (RunTo::Frames(pfn, a), RunTo::Frames(follows, b))
                if pfn.offset(self.pages) == follows && a.timeless() == b.timeless() =>
            {
                RunTo::Frames(pfn, a.with_history_of(b))
            }
            (RunTo::Hole | RunTo::Frames(..) | RunTo::Swap(_), _) => return false,
        };
        self.to = grown;
        self.pages += next.pages;
        true
    }
}
