//! Flags and map counts of the frames of many pages, read in the order of the frames.
//!
//! Neighbouring frames are read by one call. A map count is read only where it tells something that
//! the flags do not: of an anonymous page that is not exclusive.
//! Linux: `fs/proc/page.c`.

use crate::proc::kpage::{KpageFlags, Kpages};
use crate::proc::pagemap::PagemapWord;

/// The most frames that are read by one call.
const MOST: usize = 4096;

/// What was seen of the frames of consecutive pages.
#[derive(Debug, Default)]
pub(crate) struct FrameWords {
    flags: Vec<Option<KpageFlags>>,
    mapcounts: Vec<Option<u64>>,
}

impl FrameWords {
    /// Looks up the frames of these pages.
    pub(crate) fn of(kpages: &Kpages, words: &[PagemapWord]) -> Self {
        let mut order: Vec<(u64, usize)> =
            words.iter().enumerate().filter_map(|(i, word)| Some((word.pfn()?, i))).collect();
        order.sort_unstable();
        let mut found = Self { flags: vec![None; words.len()], mapcounts: vec![None; words.len()] };
        let Self { flags, mapcounts } = &mut found;
        in_runs(
            &order,
            |first, into| kpages.many_flags(first, into),
            |i, word| {
                let seen = KpageFlags(word);
                flags[i] = Some(seen);
                mapcounts[i] = seen.anon_exclusive().then_some(1);
            },
        );
        order.retain(|(_, i)| flags[*i].is_some_and(|seen| seen.anon() && !seen.anon_exclusive()));
        in_runs(
            &order,
            |first, into| kpages.many_mapcounts(first, into),
            |i, word| {
                mapcounts[i] = Some(word);
            },
        );
        found
    }

    /// The flags of page `i`'s frame.
    pub(crate) fn flags(&self, i: usize) -> Option<KpageFlags> {
        self.flags.get(i).copied().flatten()
    }

    /// How often page `i`'s frame is mapped, if that was of interest.
    pub(crate) fn mapcount(&self, i: usize) -> Option<u64> {
        self.mapcounts.get(i).copied().flatten()
    }
}

/// Reads a word for each frame of `order`, which is sorted, and gives it to the pages that have it.
fn in_runs(
    order: &[(u64, usize)],
    read: impl Fn(u64, &mut [u64]) -> usize,
    mut give: impl FnMut(usize, u64),
) {
    let mut buffer = vec![0_u64; MOST];
    for run in order.chunk_by(|a, b| b.0 - a.0 <= 1) {
        let mut rest = run;
        while let Some(&(first, _)) = rest.first() {
            let here = rest.partition_point(|(pfn, _)| ((pfn - first) as usize) < MOST);
            let (part, after) = rest.split_at(here);
            let last = part.last().map_or(first, |(pfn, _)| *pfn);
            let wanted = (last - first + 1) as usize;
            let got = read(first, &mut buffer[..wanted]);
            for (pfn, i) in part {
                if let Some(word) = buffer[..got].get((pfn - first) as usize) {
                    give(*i, *word);
                }
            }
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_runs;
    use std::cell::RefCell;

    #[test]
    fn neighbouring_frames_are_read_by_one_call_and_shared_ones_once() {
        let order = [(7, 2), (7, 5), (8, 0), (20, 1), (9000, 3)];
        let (calls, mut given) = (RefCell::new(Vec::new()), Vec::new());
        let read = |first: u64, into: &mut [u64]| {
            calls.borrow_mut().push((first, into.len()));
            for (word, pfn) in into.iter_mut().zip(first..) {
                *word = pfn * 10;
            }
            // Frames from 9000 on are none.
            if first >= 9000 { 0 } else { into.len() }
        };
        in_runs(&order, read, |i, word| given.push((i, word)));
        assert_eq!(*calls.borrow(), [(7, 2), (20, 1), (9000, 1)]);
        assert_eq!(given, [(2, 70), (5, 70), (0, 80), (1, 200)]);
    }
}
