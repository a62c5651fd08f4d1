//! A mistake in a scenario: where it is, what was expected there, what was found.
//!
//! Lines and columns count from 1; columns count characters. Absent: expectations that did not hold
//! when the scenario was played; those are no mistakes.

use std::fmt;

/// A mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Its line, from 1.
    pub line: u32,
    /// Its column in characters, from 1.
    pub column: u32,
    /// What would have been right there.
    pub expected: String,
    /// What stands there; empty at the end of the line.
    pub found: String,
    /// The line.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, expected, found, text } = self;
        write!(f, "line {line}, column {column}: expected {expected}, ")?;
        if found.is_empty() {
            writeln!(f, "but the line ends")?;
        } else {
            writeln!(f, "found {found:?}")?;
        }
        let blank = " ".repeat(usize::try_from(column.saturating_sub(1)).unwrap_or(0));
        write!(f, "{line:>5} | {text}\n      | {blank}^")
    }
}
impl std::error::Error for Mistake {}
