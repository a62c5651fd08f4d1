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
    /// The first kernel that no longer has it, if any.
    pub until: Option<Version>,
    /// What a user can do about a refusal; empty where there is nothing to do.
    pub remedy: &'static str,
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
    until: None,
    remedy: "",
};

/// Defines the rows of one family, each
/// `NAME NUMBER "meaning" [=> ERRNO] [since MAJOR MINOR] [until MAJOR MINOR]; ["remedy";]`.
macro_rules! rows {
    ($letter:literal; $(
        $name:ident $number:literal $meaning:literal $(=> $errno:ident)?
        $(since $s1:literal $s2:literal)? $(until $u1:literal $u2:literal)?
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
            since: rows!(@version $($s1 $s2)?),
            until: rows!(@version $($u1 $u2)?),
            remedy: rows!(@text $($remedy)?),
        },)*];
    };
    (@errno) => { None };
    (@errno $errno:ident) => { Some($crate::errno::Errno::$errno) };
    (@version) => { None };
    (@version $a:literal $b:literal) => { Some($crate::linux::Version($a, $b)) };
    (@text) => { "" };
    (@text $text:literal) => { $text };
}
pub(crate) use rows;
