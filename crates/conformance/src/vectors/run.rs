//! Playing vectors in one of the two worlds, and counting.

use super::answer::{Answer, Told};
use super::file::Vector;
use serde::Serialize;
use std::collections::BTreeMap;

/// A vector that was answered otherwise than it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The vector.
    pub vector: Vector,
    /// What was answered.
    pub answer: Answer,
}

/// How often what came of asking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// As the vector says.
    pub ok: usize,
    /// Otherwise.
    pub differs: usize,
    /// Could not be asked.
    pub cannot_ask: usize,
}

/// What came of a file of vectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VectorTotals {
    /// All of them.
    pub all: Tally,
    /// By entry point.
    pub entries: BTreeMap<String, Tally>,
    /// Why some could not be asked, and how many for each reason.
    pub reasons: BTreeMap<String, usize>,
    /// Those answered otherwise.
    pub found: Vec<Found>,
}

/// Puts every vector to `ask`; `heard` is told how many were, and answers whether to go on.
pub fn run(
    vectors: &[Vector],
    mut ask: impl FnMut(&Vector) -> Told,
    mut heard: impl FnMut(u64) -> bool,
) -> VectorTotals {
    let mut totals = VectorTotals::default();
    for (vector, asked) in vectors.iter().zip(1..) {
        let entry = totals.entries.entry(vector.entry.clone()).or_default();
        match ask(vector) {
            Told::Answer(answer) if answer == vector.answer => {
                totals.all.ok += 1;
                entry.ok += 1;
            }
            Told::Answer(answer) => {
                totals.all.differs += 1;
                entry.differs += 1;
                totals.found.push(Found { vector: vector.clone(), answer });
            }
            Told::Cannot(why) => {
                totals.all.cannot_ask += 1;
                entry.cannot_ask += 1;
                *totals.reasons.entry(why).or_default() += 1;
            }
        }
        if !heard(asked) {
            break;
        }
    }
    totals
}
