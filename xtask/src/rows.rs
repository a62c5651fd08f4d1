//! The numbered rows of `docs/semantics.md`.
//!
//! A row is a table line whose first cell is an id such as `A-31`. Absent: what a row means for the
//! code.

use crate::repo;
use anyhow::{Result, ensure};
use std::fmt;

/// The specification.
pub(crate) const SEMANTICS: &str = "docs/semantics.md";

/// The families that code can decide or keep: the others are sources and figures.
pub(crate) const BEHAVIOUR: [char; 10] = ['A', 'N', 'W', 'C', 'F', 'M', 'S', 'I', 'O', 'T'];

/// How the last cell of a row begins that nothing here can be asked.
const NOT_HERE: &str = "not here: ";

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

/// A row of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Its id.
    pub(crate) id: RowId,
    /// Its second cell.
    pub(crate) subject: String,
    /// Why nothing here can be asked, for a row that applies to no code.
    pub(crate) not_here: Option<String>,
}

/// Every row of the specification that code can decide or keep, by family, then by number.
pub(crate) fn all() -> Result<Vec<Row>> {
    let mut rows = parse(&repo::read(SEMANTICS)?);
    rows.sort_by_key(|row| row.id);
    ensure!(!rows.is_empty(), "{SEMANTICS} has no rows");
    for pair in rows.windows(2) {
        ensure!(pair[0].id != pair[1].id, "{SEMANTICS} has {} twice", pair[0].id);
    }
    rows.retain(|row| BEHAVIOUR.contains(&row.id.family));
    Ok(rows)
}

fn parse(text: &str) -> Vec<Row> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let id = RowId::parse(cells.first()?)?;
    let not_here = cells.last().and_then(|cell| cell.strip_prefix(NOT_HERE));
    let subject = cells.get(1).map_or_else(String::new, |cell| (*cell).to_owned());
    Some(Row { id, subject, not_here: not_here.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_table_line_that_begins_with_an_id() {
        let text = "| id | x |\n| --- | --- |\n| A-80 | x |\n| T-09 | y | not here: z |\nA-81\n";
        let rows = parse(text);
        let ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
        assert_eq!(ids, ["A-80", "T-09"]);
        assert_eq!(rows[1].subject, "y");
        assert_eq!(rows[1].not_here.as_deref(), Some("z"));
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
            assert!(rows.iter().any(|row| row.id.family == family), "no {family} rows");
        }
    }
}
