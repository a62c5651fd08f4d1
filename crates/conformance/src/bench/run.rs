//! All rows, one after the other, or those that were asked for.

use super::measure::Bench;
use super::report::{About, Report};
use super::space::CannotBench;
use super::{
    edits, explain, fast, faults, fork, huge, longterm, memory, release, slow, threads, translate,
};

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A few rounds: to see that it works.
    Quick,
    /// Enough rounds for stable medians, about a minute.
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

/// Measures the rows that `asked` names, by name or by the beginning of it up to a hyphen (none:
/// every row), telling `progress` the name of each as it begins.
/// # Errors
/// [`CannotBench`]: memory for the machine could not be had, or no row has such a name.
pub fn run(
    effort: Effort,
    asked: &[String],
    mut progress: impl FnMut(&str),
) -> Result<Report, CannotBench> {
    if let Some(name) = asked.iter().find(|name| !rows().any(|about| about.is_called(name))) {
        let names: Vec<_> = rows().map(|about| about.name).collect();
        return Err(CannotBench::NoSuchRow(name.clone(), names.join(", ")));
    }
    let mut bench = Bench::new(effort.rounds(), asked, &mut progress);
    for (abouts, measure) in GROUPS {
        if bench.wants_any(abouts) {
            measure(&mut bench)?;
        }
    }
    Ok(bench.finish())
}

/// Every row there is.
fn rows() -> impl Iterator<Item = &'static About> {
    GROUPS.iter().flat_map(|(abouts, _)| abouts.iter())
}

type Measure = fn(&mut Bench<'_>) -> Result<(), CannotBench>;

/// Rows that are measured on the same memory.
const GROUPS: [(&[About], Measure); 12] = [
    (&fast::ROWS, fast::measure),
    (&slow::ROWS, slow::measure),
    (&release::ROWS, release::measure),
    (&huge::ROWS, huge::measure),
    (&longterm::ROWS, longterm::measure),
    (&faults::ROWS, faults::measure),
    (&translate::ROWS, translate::measure),
    (&fork::ROWS, fork::measure),
    (&threads::ROWS, threads::measure),
    (&memory::ROWS, memory::measure),
    (&edits::ROWS, edits::measure),
    (&explain::ROWS, explain::measure),
];
