//! A whole recording, played: how many answers were alike, how many were not, how many could not be
//! had.
//!
//! *Cannot ask*: an operation, kind or driver that the engine has no name for, and every operation
//! of a program after it, since the states there depend on it. Absent: rules; every answer is the
//! engine's.

use super::drivers::{Unlike, compare};
use super::file::Recording;
use super::operations::is_known;
use super::record::Record;
use super::world::{Difference, Player};
use serde::Serialize;

/// What to do after a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterDifference {
    /// Play no further.
    Stop,
    /// Play everything.
    GoOn,
}

/// How a recording went so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Programs begun; a row is a program of one operation.
    pub programs: usize,
    /// Operations played: the sum of the next three.
    pub operations: usize,
    /// Answered as the kernel did, with the same state after.
    pub ok: usize,
    /// Answered otherwise.
    pub differs: usize,
    /// Not asked.
    pub cannot_ask: usize,
    /// The first that was answered otherwise.
    pub first_difference: Option<FirstDifference>,
}

/// One side of a difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Side {
    /// What the call returned.
    pub ret: i64,
    /// The errno, 0 for none.
    pub errno: i32,
    /// Every page afterwards.
    pub state: String,
}

/// An operation that the engine answers otherwise than the kernel did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FirstDifference {
    /// The program; `None` for a row.
    pub seed: Option<u64>,
    /// The operation's number in its program; of a row, its place in the file, from 0.
    pub i: u64,
    /// What was done; of a row, `kind/driver`.
    pub op: String,
    /// What the kernel had answered.
    pub kernel: Side,
    /// What the engine answers.
    pub engine: Side,
    /// Of a row, what else was compared, on both sides.
    pub note: Option<String>,
}

impl FirstDifference {
    fn of_record(found: Difference) -> Self {
        let Difference { kernel, ret, errno, state } = found;
        Self {
            seed: Some(kernel.seed),
            i: kernel.i,
            op: kernel.op,
            kernel: Side { ret: kernel.ret, errno: kernel.errno, state: kernel.state },
            engine: Side { ret, errno, state },
            note: None,
        }
    }
    fn of_row(i: u64, found: Unlike) -> Self {
        let note = Some(found.to_string());
        let Unlike { kernel, ret, errno, after, .. } = found;
        Self {
            seed: None,
            i,
            op: format!("{}/{}", kernel.kind, kernel.driver),
            kernel: Side { ret: kernel.ret, errno: kernel.errno, state: kernel.after },
            engine: Side { ret, errno, state: after },
            note,
        }
    }
}

/// Plays `recording`; `heard` is told of every difference, and after each program how it stands,
/// and answers whether to go on.
pub fn run(
    recording: &Recording,
    after: AfterDifference,
    heard: impl FnMut(Heard<'_>) -> bool,
) -> Totals {
    let mut work = Work { totals: Totals::default(), after, heard, left: false };
    match recording {
        Recording::Programs(programs) => {
            for program in programs {
                work.program(program);
                let goes_on = work.is_over() || (work.heard)(Heard::Progress(&work.totals));
                if work.is_over() || !goes_on {
                    break;
                }
            }
        }
        Recording::Rows(rows) => {
            for (i, row) in (0..).zip(rows) {
                work.totals.programs += 1;
                match compare(row) {
                    None => work.cannot_ask(1),
                    Some(None) => work.same(),
                    Some(Some(unlike)) => work.differs(FirstDifference::of_row(i, *unlike)),
                }
                let goes_on = work.is_over() || (work.heard)(Heard::Progress(&work.totals));
                if work.is_over() || !goes_on {
                    break;
                }
            }
        }
    }
    work.totals
}

/// What a listener is told.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'t> {
    /// A program has ended.
    Progress(&'t Totals),
    /// An answer differs.
    Differs(&'t FirstDifference),
}

struct Work<F> {
    totals: Totals,
    after: AfterDifference,
    heard: F,
    /// Whether `heard` has answered that it is enough.
    left: bool,
}

impl<F: FnMut(Heard<'_>) -> bool> Work<F> {
    fn program(&mut self, program: &[Record]) {
        self.totals.programs += 1;
        let mut player = Player::new();
        for (done, record) in program.iter().enumerate() {
            if !is_known(&record.op) {
                return self.cannot_ask(program.len() - done);
            }
            match player.step(record) {
                Ok(()) => self.same(),
                Err(found) => self.differs(FirstDifference::of_record(*found)),
            }
            if self.is_over() {
                return;
            }
        }
    }
    fn same(&mut self) {
        self.totals.operations += 1;
        self.totals.ok += 1;
    }
    fn cannot_ask(&mut self, count: usize) {
        self.totals.operations += count;
        self.totals.cannot_ask += count;
    }
    fn differs(&mut self, found: FirstDifference) {
        self.totals.operations += 1;
        self.totals.differs += 1;
        self.left |= !(self.heard)(Heard::Differs(&found));
        self.totals.first_difference.get_or_insert(found);
    }
    fn is_over(&self) -> bool {
        self.left || self.after == AfterDifference::Stop && self.totals.differs > 0
    }
}
