//! A trial: the consumer played on a mirror of a wider range, and left as the call leaves it.
//!
//! The mirror holds whole 2 MiB blocks, since a fault may fill one with a huge page, and only if
//! nothing else is in it. What the consumer keeps stays held.

use crate::explain::look::Look;
use crate::explain::play::{Played, Span, play_and_hold};
use crate::explain::run::NoVerdict;
use crate::range::ByteRange;
use crate::window::{PageState, Window};
use crate::world::around::Around;
use crate::world::build::{Assume, Mirror};
use crate::world::ghost::Traffic;
use gup::addr::Pfn;
use gup::frame::Stats;

/// Bytes that a huge page maps.
const BLOCK: u64 = 1 << 21;

/// A mirror on which the consumer was played.
pub(crate) struct Trial {
    /// The mirror, as the call leaves it.
    pub(crate) mirror: Mirror,
    /// How the call ended.
    pub(crate) played: Played,
    /// The frames that the consumer keeps, in the order of the range.
    pub(crate) held: Vec<Pfn>,
    /// The mirror's frames before the call.
    pub(crate) before: Stats,
    /// What had been done to them.
    pub(crate) traffic_before: Traffic,
}

/// What a trial is made from: whole blocks of a process, and the machine around.
pub(crate) struct Blocks(pub(crate) Window, pub(crate) Around);

/// The whole blocks around `range`, first and last byte address.
pub(crate) fn blocks_around(range: ByteRange) -> (u64, u64) {
    let last = range.first_page().saturating_add((range.pages() << 12) - 1);
    (range.first_page() & !(BLOCK - 1), last | (BLOCK - 1))
}

impl Blocks {
    /// Reads the blocks around the range of `look`, for its kernel.
    ///
    /// # Errors
    /// As [`Window::read`].
    pub(crate) fn around(look: &Look<'_>) -> Result<Self, NoVerdict> {
        let (start, last) = blocks_around(look.request.range);
        Self::between(look, start, last)
    }

    /// Reads the blocks from `start` to `last`, which is the last byte of one.
    ///
    /// # Errors
    /// As [`Window::read`].
    pub(crate) fn between(look: &Look<'_>, start: u64, last: u64) -> Result<Self, NoVerdict> {
        let pages = usize::try_from(((last - start) >> 12) + 1).unwrap_or(usize::MAX);
        let mut window = Window::read(look.process, start, pages)?;
        window.kernel.clone_from(&look.window.kernel);
        Ok(Self(window, Around::of(look.process)))
    }

    /// With room for so many more copies of every page.
    pub(crate) fn with_copies(mut self, copies: usize) -> Self {
        self.1.copies = copies;
        self
    }

    /// What has to be assumed: both, if exclusivity was not seen.
    pub(crate) fn assumptions(&self) -> &'static [Assume] {
        let unseen = self.0.pages.iter().any(|page| page.state == PageState::AnonOnce);
        if unseen { &[Assume::Exclusive, Assume::Shared] } else { &[Assume::Exclusive] }
    }

    /// Plays the request of `look` on a mirror of the blocks.
    ///
    /// # Errors
    /// [`NoVerdict::Build`].
    pub(crate) fn trial(&self, look: &Look<'_>, assume: Assume) -> Result<Trial, NoVerdict> {
        let mirror = Mirror::within(&self.0, assume, &self.1)?;
        let before = mirror.machine.frames().stats();
        let traffic_before = mirror.machine.memory().traffic();
        let (played, held) = play_and_hold(
            &mirror,
            look.request.ask,
            span(look.request.range),
            look.window.last_byte,
        );
        Ok(Trial { mirror, played, held, before, traffic_before })
    }
}

/// The span of `range`.
pub(crate) fn span(range: ByteRange) -> Span {
    Span { start: range.start(), len: range.len_bytes(), pages: range.pages() }
}
