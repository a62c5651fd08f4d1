//! [`Rule`]: the id of a row of `docs/semantics.md`, and what can be asked of it.
//!
//! A rule is two bytes and is compared, copied and printed as its id. Absent: the rows' texts
//! ([`super::table`]).

use super::table::{self, Row};
use crate::errno::Errno;
use core::fmt;

/// A row of the semantics: a letter for its family and a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    pub(super) family: u8,
    pub(super) number: u8,
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
        let family = table::family(self.family);
        let found = family.binary_search_by_key(&self.number, |row| row.rule.number);
        found.map_or(&table::UNKNOWN, |index| &family[index])
    }
    /// Its errno, `EFAULT` where the row has none.
    pub fn errno(self) -> Errno {
        self.row().errno.unwrap_or(Errno::EFAULT)
    }
    /// The file and function of Linux that decides it; `None` for what is no decision of one place.
    pub fn origin(self) -> Option<&'static str> {
        super::origin::of(self)
    }
    /// `cond`, unless this rule is switched off (feature `mutate`).
    #[inline(always)]
    pub fn when(self, cond: bool) -> bool {
        #[cfg(feature = "mutate")]
        if super::mutate::is_off(self) {
            return false;
        }
        cond
    }
    /// The rule with this id, such as `A-31`, if there is one.
    pub fn parse(id: &str) -> Option<Self> {
        let (letter, number) = id.split_once('-')?;
        let [letter] = letter.as_bytes() else { return None };
        let rule = Self::new(letter.to_ascii_uppercase(), number.parse().ok()?);
        table::family(rule.family).iter().any(|row| row.rule == rule).then_some(rule)
    }
    /// Every rule, by family.
    pub fn all() -> impl Iterator<Item = &'static Row> {
        table::FAMILIES.iter().flat_map(|(_, rows)| rows.iter())
    }
}

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
