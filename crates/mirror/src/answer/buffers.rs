//! What a set of `io_uring` buffers counts against the limit of its user, buffer by buffer.
//!
//! Each is pinned first, then counted: a page by itself counts 1, a folio of several counts whole,
//! however little of it is in the buffer, and once for all pages of it that follow one another or
//! lie in one buffer. Before Linux 6.13 it counts once for the whole set. Which pages a pin makes,
//! and of which size, the engine plays.
//!
//! Linux: `io_uring/rsrc.c` `io_sqe_buffers_register`, `io_buffer_account_pin`.

use crate::consumer::Consumer;
use crate::explain::NoVerdict;
use crate::explain::form::LONGEST_BUFFER;
use crate::explain::look::Look;
use crate::explain::play::play_and_hold;
use crate::explain::request::Ask;
use crate::explain::trial::{Blocks, blocks_around, span};
use crate::proc::backing::Backing;
use crate::proc::kpage::{Folio, Folios};
use crate::proc::thp::Thp;
use crate::range::ByteRange;
use crate::world::build::{Assume, Mirror};
use gup::addr::Pfn;
use gup::errno::Errno;
use gup::linux::Version;
use std::collections::BTreeSet;

/// The most buffers of one ring.
const MOST: usize = 1 << 14;

/// What one buffer of a set comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its bytes.
    pub range: ByteRange,
    /// What it counts, in pages; 0 if it is refused.
    pub pages: u64,
    /// Why it is refused before it is counted.
    pub refused: Option<Errno>,
}

/// A set of buffers, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// In their order.
    pub buffers: Vec<Buffer>,
    /// The sizes of all folios were seen.
    pub exact: bool,
}

/// Counts the buffers `ranges` of the process of `look`.
///
/// # Errors
/// [`NoVerdict`].
pub(crate) fn count(look: &Look<'_>, ranges: &[ByteRange]) -> Result<Counted, NoVerdict> {
    if ranges.len() > MOST {
        let refused =
            |range: &ByteRange| Buffer { range: *range, pages: 0, refused: Some(Errno::EINVAL) };
        return Ok(Counted { buffers: ranges.iter().map(refused).collect(), exact: true });
    }
    let stages = Stage::for_all(look, ranges)?;
    let once_for_all = look.window.kernel.version() < Version(6, 13);
    let mut teller = Teller { once_for_all, ..Teller::default() };
    let mut buffers = Vec::with_capacity(ranges.len());
    for range in ranges {
        if is_too_long(range) {
            buffers.push(Buffer { range: *range, pages: 0, refused: Some(Errno::EFAULT) });
            continue;
        }
        let (_, last) = blocks_around(*range);
        let stage = stages.iter().position(|stage| last <= stage.last).unwrap_or(0);
        let Some(stage) = stages.get(stage) else { continue };
        buffers.push(stage.count(*range, &mut teller));
    }
    Ok(Counted { buffers, exact: !teller.unseen })
}

/// Whether a buffer is refused for its length, so that its pages do not matter.
fn is_too_long(range: &ByteRange) -> bool {
    range.len_bytes() > LONGEST_BUFFER
}

/// Blocks that buffers lie in, and their mirror.
struct Stage {
    blocks: Blocks,
    last: u64,
    mirror: Mirror,
    folios: Folios,
}

impl Stage {
    /// Stages for all of `ranges`, in address order: buffers of one block see one another's pages.
    fn for_all(look: &Look<'_>, ranges: &[ByteRange]) -> Result<Vec<Self>, NoVerdict> {
        let mut blocks: Vec<(u64, u64)> = ranges
            .iter()
            .filter(|range| !is_too_long(range))
            .map(|range| blocks_around(*range))
            .collect();
        blocks.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::new();
        for (start, last) in blocks {
            match joined.last_mut() {
                Some(before) if start <= before.1 => before.1 = before.1.max(last),
                _ => joined.push((start, last)),
            }
        }
        let stage = |(start, last): (u64, u64)| {
            let blocks = Blocks::between(look, start, last)?;
            let mirror = Mirror::within(&blocks.0, Assume::Exclusive, &blocks.1)?;
            let folios = look.process.folios();
            Ok(Self { blocks, last, mirror, folios })
        };
        joined.into_iter().map(stage).collect()
    }

