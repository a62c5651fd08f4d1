//! What happens to a page so that it can be handed out, read off the mirror before and after the
//! call.

use crate::window::PageState;

/// What happens to a page so that it can be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Taken as it is.
    Take,
    /// The zero page is mapped.
    MapZero,
    /// A new zeroed page is made.
    Allocate,
    /// The page is copied first, and the copy is taken.
    Copy,
    /// A page of the file, or of shared memory, is mapped.
    MapFile,
    /// The page is read from swap.
    SwapIn,
    /// The stack grows, and a new page is made.
    Grow,
    /// Nothing: the call does not look at pages.
    Skip,
    /// It depends on something that was not seen.
    Unknown,
}

impl Action {
    /// The name that `--json` prints; a closed list, see `docs/json.md`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::MapZero => "map-zero",
            Self::Allocate => "allocate",
            Self::Copy => "copy",
            Self::MapFile => "map-file",
            Self::SwapIn => "swap-in",
            Self::Grow => "grow",
            Self::Skip => "skip",
            Self::Unknown => "unknown",
        }
    }

    /// What happened to so many pages, for a person.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Take => "taken as they are",
            Self::MapZero => "mapped to the zero page",
            Self::Allocate => "made new, full of zeros",
            Self::Copy => "copied first",
            Self::MapFile => "mapped from the file or shared memory",
            Self::SwapIn => "read from swap first",
            Self::Grow => "added by growing the stack",
            Self::Skip => "not looked at",
            Self::Unknown => "taken or copied: that depends on what could not be seen",
        }
    }

    /// What was done to a page that was in state `before`, given what the engine's table held
    /// afterwards, and whether its frame is the one that was there before.
    pub const fn between(before: PageState, after: After) -> Self {
        match (before, after) {
            (PageState::Swap, _) => Self::SwapIn,
            (_, After::Same) => Self::Take,
            (_, After::Nothing) => Self::Skip,
            (before, After::Zero) if before.is_empty() => Self::MapZero,
            (before, After::Anon) if before.is_empty() => Self::Allocate,
            (_, After::File) => Self::MapFile,
            (_, After::Zero) => Self::MapZero,
            (_, After::Anon) => Self::Copy,
        }
    }
}

/// What the engine's table holds for a page after the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The frame that was there before.
    Same,
    /// The zero page, which was not there before.
    Zero,
    /// A new anonymous frame.
    Anon,
    /// A frame of a file or of shared memory, which was not there before.
    File,
    /// Nothing.
    Nothing,
}
