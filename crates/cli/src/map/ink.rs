//! Inks: how each kind of page is drawn. One closed table for every drawing.
//!
//! Colours are told apart with any colour vision (after Okabe and Ito), and colour never stands
//! alone: on a terminal every ink is a letter too, elsewhere what matters most is hatched.

use gup_mirror::explain::action::Action;
use gup_mirror::picture::Kind;
use gup_mirror::picture::fate::Fate;
use gup_mirror::window::PageState;

/// What colours stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// What the page tables hold.
    State,
    /// What a pin of the page would meet.
    Verdict,
}

/// How much an ink should catch the eye where several meet in one cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// The ground: pages that are not there, or that nothing happens to.
    Ground,
    /// Pages that are there.
    Figure,
    /// What must not be overlooked.
    Alarm,
}

macro_rules! inks {
    ($(
        $variant:ident $by:ident $weight:ident $letter:literal $id:literal
        $light:literal $dark:literal $line:literal,
    )*) => {
        /// One way to draw a page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Ink { $(
            #[doc = $line]
            $variant,
        )* }

        impl Ink {
            /// Every ink, in the order of legends.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// A short name; also its class in SVG and HTML.
            pub(crate) const fn id(self) -> &'static str {
                match self { $(Self::$variant => $id,)* }
            }

            /// Its letter on a terminal, in capitals where it fills half of a cell or more.
            pub(crate) const fn letter(self) -> char {
                match self { $(Self::$variant => $letter,)* }
            }

            /// Its colour on a light ground, as `#rrggbb`.
            pub(crate) const fn light(self) -> &'static str {
                match self { $(Self::$variant => $light,)* }
            }

            /// Its colour on a dark ground.
            pub(crate) const fn dark(self) -> &'static str {
                match self { $(Self::$variant => $dark,)* }
            }

            /// What it stands for, for a person.
            pub(crate) const fn line(self) -> &'static str {
                match self { $(Self::$variant => $line,)* }
            }

            /// How much it should catch the eye.
            pub(crate) const fn weight(self) -> Weight {
                match self { $(Self::$variant => Weight::$weight,)* }
            }

            /// Which colouring it belongs to.
            pub(crate) const fn by(self) -> By {
                match self { $(Self::$variant => By::$by,)* }
            }
        }
    };
}

inks! {
    Absent State Ground '·' "absent" "#e4e7eb" "#262b33"
        "nothing there yet",
    Zero State Figure 'z' "zero" "#b6bec9" "#59626f"
        "the zero page",
    Exclusive State Figure 'a' "anon-exclusive" "#0072b2" "#3d9fe0"
        "anonymous, of this process alone",
    Once State Figure 'o' "anon-once" "#56a8dc" "#86c8f2"
        "anonymous, mapped once",
    Shared State Figure 's' "anon-shared" "#e69f00" "#f2b632"
        "anonymous, shared since a fork",
    AnonOrZero State Figure 'n' "anon-or-zero" "#8fa9bf" "#8ba3b8"
        "anonymous or the zero page: not seen which",
    Ksm State Figure 'k' "ksm" "#cc79a7" "#dd93bb"
        "merged by KSM",
    File State Figure 'f' "file" "#009e73" "#22b88c"
        "of a file, shared memory or a driver",
    Swap State Figure 'w' "swap" "#7a4ea8" "#a98be0"
        "swapped out",
    Guard State Alarm 'g' "guard" "#1f2328" "#e8e8e8"
        "guard region",
    Poisoned State Alarm 'p' "poisoned" "#a3123c" "#ff7a95"
        "poisoned by userfaultfd",
    Marked State Figure 'u' "marked" "#c9b458" "#d9c86a"
        "absent, write-protected by userfaultfd",
    Unread State Ground '?' "unread" "#f4f4f4" "#181b20"
        "not looked at",
    Take Verdict Figure 't' "take" "#009e73" "#22b88c"
        "taken as it is",
    Bring Verdict Ground 'm' "bring" "#a9d5f2" "#2d5f86"
        "made, mapped or read in first",
    Copy Verdict Figure 'c' "copy" "#e69f00" "#f2b632"
        "copied first",
    Skip Verdict Ground '-' "skip" "#e4e7eb" "#262b33"
        "not looked at by this call",
    Unknown Verdict Figure '?' "unknown" "#8a9099" "#9aa1ab"
        "depends on what was not seen",
    Refused Verdict Alarm 'x' "refused" "#d55e00" "#f07c33"
        "refused",
}

impl Ink {
    /// The ink of pages of `kind`; `None` stands for pages that were not looked at.
    pub(crate) const fn of(kind: Option<&Kind>, by: By) -> Self {
        match (kind, by) {
            (None, By::State) => Self::Unread,
            (None, By::Verdict) => Self::Unknown,
            (Some(kind), By::State) => Self::of_state(kind.look.state),
            (Some(kind), By::Verdict) => match &kind.fate {
                Some(fate) => Self::of_fate(fate),
                None => Self::Unknown,
            },
        }
    }

    const fn of_state(state: PageState) -> Self {
        match state {
            PageState::Absent => Self::Absent,
            PageState::Zero => Self::Zero,
            PageState::AnonExclusive => Self::Exclusive,
            PageState::AnonShared => Self::Shared,
            PageState::AnonOnce => Self::Once,
            PageState::Ksm => Self::Ksm,
            PageState::File => Self::File,
            PageState::Swap => Self::Swap,
            PageState::Guard => Self::Guard,
            PageState::Poisoned => Self::Poisoned,
            PageState::Marked => Self::Marked,
            PageState::AnonOrZero => Self::AnonOrZero,
        }
    }

    const fn of_fate(fate: &Fate) -> Self {
        match fate {
            Fate::Refused { .. } => Self::Refused,
            Fate::Unknown(_) => Self::Unknown,
            Fate::Done(action) => match action {
                Action::Take => Self::Take,
                Action::Copy => Self::Copy,
                Action::MapZero | Action::Allocate | Action::MapFile => Self::Bring,
                Action::SwapIn | Action::Grow => Self::Bring,
                Action::Skip => Self::Skip,
                Action::Unknown => Self::Unknown,
            },
        }
    }

    /// Red, green and blue of its colour on a light ground.
    pub(crate) fn rgb(self) -> (u8, u8, u8) {
        let byte = |at: usize| {
            let digits = self.light().get(at..at + 2).unwrap_or_default();
            u8::from_str_radix(digits, 16).unwrap_or(0)
        };
        (byte(1), byte(3), byte(5))
    }

    /// Whether black is read better on it than white.
    pub(crate) fn is_bright(self) -> bool {
        let (red, green, blue) = self.rgb();
        299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) > 128_000
    }

    /// Whether it is hatched where there are no letters.
    pub(crate) const fn hatched(self) -> bool {
        matches!(self, Self::Refused | Self::Unknown | Self::Guard | Self::Unread | Self::Shared)
    }
}

#[cfg(test)]
mod tests {
    use super::{By, Ink};
    use std::collections::BTreeSet;

    #[test]
    fn no_two_inks_of_one_colouring_share_a_letter_or_a_colour() {
        for by in [By::State, By::Verdict] {
            let of = Ink::ALL.iter().filter(|ink| ink.by() == by);
            let letters: BTreeSet<char> = of.clone().map(|ink| ink.letter()).collect();
            let light: BTreeSet<&str> = of.clone().map(|ink| ink.light()).collect();
            let dark: BTreeSet<&str> = of.clone().map(|ink| ink.dark()).collect();
            let count = of.count();
            assert_eq!((letters.len(), light.len(), dark.len()), (count, count, count));
        }
    }
}