    fn count(&self, range: ByteRange, teller: &mut Teller) -> Buffer {
        let ask = Ask::Consumer(Consumer::IoUringBuffer);
        let (played, held) = play_and_hold(&self.mirror, ask, span(range), None);
        if let Some(errno) = played.call.and_then(|call| call.errno) {
            return Buffer { range, pages: 0, refused: Some(errno) };
        }
        teller.begin();
        let first = (range.first_page() - self.blocks.0.start) >> 12;
        let pages = held.iter().zip(first..).map(|(pfn, index)| {
            let (folio, size) = self.folio(*pfn, index, &mut teller.unseen);
            teller.count(folio, size)
        });
        Buffer { range, pages: pages.sum(), refused: None }
    }

    /// The folio that page `index` of the blocks is part of, and its size in pages: one that was
    /// there before is the process's own, another one the engine's.
    fn folio(&self, pfn: Pfn, index: u64, unseen: &mut bool) -> (FolioId, u64) {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let frames = self.mirror.machine.frames();
        let head = frames.head(pfn);
        let made = FolioId::Made { stage: self.last, head };
        if self.mirror.frame_before(index) != Some(pfn) {
            return (made, frames.folio_frames(head));
        }
        let page = self.blocks.0.pages.get(index);
        let real = page.and_then(|page| self.folios.of(page.pfn?));
        match real {
            Some(Folio { head, pages }) => (FolioId::Seen(head), pages),
            None => {
                *unseen |= !frames.is_large(pfn) && self.may_be_large(index);
                (made, frames.folio_frames(head))
            }
        }
    }
}

impl Stage {
    /// Whether page `index` may be part of a larger folio than is seen: anonymous memory has those
    /// only where huge pages are made.
    fn may_be_large(&self, index: usize) -> bool {
        let addr = self.blocks.0.start.wrapping_add((index as u64) << 12);
        let place = self.blocks.0.place_at(addr);
        let wanted = place.is_some_and(|place| place.has("hg"));
        let anonymous = place.is_some_and(|place| place.backing == Backing::Anonymous);
        let around = &self.blocks.1;
        !anonymous || wanted || around.thp == Thp::Always || around.orders != 0
    }
}

/// Which folio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FolioId {
    /// One of the process, by its first frame.
    Seen(u64),
    /// One of a mirror.
    Made { stage: u64, head: Pfn },
}

/// Counts folios once.
#[derive(Default)]
struct Teller {
    last: Option<FolioId>,
    counted: BTreeSet<FolioId>,
    once_for_all: bool,
    unseen: bool,
}

impl Teller {
    /// Another buffer begins.
    fn begin(&mut self) {
        if !self.once_for_all {
            self.counted.clear();
        }
    }

    /// What the next page counts, which is part of `folio`.
    fn count(&mut self, folio: FolioId, size: u64) -> u64 {
        if size == 1 {
            return 1;
        }
        let again = self.last == Some(folio) || self.counted.contains(&folio);
        self.last = Some(folio);
        self.counted.insert(folio);
        if again { 0 } else { size }
    }
}

#[cfg(test)]
mod tests {
    use super::{FolioId, Teller};

    #[test]
    fn a_folio_counts_once_in_a_buffer_and_again_in_a_later_one_that_does_not_follow() {
        let mut teller = Teller::default();
        let (a, b) = (FolioId::Seen(512), FolioId::Seen(1024));
        let mut buffer = |folios: &[FolioId]| -> u64 {
            teller.begin();
            folios.iter().map(|folio| teller.count(*folio, 512)).sum()
        };
        assert_eq!(buffer(&[a, a, b, a]), 1024);
        assert_eq!(buffer(&[a]), 0, "it was the last one");
        assert_eq!(buffer(&[b]), 512);
        assert_eq!(buffer(&[a]), 512);
    }
}
