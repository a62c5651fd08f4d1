//! A trial: the consumer played on a mirror of a wider range, and left as the call leaves it.
//!
//! The mirror holds whole 2 MiB blocks, since a fault may fill one with a huge page, and only if
//! nothing else is in it. What the consumer keeps stays held.

use crate::explain::look::Look;
use crate::explain::play::{Played, Span, play_and_hold};
use crate::explain::run::NoVerdict;
use crate::window::{PageState, Window};
use crate::world::around::Around;
use crate::world::build::{Assume, Mirror};
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
}

/// What a trial is made from: whole blocks around the range of a look, and the machine around.
pub(crate) struct Blocks(pub(crate) Window, pub(crate) Around);

impl Blocks {
    /// Reads the blocks around the range of `look`.
    ///
    /// # Errors
    /// As [`Window::read`].
    pub(crate) fn around(look: &Look<'_>) -> Result<Self, NoVerdict> {
        let range = look.request.range;
        let start = range.first_page() & !(BLOCK - 1);
        let end = range.first_page().saturating_add(range.pages() << 12);
        let end = end.checked_next_multiple_of(BLOCK).unwrap_or(end);
        let pages = usize::try_from((end - start) >> 12).unwrap_or(usize::MAX);
        let mut window = Window::read(look.process, start, pages)?;
        window.kernel.clone_from(&look.window.kernel);
        Ok(Self(window, Around::of(look.process)))
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
        let range = look.request.range;
        let span = Span { start: range.start(), len: range.len_bytes(), pages: range.pages() };
        let before = mirror.machine.frames().stats();
        let (played, held) = play_and_hold(&mirror, look.request.ask, span, look.window.last_byte);
        Ok(Trial { mirror, played, held, before })
    }
}
