//! All rows, one after the other.

use super::measure::{Report, Row};
use super::space::CannotBench;
use super::{edits, faults, slow, translate};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A few rounds: to see that it works.
    Quick,
    /// Enough rounds for stable medians, about half a minute.
    Full,
}

impl Effort {
    fn rounds(self) -> usize {
        match self {
            Self::Quick => 3,
            Self::Full => 31,
        }
    }
}

/// Measures every row, telling `progress` the name of each as it begins.
/// # Errors
/// [`CannotBench`]: memory for the machine could not be had.
pub fn run(effort: Effort, mut progress: impl FnMut(&str)) -> Result<Report, CannotBench> {
    let rounds = effort.rounds();
    let mut rows = Vec::new();
    for (name, measure) in ROWS {
        progress(name);
        rows.extend(measure(rounds)?);
    }
    Ok(Report::new(rows))
}

type Measure = fn(usize) -> Result<Vec<Row>, CannotBench>;

const ROWS: [(&str, Measure); 4] = [
    ("slow path", slow::rows),
    ("faults", faults::rows),
    ("translate", translate::rows),
    ("mapping edits", edits::rows),
];
