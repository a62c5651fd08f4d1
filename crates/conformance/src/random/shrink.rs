//! The shortest program that still differs: delta debugging over steps, then simpler arguments.
//!
//! Every candidate is played from the start in fresh worlds, so that what remains stands alone.

use super::change::simpler;
use super::generate::step;
use super::kept::scenario_of;
use super::run::{Pair, play};
use crate::scenario::{Op, Program, Step};

/// The most programs that are tried.
const TRIES: u32 = 4000;

/// A short program that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk {
    /// The program.
    pub program: Program,
    /// As a scenario, with the kernel's answers.
    pub scenario: String,
    /// Programs that were tried.
    pub tries: u32,
}

impl Shrunk {
    /// Its operations: all steps but those that make processes and files.
    pub fn operations(&self) -> usize {
        let makes = |op: &Op| matches!(op, Op::Process { .. } | Op::File { .. });
        self.program.steps.iter().filter(|step| !makes(&step.op)).count()
    }
}

/// Shrinks `program`, whose step `at` differs.
pub fn shrink(program: &Program, at: usize, pair: &mut dyn Pair) -> Shrunk {
    let steps: Vec<Step> = program.steps.iter().take(at + 1).cloned().collect();
    let mut work = Work { best: Program { steps, ..program.clone() }, pair, tries: 0 };
    loop {
        let before = work.best.clone();
        work.fewer_steps();
        work.simpler_arguments();
        if work.best == before || work.is_over() {
            break;
        }
    }
    let mut number = 0;
    for kept in &mut work.best.steps {
        number += 1;
        *kept = step(number, kept.op.clone());
    }
    let scenario = scenario_of(&work.best, work.pair);
    Shrunk { program: work.best, scenario, tries: work.tries }
}

struct Work<'p> {
    best: Program,
    pair: &'p mut dyn Pair,
    tries: u32,
}

impl Work<'_> {
    fn is_over(&self) -> bool {
        self.tries >= TRIES
    }

    /// Whether `steps` differ too; then they are the best, cut behind the difference.
    fn try_steps(&mut self, steps: Vec<Step>) -> bool {
        if self.is_over() {
            return false;
        }
        self.tries += 1;
        let mut program = Program { steps, ..self.best.clone() };
        let Some(found) = play(&program, self.pair, &mut |_| {}) else { return false };
        program.steps.truncate(found.step + 1);
        self.best = program;
        true
    }

    /// Drops ever smaller runs of steps while something can be dropped.
    fn fewer_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 {
            let mut dropped = false;
            let mut end = self.best.steps.len();
            while end > 0 {
                let start = end.saturating_sub(size);
                let mut steps = self.best.steps.clone();
                steps.drain(start..end.min(steps.len()));
                dropped |= self.try_steps(steps);
                end = start.min(self.best.steps.len());
            }
            if !dropped || size > 1 {
                size /= 2;
            }
        }
    }

    fn simpler_arguments(&mut self) {
        let mut at = 0;
        while at < self.best.steps.len() {
            let candidates = simpler(&self.best.steps[at].op);
            let better = candidates.into_iter().any(|op| {
                let mut steps = self.best.steps.clone();
                steps[at] = step(steps[at].line, op);
                self.try_steps(steps)
            });
            if !better {
                at += 1;
            }
        }
    }
}
