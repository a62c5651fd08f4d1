//! Drawing addresses, lengths, permissions and flags: mostly sensible, now and then not.

use super::dice::Dice;
use crate::scenario::{At, Base, Length, Span};
use gup::addr::PAGE_SIZE;

/// The first address that programs use.
pub(super) const ARENA: u64 = 0x2000_0000_0000;
/// Pages of the arena: two halves, so that there is room to move to.
pub(super) const PAGES: u64 = 40;
/// Where stacks grow: far from all else, because of the gap below them.
pub(super) const STACKS: u64 = ARENA + (1 << 30);
/// Pages there; a stack is mapped in the upper half.
pub(super) const STACK_PAGES: u64 = 12;
/// Where huge pages are: 2 MiB aligned.
pub(super) const HUGE: u64 = ARENA + (512 << 20);
/// Base pages of a huge page.
pub(super) const HUGE_PAGES: u64 = 512;

/// Where the operations of a program go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The arena.
    Arena,
    /// The arena and the stacks.
    Stacks,
    /// Two huge pages, and the arena now and then.
    Huge,
}

pub(super) fn absolute(addr: u64) -> At {
    At { base: Base::Absolute, offset: addr }
}

impl Field {
    /// What is looked at.
    pub(super) fn watch(self) -> Vec<(u64, u64)> {
        match self {
            Self::Arena => vec![(ARENA, PAGES)],
            Self::Stacks => vec![(ARENA, PAGES), (STACKS, STACK_PAGES)],
            Self::Huge => {
                let at = |page| HUGE + page * PAGE_SIZE;
                vec![(ARENA, 8), (HUGE, 6), (at(510), 6), (at(1020), 4)]
            }
        }
    }

    /// A page's address and a number of pages that lie in it.
    pub(super) fn pages(self, dice: &mut Dice, most: u64) -> (u64, u64) {
        let (start, pages) = match self {
            Self::Stacks if dice.happens(1, 3) => (STACKS, STACK_PAGES),
            Self::Arena | Self::Stacks => (ARENA, PAGES),
            Self::Huge if dice.happens(1, 4) => (ARENA, 8),
            Self::Huge => return huge(dice),
        };
        let first = dice.below(pages);
        let count = 1 + dice.below(most).min(dice.below(most));
        (start + first * PAGE_SIZE, count.min(pages - first))
    }
}

/// Whole huge pages, halves of them, or a few pages around their edges.
fn huge(dice: &mut Dice) -> (u64, u64) {
    let (first, count) = match dice.below(6) {
        0 => (0, 2 * HUGE_PAGES),
        1 => (0, HUGE_PAGES),
        2 => (HUGE_PAGES, HUGE_PAGES),
        3 => (HUGE_PAGES / 2, HUGE_PAGES),
        4 => (510 + dice.below(4), 1 + dice.below(2)),
        _ => (dice.below(4), 1 + dice.below(2)),
    };
    (HUGE + first * PAGE_SIZE, count)
}

/// A range for a call that takes any numbers: one in sixteen is not sensible.
pub(super) fn bytes(dice: &mut Dice, field: Field) -> (At, u64) {
    let (at, pages) = field.pages(dice, 10);
    let whole = pages * PAGE_SIZE;
    if !dice.happens(1, 16) {
        return (absolute(at), whole);
    }
    let (at, bytes) = match dice.below(8) {
        0 => (at + 1 + dice.below(4095), whole),
        1 => (at, whole - 1 - dice.below(4095)),
        2 => (at, 0),
        3 => (at, u64::MAX - dice.below(5000)),
        4 => (at, 0_u64.wrapping_sub(at)),
        5 => (1 << 47, whole),
        6 => (0x7fff_ffff_f000, 2 * PAGE_SIZE),
        _ => (at, whole + 1),
    };
    (absolute(at), bytes)
}

/// Whole pages.
pub(super) fn span(dice: &mut Dice, field: Field) -> Span {
    let (at, pages) = field.pages(dice, 6);
    Span { at: absolute(at), len: Length::Pages(pages.min(16)) }
}

pub(super) fn prot(dice: &mut Dice) -> u32 {
    dice.weighed(&[(12, 3), (4, 1), (2, 0), (1, 2), (1, 4), (1, 5), (1, 7), (1, 0x73)])
}
