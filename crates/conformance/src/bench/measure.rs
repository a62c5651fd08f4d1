//! Measuring the sides of a row in turn, and their medians.
//!
//! *Side*: what is measured: the engine, the floor or peer, the running kernel. Each round measures
//! every side once, so that what disturbs the machine disturbs all of them.

use super::report::{About, Report, Row};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A run in progress: what was asked for, and the rows so far.
pub(super) struct Bench<'p> {
    /// Rounds for each side, after one to warm up.
    pub(super) rounds: usize,
    asked: &'p [String],
    progress: &'p mut dyn FnMut(&str),
    rows: Vec<Row>,
}

/// One side of a comparison: one round, in nanoseconds per unit; `None` if it cannot be asked.
pub(super) type Side<'a> = &'a mut dyn FnMut() -> Option<f64>;

/// A side that has nothing to answer.
pub(super) fn none() -> Option<f64> {
    None
}

impl<'p> Bench<'p> {
    /// A run of the rows that `asked` names (none: all), which tells `progress` as each begins.
    pub(super) fn new(
        rounds: usize,
        asked: &'p [String],
        progress: &'p mut dyn FnMut(&str),
    ) -> Self {
        Self { rounds, asked, progress, rows: Vec::new() }
    }
    /// Whether the row was asked for, by its name or the beginning of it.
    pub(super) fn wants(&self, about: &About) -> bool {
        self.asked.is_empty() || self.asked.iter().any(|asked| about.is_called(asked))
    }
    /// Whether any of them was.
    pub(super) fn wants_any(&self, abouts: &[About]) -> bool {
        abouts.iter().any(|about| self.wants(about))
    }
    /// Measures the sides in turn, if the row was asked for.
    pub(super) fn compare(
        &mut self,
        about: &'static About,
        engine: Side<'_>,
        floor: Side<'_>,
        kernel: Side<'_>,
    ) {
        self.compare_up_to(usize::MAX, about, engine, floor, kernel);
    }
    /// The same with at most `most` rounds, for sides that take long.
    pub(super) fn compare_up_to(
        &mut self,
        most: usize,
        about: &'static About,
        engine: Side<'_>,
        floor: Side<'_>,
        kernel: Side<'_>,
    ) {
        if !self.wants(about) {
            return;
        }
        (self.progress)(about.name);
        let mut samples = [Vec::new(), Vec::new(), Vec::new()];
        for round in 0..=self.rounds.min(most) {
            for (samples, sample) in samples.iter_mut().zip([floor(), engine(), kernel()]) {
                if round > 0 {
                    samples.extend(sample);
                }
            }
        }
        let [floor, engine, kernel] = samples.map(median);
        self.rows.push(Row::new(about, engine, floor, kernel));
    }
    /// What was measured.
    pub(super) fn finish(self) -> Report {
        Report::new(self.rows)
    }
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

/// Nanoseconds per unit of `work`, which does `units`: of this thread's own time on a processor, so
/// that whoever else runs on the machine counts less.
pub(super) fn timed(units: u64, work: impl FnOnce()) -> f64 {
    let start = on_processor();
    work();
    #[allow(clippy::cast_precision_loss, reason = "figures of a few digits")]
    let per_unit = on_processor().saturating_sub(start).as_nanos() as f64 / units as f64;
    per_unit
}

fn on_processor() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).unwrap_or(0))
}
