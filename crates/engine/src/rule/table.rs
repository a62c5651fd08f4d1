//! [`Row`]: what is known of a rule, and the table of all rows.
//!
//! Invariant: each family's rows are sorted by number, so that one is found by bisection.
//! Absent: the rows themselves, one file a family.

use super::{Rule, a, c, f, i, m, n, o, s, w};
use crate::errno::Errno;
use crate::linux::Version;

/// What is known of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The rule.
    pub rule: Rule,
    /// What it says, in one line.
    pub meaning: &'static str,
    /// The errno it refuses with, if it refuses.
    pub errno: Option<Errno>,
    /// The first kernel that has it, if known.
    pub since: Option<Version>,
    /// What kernels before `since` did.
    pub before: Before,
    /// The first kernel that no longer has it, if any.
    pub until: Option<Version>,
    /// What a user can do about a refusal; empty where there is nothing to do.
    pub remedy: &'static str,
}

/// What kernels before a rule's first one did instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: the rule was not there.
    Nothing,
    /// They came to the same for a caller by other means, so that the rule stands for both.
    Otherwise,
}

impl Row {
    /// Whether a kernel of this version has the rule, or one that comes to the same.
    pub fn is_in(&self, version: Version) -> bool {
        let begun = self.before == Before::Otherwise || self.since.is_none_or(|v| v <= version);
        begun && self.until.is_none_or(|until| version < until)
    }
}

/// The families that rules can be of, by letter.
pub(super) const FAMILIES: [(u8, &[Row]); 9] = [
    (b'A', a::ROWS),
    (b'C', c::ROWS),
    (b'F', f::ROWS),
    (b'I', i::ROWS),
    (b'M', m::ROWS),
    (b'N', n::ROWS),
    (b'O', o::ROWS),
    (b'S', s::ROWS),
    (b'W', w::ROWS),
];

/// The rows of one family, by number; none if there is no such family.
pub(super) fn family(letter: u8) -> &'static [Row] {
    FAMILIES.iter().find(|(l, _)| *l == letter).map_or(&[], |(_, rows)| rows)
}

/// What a rule without a row says.
pub(super) static UNKNOWN: Row = Row {
    rule: Rule::new(b'?', 0),
    meaning: "a rule that this version does not know",
    errno: None,
    since: None,
    before: Before::Nothing,
    until: None,
    remedy: "",
};

/// Defines the rows of one family, each
/// `NAME NUMBER "meaning" [=> ERRNO] [since MAJOR MINOR] [until MAJOR MINOR]; ["remedy";]`;
/// `reworked` instead of `since` where older kernels came to the same ([`Before::Otherwise`]).
macro_rules! rows {
    ($letter:literal; $(
        $name:ident $number:literal $meaning:literal $(=> $errno:ident)?
        $(since $s1:literal $s2:literal)? $(reworked $r1:literal $r2:literal)?
        $(until $u1:literal $u2:literal)?
        $(; $remedy:literal)? ;
    )*) => {
        $(
            #[doc = $meaning]
            #[allow(clippy::doc_markdown, reason = "the sentence is also printed to terminals")]
            pub const $name: $crate::rule::Rule = $crate::rule::Rule::new($letter, $number);
        )*
        /// The rows of this family, by number.
        pub(super) static ROWS: &[$crate::rule::Row] = &[$($crate::rule::Row {
            rule: $name,
            meaning: $meaning,
            errno: rows!(@errno $($errno)?),
            since: rows!(@version $($s1 $s2)? $($r1 $r2)?),
            before: rows!(@before $($r1)?),
            until: rows!(@version $($u1 $u2)?),
            remedy: rows!(@text $($remedy)?),
        },)*];
    };
    (@errno) => { None };
    (@errno $errno:ident) => { Some($crate::errno::Errno::$errno) };
    (@before) => { $crate::rule::Before::Nothing };
    (@before $a:literal) => { $crate::rule::Before::Otherwise };
    (@version) => { None };
    (@version $a:literal $b:literal) => { Some($crate::linux::Version($a, $b)) };
    (@text) => { "" };
    (@text $text:literal) => { $text };
}
pub(crate) use rows;
