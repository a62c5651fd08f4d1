//! Every rule as data: id, meaning, errno, versions, remedy. A verdict names one of these.
//!
//! A [`Rule`] is a row of `docs/semantics.md`. A refusal is made by one predicate that returns a `Rule`;
//! `abi` reads its errno, `gup explain` its sentence, a test its id. Absent: predicates.
//! With the feature `mutate` (tests only) one rule can be switched off, to see which test notices.

pub mod a;
pub mod c;
pub mod f;
pub mod m;
pub mod n;
pub mod w;

use crate::errno::Errno;
use crate::linux::Version;
use core::fmt;

/// A row of the semantics: a letter for its family and a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    family: u8,
    number: u8,
}

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

impl Rule {
    /// Rule `number` of `family` (`b'A'`, …).
    pub const fn new(family: u8, number: u8) -> Self {
        Self { family, number }
    }
    /// The family's letter.
    pub const fn family(self) -> char {
        self.family as char
    }
    /// The number in its family.
    pub const fn number(self) -> u8 {
        self.number
    }
    /// Its row.
    pub fn row(self) -> &'static Row {
        let family = family(self.family);
        let found = family.binary_search_by_key(&self.number, |row| row.rule.number);
        found.map_or(&UNKNOWN, |index| &family[index])
    }
    /// Its errno, `EFAULT` where the row has none.
    pub fn errno(self) -> Errno {
        self.row().errno.unwrap_or(Errno::EFAULT)
    }
    /// `cond`, unless this rule is switched off (feature `mutate`).
    #[inline(always)]
    pub fn when(self, cond: bool) -> bool {
        #[cfg(feature = "mutate")]
        if mutate::is_off(self) {
            return false;
        }
        cond
    }
    /// The rule with this id, such as `A-31`, if there is one.
    pub fn parse(id: &str) -> Option<Self> {
        let (letter, number) = id.split_once('-')?;
        let [letter] = letter.as_bytes() else { return None };
        let rule = Self::new(letter.to_ascii_uppercase(), number.parse().ok()?);
        family(rule.family).iter().any(|row| row.rule == rule).then_some(rule)
    }
    /// Every rule, by family.
    pub fn all() -> impl Iterator<Item = &'static Row> {
        FAMILIES.iter().flat_map(|(_, rows)| rows.iter())
    }
}

const FAMILIES: [(u8, &[Row]); 6] = [
    (b'A', a::ROWS),
    (b'C', c::ROWS),
    (b'F', f::ROWS),
    (b'M', m::ROWS),
    (b'N', n::ROWS),
    (b'W', w::ROWS),
];

fn family(letter: u8) -> &'static [Row] {
    FAMILIES.iter().find(|(l, _)| *l == letter).map_or(&[], |(_, rows)| rows)
}

static UNKNOWN: Row = Row {
    rule: Rule::new(b'?', 0),
    meaning: "a rule that this version does not know",
    errno: None,
    since: None,
    until: None,
    remedy: "",
};

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.family as char, self.number)
    }
}
impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Defines the rows of one family: `NAME number "meaning" [EERRNO] [since a.b] [until a.b] ["remedy"];`.
macro_rules! rows {
    ($letter:literal; $($(#[$doc:meta])* $name:ident $number:literal $meaning:literal
        $($errno:ident)? $(since $s1:literal $s2:literal)? $(until $u1:literal $u2:literal)? $(; $remedy:literal)? ;)*) => {
        $(
            #[doc = $meaning]
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

/// Switching rules off, for `cargo xtask mutate`. Exists only with the feature `mutate`.
#[cfg(feature = "mutate")]
pub mod mutate {
    use super::Rule;
    use core::sync::atomic::{AtomicU16, Ordering::Relaxed};

    static OFF: AtomicU16 = AtomicU16::new(0);

    /// Switches `rule` off for the rest of the process (one at a time).
    pub fn switch_off(rule: Rule) {
        OFF.store(u16::from_be_bytes([rule.family, rule.number]), Relaxed);
    }
    #[inline]
    pub(super) fn is_off(rule: Rule) -> bool {
        OFF.load(Relaxed) == u16::from_be_bytes([rule.family, rule.number])
    }
}
