//! What a row is called, compared with and meant to reach, and how a run is printed.
//!
//! *Aim*: a bound for one figure of a row. Nothing fails by missing one; a report names it.

use super::floor::GRAB;
use serde::{Serialize, Serializer};
use std::fmt;

/// Which figure of a row an aim bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// The engine's own.
    Engine,
    /// `engine / floor`.
    OverFloor,
    /// `kernel / engine`.
    KernelOver,
}

/// A bound for one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// Not more.
    AtMost(Figure, f64),
    /// Not less.
    AtLeast(Figure, f64),
}

impl Aim {
    const fn figure(self) -> Figure {
        match self {
            Self::AtMost(figure, _) | Self::AtLeast(figure, _) => figure,
        }
    }
    /// Whether `value` reaches it.
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(_, most) => value <= most,
            Self::AtLeast(_, least) => value >= least,
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = match self.figure() {
            Figure::Engine => "engine ",
            Figure::OverFloor => "",
            Figure::KernelOver => "kernel / engine ",
        };
        match self {
            Self::AtMost(_, most) => write!(f, "{figure}≤ {most}"),
            Self::AtLeast(_, least) => write!(f, "{figure}≥ {least}"),
        }
    }
}

impl Serialize for Aim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a row is called and compared with.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// What the figures count, such as `ns/page`.
    pub unit: &'static str,
    /// What the engine does.
    pub what: &'static str,
    /// What the floor of this row is.
    pub against: &'static str,
    /// What the kernel does; empty if it is not asked.
    pub asked: &'static str,
    /// What is wanted of it.
    pub aims: &'static [Aim],
}

impl About {
    /// Whether `asked` names this row, or the beginning of its name up to a hyphen.
    pub fn is_called(&self, asked: &str) -> bool {
        let rest = self.name.strip_prefix(asked);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// One comparison. A side that could not be asked is `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What it is.
    #[serde(flatten)]
    pub about: &'static About,
    /// The engine.
    pub engine: Option<f64>,
    /// The floor, or what the row says it is compared with.
    pub floor: Option<f64>,
    /// The running kernel.
    pub kernel: Option<f64>,
    /// `engine / floor`.
    pub engine_over_floor: Option<f64>,
    /// `kernel / engine`.
    pub kernel_over_engine: Option<f64>,
    /// The aims that were missed.
    pub missed: Vec<Aim>,
}

impl Row {
    pub(super) fn new(
        about: &'static About,
        engine: Option<f64>,
        floor: Option<f64>,
        kernel: Option<f64>,
    ) -> Self {
        let ratio = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let missed = Vec::new();
        let (engine_over_floor, kernel_over_engine) = (ratio(engine, floor), ratio(kernel, engine));
        let mut row =
            Self { about, engine, floor, kernel, engine_over_floor, kernel_over_engine, missed };
        let misses = |aim: &&Aim| row.figure(aim.figure()).is_some_and(|x| !aim.is_met_by(x));
        row.missed = about.aims.iter().filter(misses).copied().collect();
        row
    }
    fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Engine => self.engine,
            Figure::OverFloor => self.engine_over_floor,
            Figure::KernelOver => self.kernel_over_engine,
        }
    }
    fn aims(&self) -> String {
        let aims: Vec<_> = self.about.aims.iter().map(Aim::to_string).collect();
        if aims.is_empty() { "-".to_owned() } else { aims.join(", ") }
    }
}

/// All rows of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `gup.bench/1`.
    pub schema: &'static str,
    /// The comparisons.
    pub rows: Vec<Row>,
}

fn number(figure: Option<f64>) -> String {
    figure.map_or("-".to_owned(), |x| if x < 100.0 { format!("{x:.2}") } else { format!("{x:.0}") })
}

impl Report {
    pub(super) fn new(rows: Vec<Row>) -> Self {
        Self { schema: "gup.bench/1", rows }
    }
    /// The rows as a table of Markdown, and what each side of a row is.
    pub fn markdown(&self) -> Markdown<'_> {
        Markdown(self)
    }
}

/// A [`Report`] as it stands in `docs/performance.md`.
pub struct Markdown<'r>(&'r Report);

impl fmt::Display for Markdown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = "| row | unit | engine | floor or peer | kernel | engine / floor | \
                    kernel / engine | aim | met |";
        writeln!(f, "{head}\n|---|---|--:|--:|--:|--:|--:|---|---|")?;
        for row in &self.0.rows {
            let met = match (row.about.aims.is_empty(), row.missed.is_empty()) {
                (true, _) => "-",
                (false, true) => "yes",
                (false, false) => "**no**",
            };
            write!(f, "| `{}` | {} |", row.about.name, row.about.unit)?;
            for figure in
                [row.engine, row.floor, row.kernel, row.engine_over_floor, row.kernel_over_engine]
            {
                write!(f, " {} |", number(figure))?;
            }
            writeln!(f, " {} | {met} |", row.aims())?;
        }
        writeln!(f)?;
        for About { name, what, against, asked, .. } in self.0.rows.iter().map(|row| row.about) {
            write!(f, "- `{name}`: {what}.")?;
            // The document says once what the floor is.
            if ![GRAB, "-"].contains(against) {
                write!(f, " Floor: {against}.")?;
            }
            if asked.is_empty() { writeln!(f)? } else { writeln!(f, " Kernel: {asked}.")? }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>9} {:>9} {:>9} {:>12} {:>13}  aim",
            "row", "engine", "floor", "kernel", "engine/floor", "kernel/engine"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<24} {:>9} {:>9} {:>9} {:>12} {:>13}  {}{}  {}; floor: {}",
                row.about.name,
                number(row.engine),
                number(row.floor),
                number(row.kernel),
                number(row.engine_over_floor),
                number(row.kernel_over_engine),
                row.aims(),
                if row.missed.is_empty() { "" } else { " MISSED" },
                row.about.unit,
                row.about.against
            )?;
        }
        Ok(())
    }
}
