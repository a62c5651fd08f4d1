//! Measuring sides in turn, medians, and the rows of the report.

use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// One comparison. A side that could not be asked is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What the figures count, such as `ns/page`.
    pub unit: &'static str,
    /// The engine.
    pub engine: f64,
    /// The floor, or what the row says it is compared with.
    pub floor: Option<f64>,
    /// The running kernel.
    pub kernel: Option<f64>,
    /// `engine / floor`.
    pub engine_over_floor: Option<f64>,
    /// `kernel / engine`.
    pub kernel_over_engine: Option<f64>,
    /// What the floor of this row is.
    pub against: &'static str,
    /// The aim for `engine_over_floor`, where there is one.
    pub aim: Option<f64>,
}

/// All rows of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `gup.bench/1`.
    pub schema: &'static str,
    /// The comparisons.
    pub rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self { schema: "gup.bench/1", rows }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |x: Option<f64>| x.map_or("-".to_owned(), |x| format!("{x:.2}"));
        writeln!(
            f,
            "{:<22} {:>10} {:>10} {:>10} {:>13} {:>6} {:>14}",
            "row", "engine", "floor", "kernel", "engine/floor", "aim", "kernel/engine"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<22} {:>10.2} {:>10} {:>10} {:>13} {:>6} {:>14}  {}; floor: {}",
                row.name,
                row.engine,
                number(row.floor),
                number(row.kernel),
                number(row.engine_over_floor),
                number(row.aim),
                number(row.kernel_over_engine),
                row.unit,
                row.against
            )?;
        }
        Ok(())
    }
}

/// What a row is called and compared with.
#[derive(Clone, Copy)]
pub(super) struct About {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) against: &'static str,
    pub(super) aim: Option<f64>,
}

/// One side of a comparison: one round, in nanoseconds per unit; `None` if it cannot be asked.
pub(super) type Side<'a> = &'a mut dyn FnMut() -> Option<f64>;

/// Measures the sides in turn, `rounds` times each after one round to warm up.
pub(super) fn compare(
    about: About,
    rounds: usize,
    engine: Side<'_>,
    floor: Side<'_>,
    kernel: Side<'_>,
) -> Row {
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (samples, sample) in samples.iter_mut().zip([floor(), engine(), kernel()]) {
            if round > 0 {
                samples.extend(sample);
            }
        }
    }
    let [floor, engine, kernel] = samples.map(median);
    let engine = engine.unwrap_or(f64::NAN);
    Row {
        name: about.name,
        unit: about.unit,
        engine,
        floor,
        kernel,
        engine_over_floor: floor.map(|floor| engine / floor),
        kernel_over_engine: kernel.map(|kernel| kernel / engine),
        against: about.against,
        aim: about.aim,
    }
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

/// Nanoseconds per unit of `work`, which does `units`.
pub(super) fn timed(units: u64, work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    #[allow(clippy::cast_precision_loss, reason = "figures of a few digits")]
    let per_unit = start.elapsed().as_nanos() as f64 / units as f64;
    per_unit
}
