//! The numbered rows of `docs/semantics.md`.
//!
//! A row is a table line whose first cell is an id such as `A-31`. Absent: what a row means for the
//! code.

use crate::repo;
use anyhow::{Result, ensure};
use std::fmt;

/// The specification.
pub(crate) const SEMANTICS: &str = "docs/semantics.md";

/// The families of which every row must have code and a test.
pub(crate) const REQUIRED: [char; 3] = ['A', 'N', 'W'];

/// The families that code can decide: the others are sources, figures and test lists.
pub(crate) const BEHAVIOUR: [char; 7] = ['A', 'N', 'W', 'C', 'F', 'M', 'S'];

/// A row's id. Orders as the specification does: by family, then by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowId {
    /// The letter.
    pub(crate) family: char,
    /// The number after the dash.
    pub(crate) number: u16,
}

impl RowId {
    /// Reads an id such as `A-31`; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (family, number) = text.trim().split_once('-')?;
        let mut letters = family.chars();
        let family = letters.next().filter(char::is_ascii_uppercase)?;
        if letters.next().is_some() {
            return None;
        }
        Some(Self { family, number: number.parse().ok()? })
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:02}", self.family, self.number)
    }
}

/// The id of every row of the specification, sorted.
pub(crate) fn all() -> Result<Vec<RowId>> {
    let mut rows = parse(&repo::read(SEMANTICS)?);
    rows.sort();
    ensure!(!rows.is_empty(), "{SEMANTICS} has no rows");
    for pair in rows.windows(2) {
        ensure!(pair[0] != pair[1], "{SEMANTICS} has {} twice", pair[0]);
    }
    Ok(rows)
}

fn parse(text: &str) -> Vec<RowId> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<RowId> {
    let first_cell = line.strip_prefix('|')?.split('|').next()?;
    RowId::parse(first_cell.split('/').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_table_line_that_begins_with_an_id() {
        let rows = parse("| id | x |\n| --- | --- |\n| A-80 | x |\n| T-09 / T-10 | x |\nA-81\n");
        let ids: Vec<String> = rows.iter().map(ToString::to_string).collect();
        assert_eq!(ids, ["A-80", "T-09"]);
    }

    #[test]
    fn ids_sort_by_number_and_print_as_the_specification_has_them() {
        let (small, large) = (RowId::parse("A-09").unwrap(), RowId::parse("A-140").unwrap());
        assert!(small < large);
        assert_eq!((small.to_string(), large.to_string()), ("A-09".into(), "A-140".into()));
        assert_eq!(RowId::parse("AB-1"), None);
    }

    #[test]
    fn the_specification_has_every_family() {
        let rows = all().unwrap();
        for family in BEHAVIOUR {
            assert!(rows.iter().any(|row| row.family == family), "no {family} rows");
        }
    }
}
