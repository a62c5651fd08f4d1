//! What a page looks like: everything about it on which the fate of a pin depends.

use crate::proc::kpage::{KpageFlags, Kpages};
use crate::proc::pagemap::PagemapWord;
use crate::proc::scan::Categories;
use crate::window::{Page, PageState, state_of};

/// What a page looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::struct_excessive_bools, reason = "facts that do not depend on each other")]
pub struct Look {
    /// What the entry holds.
    pub state: PageState,
    /// Mapped by a PMD, or hugetlb.
    pub huge: bool,
    /// Write-protected by userfaultfd.
    pub userfault_wp: bool,
    /// How often the page is mapped.
    pub mappings: Mappings,
    /// A memory error was found in it.
    pub poisoned: bool,
    /// Its file ends before it.
    pub past_end: bool,
}

/// How often a page is mapped, as far as it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mappings {
    /// Not looked at.
    Unseen,
    /// Once.
    One,
    /// More than once.
    Several,
}

impl Look {
    /// An entry that is empty.
    pub(super) const ABSENT: Self = Self {
        state: PageState::Absent,
        huge: false,
        userfault_wp: false,
        mappings: Mappings::Unseen,
        poisoned: false,
        past_end: false,
    };

    /// What `PAGEMAP_SCAN` alone says; of an anonymous page that is not enough.
    pub(super) fn of_categories(categories: Categories) -> Self {
        let bit = |is: bool, bit: u32| u64::from(is) << bit;
        let word = bit(categories.present(), 63)
            | bit(categories.swapped(), 62)
            | bit(categories.file(), 61)
            | bit(categories.guard(), 58);
        let state = state_of(PagemapWord(word), Some(categories), None);
        Self { state, huge: categories.huge(), ..Self::ABSENT }
    }

    /// What the page's own word says, with its frame's flags if they were looked at.
    pub(super) fn of_word(
        word: PagemapWord,
        categories: Option<Categories>,
        flags: Option<KpageFlags>,
    ) -> Self {
        let state = state_of(word, categories, flags);
        let huge =
            categories.is_some_and(Categories::huge) || flags.is_some_and(KpageFlags::hugetlb);
        let anon = match state {
            PageState::AnonExclusive | PageState::AnonShared | PageState::AnonOnce => true,
            PageState::Ksm => true,
            PageState::Absent | PageState::Zero | PageState::AnonOrZero => false,
            PageState::File | PageState::Swap | PageState::Guard => false,
            PageState::Poisoned | PageState::Marked => false,
        };
        let mappings = match (anon, word.mapped_once()) {
            (false, _) => Mappings::Unseen,
            (true, true) => Mappings::One,
            (true, false) => Mappings::Several,
        };
        let poisoned = flags.is_some_and(KpageFlags::hwpoison);
        Self { state, huge, userfault_wp: word.userfault_wp(), mappings, poisoned, past_end: false }
    }

    /// A page that looks so.
    pub(super) const fn page(self) -> Page {
        let mapcount = match self.mappings {
            Mappings::Unseen => None,
            Mappings::One => Some(1),
            Mappings::Several => Some(2),
        };
        Page {
            state: self.state,
            huge: self.huge,
            userfault_wp: self.userfault_wp,
            pfn: None,
            mapcount,
            hwpoison: if self.poisoned { Some(true) } else { None },
        }
    }
}

/// Flags of frames, for as many frames as are worth the time.
#[derive(Debug)]
pub(super) struct Frames {
    kpages: Option<Kpages>,
    left: u32,
    last: Option<(u64, KpageFlags)>,
}

impl Frames {
    /// How many frames are looked up; of further ones it is not known whether they are exclusive.
    const MOST: u32 = 1 << 18;

    pub(super) fn open() -> Self {
        Self { kpages: Kpages::open(), left: Self::MOST, last: None }
    }

    /// Whether frames may be seen at all.
    pub(super) const fn are_seen(&self) -> bool {
        self.kpages.is_some()
    }

    /// The flags of the frame in `word`; the 512 frames of a huge page have them in common.
    pub(super) fn flags(&mut self, word: PagemapWord, huge: Huge) -> Option<KpageFlags> {
        let (pfn, kpages) = (word.pfn()?, self.kpages.as_ref()?);
        let block = pfn >> 9;
        if let Some((last, flags)) = self.last
            && huge == Huge::Yes
            && last == block
        {
            return Some(flags);
        }
        self.left = self.left.checked_sub(1)?;
        let flags = kpages.flags(pfn)?;
        self.last = (huge == Huge::Yes).then_some((block, flags));
        Some(flags)
    }
}

/// Whether a page is part of a huge one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Huge {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::{Look, Mappings};
    use crate::proc::kpage::KpageFlags;
    use crate::proc::pagemap::PagemapWord;
    use crate::window::PageState;

    #[test]
    fn a_page_shared_by_nobody_any_more_is_told_from_one_that_is_shared() {
        let anon = Some(KpageFlags(1 << 12));
        let once = Look::of_word(PagemapWord(1 << 63 | 1 << 56), None, anon);
        let more = Look::of_word(PagemapWord(1 << 63), None, anon);
        assert_eq!((once.state, more.state), (PageState::AnonShared, PageState::AnonShared));
        assert_eq!((once.mappings, more.mappings), (Mappings::One, Mappings::Several));
    }
}
